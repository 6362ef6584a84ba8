-- What the migration works with. It is of no use to anybody else, and nobody else may use it.
CREATE SCHEMA IF NOT EXISTS ringfence_adopt;
REVOKE ALL ON SCHEMA ringfence_adopt FROM PUBLIC;

CREATE TABLE IF NOT EXISTS ringfence_adopt.problem (told text NOT NULL, counted bigint NOT NULL, query text NOT NULL);
CREATE TABLE IF NOT EXISTS ringfence_adopt.checked (at timestamptz NOT NULL);
-- Tables, columns and schemas as they were before they were protected.
CREATE TABLE IF NOT EXISTS ringfence_adopt.table_before (
    relation oid PRIMARY KEY, enabled boolean NOT NULL, forced boolean NOT NULL, rights aclitem[], defaulted boolean NOT NULL);
CREATE TABLE IF NOT EXISTS ringfence_adopt.column_before (
    relation oid, num smallint, rights aclitem[], statistics integer NOT NULL, PRIMARY KEY (relation, num));
-- What was sampled of what indexes and extended statistics are made of: the statements that say so again.
CREATE TABLE IF NOT EXISTS ringfence_adopt.sampled_before (relation oid, sql text, PRIMARY KEY (relation, sql));
CREATE TABLE IF NOT EXISTS ringfence_adopt.schema_before (schema oid PRIMARY KEY, used boolean NOT NULL);

-- Runs a statement that asks for a lock which others may hold. It waits for half of the time after which Postgres looks for a
-- deadlock, so that nobody who waits behind it is ever taken for the cause of one, lets them go first, and tries again. It looks
-- itself before that, where it may say so: then an autovacuum that is in the way gives way.
CREATE OR REPLACE PROCEDURE ringfence_adopt.patiently(unless text, sql text) LANGUAGE plpgsql AS $body$
DECLARE
    done     boolean;
    patience integer := (SELECT greatest(reset_val::integer / 2, 50) FROM pg_settings WHERE name = 'deadlock_timeout');
    may_look boolean := has_parameter_privilege('deadlock_timeout', 'SET');
BEGIN
    FOR attempt IN 1..600 LOOP
        EXECUTE 'SELECT ' || unless INTO done;
        IF done THEN
            RETURN;
        END IF;
        BEGIN
            PERFORM set_config('lock_timeout', patience::text, true);
            IF may_look THEN
                PERFORM set_config('deadlock_timeout', (patience / 2)::text, true);
            END IF;
            EXECUTE sql;
            done := true;
        EXCEPTION WHEN lock_not_available OR deadlock_detected THEN
            done := false;
        END;
        COMMIT;
        IF done THEN
            RETURN;
        END IF;
        IF attempt % 20 = 0 THEN
            RAISE INFO 'waiting, for the %th time, for who holds a lock: %', attempt, left(sql, 200);
        END IF;
        PERFORM pg_sleep(least(0.05 * attempt, 2));
    END LOOP;
    RAISE EXCEPTION 'somebody holds a lock for long: %', left(sql, 200) USING ERRCODE = 'lock_not_available',
        HINT = 'Look for long transactions in pg_stat_activity, then run this file again.';
END
$body$;

-- Gives each row that has no tenant the one that "tenant", an expression over t, says. A few thousand rows are one transaction;
-- rows that somebody else has locked are left for later, so nobody waits for it for long and it waits for nobody.
CREATE OR REPLACE PROCEDURE ringfence_adopt.fill(relation regclass, tenant text, tenant_column name) LANGUAGE plpgsql AS $body$
DECLARE
    quiet   boolean := (SELECT has_parameter_privilege('session_replication_role', 'SET'));
    size    bigint  := current_setting('block_size')::bigint;
    step    bigint  := (SELECT greatest(1, 5000 / CASE WHEN reltuples > 0 AND relpages > 0 THEN greatest(5, reltuples / relpages) ELSE 50 END)::bigint
                          FROM pg_class WHERE oid = relation);
    blocks  bigint;
    place   bigint;
    filled  bigint;
    total   bigint := 0;
    missing bigint;
BEGIN
    FOR pass IN 1..100 LOOP
        blocks := pg_relation_size(relation) / size;
        place := 0;
        WHILE place < blocks LOOP
            -- The application's own triggers have nothing to do with it: nothing else of a row changes.
            IF quiet THEN
                PERFORM set_config('session_replication_role', 'replica', true);
            END IF;
            EXECUTE format('WITH batch AS MATERIALIZED (SELECT t.ctid AS place, %2$s AS tenant FROM %1$s AS t
                    WHERE t.ctid >= $1 AND t.ctid < $2 AND t.%3$I IS NULL FOR NO KEY UPDATE OF t SKIP LOCKED)
                UPDATE %1$s AS t SET %3$I = batch.tenant FROM batch WHERE t.ctid = batch.place AND batch.tenant IS NOT NULL',
                relation, tenant, tenant_column) USING format('(%s,0)', place)::tid, format('(%s,0)', place + step)::tid;
            GET DIAGNOSTICS filled = ROW_COUNT;
            COMMIT;
            total := total + filled;
            place := place + step;
            IF filled > 0 AND place / step % 50 = 0 THEN
                RAISE INFO '%: % rows, block % of %', relation, total, place, blocks;
            END IF;
        END LOOP;
        EXECUTE format('SELECT count(*) FROM %s AS t WHERE t.%I IS NULL AND %s IS NOT NULL', relation, tenant_column, tenant) INTO missing;
        COMMIT;
        EXIT WHEN missing = 0;
        RAISE INFO '%: % rows are locked by others', relation, missing;
        PERFORM pg_sleep(least(0.1 * pass, 2));
    END LOOP;
    IF missing > 0 THEN
        RAISE EXCEPTION '%: % rows stay locked by others', relation, missing USING ERRCODE = 'lock_not_available',
            HINT = 'Look for long transactions in pg_stat_activity, then run this file again.';
    END IF;
    RAISE INFO '%: % rows are given their tenant', relation, total;
END
$body$;

-- Notes a problem where the query finds a row.
CREATE OR REPLACE PROCEDURE ringfence_adopt.look(told text, query text) LANGUAGE plpgsql AS $body$
DECLARE
    counted bigint;
BEGIN
    EXECUTE format('SELECT count(*) FROM (%s) x', query) INTO counted;
    IF counted > 0 THEN
        INSERT INTO ringfence_adopt.problem VALUES (told, counted, query);
        RAISE WARNING '% rows: %', counted, told USING HINT = 'See them: ' || query;
    END IF;
END
$body$;

CREATE OR REPLACE PROCEDURE ringfence_adopt.conclude() LANGUAGE plpgsql AS $body$
DECLARE
    problems text := (SELECT string_agg(format('%s rows: %s. See them: %s', p.counted, p.told, p.query), E'\n') FROM ringfence_adopt.problem p);
BEGIN
    IF problems IS NOT NULL THEN
        RAISE EXCEPTION E'the rows do not agree; nothing has been changed by this check\n%', problems USING ERRCODE = 'integrity_constraint_violation',
            HINT = 'Decide about these rows, then run this file again.';
    END IF;
    INSERT INTO ringfence_adopt.checked VALUES (now());
    RAISE INFO 'every row has a tenant, and all ways to it agree';
END
$body$;

CREATE OR REPLACE PROCEDURE ringfence_adopt.demand_checked() LANGUAGE plpgsql AS $body$
BEGIN
    IF NOT EXISTS (SELECT FROM ringfence_adopt.checked) THEN
        RAISE EXCEPTION 'the rows have not passed the check' USING ERRCODE = 'object_not_in_prerequisite_state',
            HINT = 'Run 3-check.sql first.';
    END IF;
END
$body$;

-- What a stage before should have made.
CREATE OR REPLACE PROCEDURE ringfence_adopt.demand(met boolean, told text) LANGUAGE plpgsql AS $body$
BEGIN
    IF met IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'object_not_in_prerequisite_state', MESSAGE = told;
    END IF;
END
$body$;

-- Whether an index is there and was built to its end.
CREATE OR REPLACE FUNCTION ringfence_adopt.built(index text) RETURNS boolean LANGUAGE sql AS $body$
    SELECT EXISTS (SELECT FROM pg_index i WHERE i.indexrelid = to_regclass(index) AND i.indisvalid)
$body$;

-- Whether an index begins with the tenant.
CREATE OR REPLACE FUNCTION ringfence_adopt.key_carries(index text, tenant_column name) RETURNS boolean LANGUAGE sql AS $body$
    SELECT coalesce((SELECT a.attname = tenant_column FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        WHERE i.indexrelid = to_regclass(index)), false)
$body$;

-- Whether a foreign key of that name pairs the tenants of both tables.
CREATE OR REPLACE FUNCTION ringfence_adopt.link_carries(relation regclass, name text, tenant_column name) RETURNS boolean LANGUAGE sql AS $body$
    SELECT EXISTS (SELECT FROM pg_constraint f CROSS JOIN LATERAL unnest(f.conkey, f.confkey) k (here, there)
        JOIN pg_attribute h ON h.attrelid = f.conrelid AND h.attnum = k.here AND h.attname = tenant_column
        JOIN pg_attribute t ON t.attrelid = f.confrelid AND t.attnum = k.there AND t.attname = tenant_column
        WHERE f.conrelid = relation AND f.conname = name AND f.contype = 'f')
$body$;

-- Whether there is a constraint of that name; whether all rows are known to keep it.
CREATE OR REPLACE FUNCTION ringfence_adopt.constrained(relation regclass, name text, valid boolean) RETURNS boolean LANGUAGE sql AS $body$
    SELECT EXISTS (SELECT FROM pg_constraint f WHERE f.conrelid = relation AND f.conname = name AND (f.convalidated OR NOT valid))
$body$;

CREATE OR REPLACE FUNCTION ringfence_adopt.column_is(relation regclass, not_null boolean, tenant_column name) RETURNS boolean LANGUAGE sql AS $body$
    SELECT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = relation AND a.attname = tenant_column AND NOT a.attisdropped
        AND (a.attnotnull OR NOT not_null))
$body$;

CREATE OR REPLACE FUNCTION ringfence_adopt.protected(relation regclass) RETURNS boolean LANGUAGE plpgsql AS $body$
BEGIN
    -- Until the last stage, Ringfence need not be there.
    IF to_regclass('ringfence.protected') IS NULL THEN
        RETURN false;
    END IF;
    RETURN EXISTS (SELECT FROM ringfence.protected p WHERE p.relation = protected.relation);
END
$body$;

-- Remembers how a table is, then puts it under row security.
CREATE OR REPLACE FUNCTION ringfence_adopt.protect(relation regclass, set_default boolean, tenant_column name) RETURNS void LANGUAGE plpgsql AS $body$
BEGIN
    INSERT INTO ringfence_adopt.table_before
        SELECT c.oid, c.relrowsecurity, c.relforcerowsecurity, c.relacl, set_default FROM pg_class c WHERE c.oid = relation
    ON CONFLICT DO NOTHING;
    INSERT INTO ringfence_adopt.column_before
        SELECT a.attrelid, a.attnum, a.attacl, coalesce(a.attstattarget, -1) FROM pg_attribute a
         WHERE a.attrelid = protect.relation AND a.attnum > 0 AND NOT a.attisdropped
    ON CONFLICT DO NOTHING;
    INSERT INTO ringfence_adopt.sampled_before SELECT s.relation, s.sql FROM (
        SELECT i.indrelid AS relation, format('ALTER INDEX %s ALTER COLUMN %s SET STATISTICS %s', i.indexrelid::regclass, a.attnum, coalesce(a.attstattarget, -1)) AS sql
          FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indexrelid AND a.attnum <= i.indnkeyatts AND i.indkey[a.attnum - 1] = 0
         WHERE i.indrelid = protect.relation
        UNION ALL
        SELECT x.stxrelid, format('ALTER STATISTICS %I.%I SET STATISTICS %s', n.nspname, x.stxname, coalesce(x.stxstattarget, -1))
          FROM pg_statistic_ext x JOIN pg_namespace n ON n.oid = x.stxnamespace WHERE x.stxrelid = protect.relation) s
     WHERE NOT EXISTS (SELECT FROM ringfence_adopt.sampled_before b WHERE b.relation = protect.relation);
    INSERT INTO ringfence_adopt.schema_before
        SELECT n.oid, EXISTS (SELECT FROM aclexplode(n.nspacl) e WHERE e.privilege_type = 'USAGE'
                AND e.grantee = (SELECT i.app_role::text::regrole::oid FROM ringfence.installed i))
          FROM pg_namespace n WHERE n.oid = (SELECT c.relnamespace FROM pg_class c WHERE c.oid = relation)
    ON CONFLICT DO NOTHING;
    -- What is left of indexes without the tenant was said when this was planned.
    PERFORM ringfence.protect(relation, set_default, tenant_column => protect.tenant_column, keep_indexes => true);
END
$body$;

-- Makes a table what it was before.
CREATE OR REPLACE FUNCTION ringfence_adopt.unprotect(relation regclass, tenant_column name) RETURNS void LANGUAGE plpgsql AS $body$
DECLARE
    before ringfence_adopt.table_before := (SELECT b FROM ringfence_adopt.table_before b WHERE b.relation = unprotect.relation);
    own    regnamespace := (SELECT c.relnamespace FROM pg_class c WHERE c.oid = unprotect.relation);
    app    text := (SELECT quote_ident(i.app_role) FROM ringfence.installed i);
    one    record;
BEGIN
    EXECUTE format('DROP POLICY IF EXISTS ringfence_tenant ON %s', relation);
    EXECUTE format('DROP POLICY IF EXISTS ringfence_rows ON %s', relation);
    EXECUTE format('ALTER TABLE %s %s ROW LEVEL SECURITY', relation, CASE WHEN before.forced THEN 'FORCE' ELSE 'NO FORCE' END);
    EXECUTE format('ALTER TABLE %s %s ROW LEVEL SECURITY', relation, CASE WHEN before.enabled THEN 'ENABLE' ELSE 'DISABLE' END);
    IF before.defaulted THEN
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I DROP DEFAULT', relation, tenant_column);
    END IF;
    FOR one IN SELECT a.attname, b.statistics FROM ringfence_adopt.column_before b
            JOIN pg_attribute a ON a.attrelid = b.relation AND a.attnum = b.num AND NOT a.attisdropped
            WHERE b.relation = unprotect.relation LOOP
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS %s', relation, one.attname, one.statistics);
    END LOOP;
    FOR one IN SELECT b.sql FROM ringfence_adopt.sampled_before b WHERE b.relation = unprotect.relation LOOP
        EXECUTE one.sql;
    END LOOP;
    PERFORM ringfence_adopt.rights_restore(relation, before.rights, app);
    DELETE FROM ringfence.protected p WHERE p.relation = unprotect.relation;
    DELETE FROM ringfence_adopt.table_before b WHERE b.relation = unprotect.relation;
    DELETE FROM ringfence_adopt.column_before b WHERE b.relation = unprotect.relation;
    DELETE FROM ringfence_adopt.sampled_before b WHERE b.relation = unprotect.relation;
    IF NOT EXISTS (SELECT FROM ringfence_adopt.table_before b JOIN pg_class c ON c.oid = b.relation WHERE c.relnamespace = own)
        AND EXISTS (SELECT FROM ringfence_adopt.schema_before s WHERE s.schema = own AND NOT s.used) THEN
        EXECUTE format('REVOKE USAGE ON SCHEMA %s FROM %s', own, app);
    END IF;
    DELETE FROM ringfence_adopt.schema_before s WHERE s.schema = own
        AND NOT EXISTS (SELECT FROM ringfence_adopt.table_before b JOIN pg_class c ON c.oid = b.relation WHERE c.relnamespace = own);
END
$body$;

-- Grants what was granted, in the order it was, as far as the table's owner did.
CREATE OR REPLACE FUNCTION ringfence_adopt.rights_restore(relation regclass, was aclitem[], app text) RETURNS void LANGUAGE plpgsql AS $body$
DECLARE
    owner oid := (SELECT c.relowner FROM pg_class c WHERE c.oid = relation);
    now   aclitem[] := (SELECT c.relacl FROM pg_class c WHERE c.oid = relation);
    -- Where others granted further, only what protect() took away comes back: their grants stay.
    plain boolean := NOT EXISTS (SELECT FROM aclexplode(was || now) e WHERE e.grantor <> owner OR e.is_grantable AND e.grantee <> owner);
    one   record;
BEGIN
    IF now IS NOT DISTINCT FROM was AND NOT EXISTS (SELECT FROM ringfence_adopt.column_before b JOIN pg_attribute a
            ON a.attrelid = b.relation AND a.attnum = b.num WHERE b.relation = rights_restore.relation AND a.attacl IS DISTINCT FROM b.rights) THEN
        RETURN;
    END IF;
    FOR one IN SELECT DISTINCT CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE e.grantee::regrole::text END AS grantee FROM aclexplode(now) e
            WHERE e.grantee <> owner AND (plain OR e.grantee = 0 OR e.grantee = app::regrole) LOOP
        EXECUTE format('REVOKE ALL ON %s FROM %s', relation, one.grantee);
    END LOOP;
    FOR one IN
        SELECT min(e.at) AS at, NULL::smallint AS num, CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE e.grantee::regrole::text END AS grantee,
               string_agg(e.privilege_type, ', ' ORDER BY e.at) AS rights, e.is_grantable
          FROM aclexplode(was) WITH ORDINALITY e (grantor, grantee, privilege_type, is_grantable, at)
         WHERE e.grantor = owner AND e.grantee <> owner AND (plain OR e.grantee = 0 OR e.grantee = app::regrole)
         GROUP BY e.grantee, e.is_grantable
        UNION ALL
        SELECT min(e.at), b.num, CASE e.grantee WHEN 0 THEN 'PUBLIC' ELSE e.grantee::regrole::text END,
               string_agg(format('%s (%I)', e.privilege_type, a.attname), ', ' ORDER BY e.at), e.is_grantable
          FROM ringfence_adopt.column_before b
          JOIN pg_attribute a ON a.attrelid = b.relation AND a.attnum = b.num AND NOT a.attisdropped
         CROSS JOIN LATERAL aclexplode(b.rights) WITH ORDINALITY e (grantor, grantee, privilege_type, is_grantable, at)
         WHERE b.relation = rights_restore.relation AND e.grantor = owner AND e.grantee <> owner
           AND (plain OR e.grantee = 0 OR e.grantee = app::regrole)
         GROUP BY b.num, a.attname, e.grantee, e.is_grantable
         ORDER BY 2 NULLS FIRST, 1
    LOOP
        EXECUTE format('GRANT %s ON %s TO %s%s', one.rights, relation, one.grantee, CASE WHEN one.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END);
    END LOOP;
END
$body$;
