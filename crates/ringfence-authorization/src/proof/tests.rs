//! What is proved, what is refuted and with which request, and what is left open. With the real solver.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt, path::Path, time::Duration};

use ringfence_context::{TenantId, id::StoreId};

use super::*;
use crate::TemplateLink;

const SCHEMA: &str = "
entity Role;
entity User in [Role] = { tenant: String, subject: String, limit: Long };
entity Doc = { tenant: String, owner?: String, pages: Long };
action View, Edit appliesTo { principal: [User], resource: [Doc], context: { pages?: Long } };
";

const BOUNDARY: &str = "forbid (principal, action, resource) unless { principal.tenant == resource.tenant };";

const BOUNDED: &str = "forbid (principal, action, resource)
    when { resource.pages < 1000 && resource.pages > 0 && resource.pages * 2 > principal.limit };";

async fn prover_with(settings: SolverSettings) -> Prover {
    Prover::new(settings, Arc::new(Bulkhead::new(2))).await
}

fn store(schema: &str, policies: &[(&str, &str)]) -> StoreDocument {
    let named = |list: &[(&str, &str)]| {
        list.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect::<BTreeMap<_, _>>()
    };
    StoreDocument {
        id: StoreId::new("ps-1").unwrap(),
        tenant: TenantId::new("acme").unwrap(),
        namespace: String::new(),
        schema: schema.to_owned(),
        policies: named(policies),
        templates: BTreeMap::new(),
        links: BTreeMap::new(),
    }
}

async fn prover() -> Prover {
    let prover = prover_with(SolverSettings { time: Duration::from_secs(60), ..<_>::default() }).await;
    assert!(prover.solver().unwrap().contains("cvc5"), "{:?}", prover.solver());
    prover
}

async fn prove(document: &StoreDocument) -> Proof {
    prover().await.prove(document).await.unwrap()
}

fn refuted(proof: &Proof) -> String {
    match proof {
        Proof::Refuted(found) => found.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn policies_that_stay_within_a_tenant_are_proved() {
    for policies in [
        &[][..],
        &[("own", "permit (principal, action, resource) when { principal.tenant == resource.tenant };")],
        &[("all", "permit (principal, action, resource);"), ("boundary", BOUNDARY)],
        &[
            ("all", "permit (principal in Role::\"admin\", action == Action::\"View\", resource is Doc);"),
            ("boundary", BOUNDARY),
            (
                "own",
                "forbid (principal, action, resource) when { resource has owner && resource.owner == principal.subject };",
            ),
        ],
        &[("none", "permit (principal, action, resource) when { 1 == 2 };")],
    ] {
        assert!(matches!(prove(&store(SCHEMA, policies)).await, Proof::Proved), "{policies:?}");
    }
}

#[tokio::test]
async fn a_way_across_is_refuted_with_a_request_and_who_allows_it() {
    for (name, policy) in [
        ("all", "permit (principal, action, resource);"),
        ("admins", "permit (principal in Role::\"admin\", action == Action::\"View\", resource);"),
        (
            "or",
            "permit (principal, action, resource) when { principal.tenant == resource.tenant || resource.pages > 10 };",
        ),
        ("swapped", "permit (principal, action, resource) when { principal.tenant == principal.tenant };"),
        ("named", "permit (principal, action, resource == Doc::\"globex-1\");"),
        ("like", "permit (principal, action, resource) when { resource.tenant like \"*\" };"),
    ] {
        let text = refuted(&prove(&store(SCHEMA, &[(name, policy)])).await);
        for part in ["of one tenant is allowed a resource of another", name, "User::", "Doc::", "\"tenant\":"]
        {
            assert!(text.contains(part), "{name}: {part}: {text}");
        }
    }
}

#[tokio::test]
async fn a_link_of_a_widened_template_is_refuted() {
    let mut document = store(SCHEMA, &[]);
    let within =
        "permit (principal == ?principal, action, resource) when { principal.tenant == resource.tenant };";
    document.templates.insert("share".to_owned(), within.to_owned());
    let link = TemplateLink {
        template: "share".to_owned(),
        principal: Some("User::\"a\"".to_owned()),
        resource: None,
    };
    document.links.insert("shared".to_owned(), link);
    assert!(matches!(prove(&document).await, Proof::Proved));
    document
        .templates
        .insert("share".to_owned(), "permit (principal == ?principal, action, resource);".to_owned());
    assert!(refuted(&prove(&document).await).contains("shared"));
    document.links.clear();
    assert!(matches!(prove(&document).await, Proof::Proved), "a template by itself allows nothing");
}

#[tokio::test]
async fn a_policy_that_can_err_is_refuted_with_its_error() {
    let overflow = "forbid (principal, action, resource) when { resource.pages * 2 > principal.limit };";
    let proof = prove(&store(SCHEMA, &[("boundary", BOUNDARY), ("too-long", overflow)])).await;
    let text = refuted(&proof);
    assert!(text.contains("\"too-long\" can't be evaluated") && text.contains("overflow"), "{text}");
    let proof = prove(&store(SCHEMA, &[("boundary", BOUNDARY), ("too-long", BOUNDED)])).await;
    assert!(matches!(proof, Proof::Proved), "{proof:?}");
}

#[tokio::test]
async fn a_schema_without_tenants_proves_nothing() {
    let schema = SCHEMA.replace("entity Doc = { tenant: String, ", "entity Doc = { ");
    let proof = prove(&store(&schema, &[])).await;
    assert!(matches!(&proof, Proof::Unproved(Unproved::NoTenant(what)) if what.contains("Doc")), "{proof:?}");
    let schema = SCHEMA.replace("entity Doc = { tenant: String, ", "entity Doc = { tenant?: String, ");
    assert!(matches!(prove(&store(&schema, &[])).await, Proof::Unproved(Unproved::NoTenant(_))));
}

#[tokio::test]
async fn a_solver_that_is_not_there_or_no_solver_or_slow_proves_nothing() {
    // What needs no solver is proved without one.
    let document = store(SCHEMA, &[("bounded", BOUNDED)]);
    let with = async |program: &Path| {
        let prover = prover_with(SolverSettings { program: program.into(), ..<_>::default() }).await;
        prover.prove(&document).await.unwrap()
    };
    for program in ["no-such-solver", "true", "false", "cat"] {
        let proof = with(Path::new(program)).await;
        assert!(matches!(proof, Proof::Unproved(Unproved::NoSolver(_))), "{program}: {proof:?}");
    }
    // They say they are cvc5, and then nothing, or anything.
    let folder = tempfile::tempdir().unwrap();
    for (what, says) in [("nothing", "exit 0"), ("all is well", "yes unsatisfiable")] {
        let program = folder.path().join(what);
        let script =
            format!("#!/bin/sh\n[ \"$1\" = --version ] && echo This is cvc5 version 9 && exit\n{says}\n");
        std::fs::write(&program, script).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let proof = with(&program).await;
        assert!(matches!(proof, Proof::Unproved(Unproved::Failed(_))), "{what}: {proof:?}");
    }
    let prover =
        Prover { settings: SolverSettings { time: Duration::ZERO, ..<_>::default() }, ..prover().await };
    assert!(matches!(prover.prove(&document).await, Ok(Proof::Unproved(Unproved::TooSlow))));
}

#[tokio::test]
async fn what_was_proved_is_remembered_by_content() {
    let prover = prover().await;
    let document = store(SCHEMA, &[("boundary", BOUNDARY)]);
    assert!(matches!(prover.prove(&document).await, Ok(Proof::Proved)));
    // Another tenant's store of the same content, with a solver that is gone.
    let prover = Prover { version: Err("gone".to_owned()), ..prover };
    let other = StoreDocument { tenant: TenantId::new("globex").unwrap(), ..document.clone() };
    assert!(matches!(prover.prove(&other).await, Ok(Proof::Proved)));
    for change in [
        |document: &mut StoreDocument| document.schema.push('\n'),
        |document: &mut StoreDocument| {
            document.policies.insert("more".to_owned(), BOUNDARY.to_owned());
        },
        |document: &mut StoreDocument| {
            document
                .templates
                .insert("more".to_owned(), "forbid (principal == ?principal, action, resource);".to_owned());
        },
    ] {
        let mut changed = document.clone();
        change(&mut changed);
        assert!(matches!(prover.prove(&changed).await, Ok(Proof::Unproved(Unproved::NoSolver(_)))));
    }
    let mut invalid = document;
    invalid.policies.insert("bad".to_owned(), "permit (".to_owned());
    assert!(self::prover().await.prove(&invalid).await.is_err());
}

/// Each kind of request that differs, as `principal action resource` with what is gained and lost.
async fn difference(
    before: &StoreDocument,
    after: &StoreDocument,
) -> (Likeness, Vec<(String, String, String)>) {
    let found = prover().await.difference(before, after).await.unwrap();
    let told = |finding: &Finding| match finding {
        Finding::Nothing => String::new(),
        Finding::Example(example) => example.to_string(),
        Finding::Unknown(why) => format!("unknown: {why}"),
    };
    let kinds = found.differing.iter();
    (found.verdict, kinds.map(|kind| (kind.action.clone(), told(&kind.gains), told(&kind.loses))).collect())
}

const OWN: &str = "permit (principal, action, resource) when { principal.tenant == resource.tenant };";

#[tokio::test]
async fn what_says_the_same_in_other_words_is_proved_equivalent() {
    let before = store(SCHEMA, &[("own", OWN)]);
    for (name, policies) in [
        ("the same", &[("own", OWN)][..]),
        ("renamed", &[("other", OWN)]),
        (
            "split",
            &[
                (
                    "view",
                    "permit (principal, action == Action::\"View\", resource) when { resource.tenant == principal.tenant };",
                ),
                (
                    "edit",
                    "permit (principal, action == Action::\"Edit\", resource) when { resource.tenant == principal.tenant };",
                ),
            ],
        ),
        ("nothing more", &[("own", OWN), ("none", "permit (principal, action, resource) when { 1 == 2 };")]),
    ] {
        let found = difference(&before, &store(SCHEMA, policies)).await;
        assert_eq!(found, (Likeness::Equivalent, Vec::new()), "{name}");
    }
}

#[tokio::test]
async fn what_is_gained_and_lost_is_shown_by_requests_that_cedar_decides_so() {
    let before = store(SCHEMA, &[("own", OWN)]);
    let long = "forbid (principal, action == Action::\"Edit\", resource) when { resource.pages > 100 };";
    let after = store(SCHEMA, &[("own", OWN), ("long", long)]);
    let (verdict, kinds) = difference(&before, &after).await;
    assert_eq!((verdict, kinds.len()), (Likeness::Different, 1));
    let (action, gained, lost) = &kinds[0];
    assert_eq!((action.as_str(), gained.as_str()), ("Action::\"Edit\"", ""));
    for part in ["allowed by own", "denied by  long", "User::", "Doc::", "\"pages\":"] {
        assert!(lost.contains(part), "{part}: {lost}");
    }
    // The other way round it is a gain.
    let (_, kinds) = difference(&after, &before).await;
    assert!(kinds[0].1.contains("denied by  long") && kinds[0].2.is_empty(), "{kinds:?}");
    // Both at once.
    let viewers = "permit (principal in Role::\"viewer\", action == Action::\"View\", resource) when { principal.tenant == resource.tenant };";
    let admins = "permit (principal in Role::\"admin\", action == Action::\"View\", resource) when { principal.tenant == resource.tenant };";
    let (verdict, kinds) =
        difference(&store(SCHEMA, &[("v", viewers)]), &store(SCHEMA, &[("a", admins)])).await;
    assert_eq!((verdict, kinds.len()), (Likeness::Different, 1));
    assert!(
        kinds[0].1.contains("nothing permits it") && kinds[0].2.contains("nothing permits it"),
        "{kinds:?}"
    );
}

#[tokio::test]
async fn what_is_not_proved_is_not_called_equivalent() {
    let before = store(SCHEMA, &[("own", OWN)]);
    // Another schema, though nothing differs by the second's.
    let schema = SCHEMA.replace("action View, Edit", "action View, Edit, Print");
    let (verdict, kinds) = difference(&before, &store(&schema, &[("own", OWN)])).await;
    assert_eq!((verdict, kinds.len()), (Likeness::Unknown, 0));
    // Policies that are not of the second's schema.
    let schema = SCHEMA.replace("pages: Long", "leaves: Long");
    let paged = store(
        SCHEMA,
        &[("own", OWN), ("long", "forbid (principal, action, resource) when { resource.pages > 9 };")],
    );
    let (verdict, kinds) = difference(&paged, &store(&schema, &[("own", OWN)])).await;
    assert!(verdict == Likeness::Unknown && kinds.iter().all(|kind| kind.1.contains("unknown")), "{kinds:?}");
    // No solver, and one that never answers, of what is not seen without one.
    let bounded = "permit (principal, action, resource)
        when { principal.tenant == resource.tenant && resource.pages < 1000 && resource.pages > 0 && resource.pages + 1 > principal.limit };";
    let other = store(SCHEMA, &[("own", OWN), ("bounded", bounded)]);
    assert_eq!(difference(&before, &other).await.0, Likeness::Equivalent);
    // One that errs where the other does not is refused there, and so not equivalent though Cedar allows the same.
    let errs = bounded.replace("resource.pages < 1000 && resource.pages > 0 && ", "");
    let errs = store(SCHEMA, &[("own", OWN), ("bounded", &errs)]);
    let (verdict, kinds) = difference(&before, &errs).await;
    assert_eq!((verdict, kinds.len()), (Likeness::Unknown, 0));
    // Nor where only the guardrail makes them alike: that can't be published.
    let open = store(SCHEMA, &[("all", "permit (principal, action, resource);")]);
    assert_eq!(difference(&before, &open).await.0, Likeness::Unknown);
    let gone = Prover { version: Err("gone".to_owned()), ..prover().await };
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("silent");
    let script =
        "#!/bin/sh\n[ \"$1\" = --version ] && echo This is cvc5 version 9 && exit\nexec cat > /dev/null\n";
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let silent = SolverSettings { program, time: Duration::from_millis(200), ..<_>::default() };
    let slow = Prover { settings: silent, ..prover().await };
    for prover in [gone, slow] {
        let found = prover.difference(&before, &other).await.unwrap();
        assert_eq!(found.verdict, Likeness::Unknown);
        let unknown = |kind: &KindOfRequest| matches!(&kind.gains, Finding::Unknown(_));
        assert!(found.differing.iter().all(unknown) && !found.differing.is_empty());
    }
    assert!(prover().await.difference(&before, &store(SCHEMA, &[("bad", "permit (")])).await.is_err());
}
