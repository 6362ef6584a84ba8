//! Each rule finds what it is for, names it, and finds nothing any more once its own fix was run.

use std::collections::BTreeSet;

use ringfence_guard::lint::{Finding, Known, Level, LintError, Report, Subject, lint, rules};
use tokio_postgres::Transaction;

use crate::fixture::{World, connect};

/// What is made, by SQL that names the application's role `{app}`; the rule that finds it; the object it names.
const CASES: &[(&str, &str, &str)] = &[
    ("ALTER TABLE accounts DISABLE ROW LEVEL SECURITY", "DL101", "public.accounts"),
    ("CREATE TABLE t (tenant_id text NOT NULL)", "DL101", "public.t"),
    ("ALTER TABLE accounts NO FORCE ROW LEVEL SECURITY", "DL102", "public.accounts"),
    ("CREATE TABLE t (tenant_id text NOT NULL); ALTER TABLE t ENABLE ROW LEVEL SECURITY", "DL103", "public.t"),
    ("{open} CREATE POLICY p ON t USING (true)", "DL104", "p ON public.t"),
    ("{open} CREATE POLICY p ON t USING (tenant_id = 'x' OR true)", "DL104", "p ON public.t"),
    ("{open} CREATE POLICY p ON t USING (mail <> '')", "DL105", "p ON public.t"),
    (
        "{open} CREATE POLICY p ON t USING (tenant_id = (SELECT ringfence.tenant_id())) WITH CHECK (mail <> '')",
        "DL106",
        "p ON public.t",
    ),
    ("{open} CREATE POLICY p ON t USING (tenant_id = (SELECT ringfence.tenant_id()))", "DL107", "public.t"),
    ("CREATE POLICY p ON accounts AS RESTRICTIVE USING (true)", "DL108", "p ON public.accounts"),
    ("{open} CREATE POLICY p ON t USING (tenant_id = current_setting('app.tenant'))", "DL109", "p ON public.t"),
    (
        "CREATE FUNCTION who() RETURNS text STABLE LANGUAGE sql AS $$ SELECT current_setting('app.tenant') $$;
         {open} CREATE POLICY p ON t USING (tenant_id = (SELECT who()))",
        "DL109",
        "p ON public.t",
    ),
    ("{open} CREATE POLICY p ON t USING (tenant_id = current_user)", "DL110", "p ON public.t"),
    (
        "{open} CREATE POLICY p ON t TO {app} USING (tenant_id = (SELECT ringfence.tenant_id()))",
        "DL111",
        "p ON public.t",
    ),
    (
        "CREATE ROLE lint_over BYPASSRLS; CREATE POLICY p ON accounts TO lint_over USING (tenant_id = session_user)",
        "DL112",
        "p ON public.accounts",
    ),
    ("CREATE POLICY p ON accounts USING (tenant_id = 'acme')", "DL113", "p ON public.accounts"),
    ("CREATE POLICY p ON accounts USING (tenant_id IN ('acme', 'globex'))", "DL113", "p ON public.accounts"),
    ("CREATE POLICY p ON accounts USING (tenant_id LIKE session_user || '%')", "DL114", "p ON public.accounts"),
    ("CREATE TABLE t (tenant_id text)", "DL115", "public.t"),
    (
        "CREATE FUNCTION who() RETURNS text IMMUTABLE LANGUAGE sql AS $$ SELECT current_setting('app.tenant') $$;
         {open} CREATE POLICY p ON t USING (tenant_id = (SELECT who()))",
        "DL116",
        "p ON public.t",
    ),
    (
        "CREATE TABLE member (name text, of_tenant text); GRANT INSERT ON member TO {app};
         CREATE POLICY p ON accounts USING (tenant_id IN (SELECT of_tenant FROM member WHERE name = session_user))",
        "DL117",
        "p ON public.accounts",
    ),
    (
        "{open} CREATE POLICY p ON t USING (tenant_id = current_setting('jwt')::json -> 'user_metadata' ->> 'org')",
        "DL118",
        "p ON public.t",
    ),
    ("CREATE POLICY p ON accounts USING (false)", "DL119", "p ON public.accounts"),
    (
        "CREATE POLICY p ON accounts USING (tenant_id = session_user);
         CREATE POLICY q ON accounts USING (tenant_id = session_user)",
        "DL120",
        "q ON public.accounts",
    ),
    ("ALTER ROLE {app} BYPASSRLS", "DL201", "{app}"),
    ("ALTER TABLE accounts OWNER TO {app}", "DL202", "public.accounts"),
    ("GRANT pg_read_all_data TO {app}", "DL203", "{app}"),
    ("CREATE ROLE lint_boss BYPASSRLS; GRANT lint_boss TO {app}", "DL203", "{app}"),
    ("CREATE ROLE lint_boss SUPERUSER LOGIN", "DL204", "lint_boss"),
    ("GRANT TRUNCATE, REFERENCES, TRIGGER ON accounts TO {app}", "DL205", "public.accounts"),
    ("GRANT SELECT ON accounts TO PUBLIC", "DL206", "public.accounts"),
    ("GRANT CREATE ON SCHEMA public TO {app}", "DL207", "SCHEMA public"),
    ("CREATE SCHEMA own; ALTER SCHEMA own OWNER TO {app}", "DL207", "SCHEMA own"),
    ("DO $$ BEGIN EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO {app}', current_database()); END $$", "DL208", "DATABASE "),
    ("ALTER ROLE {app} SET row_security = off", "DL209", "{app}"),
    ("ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO {app}", "DL210", "postgres in public"),
    ("GRANT EXECUTE ON FUNCTION pg_stat_get_activity(integer) TO {app}", "DL211", "{app}"),
    ("GRANT EXECUTE ON FUNCTION lo_create(oid) TO {app}", "DL212", "{app}"),
    ("GRANT EXECUTE ON FUNCTION pg_terminate_backend(integer, bigint) TO {app}", "DL213", "{app}"),
    ("GRANT EXECUTE ON FUNCTION pg_read_file(text) TO {app}", "DL214", "{app}"),
    ("GRANT USAGE ON LANGUAGE plpgsql TO {app}", "DL215", "{app}"),
    ("CREATE VIEW v AS SELECT * FROM accounts; GRANT SELECT ON v TO {app}", "DL301", "public.v"),
    (
        "CREATE VIEW inner_v AS SELECT * FROM accounts; CREATE VIEW v AS SELECT * FROM inner_v; GRANT SELECT ON v TO {app}",
        "DL301",
        "public.v",
    ),
    (
        "CREATE MATERIALIZED VIEW m AS SELECT 1 AS x FROM accounts; GRANT SELECT ON m TO {app}",
        "DL302",
        "public.m",
    ),
    (
        "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; CREATE FOREIGN TABLE f (x int) SERVER s;
         GRANT SELECT ON f TO {app}",
        "DL303",
        "public.f",
    ),
    (
        "CREATE TABLE t (tenant_id text NOT NULL, id int) PARTITION BY HASH (tenant_id);
         CREATE TABLE t_0 PARTITION OF t FOR VALUES WITH (MODULUS 1, REMAINDER 0);
         SELECT ringfence.protect('t'); GRANT SELECT ON t_0 TO {app}",
        "DL304",
        "public.t_0",
    ),
    ("CREATE FUNCTION f() RETURNS int SECURITY DEFINER LANGUAGE sql AS $$ SELECT 1 $$", "DL305", "public.f()"),
    (
        "CREATE FUNCTION f() RETURNS int SECURITY DEFINER SET search_path = public LANGUAGE sql AS $$ SELECT 1 $$",
        "DL305",
        "public.f()",
    ),
    (
        "CREATE FUNCTION f() RETURNS int SECURITY DEFINER SET search_path = pg_catalog, pg_temp LANGUAGE sql AS $$ SELECT 1 $$",
        "DL306",
        "public.f()",
    ),
    ("CREATE FUNCTION f(int) RETURNS bool LEAKPROOF LANGUAGE sql AS $$ SELECT true $$", "DL307", "public.f(integer)"),
    (
        "CREATE FUNCTION f() RETURNS trigger SECURITY DEFINER LANGUAGE plpgsql AS $$ BEGIN RETURN new; END $$;
         CREATE TRIGGER g BEFORE INSERT ON accounts FOR EACH ROW EXECUTE FUNCTION f()",
        "DL308",
        "public.accounts",
    ),
    ("CREATE RULE r AS ON DELETE TO accounts DO ALSO NOTHING", "DL309", "public.accounts"),
    ("CREATE PUBLICATION p FOR TABLE accounts", "DL310", "public.accounts"),
    ("CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$", "DL311", "public.f()"),
    (
        "CREATE VIEW v WITH (security_invoker = true) AS SELECT * FROM accounts WHERE id > 0; GRANT SELECT ON v TO {app}",
        "DL312",
        "public.v",
    ),
    ("CREATE UNIQUE INDEX one ON accounts (owner)", "DL401", "public.one"),
    ("CREATE UNIQUE INDEX one ON accounts (owner) INCLUDE (tenant_id)", "DL401", "public.one"),
    ("CREATE UNIQUE INDEX one ON accounts (lower(owner))", "DL401", "public.one"),
    ("CREATE TABLE t (tenant_id text NOT NULL, id uuid PRIMARY KEY)", "DL402", "public.t_pkey"),
    ("{pointed} ", "DL403", "u_t_fkey ON public.u"),
    ("{pointed} ", "DL404", "u_t_fkey ON public.u"),
    (
        "CREATE TABLE t (tenant_id text NOT NULL, id bigserial, PRIMARY KEY (tenant_id, id)); GRANT SELECT ON t TO {app}",
        "DL405",
        "public.t.id",
    ),
    ("CREATE TABLE t (tenant_id text NOT NULL); GRANT SELECT ON t TO {app}", "DL406", "public.t"),
    ("CREATE TABLE shared (code text PRIMARY KEY); GRANT SELECT ON shared TO {app}", "DL407", "public.shared"),
    ("CREATE TABLE t (tenant_id text NOT NULL)", "DL601", "public.t"),
    ("{open} CREATE POLICY p ON t USING (tenant_id = ringfence.tenant_id())", "DL602", "p ON public.t"),
    (
        "CREATE FUNCTION who() RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$;
         {open} CREATE POLICY p ON t USING (tenant_id = (SELECT who()))",
        "DL603",
        "p ON public.t",
    ),
    ("CREATE POLICY p ON accounts USING (lower(tenant_id) = session_user)", "DL604", "p ON public.accounts"),
    ("CREATE POLICY p ON accounts USING (tenant_id = session_user)", "DL605", "public.accounts"),
    ("ALTER TABLE accounts ADD words tsvector; CREATE INDEX w ON accounts USING gin (words)", "DL606", "public.w"),
    ("{pointed} ", "DL607", "u_t_fkey ON public.u"),
    ("CREATE TABLE t (tenant_id text NOT NULL)", "DL608", "public.t"),
    ("CREATE INDEX a ON accounts (owner); CREATE INDEX b ON accounts (owner)", "DL609", "public.b"),
    ("CREATE TABLE t (tenant_id text NOT NULL, r regclass)", "DL613", "public.t.r"),
];

/// Rules that look at what a test's database can't be made to have: the server, an extension, what was used.
const OF_THE_SERVER: [&str; 6] = ["DL501", "DL502", "DL503", "DL610", "DL611", "DL612"];

const OPEN: &str =
    "CREATE TABLE t (tenant_id text NOT NULL, mail text); ALTER TABLE t ENABLE ROW LEVEL SECURITY;
    ALTER TABLE t FORCE ROW LEVEL SECURITY; GRANT SELECT, INSERT, UPDATE, DELETE ON t TO {app};";

const POINTED: &str = "CREATE TABLE t (tenant_id text NOT NULL, id int PRIMARY KEY);
    CREATE TABLE u (tenant_id text NOT NULL, t int REFERENCES t ON DELETE CASCADE)";

fn known(world: &World) -> Known {
    Known { roles: vec![world.role.to_string()], columns: Vec::new() }
}

async fn found(transaction: &Transaction<'_>, subject: &Subject, id: &str) -> Vec<Finding> {
    let rule = rules().find(|rule| rule.id == id).unwrap();
    subject.findings(transaction, rule).await.unwrap()
}

#[tokio::test]
async fn each_rule_finds_what_it_is_for_and_its_fix_mends_it() {
    let world = World::new().await;
    let mut client = world.superuser().await;
    let mut untested: BTreeSet<_> = rules().map(|rule| rule.id).collect();
    for (ddl, rule, object) in CASES {
        untested.remove(rule);
        let transaction = client.transaction().await.unwrap();
        let subject = Subject::find(&transaction, known(&world)).await.unwrap();
        let named = |text: &str| text.replace("{app}", world.role.as_str());
        let ddl = named(&ddl.replace("{open}", OPEN).replace("{pointed}", POINTED));
        transaction.batch_execute(&format!("SET LOCAL search_path = public; {ddl}")).await.unwrap();
        transaction.batch_execute("SET LOCAL search_path = pg_catalog").await.unwrap();
        let object = named(object);
        let of_it = async || -> Vec<Finding> {
            let findings = found(&transaction, &subject, rule).await.into_iter();
            findings.filter(|finding| finding.object.starts_with(&object)).collect()
        };
        let before = of_it().await;
        assert!(!before.is_empty(), "{rule} does not find {object} after {ddl}");
        for Finding { fix, detail, .. } in &before {
            assert!(!detail.is_empty() && !fix.is_empty());
            if !fix.starts_with("--") {
                let fix = fix.replace(" CONCURRENTLY", "");
                let ran = transaction.batch_execute(&fix).await;
                ran.unwrap_or_else(|error| panic!("{rule}: {fix}: {error:?}"));
            }
        }
        if before.iter().all(|finding| !finding.fix.starts_with("--")) {
            let after = of_it().await;
            assert_eq!(after, [], "{rule} is not mended by {:?}", before[0].fix);
        }
        transaction.rollback().await.unwrap();
    }
    assert_eq!(untested, BTreeSet::from(OF_THE_SERVER));
}

#[tokio::test]
async fn what_the_guard_installs_has_nothing_against_it() {
    let world = World::new().await;
    let mut client = world.superuser().await;
    client.batch_execute("DROP TABLE staging").await.unwrap();
    let Report { subject, findings, refused } = lint(&mut client, Known::default(), |_| ()).await.unwrap();
    assert_eq!(subject.roles, [world.role.to_string()], "as it was installed for");
    assert_eq!(subject.columns, ["tenant_id"]);
    assert!(refused.is_empty());
    let level = |id: &str| rules().find(|rule| rule.id == id).unwrap().level;
    let bad: Vec<_> = findings.iter().filter(|finding| level(finding.rule) > Level::Note).collect();
    // How old the server of this machine is is not the schema's fault.
    let bad: Vec<_> = bad.into_iter().filter(|finding| finding.rule != "DL501").collect();
    assert!(bad.is_empty(), "{bad:#?}");
}

#[tokio::test]
async fn a_server_is_known_by_its_minor_version() {
    let world = World::new().await;
    let mut client = world.superuser().await;
    let transaction = client.transaction().await.unwrap();
    let subject = Subject::find(&transaction, known(&world)).await.unwrap();
    let at =
        async |version| found(&transaction, &Subject { version, ..subject.clone() }, "DL501").await.pop();
    let old = at(150_002).await.unwrap();
    assert!(old.detail.contains("CVE-2023-2455") && old.detail.contains("CVE-2024-10976"), "{old:?}");
    assert!(at(170_005).await.unwrap().detail.contains("CVE-2025-8713"));
    assert!(!at(170_006).await.is_some_and(|finding| finding.detail.contains("CVE-2025-8713")));
    assert_eq!(at(190_000).await, None);
}

#[tokio::test]
async fn a_subject_is_found_or_asked_for() {
    let world = World::new().await;
    let mut client = world.superuser().await;
    let nobody = Known { roles: vec!["nobody-here".to_owned()], columns: Vec::new() };
    assert!(
        matches!(lint(&mut client, nobody, |_| ()).await, Err(LintError::NoRole(name)) if name == "nobody-here")
    );
    let nowhere = Known { roles: Vec::new(), columns: vec!["region".to_owned()] };
    assert!(matches!(lint(&mut client, nowhere, |_| ()).await, Err(LintError::NoTenantTable(_))));
    // A schema of somebody else's: the column most tables have, the roles that reach them.
    let ddl = format!(
        "DROP SCHEMA ringfence CASCADE; DROP SCHEMA public CASCADE; CREATE SCHEMA public;
         CREATE TABLE public.organizations (id uuid PRIMARY KEY);
         CREATE TABLE public.a (organization_id uuid); CREATE TABLE public.b (organization_id uuid, account_id int);
         GRANT SELECT ON public.a TO {};",
        world.role
    );
    client.batch_execute(&ddl).await.unwrap();
    let Report { subject, findings, refused } = lint(&mut client, Known::default(), |_| ()).await.unwrap();
    assert_eq!((subject.columns, subject.tables), (vec!["organization_id".to_owned()], 2));
    assert_eq!(subject.roles, [world.role.to_string()]);
    assert!(findings.iter().any(|finding| finding.rule == "DL101" && finding.object == "public.a"));
    assert!(refused.is_empty());
    // Who may do little is told the same, and which rules would take more.
    let mut little = connect(&world.direct_config()).await.unwrap();
    let again = lint(&mut little, Known::default(), |_| ()).await.unwrap();
    assert_eq!(again.findings.iter().filter(|finding| finding.rule == "DL101").count(), 2);
    assert_eq!(again.refused, ["DL610"]);
}
