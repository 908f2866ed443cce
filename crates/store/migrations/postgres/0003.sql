-- Deviations: how far the ledger was looked at, what is known of each agent, and what was found.

CREATE TABLE watched (
    tenant TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    -- Place of the first entry that was not looked at yet.
    next BIGINT NOT NULL,
    -- Entries before this place only teach what is usual.
    learned BIGINT NOT NULL
);
ALTER TABLE watched ENABLE ROW LEVEL SECURITY;
ALTER TABLE watched FORCE ROW LEVEL SECURITY;
CREATE POLICY in_scope ON watched USING (in_scope(tenant));

CREATE TABLE profile (
    tenant TEXT COLLATE "C" NOT NULL,
    agent TEXT COLLATE "C" NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (tenant, agent)
);
ALTER TABLE profile ENABLE ROW LEVEL SECURITY;
ALTER TABLE profile FORCE ROW LEVEL SECURITY;
CREATE POLICY in_scope ON profile USING (in_scope(tenant));

CREATE TABLE finding (
    n BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    agent TEXT COLLATE "C" NOT NULL,
    task TEXT COLLATE "C" NOT NULL,
    contained BIGINT NOT NULL CHECK (contained IN (0, 1)),
    doc TEXT NOT NULL,
    UNIQUE (tenant, id)
);
CREATE INDEX finding_open ON finding (tenant, n) WHERE contained = 0;
ALTER TABLE finding ENABLE ROW LEVEL SECURITY;
ALTER TABLE finding FORCE ROW LEVEL SECURITY;
CREATE POLICY in_scope ON finding USING (in_scope(tenant));
