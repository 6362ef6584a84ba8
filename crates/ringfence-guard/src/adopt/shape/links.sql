SELECT f.conrelid::regclass::text, f.conname::text, f.confrelid::regclass::text,
       array_agg(h.attname::text ORDER BY k.at), array_agg(t.attname::text ORDER BY k.at), bool_and(h.attnotnull),
       pg_get_constraintdef(f.oid), f.confupdtype::text, f.confdeltype::text,
       ARRAY(SELECT d.attname::text FROM unnest(f.confdelsetcols) num JOIN pg_attribute d ON d.attrelid = f.conrelid AND d.attnum = num),
       f.confmatchtype::text, f.condeferrable, f.condeferred, f.convalidated, obj_description(f.oid, 'pg_constraint')
  FROM pg_constraint f
 CROSS JOIN LATERAL unnest(f.conkey, f.confkey) WITH ORDINALITY k (here, there, at)
  JOIN pg_attribute h ON h.attrelid = f.conrelid AND h.attnum = k.here
  JOIN pg_attribute t ON t.attrelid = f.confrelid AND t.attnum = k.there
 WHERE f.contype = 'f' AND f.conparentid = 0
 GROUP BY f.oid
 ORDER BY 1, 2
