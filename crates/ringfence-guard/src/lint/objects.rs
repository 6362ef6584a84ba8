//! Views, functions, partitions and the like: ways to a table's rows that its policies do not stand in.

use super::{Level, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "DL301",
        name: "view-as-its-owner",
        level: Level::Error,
        why: "a view without security_invoker reads as its owner, whom row security may not bind",
        query: " SELECT v.name, format('as %s%s it shows %s', v.relowner::regrole,
                    CASE WHEN (SELECT o.rolsuper OR o.rolbypassrls FROM pg_roles o WHERE o.oid = v.relowner)
                    THEN ', whom no policy binds,' ELSE '' END,
                    string_agg(DISTINCT s.source::regclass::text, ', ')),
                format('ALTER VIEW %s SET (security_invoker = true);', v.name)
           FROM relation v JOIN shown s ON s.view = v.oid
          WHERE v.relkind = 'v' AND v.oid IN (SELECT r.oid FROM reach r)
            AND NOT coalesce(v.reloptions && ARRAY['security_invoker=true', 'security_invoker=on', 'security_invoker=1', 'security_invoker=yes'], false)
          GROUP BY v.name, v.relowner ORDER BY 1",
    },
    Rule {
        id: "DL302",
        name: "materialized-view-of-tenants-rows",
        level: Level::Error,
        why: "a materialized view holds what its owner saw, and takes no policy",
        query: " SELECT v.name, 'it holds rows of ' || string_agg(DISTINCT s.source::regclass::text, ', '),
                format('REVOKE ALL ON %s FROM PUBLIC%s;', v.name, (SELECT string_agg(format(', %I', a.rolname), '') FROM app a))
           FROM relation v JOIN shown s ON s.view = v.oid
          WHERE v.relkind = 'm' AND v.oid IN (SELECT r.oid FROM reach r) GROUP BY v.name ORDER BY 1",
    },
    Rule {
        id: "DL303",
        name: "foreign-table-in-reach",
        level: Level::Error,
        why: "a foreign table takes no policy: the other server answers as the user it is mapped to",
        query: " SELECT f.name, 'the application reaches it',
                format('REVOKE ALL ON %s FROM PUBLIC%s;', f.name, (SELECT string_agg(format(', %I', a.rolname), '') FROM app a))
           FROM relation f WHERE f.relkind = 'f' AND f.oid IN (SELECT r.oid FROM reach r) ORDER BY 1",
    },
    Rule {
        id: "DL304",
        name: "partition-in-reach",
        level: Level::Error,
        why: "a table's policies apply where it is named: whoever names a partition or a child is asked by that one's, and it has none",
        query: " SELECT t.name, format('it is part of %s, and can be asked past it', (SELECT string_agg(h.inhparent::regclass::text, ', ') FROM pg_inherits h WHERE h.inhrelid = t.oid)),
                format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY; ALTER TABLE %1$s FORCE ROW LEVEL SECURITY;', t.name)
           FROM tenant t WHERE t.child AND NOT t.relrowsecurity AND t.oid IN (SELECT r.oid FROM reach r) ORDER BY 1",
    },
    Rule {
        id: "DL305",
        name: "definer-function-without-search-path",
        level: Level::Error,
        why: "a function that runs as its owner finds what its caller's search path puts in front, temporary tables first",
        query: " SELECT f.name, CASE WHEN EXISTS (SELECT FROM unnest(f.proconfig) s WHERE s LIKE 'search\\_path=%')
                THEN 'its search_path lets temporary objects stand in front' ELSE 'it sets no search_path' END,
                format('ALTER %s %s SET search_path = pg_catalog, pg_temp;', CASE f.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, f.name)
           FROM callable f
          WHERE f.prosecdef AND NOT EXISTS (SELECT FROM unnest(f.proconfig) s
                WHERE s ~ '^search_path=(.*, *)?\"?pg_temp\"?$' OR s IN ('search_path=', 'search_path=\"\"')) ORDER BY 1",
    },
    Rule {
        id: "DL306",
        name: "definer-function-in-reach",
        level: Level::Warning,
        why: "it runs as its owner, whom row security may not bind, for whatever argument any tenant gives",
        query: " SELECT f.name, 'the application may call it',
                format('REVOKE EXECUTE ON %s %s FROM PUBLIC%s;', CASE f.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, f.name,
                    (SELECT string_agg(format(', %I', a.rolname), '') FROM app a))
           FROM callable f WHERE f.prosecdef ORDER BY 1",
    },
    Rule {
        id: "DL307",
        name: "leakproof-function",
        level: Level::Warning,
        why: "a leakproof function is called with rows before policies are: if it tells of them, it tells of everybody's",
        query: " SELECT f.name, 'it is said to be leakproof', format('ALTER FUNCTION %s NOT LEAKPROOF;', f.name)
           FROM callable f WHERE f.proleakproof ORDER BY 1",
    },
    Rule {
        id: "DL308",
        name: "definer-trigger",
        level: Level::Warning,
        why: "what a trigger does as its owner, no policy of the writer's tenant binds",
        query: " SELECT t.name, format('trigger %I calls %s as %s', g.tgname, f.oid::regprocedure, f.proowner::regrole),
                format('ALTER FUNCTION %s SECURITY INVOKER;', f.oid::regprocedure)
           FROM tenant t JOIN pg_trigger g ON g.tgrelid = t.oid AND NOT g.tgisinternal
           JOIN pg_proc f ON f.oid = g.tgfoid AND f.prosecdef ORDER BY 1, 2",
    },
    Rule {
        id: "DL309",
        name: "rule-on-a-tenant-table",
        level: Level::Warning,
        why: "what a rule adds to a statement is done as the table's owner",
        query: " SELECT t.name, format('rule %I', w.rulename), format('DROP RULE %I ON %s;', w.rulename, t.name)
           FROM tenant t JOIN pg_rewrite w ON w.ev_class = t.oid ORDER BY 1, 2",
    },
    Rule {
        id: "DL310",
        name: "published-without-a-filter",
        level: Level::Warning,
        why: "logical replication sends every row: policies bind no subscriber",
        query: " SELECT t.name, format('publication %I sends all its rows', p.pubname),
                CASE WHEN p.puballtables THEN format('-- Publish the tables one by one instead of FOR ALL TABLES: %I', p.pubname)
                ELSE format('ALTER PUBLICATION %I DROP TABLE %s;', p.pubname, t.name) END
           FROM tenant t JOIN pg_publication p ON p.puballtables
             OR EXISTS (SELECT FROM pg_publication_rel r WHERE r.prpubid = p.oid AND r.prrelid = t.oid AND r.prqual IS NULL)
             OR EXISTS (SELECT FROM pg_publication_namespace n JOIN pg_class c ON c.relnamespace = n.pnnspid WHERE n.pnpubid = p.oid AND c.oid = t.oid)
          ORDER BY 1, 2",
    },
    Rule {
        id: "DL311",
        name: "function-search-path-mutable",
        level: Level::Note,
        why: "a function that sets no search_path calls what its caller's search path puts in front",
        query: " SELECT f.name, 'it sets no search_path',
                format('ALTER %s %s SET search_path = pg_catalog, pg_temp; -- and name schemas in its body', CASE f.prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, f.name)
           FROM callable f WHERE NOT f.prosecdef AND f.prokind IN ('f', 'p')
            AND NOT EXISTS (SELECT FROM unnest(f.proconfig) s WHERE s LIKE 'search\\_path=%') ORDER BY 1",
    },
    Rule {
        id: "DL312",
        name: "view-without-a-barrier",
        level: Level::Note,
        why: "a condition of the asker's may be worked out before the view's own, and tell of rows the view leaves out",
        query: " SELECT v.name, 'it filters ' || string_agg(DISTINCT t.name, ', '), format('ALTER VIEW %s SET (security_barrier = true);', v.name)
           FROM relation v JOIN reading r ON r.view = v.oid JOIN tenant t ON t.oid = r.source
          WHERE v.relkind = 'v' AND v.oid IN (SELECT r.oid FROM reach r) AND pg_get_viewdef(v.oid) ~ '\\mWHERE\\M'
            AND NOT coalesce(v.reloptions && ARRAY['security_barrier=true', 'security_barrier=on', 'security_barrier=1', 'security_barrier=yes'], false)
          GROUP BY v.name ORDER BY 1",
    },
    Rule {
        id: "DL313",
        name: "trigger-that-notifies",
        level: Level::Warning,
        why: "whoever listens is told, of whichever tenant's row it is: a notification has no tenant",
        query: " SELECT r.name, format('trigger %I notifies', g.tgname), format('-- Send no values of rows, or drop it: DROP TRIGGER %I ON %s', g.tgname, r.name)
           FROM relation r JOIN pg_trigger g ON g.tgrelid = r.oid AND NOT g.tgisinternal
           JOIN pg_proc f ON f.oid = g.tgfoid AND f.prosrc ~* '\\m(pg_notify|NOTIFY)\\M' ORDER BY 1, 2",
    },
];
