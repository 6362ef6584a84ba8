//! Each rule finds what it is for, names it, and finds nothing any more once its own fix was run.

use std::collections::BTreeSet;

use ringfence_guard::lint::{Finding, Known, Level, LintError, Report, Subject, lint, rules};
use tokio_postgres::Transaction;

use crate::{
    fixture::{World, connect},
    holes::{HOLES, Hole},
};

/// Rules that look at what a test's database can't be made to have: the server, an extension, what was used.
const OF_THE_SERVER: [&str; 7] = ["DL501", "DL502", "DL503", "DL504", "DL610", "DL611", "DL612"];

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
    for hole in HOLES {
        let Hole(_, rule, _) = hole;
        untested.remove(rule);
        let transaction = client.transaction().await.unwrap();
        let subject = Subject::find(&transaction, known(&world)).await.unwrap();
        let (ddl, object) = hole.of(world.role.as_str());
        transaction.batch_execute(&format!("SET LOCAL search_path = public; {ddl}")).await.unwrap();
        transaction.batch_execute("SET LOCAL search_path = pg_catalog").await.unwrap();
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

/// What a tenant leaves in a transaction that is prepared belongs to no session, and to whoever has its role.
#[tokio::test]
async fn a_server_that_keeps_prepared_transactions_is_found() {
    let settings = || crate::fixture::cluster_settings(crate::fixture::scratch("prepared"));
    let cluster = ringfence_guard::Cluster::start(settings()).await.unwrap();
    let world = World::on(&cluster).await;
    let admin = world.superuser().await;
    admin.batch_execute("ALTER SYSTEM SET max_prepared_transactions = 5").await.unwrap();
    drop((world, admin));
    cluster.stop().await.unwrap();
    let cluster = ringfence_guard::Cluster::start(settings()).await.unwrap();
    let world = World::on(&cluster).await;
    let guard = world.guard().await;
    let (acme, globex) = (world.client(&guard, &world.acme).await, world.client(&guard, &world.globex).await);
    acme.batch_execute("BEGIN; UPDATE accounts SET balance = 0; PREPARE TRANSACTION 'left'").await.unwrap();
    globex.batch_execute("ROLLBACK PREPARED 'left'").await.unwrap();
    let Report { findings, .. } = lint(&mut world.superuser().await, known(&world), |_| ()).await.unwrap();
    assert!(findings.iter().any(|finding| finding.rule == "DL504"), "{findings:#?}");
    cluster.stop().await.unwrap();
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

#[tokio::test]
async fn a_name_that_is_sql_is_not_run_with_a_fix() {
    let world = World::new().await;
    let mut client = world.superuser().await;
    let named = "CREATE TABLE \"t\nDROP TABLE payments; --\" (tenant_id text NOT NULL, id int PRIMARY KEY);
        ALTER TABLE \"t\nDROP TABLE payments; --\" ENABLE ROW LEVEL SECURITY";
    client.batch_execute(named).await.unwrap();
    let report = lint(&mut client, known(&world), |_| ()).await.unwrap();
    let of_it: Vec<_> =
        report.findings.iter().filter(|finding| finding.object.contains("DROP TABLE")).collect();
    assert!(of_it.len() > 3, "{of_it:?}");
    let script: String = of_it.iter().map(|finding| format!("{}\n", finding.fix)).collect();
    let lines = script.lines().filter(|line| !line.starts_with("--"));
    assert_eq!(lines.count(), 0, "{script}");
}
