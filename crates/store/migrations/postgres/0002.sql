-- People, and answers to what they are asked.

CREATE TABLE operator (
    tenant TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    -- Who they are at the identity provider.
    issuer TEXT COLLATE "C",
    subject TEXT COLLATE "C",
    doc TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
);
CREATE UNIQUE INDEX operator_identity ON operator (tenant, issuer, subject) WHERE issuer IS NOT NULL;
ALTER TABLE operator ENABLE ROW LEVEL SECURITY;
ALTER TABLE operator FORCE ROW LEVEL SECURITY;
CREATE POLICY in_scope ON operator USING (in_scope(tenant));

-- Questions that were raised before could not be answered; whoever asks again raises a new one.
SELECT set_config('accredit.tenants', '*', true);
DELETE FROM request;
ALTER TABLE request ADD COLUMN agent TEXT COLLATE "C" NOT NULL DEFAULT '';
ALTER TABLE request DROP CONSTRAINT request_state_check;
ALTER TABLE request ADD CONSTRAINT request_state_check
    CHECK (state IN ('pending', 'granted', 'consumed', 'denied', 'expired', 'withdrawn'));
CREATE INDEX request_agent ON request (tenant, agent, digest) WHERE state IN ('pending', 'granted');
CREATE INDEX request_task ON request (tenant, task, n);
CREATE INDEX request_state ON request (tenant, state, n);
DROP INDEX request_due;
CREATE INDEX request_due ON request (expires_at) WHERE state IN ('pending', 'granted');
