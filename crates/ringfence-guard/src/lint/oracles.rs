//! Oracles: what answers for rows that are not shown.

use super::{Level, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "DL401",
        name: "unique-across-tenants",
        level: Level::Error,
        why: "a value that is refused as taken is another tenant's: whoever writes can ask for any",
        query: " SELECT i.indexrelid::regclass::text, format('unique on %s without %I', t.name, t.attname),
                CASE WHEN i.indisprimary OR c.oid IS NOT NULL
                THEN format('-- Make it (%I, ...): a new unique index, then ALTER TABLE %s DROP CONSTRAINT %I', t.attname, t.name, c.conname)
                ELSE regexp_replace(pg_get_indexdef(i.indexrelid), '^CREATE UNIQUE INDEX .* ON (.*) USING (\\w+) \\(', format('CREATE UNIQUE INDEX CONCURRENTLY ON \\1 USING \\2 (%I, ', t.attname))
                    || format('; DROP INDEX CONCURRENTLY %s;', i.indexrelid::regclass) END
           FROM tenant t JOIN pg_index i ON i.indrelid = t.oid AND (i.indisunique OR i.indisexclusion)
           LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.conrelid = t.oid
          WHERE NOT t.child AND t.attnum <> ALL ((i.indkey::smallint[])[0:i.indnkeyatts - 1])
            AND EXISTS (SELECT FROM unnest((i.indkey::smallint[])[0:i.indnkeyatts - 1]) k LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k
                WHERE a.atttypid IS DISTINCT FROM 'uuid'::regtype) ORDER BY 1",
    },
    Rule {
        id: "DL402",
        name: "unique-uuid-across-tenants",
        level: Level::Note,
        why: "a uuid that is refused as taken is another tenant's: nobody guesses one, but who has heard of it can ask",
        query: " SELECT i.indexrelid::regclass::text, format('unique on %s without %I', t.name, t.attname),
                format('-- Make it (%I, ...)', t.attname)
           FROM tenant t JOIN pg_index i ON i.indrelid = t.oid AND (i.indisunique OR i.indisexclusion)
          WHERE NOT t.child AND t.attnum <> ALL ((i.indkey::smallint[])[0:i.indnkeyatts - 1])
            AND NOT EXISTS (SELECT FROM unnest((i.indkey::smallint[])[0:i.indnkeyatts - 1]) k LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k
                WHERE a.atttypid IS DISTINCT FROM 'uuid'::regtype) ORDER BY 1",
    },
    Rule {
        id: "DL403",
        name: "foreign-key-across-tenants",
        level: Level::Error,
        why: "row security does not bind the check of a foreign key: it tells that another tenant has the row, and points at it",
        query: " SELECT format('%I ON %s', f.conname, f.conrelid::regclass),
                format('it references %s without %I', t.name, t.attname),
                format('-- Make it (%I, ...) REFERENCES %s (%1$I, ...)', t.attname, t.name)
           FROM pg_constraint f JOIN tenant t ON t.oid = f.confrelid
          WHERE f.contype = 'f' AND f.conparentid = 0 AND NOT EXISTS (SELECT FROM unnest(f.conkey, f.confkey) pair (here, there)
                JOIN tenant o ON o.oid = f.conrelid AND o.attnum = pair.here WHERE pair.there = t.attnum) ORDER BY 1",
    },
    Rule {
        id: "DL404",
        name: "cascade-across-tenants",
        level: Level::Error,
        why: "what a foreign key does when a row goes is done to whoever points at it, also another tenant",
        query: " SELECT format('%I ON %s', f.conname, f.conrelid::regclass),
                format('%s what references %s without %I', CASE f.confdeltype WHEN 'c' THEN 'deletes' ELSE 'changes' END, t.name, t.attname),
                format('-- Make it (%I, ...) REFERENCES %s (%1$I, ...)', t.attname, t.name)
           FROM pg_constraint f JOIN tenant t ON t.oid = f.confrelid
          WHERE f.contype = 'f' AND f.conparentid = 0 AND (f.confdeltype IN ('c', 'n', 'd') OR f.confupdtype IN ('c', 'n', 'd'))
            AND NOT EXISTS (SELECT FROM unnest(f.conkey, f.confkey) pair (here, there)
                JOIN tenant o ON o.oid = f.conrelid AND o.attnum = pair.here WHERE pair.there = t.attnum) ORDER BY 1",
    },
    Rule {
        id: "DL405",
        name: "sequence-of-all-tenants",
        level: Level::Note,
        why: "numbers that all tenants draw from tell each how many the others drew",
        query: " SELECT format('%s.%I', t.name, a.attname), format('it draws from %s', s.oid::regclass),
                format('-- Use uuids: ALTER TABLE %s ALTER COLUMN %I ...', t.name, a.attname)
           FROM tenant t
           JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid AND d.classid = 'pg_class'::regclass AND d.deptype IN ('a', 'i')
           JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
           JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.refobjsubid
          WHERE t.oid IN (SELECT r.oid FROM reach r) ORDER BY 1",
    },
    Rule {
        id: "DL406",
        name: "statistics-of-all-tenants",
        level: Level::Warning,
        why: "EXPLAIN shows estimates from samples of all tenants' values: that somebody has a value shows in the rows expected",
        query: ", part AS (
                SELECT t.name, t.oid FROM tenant t WHERE t.oid IN (SELECT r.oid FROM reach r)
                UNION SELECT t.name, p.relid FROM tenant t, pg_partition_tree(t.oid) p WHERE t.oid IN (SELECT r.oid FROM reach r)),
            sampled AS (
                SELECT p.name, format('ALTER TABLE ONLY %s ALTER COLUMN %I SET STATISTICS 0;', p.oid::regclass, a.attname) AS fix
                  FROM part p JOIN pg_attribute a ON a.attrelid = p.oid AND a.attnum > 0 AND NOT a.attisdropped
                   AND coalesce(a.attstattarget, -1) <> 0
                UNION ALL
                SELECT p.name, format('ALTER INDEX %s ALTER COLUMN %s SET STATISTICS 0;', i.indexrelid::regclass, a.attnum)
                  FROM part p JOIN pg_index i ON i.indrelid = p.oid
                  JOIN pg_attribute a ON a.attrelid = i.indexrelid AND i.indkey[a.attnum - 1] = 0 AND a.attnum <= i.indnkeyatts
                   AND coalesce(a.attstattarget, -1) <> 0
                UNION ALL
                SELECT p.name, format('ALTER STATISTICS %I.%I SET STATISTICS 0;', n.nspname, x.stxname)
                  FROM part p JOIN pg_statistic_ext x ON x.stxrelid = p.oid AND coalesce(x.stxstattarget, -1) <> 0
                  JOIN pg_namespace n ON n.oid = x.stxnamespace)
         SELECT s.name, format('%s of its columns, expressions and extended statistics are sampled', count(DISTINCT s.fix)),
                string_agg(DISTINCT s.fix, ' ')
           FROM sampled s GROUP BY s.name ORDER BY 1",
    },
    Rule {
        id: "DL407",
        name: "shared-or-forgotten",
        level: Level::Note,
        why: "a table without a tenant column that the application reaches is shared by all tenants, on purpose or by oversight",
        query: " SELECT r.name, 'it has no tenant column', '-- Add one, or REVOKE ALL ON ' || r.name
           FROM relation r WHERE r.relkind IN ('r', 'p') AND r.oid IN (SELECT x.oid FROM reach x)
            AND r.oid NOT IN (SELECT t.oid FROM tenant t) ORDER BY 1",
    },
    Rule {
        id: "DL408",
        name: "index-of-all-tenants",
        level: Level::Warning,
        why: "EXPLAIN ANALYZE says how many rows an index gave that row security took away: whether anybody has a value",
        query: " SELECT i.indexrelid::regclass::text, format('an index of %s without %I', t.name, t.attname),
                CASE WHEN m.amname = 'btree'
                THEN regexp_replace(pg_get_indexdef(i.indexrelid), '^CREATE INDEX .* ON (.*) USING (\\w+) \\(', format('CREATE INDEX CONCURRENTLY ON \\1 USING \\2 (%I, ', t.attname))
                    || format('; DROP INDEX CONCURRENTLY %s;', i.indexrelid::regclass)
                ELSE format('-- Make it a btree that begins with %I: DROP INDEX CONCURRENTLY %s', t.attname, i.indexrelid::regclass) END
           FROM tenant t JOIN pg_index i ON i.indrelid = t.oid AND i.indisvalid AND NOT i.indisunique AND NOT i.indisexclusion
           JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
          WHERE NOT t.child AND t.oid IN (SELECT r.oid FROM reach r) AND t.attnum <> ALL ((i.indkey::smallint[])[0:i.indnkeyatts - 1])
            AND EXISTS (SELECT FROM unnest(i.indclass::oid[]) k (opclass) JOIN pg_opclass c ON c.oid = k.opclass
                JOIN pg_amop o ON o.amopfamily = c.opcfamily JOIN pg_operator p ON p.oid = o.amopopr
                JOIN pg_proc f ON f.oid = p.oprcode WHERE f.proleakproof) ORDER BY 1",
    },
    Rule {
        id: "DL409",
        name: "tenants-that-are-equal",
        level: Level::Error,
        why: "by a collation that is not deterministic different ids are equal, and each sees the other's rows",
        query: " SELECT format('%s.%I', t.name, t.attname), format('its collation is %s', c.oid::regcollation),
                format('ALTER TABLE %s ALTER COLUMN %I TYPE text COLLATE \"C\";', t.name, t.attname)
           FROM tenant t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = t.attnum
           JOIN pg_collation c ON c.oid = a.attcollation AND NOT c.collisdeterministic ORDER BY 1",
    },
];
