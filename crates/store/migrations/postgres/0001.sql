-- First schema for PostgreSQL (15 or newer), the same world as that of SQLite. It is made by a role that owns it; the
-- service works as another role, which owns nothing, and row-level security applies to both.
--
-- `accredit.tenants` names the tenants of the present transaction, with commas between, or `*` for the work of the
-- installation as a whole. Where it is not set, no tenant's row is seen or written.

CREATE FUNCTION in_scope (tenant TEXT) RETURNS BOOLEAN LANGUAGE SQL STABLE PARALLEL SAFE
RETURN tenant = ANY (string_to_array(current_setting('accredit.tenants', true), ','))
    OR current_setting('accredit.tenants', true) = '*';

CREATE TABLE tenant (
    name TEXT COLLATE "C" PRIMARY KEY,
    created_at BIGINT NOT NULL
);

-- One version per subject that a decision depends on; it grows with each change of the subject. A record of a
-- decision locks the row for sharing, a change locks it alone: that is what puts the two in order.
CREATE TABLE stamp (
    subject TEXT COLLATE "C" PRIMARY KEY,
    version BIGINT NOT NULL,
    tenant TEXT COLLATE "C" NOT NULL GENERATED ALWAYS AS (split_part(subject, '/', 2)) STORED
) WITH (fillfactor = 70);

CREATE TABLE task (
    n BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    agent TEXT COLLATE "C" NOT NULL,
    parent TEXT COLLATE "C",
    state TEXT NOT NULL CHECK (state IN ('proposed', 'active', 'ended')),
    expires_at BIGINT,
    held BIGINT NOT NULL,
    doc TEXT NOT NULL,
    UNIQUE (tenant, id)
);
CREATE INDEX task_agent ON task (tenant, agent, n);
CREATE INDEX task_state ON task (tenant, state, n);
CREATE INDEX task_parent ON task (tenant, parent) WHERE parent IS NOT NULL;
CREATE INDEX task_due ON task (expires_at) WHERE state = 'active';
CREATE INDEX task_held ON task (n) WHERE held = 1 AND state = 'active';

CREATE TABLE agent (
    tenant TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    socket_uid BIGINT,
    doc TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
);

CREATE TABLE agent_key (
    tenant TEXT COLLATE "C" NOT NULL,
    agent TEXT COLLATE "C" NOT NULL,
    thumbprint TEXT COLLATE "C" NOT NULL,
    jwk TEXT NOT NULL,
    added_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, agent, thumbprint),
    FOREIGN KEY (tenant, agent) REFERENCES agent (tenant, name)
);

CREATE TABLE owner (
    tenant TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
);

CREATE TABLE resource (
    tenant TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
);

-- Where the active resources answer: at most one resource per endpoint of a tenant.
CREATE TABLE resource_endpoint (
    tenant TEXT COLLATE "C" NOT NULL,
    endpoint TEXT COLLATE "C" NOT NULL,
    resource TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (tenant, endpoint),
    FOREIGN KEY (tenant, resource) REFERENCES resource (tenant, name)
);
CREATE INDEX resource_endpoint_resource ON resource_endpoint (tenant, resource);

CREATE TABLE credential (
    tenant TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    resource TEXT COLLATE "C" NOT NULL,
    active BIGINT NOT NULL,
    doc TEXT NOT NULL,
    PRIMARY KEY (tenant, name)
);
CREATE INDEX credential_resource ON credential (tenant, resource);

-- Sealed values: opaque here.
CREATE TABLE sealed (
    tenant TEXT COLLATE "C" NOT NULL,
    credential TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL,
    blob BYTEA NOT NULL,
    PRIMARY KEY (tenant, credential, version)
);

CREATE TABLE meta (
    key TEXT COLLATE "C" PRIMARY KEY,
    value BYTEA NOT NULL
);

CREATE TABLE signing_key (
    id TEXT COLLATE "C" PRIMARY KEY,
    purpose TEXT NOT NULL,
    blob BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    retired_at BIGINT
);

CREATE TABLE join_token (
    hash TEXT COLLATE "C" PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL UNIQUE,
    tenant TEXT COLLATE "C" NOT NULL,
    agent TEXT COLLATE "C" NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);

CREATE TABLE operator_link (
    hash TEXT COLLATE "C" PRIMARY KEY,
    tenant TEXT COLLATE "C" NOT NULL,
    operator TEXT NOT NULL,
    role TEXT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT
);

CREATE TABLE operator_session (
    hash TEXT COLLATE "C" PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL UNIQUE,
    tenant TEXT COLLATE "C" NOT NULL,
    operator TEXT NOT NULL,
    role TEXT NOT NULL,
    transport TEXT NOT NULL CHECK (transport IN ('socket', 'tcp')),
    created_at BIGINT NOT NULL,
    idle_expires_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- Proofs that may be used once: only their digests, until they expire.
CREATE TABLE used_once (
    kind TEXT COLLATE "C" NOT NULL,
    hash TEXT COLLATE "C" NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (kind, hash)
);
CREATE INDEX used_once_expiry ON used_once (expires_at);

-- Policy sets by the digest of their sources, kept for ever.
CREATE TABLE policy_set (
    digest TEXT COLLATE "C" PRIMARY KEY,
    sources TEXT NOT NULL,
    added_at BIGINT NOT NULL
);

CREATE TABLE policy_head (
    tenant TEXT COLLATE "C" PRIMARY KEY,
    digest TEXT COLLATE "C" NOT NULL REFERENCES policy_set (digest),
    since BIGINT NOT NULL
);

-- Facts that decisions were made from, by digest.
CREATE TABLE facts (
    tenant TEXT COLLATE "C" NOT NULL,
    digest BYTEA NOT NULL,
    text TEXT NOT NULL,
    PRIMARY KEY (tenant, digest)
);

CREATE TABLE usage (
    tenant TEXT COLLATE "C" NOT NULL,
    task TEXT COLLATE "C" NOT NULL,
    place BIGINT NOT NULL,
    calls BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (tenant, task, place)
) WITH (fillfactor = 70);

-- How sensitive the resources are that a task may have had an answer from: at most four rows for each task.
CREATE TABLE seen (
    tenant TEXT COLLATE "C" NOT NULL,
    task TEXT COLLATE "C" NOT NULL,
    sensitivity TEXT NOT NULL,
    PRIMARY KEY (tenant, task, sensitivity)
);

-- Who works on this database. A replica that was not seen for longer than its lease lets nothing out any more, and
-- has cut what it had let out. Times are those of the database.
CREATE TABLE replica (
    id TEXT COLLATE "C" PRIMARY KEY,
    since TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    seen TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    -- Up to which cut it has carried them out.
    cuts BIGINT NOT NULL
);

-- Actions that were let out and have no outcome yet: what their second entry needs, and which replica let them out.
CREATE TABLE open_action (
    tenant TEXT COLLATE "C" NOT NULL,
    decision TEXT COLLATE "C" NOT NULL,
    task TEXT COLLATE "C" NOT NULL,
    agent TEXT COLLATE "C" NOT NULL,
    resource TEXT COLLATE "C",
    credential TEXT COLLATE "C",
    at BIGINT NOT NULL,
    -- Only a replica that the others know of lets anything out, and it is known for as long as this is open.
    replica TEXT COLLATE "C" NOT NULL DEFAULT current_setting('accredit.replica') REFERENCES replica (id),
    PRIMARY KEY (tenant, decision)
);
CREATE INDEX open_action_replica ON open_action (replica);

CREATE TABLE request (
    n BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant TEXT COLLATE "C" NOT NULL,
    id TEXT COLLATE "C" NOT NULL,
    task TEXT COLLATE "C" NOT NULL,
    digest TEXT COLLATE "C" NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'expired', 'withdrawn')),
    expires_at BIGINT NOT NULL,
    doc TEXT NOT NULL,
    UNIQUE (tenant, id)
);
-- Identical questions are one question.
CREATE UNIQUE INDEX request_same ON request (tenant, task, digest) WHERE state = 'pending';
CREATE INDEX request_due ON request (expires_at) WHERE state = 'pending';

-- The ledger. Entries arrive with the transaction of the change that they describe, in any number of transactions at
-- once. `tx` is that transaction: what is older than every transaction that is still running cannot be joined by
-- anything any more, and gets its place from the leader, in the order of (era, tx, n). A database that was restored
-- counts transactions anew, in a new era.
CREATE TABLE arrival (
    era BIGINT NOT NULL DEFAULT CAST(current_setting('accredit.era') AS BIGINT),
    tx XID8 NOT NULL DEFAULT pg_current_xact_id(),
    n BIGINT GENERATED ALWAYS AS IDENTITY,
    tenant TEXT COLLATE "C" NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (era, tx, n)
);
ALTER TABLE arrival ALTER COLUMN body SET STORAGE EXTERNAL;

-- Places. `seq` counts from 0 without gaps; the columns repeat fields of the body for searching.
CREATE TABLE leaf (
    seq BIGINT PRIMARY KEY,
    era BIGINT NOT NULL,
    tx XID8 NOT NULL,
    n BIGINT NOT NULL,
    tenant TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    at BIGINT NOT NULL,
    task TEXT COLLATE "C",
    agent TEXT COLLATE "C",
    resource TEXT COLLATE "C",
    credential TEXT COLLATE "C",
    decision TEXT COLLATE "C",
    request TEXT COLLATE "C",
    workflow TEXT COLLATE "C",
    outcome TEXT COLLATE "C"
);
CREATE INDEX leaf_tenant ON leaf (tenant, seq);
CREATE INDEX leaf_credential ON leaf (tenant, credential, seq) WHERE credential IS NOT NULL;
CREATE INDEX leaf_task ON leaf (tenant, task, seq) WHERE task IS NOT NULL;
CREATE INDEX leaf_agent ON leaf (tenant, agent, seq) WHERE agent IS NOT NULL;
CREATE INDEX leaf_decision ON leaf (tenant, decision, seq) WHERE decision IS NOT NULL;
CREATE INDEX leaf_workflow ON leaf (tenant, workflow, seq) WHERE workflow IS NOT NULL;

-- What readers of the ledger see: entries that have their place.
CREATE VIEW entry WITH (security_invoker = true) AS
SELECT leaf.seq, leaf.tenant, leaf.kind, leaf.at, leaf.task, leaf.agent, leaf.resource, leaf.credential,
    leaf.decision, leaf.request, leaf.workflow, leaf.outcome, arrival.body
FROM leaf JOIN arrival ON arrival.era = leaf.era AND arrival.tx = leaf.tx AND arrival.n = leaf.n;

-- Hash tiles at their widest; narrower ones are their beginning.
CREATE TABLE tile (
    level BIGINT NOT NULL,
    position BIGINT NOT NULL,
    hashes BYTEA NOT NULL,
    PRIMARY KEY (level, position)
);

-- The integrated part of the ledger, and up to where arrivals have their place: one row.
CREATE TABLE tree (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    size BIGINT NOT NULL,
    root BYTEA NOT NULL,
    epoch BIGINT NOT NULL,
    -- No checkpoint of this size or a smaller one is signed: another history may have had one.
    floor BIGINT NOT NULL,
    -- The era that arrivals belong to now.
    era BIGINT NOT NULL DEFAULT 0,
    last_era BIGINT NOT NULL DEFAULT 0,
    last_tx XID8 NOT NULL DEFAULT '0',
    last_n BIGINT NOT NULL DEFAULT 0
);

-- The root of a tree without entries is the digest of nothing.
INSERT INTO tree (id, size, root, epoch, floor)
VALUES (1, 0, decode('e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855', 'hex'), 0, 0);

CREATE TABLE checkpoint (
    size BIGINT PRIMARY KEY,
    epoch BIGINT NOT NULL,
    root BYTEA NOT NULL,
    note TEXT NOT NULL,
    at BIGINT NOT NULL
);

-- What witnesses have signed of a checkpoint, beside it.
CREATE TABLE cosignature (
    witness TEXT COLLATE "C" NOT NULL,
    size BIGINT NOT NULL REFERENCES checkpoint (size),
    line TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (witness, size)
);
CREATE INDEX cosignature_size ON cosignature (size);

-- What is to be cut on every replica, in the order in which it was decided.
CREATE TABLE cut (
    n BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant TEXT COLLATE "C" NOT NULL,
    what TEXT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    -- Who gave the order, and carries it out by itself.
    replica TEXT COLLATE "C" NOT NULL DEFAULT current_setting('accredit.replica'),
    at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp()
);

-- Who integrates and signs: one replica, for as long as its token is the newest.
CREATE TABLE leader (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    holder TEXT COLLATE "C" NOT NULL,
    token BIGINT NOT NULL,
    until TIMESTAMPTZ NOT NULL
);
INSERT INTO leader (id, holder, token, until) VALUES (1, '', 0, '-infinity');

-- Which runners hold their tasks, and until when they are taken to be there.
CREATE TABLE hold (
    tenant TEXT COLLATE "C" NOT NULL,
    task TEXT COLLATE "C" NOT NULL,
    until TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (tenant, task)
);

-- Row-level security, on every table.
DO $$
DECLARE
    name TEXT;
    scope TEXT;
BEGIN
    FOR name, scope IN
        SELECT c.relname, CASE
            -- One row per tenant: its name is the tenant.
            WHEN c.relname = 'tenant' THEN 'in_scope(name)'
            -- Everybody may add to the installation's own entries, whoever reads needs its scope.
            WHEN c.relname IN ('arrival', 'leaf') THEN 'in_scope(tenant) OR tenant = ''-'''
            WHEN EXISTS (
                SELECT 1 FROM pg_attribute a
                WHERE a.attrelid = c.oid AND a.attname = 'tenant' AND NOT a.attisdropped
            ) THEN 'in_scope(tenant)'
            -- What belongs to the installation and to no tenant.
            WHEN c.relname IN (
                'meta', 'signing_key', 'used_once', 'policy_set', 'tile', 'tree', 'checkpoint', 'cosignature', 'replica',
                'leader',
                'migration'
            ) THEN 'true'
            END
        FROM pg_class c JOIN pg_namespace s ON s.oid = c.relnamespace
        WHERE s.nspname = current_schema() AND c.relkind = 'r'
    LOOP
        IF scope IS NULL THEN
            RAISE EXCEPTION 'table % has no tenant and is not known to belong to the installation', name;
        END IF;
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY in_scope ON %I USING (%s)', name, scope);
    END LOOP;
END $$;
