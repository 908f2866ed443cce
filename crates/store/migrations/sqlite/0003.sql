-- Deviations: how far the ledger was looked at, what is known of each agent, and what was found.

CREATE TABLE watched (
    tenant TEXT NOT NULL PRIMARY KEY,
    -- Place of the first entry that was not looked at yet.
    next INTEGER NOT NULL,
    -- Entries before this place only teach what is usual.
    learned INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE profile (
    tenant TEXT NOT NULL,
    agent TEXT NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (tenant, agent)
) STRICT, WITHOUT ROWID;

CREATE TABLE finding (
    n INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    agent TEXT NOT NULL,
    task TEXT NOT NULL,
    contained INTEGER NOT NULL CHECK (contained IN (0, 1)),
    doc TEXT NOT NULL,
    UNIQUE (tenant, id)
) STRICT;
CREATE INDEX finding_open ON finding (tenant, n) WHERE contained = 0;
