-- $1: the column that says whose a row is.
SELECT c.oid::regclass::text, quote_ident(n.nspname), c.relname::text,
       CASE WHEN c.relkind = 'p' THEN 'it is partitioned: its indexes and foreign keys can''t be changed without holding up who writes'
            WHEN EXISTS (SELECT FROM pg_inherits h WHERE c.oid IN (h.inhparent, h.inhrelid)) THEN 'it inherits, and an index is of one table only'
            WHEN a.attgenerated <> '' THEN format('its %I is generated, and can''t be filled: name another column for the tenant (--column)', a.attname)
            WHEN a.atttypid <> 'text'::regtype THEN format('it has a %1$I of type %2$s, and row security asks for one of type text: name another '
                'for it (--column), or rename that one, with the application (ALTER TABLE %3$s RENAME COLUMN %1$I TO ...), then ask again',
                a.attname, format_type(a.atttypid, a.atttypmod), c.oid::regclass) END,
       a.attnum IS NOT NULL, coalesce(a.attnotnull, false), coalesce(a.atthasdef, false)
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = $1::text AND NOT a.attisdropped
 WHERE c.relkind IN ('r', 'p')
