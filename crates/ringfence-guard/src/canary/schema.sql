-- What can be tried, as one JSON document. $1: the application's role; $2: the tenant columns.
WITH RECURSIVE base (oid, of, typmod) AS (
    SELECT t.oid, t.oid, -1 FROM pg_type t WHERE t.typtype <> 'd'
    UNION ALL
    SELECT d.oid, b.of, CASE WHEN d.typtypmod >= 0 THEN d.typtypmod ELSE b.typmod END
      FROM pg_type d JOIN base b ON d.typbasetype = b.oid WHERE d.typtype = 'd'),
-- No extension's, and in no schema of Postgres' or Ringfence's.
own_schema AS MATERIALIZED (
    SELECT n.oid, has_schema_privilege($1, n.oid, 'USAGE') AS reached FROM pg_namespace n
     WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'ringfence')
       AND n.nspname NOT LIKE 'pg\_temp\_%' AND n.nspname NOT LIKE 'pg\_toast\_temp\_%'),
relation AS MATERIALIZED (
    SELECT c.*, n.reached FROM pg_class c JOIN own_schema n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')),
attribute AS MATERIALIZED (
    SELECT a.* FROM pg_attribute a JOIN relation r ON r.oid = a.attrelid WHERE a.attnum > 0 AND NOT a.attisdropped),
-- A unique index with every column it looks at, also within expressions.
looked_at AS MATERIALIZED (
    SELECT i.indexrelid, i.indrelid, k.attnum FROM pg_index i, unnest(i.indkey::smallint[]) k (attnum)
     WHERE (i.indisunique OR i.indisexclusion) AND k.attnum > 0
    UNION
    SELECT i.indexrelid, i.indrelid, d.refobjsubid FROM pg_index i
      JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
       AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid AND d.refobjsubid > 0
     WHERE i.indisunique OR i.indisexclusion),
reference AS MATERIALIZED (
    SELECT f.* FROM pg_constraint f WHERE f.contype = 'f' AND NOT EXISTS (
        SELECT FROM pg_constraint o WHERE o.oid = f.conparentid AND o.conrelid = f.conrelid))
SELECT json_build_object(
'relations', (SELECT coalesce(json_agg(json_build_object(
    'oid', r.oid::bigint, 'name', r.oid::regclass::text, 'kind', r.relkind,
    'bound', pg_get_expr(r.relpartbound, r.oid), 'pages', r.relpages, 'reached', r.reached,
    'tenant', (SELECT a.attname FROM attribute a WHERE a.attrelid = r.oid AND a.attname = ANY ($2)
        ORDER BY array_position($2, a.attname::text) LIMIT 1),
    'may', (SELECT coalesce(json_agg(p), '[]') FROM unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) p
        WHERE r.reached AND CASE WHEN p IN ('INSERT', 'UPDATE') THEN has_any_column_privilege($1, r.oid, p)
            ELSE has_table_privilege($1, r.oid, p) END),
    'deletes', r.relkind = 'v' AND (pg_relation_is_updatable(r.oid, true) & 16) <> 0,
    'columns', (SELECT coalesce(json_agg(json_build_object(
        'name', a.attname, 'type', format_type(a.atttypid, a.atttypmod), 'base', t.typname, 'category', t.typcategory,
        'typmod', CASE WHEN a.atttypmod >= 0 THEN a.atttypmod ELSE b.typmod END,
        'not_null', a.attnotnull, 'defaulted', a.atthasdef OR a.attidentity <> '', 'generated', a.attgenerated <> '',
        'label', (SELECT e.enumlabel FROM pg_enum e WHERE e.enumtypid = b.of ORDER BY e.enumsortorder LIMIT 1),
        'key', EXISTS (SELECT FROM looked_at l WHERE l.indrelid = r.oid AND l.attnum = a.attnum),
        'partitions', EXISTS (SELECT FROM pg_partitioned_table p LEFT JOIN pg_inherits h ON h.inhparent = p.partrelid
            WHERE (p.partrelid = r.oid OR h.inhrelid = r.oid) AND a.attname = ANY (SELECT k.attname FROM pg_attribute k
                WHERE k.attrelid = p.partrelid AND k.attnum = ANY (p.partattrs::smallint[]))),
        'read', r.reached AND has_column_privilege($1, r.oid, a.attnum, 'SELECT'),
        'written', r.reached AND has_column_privilege($1, r.oid, a.attnum, 'UPDATE')
        ) ORDER BY a.attnum), '[]')
        FROM attribute a JOIN base b ON b.oid = a.atttypid JOIN pg_type t ON t.oid = b.of WHERE a.attrelid = r.oid),
    'uniques', (SELECT coalesce(json_agg(json_build_object('name', u.indexrelid::regclass::text, 'columns', u.columns)
        ORDER BY u.indexrelid::regclass::text), '[]') FROM (SELECT l.indexrelid, array_agg(a.attname) AS columns
            FROM looked_at l JOIN attribute a ON a.attrelid = l.indrelid AND a.attnum = l.attnum
            WHERE l.indrelid = r.oid GROUP BY 1) u),
    'references', (SELECT coalesce(json_agg(json_build_object('name', f.conname, 'to', f.confrelid::bigint,
        'columns', (SELECT json_agg(a.attname ORDER BY k.at) FROM unnest(f.conkey) WITH ORDINALITY k (attnum, at)
            JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.attnum),
        'keys', (SELECT json_agg(a.attname ORDER BY k.at) FROM unnest(f.confkey) WITH ORDINALITY k (attnum, at)
            JOIN pg_attribute a ON a.attrelid = f.confrelid AND a.attnum = k.attnum)) ORDER BY f.conname), '[]')
        FROM reference f WHERE f.conrelid = r.oid),
    'checks', (SELECT coalesce(json_agg(json_build_object('says', pg_get_constraintdef(c.oid),
        'columns', (SELECT coalesce(json_agg(a.attname), '[]') FROM attribute a
            WHERE a.attrelid = r.oid AND a.attnum = ANY (c.conkey)))), '[]')
        FROM pg_constraint c WHERE c.conrelid = r.oid AND c.contype = 'c')
    ) ORDER BY r.oid::regclass::text), '[]') FROM relation r),
'routines', (SELECT coalesce(json_agg(json_build_object(
    'name', format('%I.%I', f.pronamespace::regnamespace::name, f.proname), 'signature', f.oid::regprocedure::text,
    'procedure', f.prokind = 'p', 'volatile', f.provolatile = 'v',
    'arguments', (SELECT coalesce(json_agg(json_build_object('type', format_type(k.of, NULL), 'base', t.typname,
        'name', coalesce(f.proargnames[k.at], '')) ORDER BY k.at), '[]')
        FROM unnest(f.proargtypes::oid[]) WITH ORDINALITY k (of, at)
        JOIN base b ON b.oid = k.of JOIN pg_type t ON t.oid = b.of)
    ) ORDER BY f.oid::regprocedure::text), '[]')
    FROM pg_proc f JOIN own_schema n ON n.oid = f.pronamespace AND n.reached
    JOIN pg_type o ON o.oid = f.prorettype
   WHERE f.prokind IN ('f', 'p') AND has_function_privilege($1, f.oid, 'EXECUTE')
     AND (o.typtype <> 'p' OR o.typname IN ('void', 'record'))
     AND NOT EXISTS (SELECT FROM pg_type t WHERE t.oid = ANY (f.proargtypes) AND t.typtype = 'p' AND t.typname <> 'record')
     AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = f.oid AND d.deptype = 'e'))
)::text
