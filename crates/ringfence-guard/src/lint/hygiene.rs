//! What costs time or leads to mistakes, and lets no rows out by itself.

use super::{Level, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "DL601",
        name: "tenant-column-without-index",
        level: Level::Warning,
        why: "each query of each tenant reads every tenant's rows to leave them out, and its time tells how many they are",
        query: " SELECT t.name, format('no index begins with %I', t.attname),
                format('CREATE INDEX CONCURRENTLY ON %s (%I);', t.name, t.attname)
           FROM tenant t WHERE NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = t.oid AND i.indisvalid
            AND i.indkey[0] = t.attnum AND i.indpred IS NULL)
            AND NOT EXISTS (SELECT FROM pg_partitioned_table p WHERE p.partrelid = t.oid AND p.partattrs[0] = t.attnum)
            AND NOT EXISTS (SELECT FROM pg_inherits h JOIN pg_partitioned_table p ON p.partrelid = h.inhparent AND p.partstrat = 'l'
                WHERE h.inhrelid = t.oid) ORDER BY 1",
    },
    Rule {
        id: "DL602",
        name: "policy-asked-for-each-row",
        level: Level::Note,
        why: "a function within (SELECT ...) is called once for a query, and else once for each row",
        query: ", alone AS (
                SELECT p.called, p.oid, regexp_replace(coalesce(p.qual, '') || ' ' || coalesce(p.with_check, ''),
                    '\\( SELECT [^()]*(\\([^()]*\\)[^()]*)*\\)', '', 'g') AS text FROM policy p)
         SELECT a.called, format('it calls %s for each row', string_agg(DISTINCT c.name, ', ')),
                format('-- Write (SELECT %s) in policy %s', min(c.name), a.called)
           FROM alone a JOIN (SELECT c.policy, c.proname::text AS name FROM called c
                UNION ALL SELECT p.oid, 'current_setting' FROM policy p) c
             ON c.policy = a.oid AND a.text ~ ('\\m' || c.name || '\\(')
          GROUP BY a.called ORDER BY 1",
    },
    Rule {
        id: "DL603",
        name: "policy-with-a-volatile-function",
        level: Level::Warning,
        why: "a volatile function is called for every row of every tenant, before any index, and may do anything each time",
        query: " SELECT c.called, format('it calls %s', c.name), format('ALTER FUNCTION %s STABLE;', c.name)
           FROM called c WHERE c.provolatile = 'v' ORDER BY 1",
    },
    Rule {
        id: "DL604",
        name: "tenant-column-within-a-function",
        level: Level::Note,
        why: "an index on the column does not help a condition on what is made of it",
        query: " SELECT p.called, format('it compares what is made of %I', p.attname), format('-- Compare %I itself', p.attname)
           FROM policy p WHERE coalesce(p.qual, '') || ' ' || coalesce(p.with_check, '') ~
                ('\\m\\w+\\(\\(?' || p.attname || '\\)?(::\\w+)?\\)|\\(' || p.attname || '\\)::') ORDER BY 1",
    },
    Rule {
        id: "DL605",
        name: "several-permissive-policies",
        level: Level::Note,
        why: "each is worked out for each row, and what one lets through the others can't keep",
        query: " SELECT p.name, format('%s permissive policies for %s', count(*), CASE c.cmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' ELSE 'DELETE' END),
                '-- Join them into one: ' || string_agg(quote_ident(p.polname), ', ' ORDER BY p.polname)
           FROM policy p JOIN (VALUES ('r'), ('a'), ('w'), ('d')) c (cmd) ON p.polcmd::text IN (c.cmd, '*')
          WHERE p.polpermissive GROUP BY p.name, p.polroles, c.cmd HAVING count(*) > 1 ORDER BY 1, 2",
    },
    Rule {
        id: "DL606",
        name: "index-of-no-use-under-policies",
        level: Level::Note,
        why: "operators that are not leakproof are worked out after the policies: without the tenant column in front, their index is not used",
        query: " SELECT i.indexrelid::regclass::text, format('on %s, by operators that are not leakproof', t.name),
                format('-- Put %I in front (btree_gin and btree_gist give it an operator class)', t.attname)
           FROM tenant t JOIN pg_index i ON i.indrelid = t.oid AND i.indisvalid
          WHERE t.relrowsecurity AND i.indkey[0] <> t.attnum
            AND EXISTS (SELECT FROM unnest(i.indclass::oid[]) k JOIN pg_opclass c ON c.oid = k
                JOIN pg_amop o ON o.amopfamily = c.opcfamily AND o.amoplefttype = c.opcintype
                JOIN pg_operator x ON x.oid = o.amopopr JOIN pg_proc f ON f.oid = x.oprcode
                GROUP BY k HAVING NOT bool_or(f.proleakproof)) ORDER BY 1",
    },
    Rule {
        id: "DL607",
        name: "foreign-key-without-index",
        level: Level::Note,
        why: "each row that goes reads the whole table that points at it",
        query: " SELECT format('%I ON %s', f.conname, r.name), 'no index begins with its columns',
                format('CREATE INDEX CONCURRENTLY ON %s (%s);', r.name, (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY k.at)
                    FROM unnest(f.conkey) WITH ORDINALITY k (num, at) JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.num))
           FROM pg_constraint f JOIN relation r ON r.oid = f.conrelid
          WHERE f.contype = 'f' AND f.conparentid = 0 AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = f.conrelid AND i.indisvalid AND i.indpred IS NULL
            AND (i.indkey::smallint[])[0:cardinality(f.conkey) - 1] @> f.conkey) ORDER BY 1",
    },
    Rule {
        id: "DL608",
        name: "no-primary-key",
        level: Level::Note,
        why: "without one no row can be named, moved to another shape or replicated",
        query: " SELECT r.name, 'it has no primary key', format('-- ALTER TABLE %s ADD PRIMARY KEY (...)', r.name)
           FROM relation r WHERE r.relkind IN ('r', 'p') AND NOT r.relispartition
            AND NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = r.oid AND i.indisprimary) ORDER BY 1",
    },
    Rule {
        id: "DL609",
        name: "same-index-twice",
        level: Level::Note,
        why: "each write pays for both",
        query: " SELECT i.indexrelid::regclass::text, format('it is %s again', j.indexrelid::regclass), format('DROP INDEX CONCURRENTLY %s;', i.indexrelid::regclass)
           FROM relation r JOIN pg_index i ON i.indrelid = r.oid JOIN pg_index j ON j.indrelid = r.oid AND j.indexrelid <> i.indexrelid
            AND (j.indexrelid < i.indexrelid OR j.indisunique AND NOT i.indisunique)
            AND (j.indkey::text, j.indclass::text, j.indcollation::text, j.indoption::text, j.indexprs::text, j.indpred::text)
                IS NOT DISTINCT FROM (i.indkey::text, i.indclass::text, i.indcollation::text, i.indoption::text, i.indexprs::text, i.indpred::text)
          WHERE NOT i.indisunique ORDER BY 1",
    },
    Rule {
        id: "DL610",
        name: "unused-index",
        level: Level::Note,
        why: "each write pays for it",
        query: " SELECT s.indexrelid::regclass::text, 'nobody has used it since statistics are kept', format('DROP INDEX CONCURRENTLY %s;', s.indexrelid::regclass)
           FROM pg_stat_all_indexes s JOIN relation r ON r.oid = s.relid JOIN pg_index i ON i.indexrelid = s.indexrelid
           JOIN pg_stat_all_tables u ON u.relid = r.oid
          WHERE s.idx_scan = 0 AND coalesce(u.seq_scan, 0) + coalesce(u.idx_scan, 0) > 1000 AND NOT i.indisunique AND NOT i.indisexclusion
            AND NOT EXISTS (SELECT FROM tenant t WHERE t.oid = r.oid AND i.indkey[0] = t.attnum) ORDER BY 1",
    },
    Rule {
        id: "DL611",
        name: "extension-in-public",
        level: Level::Note,
        why: "its functions stand among the application's own, where names are found first",
        query: " SELECT quote_ident(e.extname), 'it is in schema public', format('ALTER EXTENSION %I SET SCHEMA extensions; -- after CREATE SCHEMA extensions', e.extname)
           FROM pg_extension e WHERE e.extnamespace = to_regnamespace('public') AND e.extrelocatable ORDER BY 1",
    },
    Rule {
        id: "DL612",
        name: "extension-outdated",
        level: Level::Note,
        why: "what the installed version mends, the one in the database does not",
        query: " SELECT quote_ident(e.extname), format('%s, installed is %s', e.extversion, a.default_version), format('ALTER EXTENSION %I UPDATE;', e.extname)
           FROM pg_extension e JOIN pg_available_extensions a ON a.name = e.extname AND a.default_version <> e.extversion ORDER BY 1",
    },
    Rule {
        id: "DL613",
        name: "column-by-a-number-of-this-server",
        level: Level::Note,
        why: "regclass and its kind are numbers of this server: pg_upgrade and a move to another server refuse them",
        query: " SELECT format('%s.%I', r.name, a.attname), 'it is of type ' || a.atttypid::regtype,
                format('ALTER TABLE %s ALTER COLUMN %I TYPE text;', r.name, a.attname)
           FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attnum > 0 AND NOT a.attisdropped
            AND a.atttypid IN ('regproc'::regtype, 'regprocedure'::regtype, 'regoper'::regtype, 'regoperator'::regtype, 'regclass'::regtype,
                'regconfig'::regtype, 'regdictionary'::regtype, 'regnamespace'::regtype, 'regcollation'::regtype)
          WHERE r.relkind IN ('r', 'p') ORDER BY 1",
    },
];
