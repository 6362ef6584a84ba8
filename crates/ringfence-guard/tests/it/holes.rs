//! Ways to let one tenant's rows out to another, or to tell of them, made on purpose in a database that has none.

/// What is made, by SQL that names the application's role `{app}`; the rule that finds it; the object it names.
pub(crate) struct Hole(pub(crate) &'static str, pub(crate) &'static str, pub(crate) &'static str);

/// One of each kind at least.
pub(crate) const HOLES: &[Hole] = &[
    Hole("ALTER TABLE accounts DISABLE ROW LEVEL SECURITY", "DL101", "public.accounts"),
    Hole("CREATE TABLE t (tenant_id text NOT NULL)", "DL101", "public.t"),
    Hole("ALTER TABLE accounts NO FORCE ROW LEVEL SECURITY", "DL102", "public.accounts"),
    Hole("CREATE TABLE t (tenant_id text NOT NULL); ALTER TABLE t ENABLE ROW LEVEL SECURITY", "DL103", "public.t"),
    Hole("{open} CREATE POLICY p ON t USING (true)", "DL104", "p ON public.t"),
    Hole("{open} CREATE POLICY p ON t USING (tenant_id = 'x' OR true)", "DL104", "p ON public.t"),
    Hole("{open} CREATE POLICY p ON t USING (mail <> '')", "DL105", "p ON public.t"),
    Hole(
        "{open} CREATE POLICY p ON t USING (tenant_id = (SELECT ringfence.tenant_id())) WITH CHECK (mail <> '')",
        "DL106",
        "p ON public.t",
    ),
    Hole("{open} CREATE POLICY p ON t USING (tenant_id = (SELECT ringfence.tenant_id()))", "DL107", "public.t"),
    Hole("CREATE POLICY p ON accounts AS RESTRICTIVE USING (true)", "DL108", "p ON public.accounts"),
    Hole("{open} CREATE POLICY p ON t USING (tenant_id = current_setting('app.tenant'))", "DL109", "p ON public.t"),
    Hole(
        "CREATE FUNCTION who() RETURNS text STABLE LANGUAGE sql AS $$ SELECT current_setting('app.tenant') $$;
         {open} CREATE POLICY p ON t USING (tenant_id = (SELECT who()))",
        "DL109",
        "p ON public.t",
    ),
    Hole("{open} CREATE POLICY p ON t USING (tenant_id = current_user)", "DL110", "p ON public.t"),
    Hole(
        "{open} CREATE POLICY p ON t TO {app} USING (tenant_id = (SELECT ringfence.tenant_id()))",
        "DL111",
        "p ON public.t",
    ),
    Hole(
        "CREATE ROLE lint_over BYPASSRLS; CREATE POLICY p ON accounts TO lint_over USING (tenant_id = session_user)",
        "DL112",
        "p ON public.accounts",
    ),
    Hole("CREATE POLICY p ON accounts USING (tenant_id = 'acme')", "DL113", "p ON public.accounts"),
    Hole("CREATE POLICY p ON accounts USING (tenant_id IN ('acme', 'globex'))", "DL113", "p ON public.accounts"),
    Hole("CREATE POLICY p ON accounts USING (tenant_id LIKE session_user || '%')", "DL114", "p ON public.accounts"),
    Hole("CREATE TABLE t (tenant_id text)", "DL115", "public.t"),
    Hole(
        "CREATE FUNCTION who() RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT current_setting('app.tenant') $$;
         {open} CREATE POLICY p ON t USING (tenant_id = (SELECT who()))",
        "DL116",
        "p ON public.t",
    ),
    Hole(
        "CREATE TABLE member (name text, of_tenant text); GRANT INSERT ON member TO {app};
         CREATE POLICY p ON accounts USING (tenant_id IN (SELECT of_tenant FROM member WHERE name = session_user))",
        "DL117",
        "p ON public.accounts",
    ),
    Hole(
        "{open} CREATE POLICY p ON t USING (tenant_id = current_setting('jwt')::json -> 'user_metadata' ->> 'org')",
        "DL118",
        "p ON public.t",
    ),
    Hole("CREATE POLICY p ON accounts USING (false)", "DL119", "p ON public.accounts"),
    Hole(
        "CREATE POLICY p ON accounts USING (tenant_id = session_user);
         CREATE POLICY q ON accounts USING (tenant_id = session_user)",
        "DL120",
        "q ON public.accounts",
    ),
    Hole(
        "{open} CREATE POLICY p ON t USING (current_setting('app.tenant', true) IS NULL OR tenant_id = session_user)",
        "DL121",
        "p ON public.t",
    ),
    Hole(
        "{open} CREATE POLICY p ON t USING (tenant_id = session_user OR coalesce(current_setting('app.tenant', true), '') = '')",
        "DL121",
        "p ON public.t",
    ),
    Hole("ALTER ROLE {app} BYPASSRLS", "DL201", "{app}"),
    Hole("ALTER TABLE accounts OWNER TO {app}", "DL202", "public.accounts"),
    Hole("GRANT pg_read_all_data TO {app}", "DL203", "{app}"),
    Hole("CREATE ROLE lint_boss BYPASSRLS; GRANT lint_boss TO {app}", "DL203", "{app}"),
    Hole("CREATE ROLE lint_boss SUPERUSER LOGIN", "DL204", "lint_boss"),
    Hole("GRANT TRUNCATE, REFERENCES, TRIGGER ON accounts TO {app}", "DL205", "public.accounts"),
    Hole("GRANT SELECT ON accounts TO PUBLIC", "DL206", "public.accounts"),
    Hole("GRANT CREATE ON SCHEMA public TO {app}", "DL207", "SCHEMA public"),
    Hole("CREATE SCHEMA own; ALTER SCHEMA own OWNER TO {app}", "DL207", "SCHEMA own"),
    Hole("DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO {app}', current_database()); END $$", "DL208", "DATABASE "),
    Hole("ALTER ROLE {app} SET row_security = off", "DL209", "{app}"),
    Hole(
        "CREATE SCHEMA \"Odd\"; ALTER DEFAULT PRIVILEGES IN SCHEMA \"Odd\" GRANT SELECT ON TABLES TO {app}",
        "DL210",
        "postgres in \"Odd\"",
    ),
    Hole("GRANT EXECUTE ON FUNCTION pg_stat_get_activity(integer) TO {app}", "DL211", "{app}"),
    Hole("GRANT EXECUTE ON FUNCTION lo_create(oid) TO {app}", "DL212", "{app}"),
    Hole("GRANT EXECUTE ON FUNCTION pg_terminate_backend(integer, bigint) TO {app}", "DL213", "{app}"),
    Hole("GRANT EXECUTE ON FUNCTION pg_read_file(text) TO {app}", "DL214", "{app}"),
    Hole("GRANT USAGE ON LANGUAGE plpgsql TO {app}", "DL215", "{app}"),
    Hole("CREATE EXTENSION pg_stat_statements", "DL216", "public.pg_stat_statements"),
    Hole("ALTER ROLE {app} CREATEROLE", "DL217", "{app}"),
    Hole("CREATE VIEW v AS SELECT * FROM accounts; GRANT SELECT ON v TO {app}", "DL301", "public.v"),
    Hole(
        "CREATE VIEW inner_v AS SELECT * FROM accounts; CREATE VIEW v AS SELECT * FROM inner_v; GRANT SELECT ON v TO {app}",
        "DL301",
        "public.v",
    ),
    Hole(
        "CREATE MATERIALIZED VIEW m AS SELECT 1 AS x FROM accounts; GRANT SELECT ON m TO {app}",
        "DL302",
        "public.m",
    ),
    Hole(
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE f (x int) SERVER s;
         GRANT SELECT ON f TO {app}",
        "DL303",
        "public.f",
    ),
    Hole(
        "CREATE TABLE t (tenant_id text NOT NULL, id int) PARTITION BY HASH (tenant_id);
         CREATE TABLE t_0 PARTITION OF t FOR VALUES WITH (MODULUS 1, REMAINDER 0);
         SELECT ringfence.protect('t'); GRANT SELECT ON t_0 TO {app}",
        "DL304",
        "public.t_0",
    ),
    Hole("CREATE FUNCTION f() RETURNS int SECURITY DEFINER LANGUAGE sql AS $$ SELECT 1 $$", "DL305", "public.f()"),
    Hole(
        "CREATE FUNCTION f() RETURNS int SECURITY DEFINER SET search_path = public LANGUAGE sql AS $$ SELECT 1 $$",
        "DL305",
        "public.f()",
    ),
    Hole(
        "CREATE FUNCTION f() RETURNS int SECURITY DEFINER SET search_path = pg_catalog, pg_temp LANGUAGE sql AS $$ SELECT 1 $$",
        "DL306",
        "public.f()",
    ),
    Hole("CREATE FUNCTION f(int) RETURNS bool LEAKPROOF LANGUAGE sql AS $$ SELECT true $$", "DL307", "public.f(integer)"),
    Hole(
        "CREATE FUNCTION f() RETURNS trigger SECURITY DEFINER LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$;
         CREATE TRIGGER g BEFORE INSERT ON accounts FOR EACH ROW EXECUTE FUNCTION f()",
        "DL308",
        "public.accounts",
    ),
    Hole("CREATE RULE r AS ON DELETE TO accounts DO ALSO NOTHING", "DL309", "public.accounts"),
    Hole("CREATE PUBLICATION p FOR TABLE accounts", "DL310", "public.accounts"),
    Hole("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$", "DL311", "public.f()"),
    Hole(
        "CREATE VIEW v WITH (security_invoker = true) AS SELECT * FROM accounts WHERE id > 0; GRANT SELECT ON v TO {app}",
        "DL312",
        "public.v",
    ),
    Hole(
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_notify('rows', new::text); RETURN new; END $$;
         CREATE TRIGGER g AFTER INSERT ON accounts FOR EACH ROW EXECUTE FUNCTION f()",
        "DL313",
        "public.accounts",
    ),
    Hole("CREATE UNIQUE INDEX one ON accounts (owner)", "DL401", "public.one"),
    Hole("CREATE UNIQUE INDEX one ON accounts (owner) INCLUDE (tenant_id)", "DL401", "public.one"),
    Hole("CREATE UNIQUE INDEX one ON accounts (lower(owner))", "DL401", "public.one"),
    Hole("CREATE TABLE t (tenant_id text NOT NULL, id uuid PRIMARY KEY)", "DL402", "public.t_pkey"),
    Hole("{pointed} ", "DL403", "u_t_fkey ON public.u"),
    Hole("{pointed} ", "DL404", "u_t_fkey ON public.u"),
    Hole(
        "CREATE TABLE t (tenant_id text NOT NULL, id bigserial, PRIMARY KEY (tenant_id, id)); GRANT SELECT ON t TO {app}",
        "DL405",
        "public.t.id",
    ),
    Hole("CREATE TABLE t (tenant_id text NOT NULL); GRANT SELECT ON t TO {app}", "DL406", "public.t"),
    Hole("CREATE TABLE shared (code text PRIMARY KEY); GRANT SELECT ON shared TO {app}", "DL407", "public.shared"),
    Hole("CREATE INDEX e ON accounts (lower(owner))", "DL406", "public.accounts"),
    Hole("CREATE STATISTICS e ON owner, balance FROM accounts", "DL406", "public.accounts"),
    Hole(
        "CREATE TABLE t (tenant_id text NOT NULL) PARTITION BY LIST (tenant_id); GRANT SELECT ON t TO {app};
         ALTER TABLE t ALTER tenant_id SET STATISTICS 0; CREATE TABLE t_0 PARTITION OF t DEFAULT",
        "DL406",
        "public.t",
    ),
    Hole("CREATE INDEX o ON accounts (owner)", "DL408", "public.o"),
    Hole("CREATE INDEX o ON accounts USING hash (owner)", "DL408", "public.o"),
    Hole(
        "CREATE COLLATION loose (provider = icu, locale = 'und-u-ka-shifted', deterministic = false);
         CREATE TABLE t (tenant_id text COLLATE loose NOT NULL)",
        "DL409",
        "public.t.tenant_id",
    ),
    Hole("CREATE TABLE t (tenant_id text NOT NULL)", "DL601", "public.t"),
    Hole("{open} CREATE POLICY p ON t USING (tenant_id = ringfence.tenant_id())", "DL602", "p ON public.t"),
    Hole(
        "CREATE FUNCTION who() RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$;
         {open} CREATE POLICY p ON t USING (tenant_id = (SELECT who()))",
        "DL603",
        "p ON public.t",
    ),
    Hole("CREATE POLICY p ON accounts USING (lower(tenant_id) = session_user)", "DL604", "p ON public.accounts"),
    Hole("CREATE POLICY p ON accounts USING (tenant_id = session_user)", "DL605", "public.accounts"),
    Hole("ALTER TABLE accounts ADD words tsvector; CREATE INDEX w ON accounts USING gin (words)", "DL606", "public.w"),
    Hole("{pointed} ", "DL607", "u_t_fkey ON public.u"),
    Hole("CREATE TABLE t (tenant_id text NOT NULL)", "DL608", "public.t"),
    Hole("CREATE INDEX a ON accounts (owner); CREATE INDEX b ON accounts (owner)", "DL609", "public.b"),
    Hole("CREATE TABLE t (tenant_id text NOT NULL, r regclass)", "DL613", "public.t.r"),
];

const OPEN: &str =
    "CREATE TABLE t (tenant_id text NOT NULL, mail text); ALTER TABLE t ENABLE ROW LEVEL SECURITY;
    ALTER TABLE t FORCE ROW LEVEL SECURITY; GRANT SELECT, INSERT, UPDATE, DELETE ON t TO {app};";

const POINTED: &str = "CREATE TABLE t (tenant_id text NOT NULL, id int PRIMARY KEY);
    CREATE TABLE u (tenant_id text NOT NULL, t int REFERENCES t ON DELETE CASCADE)";

impl Hole {
    /// The SQL that makes it and the object, where the application logs in as `role`.
    pub(crate) fn of(&self, role: &str) -> (String, String) {
        let named = |text: &str| text.replace("{app}", role);
        (named(&self.0.replace("{open}", OPEN).replace("{pointed}", POINTED)), named(self.2))
    }
}
