-- The database context. Made by context_set() from what only the guard can mint, kept in the session's registers
-- (schema.sql), which its client can read and not write, and read by tenant_id() once in each query that sees rows.
--
-- It is the connection's and not the transaction's: the guard sets it when a connection changes hands, renews it each
-- second while it is used, and whoever gets the connection next finds none, because DISCARD SEQUENCES is part of cleaning it.
--
-- SQLSTATEs, class RF: RF001 no context, RF002 refused or expired, RF003 another tenant has the connection, RF004 row
-- security is not as installed, RF005 a token was given where it is not taken. Where the registers were never written or were discarded, currval() raises 55000.

-- What is stored for the role of this session, in all databases (`here` false) or in this one. Without what each transaction sets
-- anew, so that it is without effect when it is stored; since Postgres 16 nobody but a superuser can take that out again.
CREATE OR REPLACE VIEW ringfence.stored AS
    SELECT d.setdatabase OPERATOR(pg_catalog.<>) 0 AS here, pg_catalog.split_part(c.setting, '=', 1) AS name
      FROM pg_catalog.pg_db_role_setting d JOIN pg_catalog.pg_roles r ON r.oid = d.setrole, unnest(d.setconfig) AS c (setting)
     WHERE r.rolname = session_user
       AND d.setdatabase IN (0, (SELECT b.oid FROM pg_catalog.pg_database b WHERE b.datname = pg_catalog.current_database()))
       AND pg_catalog.split_part(c.setting, '=', 1) NOT IN
           ('transaction_isolation', 'transaction_read_only', 'transaction_deferrable');
ALTER VIEW ringfence.stored OWNER TO {owner};
REVOKE ALL ON ringfence.stored FROM PUBLIC;
GRANT SELECT ON ringfence.stored TO {app};

-- Takes it out, with the rights of that role. Each by itself: what can't be taken out keeps the others in with RESET ALL.
CREATE OR REPLACE FUNCTION ringfence.stored_forget() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    one record;
BEGIN
    FOR one IN SELECT s.here, s.name FROM ringfence.stored s LOOP
        EXECUTE format('ALTER ROLE SESSION_USER %s RESET %I',
            CASE WHEN one.here THEN format('IN DATABASE %I', current_database()) END, one.name);
    END LOOP;
END
$body$;

-- Names the backend to whoever asks on it; asked once per connection, by the guard. Refused where a setting was stored
-- for the role (ALTER ROLE ... SET, which any role may do to itself): a connection reads those once, when it logs in, and
-- would carry one tenant's settings into another's session. So this is the moment to look, and not each transaction: that
-- would let one tenant shut out all others. Refused too where row security does not bind the role.
--
-- `context_set` is that function, which the guard calls as such, without a statement. `keeps`: whether a function of this database may leave something behind in the session where no client's text says so.
-- `outlasts`: whether it may be where cleaning does not reach (variables of other languages than PL/pgSQL, connections of dblink's).
-- `locks`: whether it may hold locks by number (doors.sql).
DROP FUNCTION IF EXISTS ringfence.backend_register();
CREATE FUNCTION ringfence.backend_register(
    OUT pid integer, OUT started bigint, OUT keeps boolean, OUT outlasts boolean, OUT locks boolean, OUT context_set oid)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    stored boolean;
BEGIN
    SELECT EXISTS (SELECT FROM pg_settings s WHERE s.source IN ('user', 'database user'))
        OR EXISTS (SELECT FROM ringfence.stored)
        OR EXISTS (SELECT FROM pg_roles r WHERE r.rolname = session_user AND (r.rolsuper OR r.rolbypassrls))
      INTO stored;
    IF stored THEN
        RAISE EXCEPTION USING ERRCODE = 'RF004', MESSAGE = 'The application''s role carries settings or powers.',
            HINT = 'Run ALTER ROLE ... RESET ALL for it, also IN DATABASE; it must not bypass row security.';
    END IF;
    INSERT INTO ringfence.backend AS b (pid, started)
        VALUES (pg_backend_pid(), (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
    ON CONFLICT ON CONSTRAINT backend_pkey DO UPDATE SET
        -- never the same name twice for one process id, whatever the system's clock does; nor as if it had never had a tenant
        started = greatest(excluded.started, b.started + 1), posture_looked = 1
    RETURNING b.pid, b.started INTO pid, started;
    PERFORM setval('ringfence.tenant_verified', 1), setval('ringfence.tenant_verified', 1, false);
    context_set := 'ringfence.context_set(text, text, bigint, bigint, bytea)'::regprocedure;
    SELECT coalesce(bool_or(p.prosrc ~* 'set_config|setseed|advisory|temp|prepare|declare|u&'), false),
           coalesce(bool_or(l.lanname NOT IN ('internal', 'c', 'sql', 'plpgsql') OR p.prosrc ~ '^dblink_connect'), false)
      INTO keeps, outlasts
      FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
     WHERE p.pronamespace NOT IN (SELECT n.oid FROM pg_namespace n
            WHERE n.nspname IN ('pg_catalog', 'information_schema', 'ringfence'));
    locks := has_function_privilege(session_user, 'pg_advisory_lock(bigint)', 'EXECUTE');
END
$body$;

-- Protected tables that are not as protect() left them. A dropped table has no rows to leak. Other permissive policies
-- can't widen what a restrictive one narrows, so only this one is looked at. Scalar subqueries, so that Postgres looks
-- each table up by its oid: as a join it reads all of pg_class, in every transaction. A policy is the recorded one if it
-- is the very same version of the very same row (any change writes another), or else if it reads the same.
CREATE OR REPLACE VIEW ringfence.unsound AS
    SELECT p.relation::regclass AS relation, p.tenant_id
      FROM ringfence.protected p
     WHERE (SELECT NOT (c.relrowsecurity AND c.relforcerowsecurity AND coalesce((
                SELECT CASE WHEN q.xmin = p.policy_xmin AND q.ctid = p.policy_ctid THEN true
                            ELSE NOT q.polpermissive AND q.polcmd = '*' AND q.polroles = '{0}'
                             AND q.polqual::text = p.qual AND q.polwithcheck::text = p.with_check END
                  FROM pg_catalog.pg_policy q
                 WHERE q.polrelid = p.relation AND q.polname = 'ringfence_tenant'), false))
              FROM pg_catalog.pg_class c WHERE c.oid = p.relation);
ALTER VIEW ringfence.unsound OWNER TO {owner};
REVOKE ALL ON ringfence.unsound FROM PUBLIC, {app};

-- Gives the session to a tenant. Renews its own; the session of another tenant must be cleaned first.
CREATE OR REPLACE FUNCTION ringfence.context_set(tenant text, token text, token_exp bigint, valid_until bigint, tag bytea)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    k       record;
    padded  bytea  := convert_to(rpad(coalesce(tenant, ''), 40), 'UTF8');
    long    boolean := length(tenant) > 24;
    anew    boolean := true;
    look    boolean;
    moment  bigint := round(date_part('epoch', clock_timestamp()) * 1000000);
    seal    bytea;
    wanted  bytea;
BEGIN
    BEGIN
        anew := currval('ringfence.tenant_verified') = 1;
        IF NOT anew AND padded <> int8send(currval('ringfence.tenant_1'))
            || int8send(currval('ringfence.tenant_2')) || int8send(currval('ringfence.tenant_3'))
            || (CASE WHEN currval('ringfence.tenant_verified') < 100000000000000000 THEN int8send(currval('ringfence.tenant_4'))
                || int8send(currval('ringfence.tenant_5')) ELSE convert_to(rpad('', 16), 'UTF8') END)
        THEN
            RAISE EXCEPTION USING ERRCODE = 'RF003', MESSAGE = 'This session already has a tenant.',
                HINT = 'A session has one tenant: open another.';
        END IF;
    EXCEPTION WHEN object_not_in_prerequisite_state THEN
        NULL; -- nobody's: new, or cleaned
    END;
    -- Nobody's until all of it is verified. setval() is not undone by an error. And from here on it shows among the tenant's
    -- sessions: whoever takes the key away and looks for them then finds those that had read it before. It stays so (below) only
    -- where the tenant is: else this goes with the transaction, and who guesses tenants would fill the memory for locks.
    PERFORM setval('ringfence.tenant_verified', 1), setval('ringfence.tenant_verified', 1, false),
        pg_advisory_xact_lock_shared(hashtextextended(coalesce(tenant, ''), 0));
    -- One query: the backend's name, the guard's key, the tenant's (or, so that an unknown tenant takes the same path and
    -- time, the guard's again), and whether this is the role it logs in as.
    SELECT b.pid, b.started, b.posture_looked, g.inner_pad AS guard_inner, g.outer_pad AS guard_outer,
           coalesce(t.inner_pad, g.outer_pad) AS tenant_inner, coalesce(t.outer_pad, g.inner_pad) AS tenant_outer,
           t.tenant_id IS NOT NULL AND session_user = coalesce(p.login, '{app}') AS known
      INTO k
      FROM ringfence.backend b
      JOIN ringfence.plane_key g ON g.name = 'guard'
      LEFT JOIN ringfence.tenant_key t ON t.tenant_id = context_set.tenant
      LEFT JOIN ringfence.tenant_place p ON p.tenant_id = context_set.tenant AND p.serving
     WHERE b.pid = pg_backend_pid();
    -- The posture of what it may reach, unless it was looked at half a second ago.
    look := k.posture_looked + 500000 < moment;
    IF look AND EXISTS (SELECT FROM ringfence.unsound u WHERE u.tenant_id IN ('', context_set.tenant)) THEN
        RAISE EXCEPTION USING ERRCODE = 'RF004', MESSAGE = 'The database''s row security is not as installed.',
            HINT = 'Ask the operator to run `ringfence data protect`.';
    END IF;
    seal := sha256(k.tenant_outer || sha256(k.tenant_inner || convert_to(
        'ringfence-seal-v1|' || tenant || '|' || token || '|' || token_exp, 'UTF8')));
    wanted := sha256(k.guard_outer || sha256(k.guard_inner || seal || convert_to(
        '|ringfence-context-v1|' || tenant || '|' || k.pid || '|' || k.started || '|' || valid_until, 'UTF8')));
    -- Both sides are hashed before they are compared: how far a guess was right, if it can be timed, tells nothing.
    IF sha256(wanted) = sha256(tag) AND k.known AND valid_until > moment AND valid_until <= moment + {context_ahead} * 1000000::bigint
        AND valid_until <= token_exp * 1000000
    THEN
        -- Said twice: so that this session remembers it, then so that the sequence, which all sessions share, does not.
        PERFORM setval('ringfence.tenant_1', ('x' || encode(substr(padded, 1, 8), 'hex'))::bit(64)::bigint),
            setval('ringfence.tenant_1', 1, false),
            setval('ringfence.tenant_2', ('x' || encode(substr(padded, 9, 8), 'hex'))::bit(64)::bigint),
            setval('ringfence.tenant_2', 1, false),
            setval('ringfence.tenant_3', ('x' || encode(substr(padded, 17, 8), 'hex'))::bit(64)::bigint),
            setval('ringfence.tenant_3', 1, false);
        IF long THEN
            PERFORM setval('ringfence.tenant_4', ('x' || encode(substr(padded, 25, 8), 'hex'))::bit(64)::bigint),
                setval('ringfence.tenant_4', 1, false),
                setval('ringfence.tenant_5', ('x' || encode(substr(padded, 33, 8), 'hex'))::bit(64)::bigint),
                setval('ringfence.tenant_5', 1, false);
        END IF;
        -- The lock of the tenant before goes here and not with cleaning: so no session is without one but by what its client did, and
        -- is taken for anybody's (bar.rs). Where clients may hold locks of their own (doors.sql), cleaning lets go of all.
        IF anew AND NOT has_function_privilege(session_user, 'pg_advisory_lock(bigint)', 'EXECUTE') THEN
            PERFORM pg_advisory_unlock_all();
        END IF;
        PERFORM pg_advisory_lock_shared(hashtextextended(tenant, 0)),
            setval('ringfence.tenant_verified', CASE WHEN long THEN valid_until ELSE valid_until * 1000 END),
            setval('ringfence.tenant_verified', 1, false);
        IF k.posture_looked <= 1 THEN
            -- The first on this connection. Here and not in backend_register(), which a client can call and keep what it locks.
            DELETE FROM ringfence.backend b WHERE b.pid IN (SELECT d.pid FROM ringfence.backend d
                WHERE NOT EXISTS (SELECT FROM pg_stat_get_activity(NULL) a WHERE a.pid = d.pid) FOR UPDATE SKIP LOCKED);
        END IF;
        IF look THEN
            UPDATE ringfence.backend b SET posture_looked = moment WHERE b.pid = k.pid;
        END IF;
    ELSE
        RAISE EXCEPTION USING ERRCODE = 'RF002', MESSAGE = 'The database did not accept the tenant context.',
            HINT = 'Connect again with a fresh database token.';
    END IF;
END
$body$;

-- What tenant_id() does not say itself: an id that is longer than three registers; who the session of a credential is, which has no
-- registers (credential.sql); or why there is no tenant. Apart from it, because each function in an expression is looked up in
-- each transaction, by those who never call it too.
CREATE OR REPLACE FUNCTION ringfence.tenant_id_otherwise() RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $body$
BEGIN
    IF session_user OPERATOR(pg_catalog.~~) 'vended%'::pg_catalog.text THEN
        RETURN ringfence.credential_tenant();
    END IF;
    -- As microseconds; nanoseconds that are over are not.
    IF pg_catalog.currval('ringfence.tenant_verified'::pg_catalog.regclass) OPERATOR(pg_catalog.<) 100000000000000000
        AND pg_catalog.currval('ringfence.tenant_verified'::pg_catalog.regclass)
            OPERATOR(pg_catalog.>) (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000000)
    THEN
        RETURN pg_catalog.rtrim(pg_catalog.convert_from(
            pg_catalog.int8send(pg_catalog.currval('ringfence.tenant_1'::pg_catalog.regclass))
                OPERATOR(pg_catalog.||) pg_catalog.int8send(pg_catalog.currval('ringfence.tenant_2'::pg_catalog.regclass))
                OPERATOR(pg_catalog.||) pg_catalog.int8send(pg_catalog.currval('ringfence.tenant_3'::pg_catalog.regclass))
                OPERATOR(pg_catalog.||) pg_catalog.int8send(pg_catalog.currval('ringfence.tenant_4'::pg_catalog.regclass))
                OPERATOR(pg_catalog.||) pg_catalog.int8send(pg_catalog.currval('ringfence.tenant_5'::pg_catalog.regclass)), 'UTF8'));
    END IF;
    IF pg_catalog.currval('ringfence.tenant_verified'::pg_catalog.regclass) OPERATOR(pg_catalog.=) 1 THEN
        RAISE EXCEPTION USING ERRCODE = 'RF001', MESSAGE = 'The database was asked without a verified tenant.',
            HINT = 'Connect through the guard with a database token.';
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'RF002', MESSAGE = 'The tenant context has expired.',
        HINT = 'A transaction''s statements begin within {context_life} seconds. End it, and begin another.';
END
$body$;

-- The tenant of this session. Never NULL, never empty: no context is an error, so that no comparison with it can come
-- out true by accident. One expression, because each costs as much as what it computes, and a short one, because all of its
-- functions are looked up in each transaction; every name with its schema, because it runs with the client's rights and search
-- path: as SECURITY DEFINER with a path of its own it took three times as long, and there is nothing here that the client may not
-- do. Restricted to the leader of a parallel query: the registers are this process's. A name that begins with `vended` is a
-- credential's and nobody else's (roles.sql): such a session has no registers. What nextval() makes of a register is no text in any
-- encoding, and so an error: see schema.sql.
CREATE OR REPLACE FUNCTION ringfence.tenant_id() RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED AS $body$
BEGIN
    RETURN CASE WHEN CASE WHEN session_user OPERATOR(pg_catalog.~~) 'vended%'::pg_catalog.text THEN false
            ELSE pg_catalog.currval('ringfence.tenant_verified'::pg_catalog.regclass)
                OPERATOR(pg_catalog.>) (pg_catalog.date_part('epoch', pg_catalog.clock_timestamp()) OPERATOR(pg_catalog.*) 1000000000) END
        THEN pg_catalog.rtrim(pg_catalog.convert_from(
            pg_catalog.int8send(pg_catalog.currval('ringfence.tenant_1'::pg_catalog.regclass))
                OPERATOR(pg_catalog.||) pg_catalog.int8send(pg_catalog.currval('ringfence.tenant_2'::pg_catalog.regclass))
                OPERATOR(pg_catalog.||) pg_catalog.int8send(pg_catalog.currval('ringfence.tenant_3'::pg_catalog.regclass)), 'UTF8'))
        ELSE ringfence.tenant_id_otherwise() END;
END
$body$;
DROP FUNCTION IF EXISTS ringfence.context_missing();

-- What the guard answers itself where it is asked as it should be (docs/reference/guard.md), and nobody else does. It reads this
-- error in passing and serves the session as nobody from there on: who asked for another tenant must not go on as the one before.
CREATE OR REPLACE FUNCTION ringfence.token_use(tenant text, token text, reference text DEFAULT NULL) RETURNS text
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $body$
BEGIN
    RAISE EXCEPTION USING ERRCODE = 'RF005', MESSAGE = 'The guard answers ringfence.token_use, and was not asked.',
        HINT = 'Through the guard, bind tenant and token as parameters of exactly SELECT ringfence.token_use($1, $2), between transactions.';
END
$body$;

ALTER FUNCTION ringfence.token_use(text, text, text) OWNER TO {owner};
ALTER FUNCTION ringfence.stored_forget() OWNER TO {owner};
ALTER FUNCTION ringfence.backend_register() OWNER TO {owner};
ALTER FUNCTION ringfence.context_set(text, text, bigint, bigint, bytea) OWNER TO {owner};
ALTER FUNCTION ringfence.tenant_id_otherwise() OWNER TO {owner};
ALTER FUNCTION ringfence.tenant_id() OWNER TO {owner};
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ringfence FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ringfence.stored_forget(), ringfence.backend_register(), ringfence.tenant_id(), ringfence.tenant_id_otherwise(),
    ringfence.token_use(text, text, text), ringfence.context_set(text, text, bigint, bigint, bytea) TO {app};
