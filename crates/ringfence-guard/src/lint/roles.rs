//! Roles: what the application may do that no policy stands in the way of.

use super::{Level, Rule};

pub(super) const RULES: &[Rule] = &[
    Rule {
        id: "DL201",
        name: "role-bypasses-row-security",
        level: Level::Error,
        why: "no policy binds a superuser or a role with BYPASSRLS",
        query: " SELECT quote_ident(a.rolname), CASE WHEN a.rolsuper THEN 'it is a superuser' ELSE 'it has BYPASSRLS' END,
                format('ALTER ROLE %I %s;', a.rolname, CASE WHEN a.rolsuper THEN 'NOSUPERUSER NOBYPASSRLS' ELSE 'NOBYPASSRLS' END)
           FROM app a WHERE a.rolsuper OR a.rolbypassrls ORDER BY 1",
    },
    Rule {
        id: "DL202",
        name: "role-owns-a-tenant-table",
        level: Level::Error,
        why: "an owner may switch row security off, and is not bound by it where it is not forced",
        query: " SELECT t.name, format('%I owns it', a.rolname),
                format('ALTER TABLE %s OWNER TO CURRENT_USER; GRANT SELECT, INSERT, UPDATE, DELETE ON %1$s TO %I;', t.name, a.rolname)
           FROM tenant t JOIN app a ON a.oid = t.relowner WHERE NOT a.rolsuper ORDER BY 1",
    },
    Rule {
        id: "DL203",
        name: "role-can-become-another",
        level: Level::Error,
        why: "what a role may become, every statement of it may: one SET ROLE, and another role's powers are its own",
        query: " SELECT quote_ident(a.rolname), format('it may become %I, which %s', r.rolname, CASE
                    WHEN r.rolsuper THEN 'is a superuser' WHEN r.rolbypassrls THEN 'has BYPASSRLS'
                    WHEN r.rolname LIKE 'pg\\_%' THEN 'reaches past tables'' privileges' ELSE 'owns tenants'' tables' END),
                format('REVOKE %I FROM %I;', r.rolname, a.rolname)
           FROM app a JOIN pg_roles r ON r.oid <> a.oid AND pg_has_role(a.oid, r.oid, 'MEMBER')
          WHERE NOT a.rolsuper AND (r.rolsuper OR r.rolbypassrls OR r.oid IN (SELECT t.relowner FROM tenant t)
             OR r.rolname IN ('pg_read_all_data', 'pg_write_all_data', 'pg_read_server_files', 'pg_write_server_files',
                'pg_execute_server_program', 'pg_read_all_stats', 'pg_monitor', 'pg_signal_backend', 'pg_maintain',
                'pg_create_subscription')) ORDER BY 1, 2",
    },
    Rule {
        id: "DL204",
        name: "other-roles-bypass-row-security",
        level: Level::Note,
        why: "whoever logs in as one of them is bound by no policy: know who does",
        query: " SELECT quote_ident(r.rolname), CASE WHEN r.rolsuper THEN 'a superuser that logs in' ELSE 'it has BYPASSRLS and logs in' END,
                format('-- ALTER ROLE %I %s; if nobody needs it', r.rolname, CASE WHEN r.rolsuper THEN 'NOLOGIN' ELSE 'NOBYPASSRLS' END)
           FROM pg_roles r WHERE r.rolcanlogin AND (r.rolsuper OR r.rolbypassrls) AND r.oid NOT IN (SELECT a.oid FROM app a)
            AND r.rolname <> (SELECT o.rolname FROM pg_roles o WHERE o.oid = 10) ORDER BY 1",
    },
    Rule {
        id: "DL205",
        name: "grant-past-row-security",
        level: Level::Error,
        why: "policies do not apply to TRUNCATE, a foreign key tells whether a row is there, and a trigger runs as whoever writes",
        query: " SELECT t.name, format('%I may %s', a.rolname, string_agg(p.privilege, ', ' ORDER BY p.privilege)),
                format('REVOKE %s ON %s FROM PUBLIC, %I;', string_agg(p.privilege, ', ' ORDER BY p.privilege), t.name, a.rolname)
           FROM tenant t, app a, (VALUES ('TRUNCATE'), ('REFERENCES'), ('TRIGGER')) p (privilege)
          WHERE NOT a.rolsuper AND a.oid <> t.relowner AND has_table_privilege(a.oid, t.oid, p.privilege)
          GROUP BY t.name, a.rolname ORDER BY 1",
    },
    Rule {
        id: "DL206",
        name: "granted-to-everybody",
        level: Level::Warning,
        why: "every role of the cluster has what PUBLIC has, also the next one somebody makes",
        query: " SELECT t.name, 'PUBLIC may ' || string_agg(g.privilege_type, ', ' ORDER BY g.privilege_type),
                format('REVOKE ALL ON %s FROM PUBLIC;', t.name)
           FROM tenant t, aclexplode(t.relacl) g WHERE g.grantee = 0 GROUP BY t.name ORDER BY 1",
    },
    Rule {
        id: "DL207",
        name: "role-makes-objects",
        level: Level::Warning,
        why: "what one tenant's statement makes, every tenant's finds: a function or operator in front of the one that was meant",
        query: " SELECT format('SCHEMA %I', n.nspname), format('%I may create in it', a.rolname),
                format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC, %I;', n.nspname, a.rolname)
           FROM own_schema n, app a WHERE NOT a.rolsuper AND n.nspowner <> a.oid AND has_schema_privilege(a.oid, n.oid, 'CREATE')
         UNION ALL
         SELECT format('SCHEMA %I', n.nspname), format('%I owns it', a.rolname),
                format('ALTER SCHEMA %I OWNER TO CURRENT_USER; GRANT USAGE ON SCHEMA %1$I TO %I;', n.nspname, a.rolname)
           FROM own_schema n JOIN app a ON n.nspowner = a.oid WHERE NOT a.rolsuper
         UNION ALL
         SELECT format('DATABASE %I', current_database()), format('%I may create schemas in it', a.rolname),
                format('REVOKE CREATE ON DATABASE %I FROM PUBLIC, %I;', current_database(), a.rolname)
           FROM app a WHERE NOT a.rolsuper AND has_database_privilege(a.oid, current_database(), 'CREATE') ORDER BY 1, 2",
    },
    Rule {
        id: "DL208",
        name: "role-makes-temporary-tables",
        level: Level::Warning,
        why: "a temporary table stands in front of the real one for whoever has the connection next",
        query: " SELECT format('DATABASE %I', current_database()), format('%I may create temporary tables', a.rolname),
                format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC, %I;', current_database(), a.rolname)
           FROM app a WHERE NOT a.rolsuper AND has_database_privilege(a.oid, current_database(), 'TEMPORARY') ORDER BY 1",
    },
    Rule {
        id: "DL209",
        name: "settings-stored-for-the-role",
        level: Level::Warning,
        why: "a role may store settings for itself, and each new connection of any tenant begins with them",
        query: " SELECT quote_ident(a.rolname), 'it carries ' || string_agg(s.setting, ', ' ORDER BY s.setting),
                string_agg(DISTINCT format('ALTER ROLE %I%s RESET ALL;', a.rolname,
                    CASE WHEN d.setdatabase = 0 THEN '' ELSE format(' IN DATABASE %I', current_database()) END), ' ')
           FROM app a JOIN pg_db_role_setting d ON d.setrole = a.oid
            AND d.setdatabase IN (0, (SELECT b.oid FROM pg_database b WHERE b.datname = current_database())),
                unnest(d.setconfig) s (setting)
          GROUP BY a.rolname ORDER BY 1",
    },
    Rule {
        id: "DL210",
        name: "grants-on-tables-to-come",
        level: Level::Warning,
        why: "the next table is open to the role before anybody has put row security on it",
        query: " SELECT format('%s in %s', d.defaclrole::regrole, CASE d.defaclnamespace WHEN 0 THEN 'every schema' ELSE d.defaclnamespace::regnamespace::text END),
                format('tables to come are granted to %s', string_agg(DISTINCT CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END, ', ')),
                string_agg(DISTINCT format('ALTER DEFAULT PRIVILEGES FOR ROLE %s%s REVOKE ALL ON TABLES FROM %s;', d.defaclrole::regrole,
                    CASE d.defaclnamespace WHEN 0 THEN '' ELSE format(' IN SCHEMA %s', d.defaclnamespace::regnamespace) END,
                    CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END), ' ')
           FROM pg_default_acl d, aclexplode(d.defaclacl) g
          WHERE d.defaclobjtype = 'r' AND (g.grantee = 0 OR g.grantee IN (SELECT a.oid FROM app a) AND g.grantee <> d.defaclrole)
          GROUP BY d.defaclrole, d.defaclnamespace ORDER BY 1",
    },
    Rule {
        id: "DL211",
        name: "role-sees-what-others-do",
        level: Level::Warning,
        why: "sessions of one role read each other's statements, with the values in them, and count each other's rows",
        query: " SELECT quote_ident(f.rolname), format('it may call %s and %s more', min(f.name), count(*) - 1), string_agg(f.fix, ' ' ORDER BY f.name)
           FROM own_function f
          WHERE f.proname ~ '^pg_stat_(get|reset|clear|force|have)' OR f.proname IN ('pg_lock_status', 'pg_blocking_pids')
          GROUP BY f.rolname ORDER BY 1",
    },
    Rule {
        id: "DL212",
        name: "role-uses-large-objects",
        level: Level::Warning,
        why: "a large object belongs to a role, and every tenant is the same one; row security knows none",
        query: " SELECT quote_ident(f.rolname), format('it may call %s and %s more', min(f.name), count(*) - 1), string_agg(f.fix, ' ' ORDER BY f.name)
           FROM own_function f
          WHERE f.proname ~ '^lo_' OR f.proname IN ('loread', 'lowrite')
          GROUP BY f.rolname ORDER BY 1",
    },
    Rule {
        id: "DL213",
        name: "role-signals-others",
        level: Level::Warning,
        why: "sessions of one role may cancel and end each other, notify each other and wait for each other's locks",
        query: " SELECT quote_ident(f.rolname), format('it may call %s', string_agg(DISTINCT f.proname, ', ' ORDER BY f.proname)), string_agg(f.fix, ' ' ORDER BY f.name)
           FROM own_function f
          WHERE f.proname IN ('pg_cancel_backend', 'pg_terminate_backend', 'pg_notify', 'pg_export_snapshot', 'pg_logical_emit_message')
             OR f.proname ~ '^pg_(try_)?advisory_' AND f.proname <> 'pg_advisory_unlock_all'
          GROUP BY f.rolname ORDER BY 1",
    },
    Rule {
        id: "DL214",
        name: "role-connects-elsewhere",
        level: Level::Error,
        why: "a connection made by the server is another session, as whoever it says: the context of this one means nothing there",
        query: " SELECT quote_ident(a.rolname), format('it may call %s', string_agg(DISTINCT f.oid::regprocedure::text, ', ')),
                string_agg(DISTINCT format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC, %I;', f.oid::regprocedure, a.rolname), ' ')
           FROM app a JOIN pg_proc f ON f.proname IN ('dblink', 'dblink_connect', 'dblink_exec', 'dblink_send_query',
                'pg_read_file', 'pg_read_binary_file', 'pg_ls_dir', 'lo_import', 'lo_export')
            AND has_function_privilege(a.oid, f.oid, 'EXECUTE')
            AND (f.pronamespace <> 'pg_catalog'::regnamespace OR f.proname ~ '^pg_')
          WHERE NOT a.rolsuper GROUP BY a.oid, a.rolname ORDER BY 1",
    },
    Rule {
        id: "DL215",
        name: "role-runs-blocks",
        level: Level::Note,
        why: "a DO block catches errors and loops: what turns a question with one bit of an answer into a dump",
        query: " SELECT quote_ident(a.rolname), format('it may write blocks in %s', string_agg(l.lanname, ', ' ORDER BY l.lanname)),
                string_agg(format('REVOKE USAGE ON LANGUAGE %I FROM PUBLIC, %I;', l.lanname, a.rolname), ' ' ORDER BY l.lanname)
           FROM app a JOIN pg_language l ON l.laninline <> 0 AND l.lanpltrusted AND has_language_privilege(a.oid, l.oid, 'USAGE')
          WHERE NOT a.rolsuper GROUP BY a.rolname ORDER BY 1",
    },
    Rule {
        id: "DL216",
        name: "role-reads-everybodys-statements",
        level: Level::Warning,
        why: "pg_stat_statements shows a role its own statements, and every tenant's are the same role's",
        query: " SELECT c.oid::regclass::text, format('%I may read it', a.rolname), format('REVOKE SELECT ON %s FROM PUBLIC, %I;', c.oid::regclass, a.rolname)
           FROM app a JOIN pg_class c ON c.relname IN ('pg_stat_statements', 'pg_stat_statements_info', 'pg_stat_monitor')
            AND has_table_privilege(a.oid, c.oid, 'SELECT') WHERE NOT a.rolsuper ORDER BY 1",
    },
    Rule {
        id: "DL217",
        name: "role-makes-roles-or-replicates",
        level: Level::Error,
        why: "a role that makes roles may make itself a member of others, and replication reads every row there is",
        query: " SELECT quote_ident(a.rolname), 'it has ' || concat_ws(' and ', CASE WHEN r.rolcreaterole THEN 'CREATEROLE' END, CASE WHEN r.rolreplication THEN 'REPLICATION' END),
                format('ALTER ROLE %I NOCREATEROLE NOREPLICATION;', a.rolname)
           FROM app a JOIN pg_roles r ON r.oid = a.oid WHERE NOT a.rolsuper AND (r.rolcreaterole OR r.rolreplication) ORDER BY 1",
    },
];
