-- People, and answers to what they are asked.

CREATE TABLE operator (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    -- Who they are at the identity provider.
    issuer TEXT,
    subject TEXT,
    doc TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX operator_identity ON operator (tenant, issuer, subject) WHERE issuer IS NOT NULL;

-- Questions that were raised before could not be answered; whoever asks again raises a new one.
DROP TABLE request;
CREATE TABLE request (
    n INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    task TEXT NOT NULL,
    agent TEXT NOT NULL DEFAULT '',
    digest TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'granted', 'consumed', 'denied', 'expired', 'withdrawn')),
    -- When it expires if nothing happens: without an answer, or without a use.
    expires_at INTEGER NOT NULL,
    doc TEXT NOT NULL,
    UNIQUE (tenant, id)
) STRICT;
-- Identical questions are one question.
CREATE UNIQUE INDEX request_same ON request (tenant, task, digest) WHERE state = 'pending';
CREATE INDEX request_agent ON request (tenant, agent, digest) WHERE state IN ('pending', 'granted');
CREATE INDEX request_task ON request (tenant, task, n);
CREATE INDEX request_state ON request (tenant, state, n);
CREATE INDEX request_due ON request (expires_at) WHERE state IN ('pending', 'granted');
