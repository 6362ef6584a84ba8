-- The tables of schema $1 that are called $2, or else those of it that are protected; each with what says whose a row is.
SELECT c.oid, c.relname::text, c.oid::regclass::text, coalesce(p.tenant_column::text, ''),
       c.relkind <> 'r' OR c.relispartition OR EXISTS (SELECT FROM pg_inherits i WHERE c.oid IN (i.inhrelid, i.inhparent)),
       c.relpersistence = 'u', c.relreplident = 'f',
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary)
  FROM pg_class c LEFT JOIN ringfence.protected p ON p.relation = c.oid
 WHERE c.relnamespace = (SELECT n.oid FROM pg_namespace n WHERE n.nspname = $1) AND c.relkind IN ('r', 'p')
   AND CASE WHEN $2::text[] IS NULL THEN p.relation IS NOT NULL ELSE c.relname::text = ANY ($2) END
 ORDER BY c.relname::text COLLATE "C"
