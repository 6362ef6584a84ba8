-- What Ringfence keeps inside the database it protects. No role but {owner} reads it; {app} may only call functions.
CREATE SCHEMA IF NOT EXISTS ringfence;
ALTER SCHEMA ringfence OWNER TO {owner};
REVOKE ALL ON SCHEMA ringfence FROM PUBLIC;
GRANT USAGE ON SCHEMA ringfence TO {app};

-- One row: which edition of these files is installed, and for which role.
CREATE TABLE IF NOT EXISTS ringfence.installed (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version  integer NOT NULL,
    app_role name NOT NULL
);

-- The tenants' database keys, as HMAC's padded blocks (RFC 2104): SQL knows SHA-256 and no HMAC.
CREATE TABLE IF NOT EXISTS ringfence.tenant_key (
    tenant_id text PRIMARY KEY,
    inner_pad bytea NOT NULL CHECK (length(inner_pad) = 64),
    outer_pad bytea NOT NULL CHECK (length(outer_pad) = 64)
);

-- The guard's key.
CREATE TABLE IF NOT EXISTS ringfence.plane_key (
    name      text PRIMARY KEY,
    inner_pad bytea NOT NULL CHECK (length(inner_pad) = 64),
    outer_pad bytea NOT NULL CHECK (length(outer_pad) = 64)
);

-- One row per server connection: who it is, and a key of its own that is made here and never leaves. A process id that
-- is used again registers again, under a later `started` and another key. Unlogged: backends do not survive a crash.
CREATE UNLOGGED TABLE IF NOT EXISTS ringfence.backend (
    pid       integer PRIMARY KEY,
    started   bigint NOT NULL,
    inner_pad bytea NOT NULL,
    outer_pad bytea NOT NULL
);

-- Each protected table with its restrictive policy as it was when protect() made it.
CREATE TABLE IF NOT EXISTS ringfence.protected (
    relation    oid PRIMARY KEY,
    policy_xmin xid NOT NULL,
    policy_ctid tid NOT NULL,
    qual        text COLLATE "C" NOT NULL,
    with_check  text COLLATE "C" NOT NULL
);

ALTER TABLE ringfence.installed OWNER TO {owner};
ALTER TABLE ringfence.tenant_key OWNER TO {owner};
ALTER TABLE ringfence.plane_key OWNER TO {owner};
ALTER TABLE ringfence.backend OWNER TO {owner};
ALTER TABLE ringfence.protected OWNER TO {owner};
REVOKE ALL ON ALL TABLES IN SCHEMA ringfence FROM PUBLIC, {app};
