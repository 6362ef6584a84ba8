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
        query: " SELECT t.name, format('%s of its columns are sampled', count(*)),
                string_agg(format('ALTER TABLE %s ALTER COLUMN %I SET STATISTICS 0;', t.name, a.attname), ' ' ORDER BY a.attnum)
           FROM tenant t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
            AND coalesce(a.attstattarget, -1) <> 0
          WHERE t.oid IN (SELECT r.oid FROM reach r) GROUP BY t.name ORDER BY 1",
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
];
