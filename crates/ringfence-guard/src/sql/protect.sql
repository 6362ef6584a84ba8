-- Puts a table under row security, after making sure that nothing about its shape answers for other tenants' rows.
-- Run by the table's owner or a superuser. Idempotent. `tenant_column` is where each row says whose it is.
DROP FUNCTION IF EXISTS ringfence.protect(regclass, boolean, boolean);
DROP FUNCTION IF EXISTS ringfence.protect(regclass, boolean, boolean, name);
CREATE OR REPLACE FUNCTION ringfence.protect(
    relation regclass, set_default boolean DEFAULT false, keep_statistics boolean DEFAULT false,
    tenant_column name DEFAULT 'tenant_id', keep_indexes boolean DEFAULT false)
RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET client_min_messages = warning AS $body$
DECLARE
    app    name := (SELECT i.app_role FROM ringfence.installed i);
    own    record;
    tenant smallint;
    found  text;
BEGIN
    -- In a tenant's own schema it is for that tenant's role and nobody else's.
    SELECT c.relkind, c.relowner, c.relnamespace::regnamespace AS schema, coalesce(t.tenant_id, '') AS tenant_id,
           coalesce(t.login, app) AS grantee
      INTO own
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      LEFT JOIN ringfence.tenant_place t ON t.schema = n.nspname
     WHERE c.oid = relation;
    IF own.relkind NOT IN ('r', 'p') THEN
        RAISE EXCEPTION '% is not a table', relation USING ERRCODE = 'wrong_object_type';
    END IF;
    IF pg_has_role(app, own.relowner, 'MEMBER') THEN
        RAISE EXCEPTION '% belongs to the application''s role', relation USING ERRCODE = 'invalid_table_definition',
            HINT = 'An owner may switch row security off. Give the table another owner.';
    END IF;
    SELECT a.attnum INTO tenant FROM pg_attribute a
     WHERE a.attrelid = relation AND a.attname = tenant_column AND a.atttypid = 'text'::regtype AND a.attnotnull;
    IF tenant IS NULL THEN
        RAISE EXCEPTION '% has no column "% text NOT NULL"', relation, tenant_column USING ERRCODE = 'invalid_table_definition';
    END IF;
    IF EXISTS (SELECT FROM pg_attribute a JOIN pg_collation c ON c.oid = a.attcollation
                WHERE a.attrelid = relation AND a.attnum = tenant AND NOT c.collisdeterministic) THEN
        RAISE EXCEPTION '%.% has a collation by which different ids are equal', relation, tenant_column
            USING ERRCODE = 'invalid_table_definition', HINT = format('ALTER TABLE %s ALTER COLUMN %I TYPE text COLLATE "C".', relation, tenant_column);
    END IF;
    -- A duplicate key error says that a row exists, whoever's it is. Key columns only: INCLUDE does not separate; nor does an
    -- exclusion constraint that asks for anything but that the two rows are of one tenant.
    SELECT string_agg(i.indexrelid::regclass::text, ', ') INTO found FROM pg_index i
      LEFT JOIN pg_constraint x ON x.conindid = i.indexrelid AND x.contype = 'x'
     WHERE i.indrelid = relation AND (i.indisunique OR i.indisexclusion)
       AND NOT EXISTS (SELECT FROM generate_series(0, i.indnkeyatts - 1) at WHERE i.indkey[at] = tenant
            AND (x.oid IS NULL OR x.conexclop[at + 1] = 'pg_catalog.=(text, text)'::regoperator::oid));
    IF found IS NOT NULL THEN
        RAISE EXCEPTION '% has a unique index without %: %', relation, tenant_column, found
            USING ERRCODE = 'invalid_table_definition',
            HINT = format('Its duplicate key error would tell that another tenant has the key. Put %s first into it.', tenant_column);
    END IF;
    -- EXPLAIN ANALYZE says how many rows an index gave that row security took away again: with `=` on a column alone, whether
    -- anybody has the value. Only what tells nothing by itself (leakproof) is asked of an index before row security is.
    SELECT string_agg(i.indexrelid::regclass::text, ', ') INTO found FROM pg_index i
     WHERE NOT keep_indexes AND i.indrelid = relation AND i.indisvalid AND NOT i.indisunique AND NOT i.indisexclusion
       AND NOT tenant = ANY ((i.indkey::smallint[])[0:i.indnkeyatts - 1])
       AND EXISTS (SELECT FROM unnest(i.indclass::oid[]) k (opclass) JOIN pg_opclass c ON c.oid = k.opclass
            JOIN pg_amop o ON o.amopfamily = c.opcfamily JOIN pg_operator p ON p.oid = o.amopopr
            JOIN pg_proc f ON f.oid = p.oprcode WHERE f.proleakproof);
    IF found IS NOT NULL THEN
        RAISE EXCEPTION '% has an index without %: %', relation, tenant_column, found
            USING ERRCODE = 'invalid_table_definition',
            HINT = format('EXPLAIN ANALYZE would tell that another tenant has a value. Put %s first into it, or say keep_indexes => true.', tenant_column);
    END IF;
    -- Row security does not apply to the checks of foreign keys: a key that pairs the two tables' tenant columns
    -- can't point across. A table that is not protected yet is taken to call its own as this one does, until it is.
    SELECT string_agg(f.conname, ', ') INTO found FROM pg_constraint f
     WHERE f.contype = 'f'
       AND (f.confrelid = relation
            OR f.conrelid = relation AND f.confrelid IN (SELECT p.relation FROM ringfence.protected p))
       AND NOT EXISTS (
           SELECT FROM unnest(f.conkey, f.confkey) AS pair (here, there)
             JOIN pg_attribute h ON h.attrelid = f.conrelid AND h.attnum = pair.here
             JOIN pg_attribute t ON t.attrelid = f.confrelid AND t.attnum = pair.there
            WHERE h.attname = coalesce((SELECT p.tenant_column FROM ringfence.protected p
                    WHERE p.relation = f.conrelid AND f.conrelid <> protect.relation), protect.tenant_column)
              AND t.attname = coalesce((SELECT p.tenant_column FROM ringfence.protected p
                    WHERE p.relation = f.confrelid AND f.confrelid <> protect.relation), protect.tenant_column));
    IF found IS NOT NULL THEN
        RAISE EXCEPTION '% has a foreign key without %: %', relation, tenant_column, found
            USING ERRCODE = 'invalid_table_definition',
            HINT = 'It would tell that another tenant has the row. Let it pair each table''s tenant column with the other''s: '
                '(tenant_id, ...) REFERENCES ... (tenant_id, ...).';
    END IF;

    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', relation);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', relation);
    EXECUTE format('DROP POLICY IF EXISTS ringfence_rows ON %s', relation);
    EXECUTE format('DROP POLICY IF EXISTS ringfence_tenant ON %s', relation);
    EXECUTE format('CREATE POLICY ringfence_rows ON %s AS PERMISSIVE FOR ALL TO PUBLIC USING (true) WITH CHECK (true)',
        relation);
    -- (SELECT ...) makes it an init plan: verified once per query, not once per row.
    EXECUTE format('CREATE POLICY ringfence_tenant ON %1$s AS RESTRICTIVE FOR ALL TO PUBLIC '
        'USING (%2$I = (SELECT ringfence.tenant_id())) WITH CHECK (%2$I = (SELECT ringfence.tenant_id()))',
        relation, tenant_column);
    IF set_default THEN
        EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT ringfence.tenant_id()', relation, tenant_column);
    END IF;
    EXECUTE format('REVOKE ALL ON %s FROM PUBLIC, %I', relation, app);
    EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %s TO %I', relation, own.grantee);
    EXECUTE format('GRANT USAGE ON SCHEMA %s TO %I', own.schema, own.grantee);
    IF NOT keep_statistics THEN
        PERFORM ringfence.statistics_forget(relation);
    END IF;
    INSERT INTO ringfence.protected AS p (relation, policy_xmin, policy_ctid, qual, with_check, tenant_column, tenant_id)
        SELECT q.polrelid, q.xmin, q.ctid, q.polqual::text, q.polwithcheck::text, protect.tenant_column, own.tenant_id
          FROM pg_policy q WHERE q.polrelid = protect.relation AND q.polname = 'ringfence_tenant'
    ON CONFLICT ON CONSTRAINT protected_pkey DO UPDATE SET
        policy_xmin = excluded.policy_xmin, policy_ctid = excluded.policy_ctid,
        qual = excluded.qual, with_check = excluded.with_check, tenant_column = excluded.tenant_column,
        tenant_id = excluded.tenant_id;
END
$body$;

-- EXPLAIN shows the planner's estimates, and those come from samples of all tenants' values: "rows=170" for a value
-- says that somebody has it. Nothing is sampled of a protected table, unless its owner decides otherwise: neither of its partitions,
-- nor of what its indexes and extended statistics are made of. A partition that is made later is sampled until this is run again.
CREATE OR REPLACE FUNCTION ringfence.statistics_forget(relation regclass) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
    one record;
BEGIN
    FOR one IN
        WITH part (oid) AS (SELECT relation UNION SELECT t.relid FROM pg_partition_tree(relation) t)
        SELECT format('ALTER TABLE ONLY %s ALTER COLUMN %I SET STATISTICS 0', a.attrelid::regclass, a.attname) AS sql
          FROM part p JOIN pg_attribute a ON a.attrelid = p.oid AND a.attnum > 0 AND NOT a.attisdropped
        UNION ALL
        SELECT format('ALTER INDEX %s ALTER COLUMN %s SET STATISTICS 0', i.indexrelid::regclass, at + 1)
          FROM part p JOIN pg_index i ON i.indrelid = p.oid, generate_series(0, i.indnkeyatts - 1) at WHERE i.indkey[at] = 0
        UNION ALL
        SELECT format('ALTER STATISTICS %I.%I SET STATISTICS 0', n.nspname, x.stxname)
          FROM part p JOIN pg_statistic_ext x ON x.stxrelid = p.oid JOIN pg_namespace n ON n.oid = x.stxnamespace
    LOOP
        EXECUTE one.sql;
    END LOOP;
    DELETE FROM pg_statistic s WHERE s.starelid IN (SELECT relation UNION SELECT t.relid FROM pg_partition_tree(relation) t)
        OR s.starelid IN (SELECT i.indexrelid FROM pg_index i WHERE i.indrelid = relation
            OR i.indrelid IN (SELECT t.relid FROM pg_partition_tree(relation) t));
    DELETE FROM pg_statistic_ext_data d USING pg_statistic_ext x WHERE x.oid = d.stxoid
        AND (x.stxrelid = relation OR x.stxrelid IN (SELECT t.relid FROM pg_partition_tree(relation) t));
EXCEPTION WHEN insufficient_privilege THEN
    RAISE WARNING 'statistics of % stay: only a superuser may forget them', relation;
END
$body$;

-- Tables the application's role reaches that are not protected: shared by all tenants, on purpose or by oversight.
CREATE OR REPLACE VIEW ringfence.shared AS
    SELECT c.oid::regclass AS relation
      FROM pg_catalog.pg_class c, ringfence.installed i
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
       AND c.relnamespace NOT IN (SELECT n.oid FROM pg_catalog.pg_namespace n
            WHERE n.nspname IN ('pg_catalog', 'information_schema', 'pg_toast', 'ringfence'))
       AND c.oid NOT IN (SELECT p.relation FROM ringfence.protected p)
       AND pg_catalog.has_table_privilege(i.app_role, c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE');

ALTER FUNCTION ringfence.protect(regclass, boolean, boolean, name, boolean) OWNER TO {owner};
ALTER FUNCTION ringfence.statistics_forget(regclass) OWNER TO {owner};
ALTER VIEW ringfence.shared OWNER TO {owner};
REVOKE ALL ON FUNCTION ringfence.protect(regclass, boolean, boolean, name, boolean), ringfence.statistics_forget(regclass) FROM PUBLIC;
REVOKE ALL ON ringfence.shared FROM PUBLIC, {app};
