WITH RECURSIVE
-- The roles the application logs in as.
app AS MATERIALIZED (
    SELECT r.oid, r.rolname, r.rolsuper, r.rolbypassrls FROM pg_roles r WHERE r.rolname = ANY ($1::text[])),
-- The schemas that are the application's.
own_schema AS MATERIALIZED (
    SELECT n.oid, n.nspname, n.nspowner FROM pg_namespace n
     WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'ringfence')
       AND n.nspname NOT LIKE 'pg\_temp\_%' AND n.nspname NOT LIKE 'pg\_toast\_temp\_%'),
-- What holds rows, or shows them, and is no extension's.
relation AS MATERIALIZED (
    SELECT c.*, c.oid::regclass::text AS name FROM pg_class c JOIN own_schema n ON n.oid = c.relnamespace
     WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')),
-- What the application reaches of it; all of it where nobody knows as whom it logs in.
reach AS MATERIALIZED (
    SELECT r.oid FROM relation r
     WHERE NOT EXISTS (SELECT FROM app)
        OR EXISTS (SELECT FROM app a WHERE has_table_privilege(a.oid, r.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE')
            OR has_any_column_privilege(a.oid, r.oid, 'SELECT, INSERT, UPDATE'))),
-- The tables whose rows belong to tenants, each with its tenant column.
tenant AS MATERIALIZED (
    SELECT r.oid, r.name, r.relkind, r.relowner, r.relrowsecurity, r.relforcerowsecurity, r.relacl,
           a.attnum, a.attname, a.attnotnull,
           EXISTS (SELECT FROM pg_inherits h WHERE h.inhrelid = r.oid) AS child
      FROM relation r JOIN pg_attribute a ON a.attrelid = r.oid AND a.attname = ANY ($2::text[]) AND NOT a.attisdropped
     WHERE r.relkind IN ('r', 'p')),
-- Their policies, as text; `fenced` where a restrictive policy for everybody compares the tenant column.
policy AS MATERIALIZED (
    SELECT p.oid, p.polrelid, p.polname, p.polcmd, p.polpermissive, p.polroles, t.name, t.attname, t.attnum,
           pg_get_expr(p.polqual, p.polrelid) AS qual, pg_get_expr(p.polwithcheck, p.polrelid) AS with_check,
           format('%I ON %s', p.polname, t.name) AS called,
           '\m' || t.attname || '\M' AS by_tenant
      FROM pg_policy p JOIN tenant t ON t.oid = p.polrelid),
fenced AS MATERIALIZED (
    SELECT p.polrelid FROM policy p
     WHERE NOT p.polpermissive AND p.polcmd = '*' AND p.polroles = '{0}' AND p.qual ~ p.by_tenant
       AND coalesce(p.with_check, p.qual) ~ p.by_tenant),
-- Functions a policy calls that are not Postgres' own.
called AS MATERIALIZED (
    SELECT p.oid AS policy, p.called, f.oid, f.oid::regprocedure::text AS name, f.proname, f.provolatile, f.prosrc, n.nspname
      FROM policy p
      JOIN pg_depend d ON d.classid = 'pg_policy'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_proc'::regclass
      JOIN pg_proc f ON f.oid = d.refobjid
      JOIN pg_namespace n ON n.oid = f.pronamespace
     GROUP BY p.oid, p.called, f.oid, n.nspname),
-- Functions the application may call that are not Postgres' own, Ringfence's or an extension's.
callable AS MATERIALIZED (
    SELECT f.oid, f.oid::regprocedure::text AS name, f.prosecdef, f.proconfig, f.proleakproof, f.prosrc, f.prokind
      FROM pg_proc f JOIN own_schema n ON n.oid = f.pronamespace
     WHERE (NOT EXISTS (SELECT FROM app) OR EXISTS (SELECT FROM app a WHERE has_function_privilege(a.oid, f.oid, 'EXECUTE')
            AND has_schema_privilege(a.oid, f.pronamespace, 'USAGE')))
       AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = f.oid AND d.deptype = 'e')),
-- Functions of Postgres' own that it may call.
own_function AS MATERIALIZED (
    SELECT a.rolname, f.proname, f.oid::regprocedure::text AS name,
           format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC, %I;', f.oid::regprocedure, a.rolname) AS fix
      FROM app a JOIN pg_proc f ON f.pronamespace = 'pg_catalog'::regnamespace AND f.prokind = 'f'
       AND has_function_privilege(a.oid, f.oid, 'EXECUTE')
     WHERE NOT a.rolsuper),
-- What each view and materialized view reads, and which tenants' tables it shows, itself or through others.
reading (view, source) AS (
    SELECT w.ev_class, d.refobjid FROM pg_rewrite w
      JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid AND d.refclassid = 'pg_class'::regclass
       AND d.refobjid <> w.ev_class
     GROUP BY 1, 2),
shown (view, source) AS (
    SELECT r.view, r.source FROM reading r JOIN tenant t ON t.oid = r.source
    UNION SELECT r.view, s.source FROM reading r JOIN shown s ON s.view = r.source),
server AS MATERIALIZED (SELECT $3::integer AS version)
