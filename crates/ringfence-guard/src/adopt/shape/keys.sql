-- $1: the column that says whose a row is.
SELECT i.indrelid::regclass::text, x.relname::text, i.indisprimary, i.indpred IS NOT NULL, pg_get_indexdef(i.indexrelid),
       -- What pg_get_indexdef() writes before the first key.
       format('CREATE %sINDEX %I ON %I.%I USING %I (', CASE WHEN i.indisunique THEN 'UNIQUE ' END, x.relname, n.nspname, t.relname, m.amname),
       (SELECT array_agg(pg_get_indexdef(i.indexrelid, at, true) ORDER BY at) FROM generate_series(1, i.indnkeyatts) at),
       coalesce(a.attnum = ANY ((i.indkey::smallint[])[0:i.indnkeyatts - 1]), false), coalesce(i.indkey[0] = a.attnum, false),
       i.indisunique, f.conname IS NOT NULL, coalesce(f.condeferrable, false), coalesce(f.condeferred, false),
       i.indisclustered, i.indisreplident, obj_description(i.indexrelid, 'pg_class'), obj_description(f.oid, 'pg_constraint'),
       p.spcname::text,
       ARRAY(SELECT u.value FROM pg_attribute s
              CROSS JOIN LATERAL unnest(ARRAY[s.attnum::integer, s.attstattarget::integer]) WITH ORDINALITY u (value, at)
              WHERE s.attrelid = i.indexrelid AND coalesce(s.attstattarget, -1) >= 0 ORDER BY s.attnum, u.at),
       CASE WHEN i.indisexclusion THEN format('its exclusion constraint %I would tell of other tenants'' rows: take it away, or put %I into it', x.relname, $1::text)
            WHEN NOT i.indisvalid THEN format('its index %I is not valid: drop it, or build it again', x.relname)
            WHEN v.view IS NOT NULL THEN format('the view %s groups by its key %I: write all columns it shows into its GROUP BY', v.view, x.relname) END,
       m.amname = 'btree'
  FROM pg_index i
  JOIN pg_class x ON x.oid = i.indexrelid
  JOIN pg_am m ON m.oid = x.relam
  JOIN pg_class t ON t.oid = i.indrelid AND t.relkind = 'r'
  JOIN pg_namespace n ON n.oid = t.relnamespace
  LEFT JOIN pg_tablespace p ON p.oid = x.reltablespace
  LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attname = $1::text AND NOT a.attisdropped
  LEFT JOIN pg_constraint f ON f.conindid = i.indexrelid AND f.contype IN ('p', 'u', 'x')
  LEFT JOIN LATERAL (SELECT w.ev_class::regclass AS view FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid
     WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_constraint'::regclass AND d.refobjid = f.oid LIMIT 1) v ON true
 WHERE (i.indisunique OR i.indisexclusion OR m.amname IN ('btree', 'hash', 'brin') AND i.indisvalid)
   AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'ringfence')
 ORDER BY 1, 2
