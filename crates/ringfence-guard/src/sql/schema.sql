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
    tenant_id text PRIMARY KEY CHECK (tenant_id ~ '^[a-z][a-z0-9-]{1,39}$'),
    inner_pad bytea NOT NULL CHECK (length(inner_pad) = 64),
    outer_pad bytea NOT NULL CHECK (length(outer_pad) = 64)
);

-- Login roles that are a tenant's own, some with a schema. While one is `serving`, no session of another role is given to its
-- tenant, and never is one of its own given to anybody else, see context_set().
CREATE TABLE IF NOT EXISTS ringfence.tenant_place (
    login     name PRIMARY KEY CHECK (login <> '{app}'),
    tenant_id text NOT NULL CHECK (tenant_id ~ '^[a-z][a-z0-9-]{1,39}$'),
    schema    name UNIQUE,
    serving   boolean NOT NULL DEFAULT false
);
CREATE UNIQUE INDEX IF NOT EXISTS tenant_place_serving ON ringfence.tenant_place (tenant_id) WHERE serving;

-- The guard's key.
CREATE TABLE IF NOT EXISTS ringfence.plane_key (
    name      text PRIMARY KEY,
    inner_pad bytea NOT NULL CHECK (length(inner_pad) = 64),
    outer_pad bytea NOT NULL CHECK (length(outer_pad) = 64)
);

-- One row per server connection: who it is, and when it was last seen that row security is as installed (0: it was never given
-- to a tenant; 1: its process id had a connection before). A process id
-- that is used again registers again, under a later `started`. Unlogged: backends do not survive a crash.
CREATE UNLOGGED TABLE IF NOT EXISTS ringfence.backend (
    pid            integer PRIMARY KEY,
    started        bigint NOT NULL,
    posture_looked bigint NOT NULL DEFAULT 0
);
ALTER TABLE ringfence.backend DROP COLUMN IF EXISTS inner_pad, DROP COLUMN IF EXISTS outer_pad,
    ADD COLUMN IF NOT EXISTS posture_looked bigint NOT NULL DEFAULT 0;

-- Registers of a session: currval() is what this session's last setval() said, and setval() asks for a right that {app}
-- is not granted, only context_set() has. So this is a variable of the session that its client can read and not write.
-- `tenant_1` to `tenant_5` hold the tenant's id, eight bytes each, padded with blanks; `tenant_verified` is until when it is that,
-- since the epoch: in nanoseconds, or, where the id takes more than the first three, in microseconds, which is long ago as
-- nanoseconds; or 1: nobody's.
--
-- The sequences themselves, which all sessions share, hold 1, but for the moment between two calls in context_set(). So who asks may
-- use them (currval) and not read them (SELECT); and nextval(), which goes with that, has no next number: each number but 1 and so
-- large an increment are more than the largest. Of 1 it can make 1, and that is nobody's.
DO $body$
BEGIN
    -- Until version 7 the registers meant something else. In sessions that are open they are gone with their sequences.
    IF EXISTS (SELECT FROM pg_catalog.pg_sequence s
                WHERE s.seqrelid = to_regclass('ringfence.tenant_verified') AND s.seqincrement = 1) THEN
        DROP SEQUENCE ringfence.tenant_verified, ringfence.tenant_1, ringfence.tenant_2, ringfence.tenant_3,
            ringfence.tenant_4, ringfence.tenant_5;
    END IF;
END
$body$;
CREATE UNLOGGED SEQUENCE IF NOT EXISTS ringfence.tenant_verified INCREMENT 9223372036854775807;
CREATE UNLOGGED SEQUENCE IF NOT EXISTS ringfence.tenant_1 INCREMENT 9223372036854775807;
CREATE UNLOGGED SEQUENCE IF NOT EXISTS ringfence.tenant_2 INCREMENT 9223372036854775807;
CREATE UNLOGGED SEQUENCE IF NOT EXISTS ringfence.tenant_3 INCREMENT 9223372036854775807;
CREATE UNLOGGED SEQUENCE IF NOT EXISTS ringfence.tenant_4 INCREMENT 9223372036854775807;
CREATE UNLOGGED SEQUENCE IF NOT EXISTS ringfence.tenant_5 INCREMENT 9223372036854775807;

-- Each protected table with its restrictive policy as it was when protect() made it, the column that says whose a row is, and
-- the tenant whose schema it is in ('': in none's, for all).
CREATE TABLE IF NOT EXISTS ringfence.protected (
    relation    oid PRIMARY KEY,
    policy_xmin xid NOT NULL,
    policy_ctid tid NOT NULL,
    qual        text COLLATE "C" NOT NULL,
    with_check  text COLLATE "C" NOT NULL
);
ALTER TABLE ringfence.protected ADD COLUMN IF NOT EXISTS tenant_column name NOT NULL DEFAULT 'tenant_id',
    ADD COLUMN IF NOT EXISTS tenant_id text COLLATE "C" NOT NULL DEFAULT '';
CREATE INDEX IF NOT EXISTS protected_tenant_id ON ringfence.protected (tenant_id);

-- The migrations each schema of this database has had, with the hash of each one's text.
CREATE TABLE IF NOT EXISTS ringfence.migration (
    version bigint NOT NULL,
    name    text NOT NULL,
    digest  bytea NOT NULL CHECK (length(digest) = 32),
    applied timestamptz NOT NULL DEFAULT clock_timestamp(),
    schema  name NOT NULL DEFAULT 'public',
    CONSTRAINT migration_pkey PRIMARY KEY (schema, version)
);
DO $body$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
                    WHERE a.attrelid = 'ringfence.migration'::regclass AND a.attname = 'schema') THEN
        ALTER TABLE ringfence.migration ADD COLUMN schema name NOT NULL DEFAULT 'public',
            DROP CONSTRAINT migration_pkey, ADD CONSTRAINT migration_pkey PRIMARY KEY (schema, version);
    END IF;
END
$body$;

-- The moves that bring a tenant's rows here (tenant_move.rs). What is here of one is the source as `snapshot` saw it, and all
-- that was committed there up to `applied`: written with the rows, in one transaction, so that it is always so.
CREATE TABLE IF NOT EXISTS ringfence.tenant_move (
    name      text PRIMARY KEY,
    tenant_id text NOT NULL,
    phase     text NOT NULL CHECK (phase IN ('prepared', 'following')),
    snapshot  pg_snapshot,
    applied   pg_lsn NOT NULL DEFAULT '0/0'
);

ALTER TABLE ringfence.installed OWNER TO {owner};
ALTER TABLE ringfence.tenant_key OWNER TO {owner};
ALTER TABLE ringfence.tenant_place OWNER TO {owner};
ALTER TABLE ringfence.plane_key OWNER TO {owner};
ALTER TABLE ringfence.backend OWNER TO {owner};
ALTER TABLE ringfence.protected OWNER TO {owner};
ALTER TABLE ringfence.migration OWNER TO {owner};
ALTER TABLE ringfence.tenant_move OWNER TO {owner};
ALTER SEQUENCE ringfence.tenant_verified OWNER TO {owner};
ALTER SEQUENCE ringfence.tenant_1 OWNER TO {owner};
ALTER SEQUENCE ringfence.tenant_2 OWNER TO {owner};
ALTER SEQUENCE ringfence.tenant_3 OWNER TO {owner};
ALTER SEQUENCE ringfence.tenant_4 OWNER TO {owner};
ALTER SEQUENCE ringfence.tenant_5 OWNER TO {owner};
REVOKE ALL ON ALL TABLES IN SCHEMA ringfence FROM PUBLIC, {app};
REVOKE ALL ON ALL SEQUENCES IN SCHEMA ringfence FROM PUBLIC, {app};
-- Neither SELECT, to look at another session's in the moment in between, nor UPDATE, which is setval()'s.
GRANT USAGE ON SEQUENCE ringfence.tenant_verified, ringfence.tenant_1, ringfence.tenant_2, ringfence.tenant_3,
    ringfence.tenant_4, ringfence.tenant_5 TO {app};
