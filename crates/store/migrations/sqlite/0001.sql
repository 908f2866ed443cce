-- First schema. Every table of tenants' data is keyed by (tenant, …): no query finds a row by its id alone.
-- `doc` is the JSON of the type in the rules; the other columns repeat what is searched for.

CREATE TABLE tenant (
    name TEXT PRIMARY KEY,
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- One version per subject that a decision depends on; it grows with each change of the subject.
CREATE TABLE stamp (
    subject TEXT PRIMARY KEY,
    version INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE task (
    n INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    agent TEXT NOT NULL,
    parent TEXT,
    state TEXT NOT NULL CHECK (state IN ('proposed', 'active', 'ended')),
    expires_at INTEGER,
    held INTEGER NOT NULL,
    doc TEXT NOT NULL,
    UNIQUE (tenant, id)
) STRICT;
CREATE INDEX task_agent ON task (tenant, agent, n);
CREATE INDEX task_state ON task (tenant, state, n);
CREATE INDEX task_parent ON task (tenant, parent) WHERE parent IS NOT NULL;
CREATE INDEX task_due ON task (expires_at) WHERE state = 'active';
CREATE INDEX task_held ON task (n) WHERE held = 1 AND state = 'active';

CREATE TABLE agent (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    owner TEXT NOT NULL,
    socket_uid INTEGER,
    doc TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE agent_key (
    tenant TEXT NOT NULL,
    agent TEXT NOT NULL,
    thumbprint TEXT NOT NULL,
    jwk TEXT NOT NULL,
    added_at INTEGER NOT NULL,
    PRIMARY KEY (tenant, agent, thumbprint),
    FOREIGN KEY (tenant, agent) REFERENCES agent (tenant, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE owner (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE resource (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    owner TEXT NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;

-- Where the active resources answer: at most one resource per endpoint of a tenant.
CREATE TABLE resource_endpoint (
    tenant TEXT NOT NULL,
    endpoint TEXT NOT NULL,
    resource TEXT NOT NULL,
    PRIMARY KEY (tenant, endpoint),
    FOREIGN KEY (tenant, resource) REFERENCES resource (tenant, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX resource_endpoint_resource ON resource_endpoint (tenant, resource);

CREATE TABLE credential (
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    resource TEXT NOT NULL,
    active INTEGER NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX credential_resource ON credential (tenant, resource);

-- Sealed values: opaque here.
CREATE TABLE sealed (
    tenant TEXT NOT NULL,
    credential TEXT NOT NULL,
    version INTEGER NOT NULL,
    blob BLOB NOT NULL,
    PRIMARY KEY (tenant, credential, version)
) STRICT;

CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE signing_key (
    id TEXT PRIMARY KEY,
    purpose TEXT NOT NULL,
    blob BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    retired_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE join_token (
    hash TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    agent TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE operator_link (
    hash TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    operator TEXT NOT NULL,
    role TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    used_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE operator_session (
    hash TEXT PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    operator TEXT NOT NULL,
    role TEXT NOT NULL,
    transport TEXT NOT NULL CHECK (transport IN ('socket', 'tcp')),
    created_at INTEGER NOT NULL,
    idle_expires_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Proofs that may be used once: only their digests, until they expire.
CREATE TABLE used_once (
    kind TEXT NOT NULL,
    hash TEXT NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (kind, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX used_once_expiry ON used_once (expires_at);

-- Policy sets by the digest of their sources, kept for ever.
CREATE TABLE policy_set (
    digest TEXT PRIMARY KEY,
    sources TEXT NOT NULL,
    added_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE policy_head (
    tenant TEXT PRIMARY KEY,
    digest TEXT NOT NULL REFERENCES policy_set (digest),
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Facts that decisions were made from, by digest. A rowid table: texts are long.
CREATE TABLE facts (
    n INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    digest BLOB NOT NULL,
    text TEXT NOT NULL,
    UNIQUE (tenant, digest)
) STRICT;

CREATE TABLE usage (
    tenant TEXT NOT NULL,
    task TEXT NOT NULL,
    place INTEGER NOT NULL,
    calls INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (tenant, task, place)
) STRICT, WITHOUT ROWID;

-- How sensitive the resources are that a task may have had an answer from: at most four rows for each task.
CREATE TABLE seen (
    tenant TEXT NOT NULL,
    task TEXT NOT NULL,
    sensitivity TEXT NOT NULL,
    PRIMARY KEY (tenant, task, sensitivity)
) STRICT, WITHOUT ROWID;

-- Actions that were let out and have no outcome yet: what their second entry needs.
CREATE TABLE open_action (
    tenant TEXT NOT NULL,
    decision TEXT NOT NULL,
    task TEXT NOT NULL,
    agent TEXT NOT NULL,
    resource TEXT,
    credential TEXT,
    at INTEGER NOT NULL,
    PRIMARY KEY (tenant, decision)
) STRICT, WITHOUT ROWID;

CREATE TABLE request (
    n INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    id TEXT NOT NULL,
    task TEXT NOT NULL,
    digest TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'expired', 'withdrawn')),
    expires_at INTEGER NOT NULL,
    doc TEXT NOT NULL,
    UNIQUE (tenant, id)
) STRICT;
-- Identical questions are one question.
CREATE UNIQUE INDEX request_same ON request (tenant, task, digest) WHERE state = 'pending';
CREATE INDEX request_due ON request (expires_at) WHERE state = 'pending';

-- The ledger. `seq` counts from 0 without gaps; the columns repeat fields of the body for searching.
CREATE TABLE entry (
    seq INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL,
    kind TEXT NOT NULL,
    at INTEGER NOT NULL,
    task TEXT,
    agent TEXT,
    resource TEXT,
    credential TEXT,
    decision TEXT,
    request TEXT,
    workflow TEXT,
    outcome TEXT,
    body BLOB NOT NULL
) STRICT;
CREATE INDEX entry_credential ON entry (tenant, credential, seq) WHERE credential IS NOT NULL;
CREATE INDEX entry_task ON entry (tenant, task, seq) WHERE task IS NOT NULL;
CREATE INDEX entry_agent ON entry (tenant, agent, seq) WHERE agent IS NOT NULL;
CREATE INDEX entry_decision ON entry (tenant, decision, seq) WHERE decision IS NOT NULL;
CREATE INDEX entry_workflow ON entry (tenant, workflow, seq) WHERE workflow IS NOT NULL;
CREATE TRIGGER entry_is_never_changed BEFORE UPDATE ON entry
BEGIN
    SELECT RAISE(ABORT, 'ledger entries are never changed');
END;
CREATE TRIGGER entry_is_never_removed BEFORE DELETE ON entry
BEGIN
    SELECT RAISE(ABORT, 'ledger entries are never removed');
END;

-- Hash tiles at their widest; narrower ones are their beginning.
CREATE TABLE tile (
    level INTEGER NOT NULL,
    position INTEGER NOT NULL,
    hashes BLOB NOT NULL,
    PRIMARY KEY (level, position)
) STRICT;

-- The integrated part of the ledger: one row.
CREATE TABLE tree (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    size INTEGER NOT NULL,
    root BLOB NOT NULL,
    epoch INTEGER NOT NULL,
    -- No checkpoint of this size or a smaller one is signed: another history may have had one.
    floor INTEGER NOT NULL
) STRICT;

CREATE TABLE checkpoint (
    size INTEGER PRIMARY KEY,
    epoch INTEGER NOT NULL,
    root BLOB NOT NULL,
    note TEXT NOT NULL,
    at INTEGER NOT NULL
) STRICT;

-- What witnesses added to checkpoints, by the verifier key of the witness: its signature line.
CREATE TABLE cosignature (
    witness TEXT NOT NULL,
    size INTEGER NOT NULL REFERENCES checkpoint (size),
    line TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (witness, size)
) STRICT, WITHOUT ROWID;
CREATE INDEX cosignature_size ON cosignature (size);
