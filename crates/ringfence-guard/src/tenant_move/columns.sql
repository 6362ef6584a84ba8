-- The columns of the tables $1: what they hold, whether they are part of what identifies a row in the WAL (of the primary key
-- where that is the whole row), and by which operator a unique index of theirs finds them.
SELECT a.attrelid, a.attname::text, quote_ident(a.attname), a.atttypid, a.atttypmod, format_type(a.atttypid, a.atttypmod),
       a.attgenerated <> '', a.attidentity = 'a', a.attnotnull AND NOT a.atthasdef AND a.attidentity = '',
       EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
                WHERE i.indrelid = a.attrelid AND a.attnum = ANY ((i.indkey::smallint[])[0:i.indnkeyatts - 1])
                  AND CASE c.relreplident WHEN 'd' THEN i.indisprimary WHEN 'f' THEN i.indisprimary
                      WHEN 'i' THEN i.indisreplident ELSE false END),
       coalesce((SELECT format('OPERATOR(%I.%s)', n.nspname, o.oprname)
                   FROM pg_index i CROSS JOIN unnest(i.indkey, i.indclass) AS k (attnum, opclass)
                   JOIN pg_opclass s ON s.oid = k.opclass
                   JOIN pg_amop m ON m.amopfamily = s.opcfamily AND m.amopmethod = 403 AND m.amopstrategy = 3
                    AND m.amoplefttype = s.opcintype AND m.amoprighttype = s.opcintype
                   JOIN pg_operator o ON o.oid = m.amopopr JOIN pg_namespace n ON n.oid = o.oprnamespace
                  WHERE i.indrelid = a.attrelid AND i.indisunique AND k.attnum = a.attnum LIMIT 1), 'OPERATOR(pg_catalog.=)')
  FROM pg_attribute a WHERE a.attrelid = ANY ($1) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum
