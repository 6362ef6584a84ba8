-- Credentials: logins for who connects without the guard, to a database that is one tenant's alone. Each is a role of its own
-- with a time at which it ends. Whose it is says this table, and row security asks it by session_user, which no ordinary role
-- can change (Postgres' documentation of SET SESSION AUTHORIZATION).
CREATE TABLE IF NOT EXISTS ringfence.credential (
    role      name PRIMARY KEY CHECK (role ~ '^vended_[0-9a-f]{16}$'),
    tenant_id text NOT NULL CHECK (tenant_id ~ '^[a-z][a-z0-9-]{1,39}$'),
    expires   timestamptz NOT NULL
);
ALTER TABLE ringfence.credential OWNER TO {owner};
REVOKE ALL ON ringfence.credential FROM PUBLIC, {app};

-- The tenant of a session without the guard: tenant_id_otherwise() asks it where the role's name begins with `vended`. Answers while the
-- credential lives and this database knows one tenant's key, and this one's: so a tenant that is barred is refused with its next
-- statement, and a database that tenants share answers no credential at all.
CREATE OR REPLACE FUNCTION ringfence.credential_tenant() RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    own record;
BEGIN
    SELECT c.tenant_id, c.expires > clock_timestamp()
           AND (SELECT count(*) = 1 AND min(k.tenant_id) = c.tenant_id FROM ringfence.tenant_key k) AS live
      INTO own FROM ringfence.credential c WHERE c.role = session_user;
    IF own.live THEN
        RETURN own.tenant_id;
    END IF;
    IF own.tenant_id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'RF001', MESSAGE = 'The database was asked without a verified tenant.',
            HINT = 'Exchange an access token for a credential of this database.';
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'RF002', MESSAGE = 'The credential is not valid any more.',
        HINT = 'Exchange an access token for another.';
END
$body$;

-- Makes a login, with what Postgres keeps of its password (RFC 5803). It is a member of no role: what it may do is copied, object by
-- object, from what {app} may in this database, which may connect to others too. What makes objects or reaches past row security
-- is not copied, and of this schema only what row security calls.
CREATE OR REPLACE FUNCTION ringfence.credential_make(
    login name, verifier text, tenant text, expires_micros bigint, connections integer)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET datestyle = 'ISO, YMD' SET timezone = 'UTC' AS $body$
DECLARE
    app     oid := (SELECT r.oid FROM pg_roles r JOIN ringfence.installed i ON i.app_role = r.rolname);
    expires timestamptz := timestamptz 'epoch' + expires_micros * interval '1 microsecond';
    one     record;
BEGIN
    EXECUTE format('CREATE ROLE %I LOGIN NOINHERIT NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS '
        'CONNECTION LIMIT %s PASSWORD %L VALID UNTIL %L', login, connections, verifier, expires);
    FOR one IN
        WITH own AS (SELECT n.oid, n.nspacl FROM pg_namespace n
            WHERE n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'ringfence'))
        SELECT format('%s ON SCHEMA %s', a.privilege_type, o.oid::regnamespace) AS may
          FROM own o, aclexplode(o.nspacl) a WHERE a.grantee = app AND a.privilege_type = 'USAGE'
        UNION SELECT format('%s ON %s %s', a.privilege_type, CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, c.oid::regclass)
          FROM own o JOIN pg_class c ON c.relnamespace = o.oid, aclexplode(c.relacl) a
         WHERE a.grantee = app AND a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE', 'USAGE')
        UNION SELECT format('%s (%I) ON TABLE %s', a.privilege_type, t.attname, c.oid::regclass)
          FROM own o JOIN pg_class c ON c.relnamespace = o.oid JOIN pg_attribute t ON t.attrelid = c.oid, aclexplode(t.attacl) a
         WHERE a.grantee = app AND a.privilege_type IN ('SELECT', 'INSERT', 'UPDATE') AND NOT t.attisdropped
        UNION SELECT format('EXECUTE ON ROUTINE %s', p.oid::regprocedure)
          FROM own o JOIN pg_proc p ON p.pronamespace = o.oid, aclexplode(p.proacl) a WHERE a.grantee = app
    LOOP
        EXECUTE format('GRANT %s TO %I', one.may, login);
    END LOOP;
    EXECUTE format('GRANT USAGE ON SCHEMA ringfence TO %I', login);
    EXECUTE format('GRANT EXECUTE ON FUNCTION ringfence.tenant_id(), ringfence.tenant_id_otherwise(), '
        'ringfence.credential_tenant() TO %I', login);
    EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), login);
    INSERT INTO ringfence.credential (role, tenant_id, expires) VALUES (login, tenant, expires);
END
$body$;

-- Closes a tenant's logins, or with '' those whose time is over: none of them logs in any more, and none reads. Answers which
-- there are, so that their sessions can be ended.
CREATE OR REPLACE FUNCTION ringfence.credential_close(tenant text, moment_micros bigint) RETURNS SETOF oid
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s' AS $body$
DECLARE
    moment timestamptz := timestamptz 'epoch' + moment_micros * interval '1 microsecond';
    one    record;
BEGIN
    LOCK TABLE ringfence.credential IN SHARE ROW EXCLUSIVE MODE;
    FOR one IN
        UPDATE ringfence.credential c SET expires = '-infinity'
         WHERE c.tenant_id = tenant OR tenant = '' AND c.expires <= moment RETURNING c.role
    LOOP
        IF EXISTS (SELECT FROM pg_roles r WHERE r.rolname = one.role) THEN
            EXECUTE format('ALTER ROLE %I NOLOGIN', one.role);
            RETURN QUERY SELECT r.oid FROM pg_roles r WHERE r.rolname = one.role;
        END IF;
    END LOOP;
END
$body$;

-- Removes the logins that are closed, with whatever was granted to them and whatever they made. A session of such a role that is
-- open still has no right left.
CREATE OR REPLACE FUNCTION ringfence.credential_drop() RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '3s' AS $body$
DECLARE
    one   record;
    count bigint := 0;
BEGIN
    LOCK TABLE ringfence.credential IN SHARE ROW EXCLUSIVE MODE;
    FOR one IN DELETE FROM ringfence.credential c WHERE c.expires = '-infinity' RETURNING c.role LOOP
        IF EXISTS (SELECT FROM pg_roles r WHERE r.rolname = one.role) THEN
            EXECUTE format('DROP OWNED BY %I', one.role);
            EXECUTE format('DROP ROLE %I', one.role);
        END IF;
        count := count + 1;
    END LOOP;
    RETURN count;
END
$body$;

ALTER FUNCTION ringfence.credential_tenant() OWNER TO {owner};
ALTER FUNCTION ringfence.credential_make(name, text, text, bigint, integer) OWNER TO {owner};
ALTER FUNCTION ringfence.credential_close(text, bigint) OWNER TO {owner};
ALTER FUNCTION ringfence.credential_drop() OWNER TO {owner};
REVOKE ALL ON FUNCTION ringfence.credential_tenant(), ringfence.credential_make(name, text, text, bigint, integer),
    ringfence.credential_close(text, bigint), ringfence.credential_drop() FROM PUBLIC;
