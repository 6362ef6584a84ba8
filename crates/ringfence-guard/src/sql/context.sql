-- The database context. Made by context_set() from what only the guard can mint, kept in a transaction-local setting
-- that any client may overwrite and none can forge, verified again by tenant_id() each time a row is to be seen.
--
-- SQLSTATEs, class RF: RF001 no context, RF002 context refused, RF003 already set, RF004 row security not as installed.

-- Names the backend to whoever asks on it; asked once per connection, by the guard. Refused where a setting was stored
-- for the role (ALTER ROLE ... SET, which any role may do to itself): a connection reads those once, when it logs in, and
-- would carry one tenant's settings into another's session. So this is the moment to look, and not each transaction: that
-- would let one tenant shut out all others. Refused too where row security does not bind the role.
CREATE OR REPLACE FUNCTION ringfence.backend_register(OUT pid integer, OUT started bigint)
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    stored boolean;
BEGIN
    SELECT EXISTS (SELECT FROM pg_settings s WHERE s.source IN ('user', 'database user'))
        OR EXISTS (SELECT FROM pg_db_role_setting d JOIN pg_roles r ON r.oid = d.setrole
            WHERE r.rolname = session_user
              AND d.setdatabase IN (0, (SELECT b.oid FROM pg_database b WHERE b.datname = current_database())))
        OR EXISTS (SELECT FROM pg_roles r WHERE r.rolname = session_user AND (r.rolsuper OR r.rolbypassrls))
      INTO stored;
    IF stored THEN
        RAISE EXCEPTION USING ERRCODE = 'RF004', MESSAGE = 'The application''s role carries settings or powers.',
            HINT = 'Run ALTER ROLE ... RESET ALL for it, also IN DATABASE; it must not bypass row security.';
    END IF;
    DELETE FROM ringfence.backend b WHERE NOT EXISTS (
        SELECT FROM pg_stat_get_activity(NULL) a WHERE a.pid = b.pid);
    INSERT INTO ringfence.backend AS b (pid, started, inner_pad, outer_pad) VALUES (
        pg_backend_pid(),
        (extract(epoch FROM clock_timestamp()) * 1000000)::bigint,
        uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()),
        uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))
    ON CONFLICT ON CONSTRAINT backend_pkey DO UPDATE SET
        -- never the same name twice for one process id, whatever the system's clock does
        started = greatest(excluded.started, b.started + 1),
        inner_pad = excluded.inner_pad,
        outer_pad = excluded.outer_pad
    RETURNING b.pid, b.started INTO pid, started;
END
$body$;

-- Protected tables that are not as protect() left them. A dropped table has no rows to leak. Other permissive policies
-- can't widen what a restrictive one narrows, so only this one is looked at. Scalar subqueries, so that Postgres looks
-- each table up by its oid: as a join it reads all of pg_class, in every transaction. A policy is the recorded one if it
-- is the very same version of the very same row (any change writes another), or else if it reads the same.
CREATE OR REPLACE VIEW ringfence.unsound AS
    SELECT p.relation::regclass AS relation
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

CREATE OR REPLACE FUNCTION ringfence.context_set(tenant text, token text, token_exp bigint, valid_until bigint, tag bytea)
RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    k       record;
    seal    bytea;
    wanted  bytea;
    current text := current_setting('ringfence.context', true);
    moment  bigint := round(date_part('epoch', clock_timestamp()) * 1000000);
    began   bigint := round(date_part('epoch', transaction_timestamp()) * 1000000);
BEGIN
    -- One query: the backend's own key, the guard's, the tenant's (or, so that an unknown tenant takes the same path
    -- and time, a key nobody has), and the posture.
    SELECT b.pid, b.started, b.inner_pad, b.outer_pad, g.inner_pad AS guard_inner, g.outer_pad AS guard_outer,
           coalesce(t.inner_pad, b.outer_pad) AS tenant_inner, coalesce(t.outer_pad, b.inner_pad) AS tenant_outer,
           t.tenant_id IS NOT NULL AS known,
           NOT EXISTS (SELECT FROM ringfence.unsound) AS posture
      INTO k
      FROM ringfence.backend b
      JOIN ringfence.plane_key g ON g.name = 'guard'
      LEFT JOIN ringfence.tenant_key t ON t.tenant_id = context_set.tenant
     WHERE b.pid = pg_backend_pid();
    IF k.pid IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'RF002', MESSAGE = 'The database did not accept the tenant context.',
            HINT = 'Connect again with a fresh database token.';
    END IF;
    IF NOT k.posture THEN
        RAISE EXCEPTION USING ERRCODE = 'RF004', MESSAGE = 'The database''s row security is not as installed.',
            HINT = 'Ask the operator to run `ringfence data protect`.';
    END IF;
    -- Only a setting that verifies is a context; anything else is a client's own scribbling and is overwritten.
    IF current <> '' AND split_part(current, '|', 3) = encode(sha256(k.outer_pad || sha256(k.inner_pad || convert_to(
            split_part(current, '|', 1) || '|' || split_part(current, '|', 2) || '|' || began, 'UTF8'))), 'hex') THEN
        RAISE EXCEPTION USING ERRCODE = 'RF003', MESSAGE = 'This transaction already has a tenant.',
            HINT = 'A transaction has one tenant: end it before beginning another.';
    END IF;
    seal := sha256(k.tenant_outer || sha256(k.tenant_inner || convert_to(
        'ringfence-seal-v1|' || tenant || '|' || token || '|' || token_exp, 'UTF8')));
    wanted := sha256(k.guard_outer || sha256(k.guard_inner || seal || convert_to(
        '|ringfence-context-v1|' || tenant || '|' || k.pid || '|' || k.started || '|' || valid_until, 'UTF8')));
    -- Both sides are hashed with a key nobody has before they are compared: how far a guess was right can't be timed.
    IF sha256(k.inner_pad || wanted) = sha256(k.inner_pad || tag)
        AND k.known AND valid_until > moment AND valid_until <= moment + 60000000
        AND valid_until <= token_exp * 1000000
    THEN
        PERFORM set_config('ringfence.context', tenant || '|' || valid_until || '|' || encode(
            sha256(k.outer_pad || sha256(k.inner_pad || convert_to(tenant || '|' || valid_until || '|' || began, 'UTF8'))),
            'hex'), true);
    ELSE
        RAISE EXCEPTION USING ERRCODE = 'RF002', MESSAGE = 'The database did not accept the tenant context.',
            HINT = 'Connect again with a fresh database token.';
    END IF;
END
$body$;

-- The tenant of this transaction. Never NULL, never empty: no context is an error, so that no comparison with it can
-- come out true by accident. Restricted to the leader of a parallel query: the backend is part of what is verified.
CREATE OR REPLACE FUNCTION ringfence.tenant_id() RETURNS text
LANGUAGE plpgsql STABLE PARALLEL RESTRICTED SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    k           record;
    current     text := current_setting('ringfence.context', true);
    tenant      text;
    valid_until text;
BEGIN
    IF coalesce(current, '') = '' THEN
        RAISE EXCEPTION USING ERRCODE = 'RF001', MESSAGE = 'The database was asked without a verified tenant.',
            HINT = 'Connect through the guard with a database token.';
    END IF;
    tenant := split_part(current, '|', 1);
    valid_until := split_part(current, '|', 2);
    SELECT b.inner_pad, b.outer_pad INTO k FROM ringfence.backend b WHERE b.pid = pg_backend_pid();
    -- The whole text is compared, so that nothing may follow the tag.
    IF sha256(k.inner_pad || convert_to(current, 'UTF8')) = sha256(k.inner_pad || convert_to(
            tenant || '|' || valid_until || '|' || encode(sha256(k.outer_pad || sha256(k.inner_pad || convert_to(
                tenant || '|' || valid_until || '|' || round(date_part('epoch', transaction_timestamp()) * 1000000)::bigint,
            'UTF8'))), 'hex'), 'UTF8'))
    THEN
        -- Only now is it known to be a number: what does not verify is never read as one.
        IF valid_until::bigint > date_part('epoch', clock_timestamp()) * 1000000 THEN
            RETURN tenant;
        END IF;
    END IF;
    RAISE EXCEPTION USING ERRCODE = 'RF002', MESSAGE = 'The database did not accept the tenant context.',
        HINT = 'Connect again with a fresh database token.';
END
$body$;

ALTER FUNCTION ringfence.backend_register() OWNER TO {owner};
ALTER FUNCTION ringfence.context_set(text, text, bigint, bigint, bytea) OWNER TO {owner};
ALTER FUNCTION ringfence.tenant_id() OWNER TO {owner};
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA ringfence FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ringfence.backend_register(), ringfence.tenant_id(),
    ringfence.context_set(text, text, bigint, bigint, bytea) TO {app};
