//! The engine on the sample app's own policies: who may do what is a table.

use ringfence_context::{
    AccessClaims, AccessVerifier, IssuerKeys, Permit, RawToken, Reason, Seal, TenantContext, TenantId,
    TokenId, UnixTime, VerifyAccess, access,
    id::{ClientId, Role, StoreId, Subject},
    key::{MacKey, SigningKey},
};
use serde_json::{Map, json};

use crate::{CompiledStore, PolicyBundle, Question, Resource, StoreDocument};

const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);

/// A context as the kernel makes it: a real token, really verified.
pub(crate) fn context(tenant: &str, role: &str) -> TenantContext {
    asker(tenant, "u-1", role)
}

pub(crate) fn asker(tenant: &str, subject: &str, role: &str) -> TenantContext {
    let tenant = TenantId::new(tenant).unwrap();
    let (key, _) = SigningKey::generate().unwrap();
    let jti = TokenId::new("t-1").unwrap();
    let exp = NOW.seconds() + 300;
    let claims = AccessClaims {
        iss: "https://gw/t/x".to_owned(),
        sub: Subject::new(subject).unwrap(),
        aud: "https://gw".to_owned(),
        exp,
        iat: NOW.seconds(),
        seal: Seal::issue(&MacKey::generate().unwrap(), &tenant, &jti, exp),
        jti,
        client_id: ClientId::new("web").unwrap(),
        tenant_id: tenant.clone(),
        roles: [Role::new(role).unwrap()].into(),
        job: None,
    };
    let issuer = IssuerKeys {
        tenant: tenant.clone(),
        issuer: claims.iss.clone(),
        audience: claims.aud.clone(),
        keys: vec![key.public().clone()],
    };
    let raw = RawToken::new(&key.sign(access::TYP, &claims).unwrap()).unwrap();
    AccessVerifier.bind(AccessVerifier.verify(&raw, &issuer, NOW).unwrap(), &tenant).unwrap()
}

pub(crate) fn bundle() -> PolicyBundle {
    PolicyBundle {
        namespace: "Ledger".to_owned(),
        schema: include_str!("../../../examples/ledger/policies/ledger.cedarschema").to_owned(),
        policies: include_str!("../../../examples/ledger/policies/ledger.cedar").to_owned(),
    }
}

pub(crate) fn document(tenant: &str) -> StoreDocument {
    bundle().seed(StoreId::new("ps-1").unwrap(), TenantId::new(tenant).unwrap()).unwrap()
}

fn ask(
    store: &CompiledStore,
    role: &str,
    action: &str,
    resource: &Resource,
    facts: serde_json::Value,
) -> Option<Reason> {
    let context = context("acme", role);
    let facts = facts.as_object().cloned().unwrap_or_default();
    let question = Question { context: &context, principal: None, action, resource, facts: &facts };
    match store.answer(&question).and_then(|answer| Permit::decide(&context, action, &answer)) {
        Ok(_) => None,
        Err(refusal) => Some(refusal.reason),
    }
}

fn resource(kind: &str, tenant: &str, attributes: serde_json::Value) -> Resource {
    Resource {
        kind: kind.to_owned(),
        id: "r-1".to_owned(),
        tenant: TenantId::new(tenant).unwrap(),
        attributes: attributes.as_object().cloned().unwrap_or_default(),
    }
}

#[test]
fn cv13_roles_permit_and_forbids_win() {
    let store = CompiledStore::compile(&document("acme"), 1).unwrap();
    let check = |role, action, kind, attributes, facts, expected: Option<Reason>| {
        let asked = resource(kind, "acme", attributes);
        assert_eq!(ask(&store, role, action, &asked, facts), expected, "{role} {action}");
    };
    let denied = Some(Reason::Denied);
    check("viewer", "ListPayments", "Book", json!({}), json!({}), None);
    check("nobody", "ListPayments", "Book", json!({}), json!({}), denied);
    check("viewer", "CreatePayment", "Book", json!({}), json!({}), denied);
    check("clerk", "CreatePayment", "Book", json!({}), json!({"amount": 1_000_000}), None);
    check("clerk", "CreatePayment", "Book", json!({}), json!({"amount": 1_000_001}), denied);
    check("approver", "CreatePayment", "Book", json!({}), json!({"amount": 1_000_001}), None);
    check("approver", "RefundPayment", "Payment", json!({}), json!({}), None);
    check("approver", "RefundPayment", "Payment", json!({"created_by": "u-2"}), json!({}), None);
    check("approver", "RefundPayment", "Payment", json!({"created_by": "u-1"}), json!({}), denied);
    check("viewer", "ConnectDatabase", "Book", json!({}), json!({}), denied);
    check("admin", "ConnectDatabase", "Book", json!({}), json!({}), None);
}

#[test]
fn cv08_a_resource_of_another_tenant_is_forbidden_by_the_guardrail() {
    let mut document = document("acme");
    // Without the tenant's own: the guardrail stands by itself.
    document.policies.remove("own-tenant-only").unwrap();
    document.policies.insert("all".to_owned(), "permit (principal, action, resource);".to_owned());
    let store = CompiledStore::compile(&document, 1).unwrap();
    let asked = |tenant| resource("Payment", tenant, json!({}));
    assert_eq!(ask(&store, "nobody", "ViewPayment", &asked("acme"), json!({})), None);
    assert_eq!(ask(&store, "nobody", "ViewPayment", &asked("globex"), json!({})), Some(Reason::Denied));
}

#[test]
fn x17_an_answer_of_another_tenants_store_is_not_believed() {
    let mut foreign = document("globex");
    foreign.policies.insert("all".to_owned(), "permit (principal, action, resource);".to_owned());
    let store = CompiledStore::compile(&foreign, 1).unwrap();
    let asked = resource("Book", "acme", json!({}));
    assert_eq!(ask(&store, "admin", "ListPayments", &asked, json!({})), Some(Reason::StoreUnavailable));
}

#[test]
fn a_policy_error_refuses_although_another_policy_permits() {
    let mut document = document("acme");
    let overflow = "forbid (principal, action == Ledger::Action::\"CreatePayment\", resource)
        when { context has amount && context.amount + 9223372036854775807 > 0 };";
    document.policies.insert("overflows".to_owned(), overflow.to_owned());
    let store = CompiledStore::compile(&document, 1).unwrap();
    let asked = resource("Book", "acme", json!({}));
    let refused = ask(&store, "admin", "CreatePayment", &asked, json!({"amount": 5}));
    assert_eq!(refused, Some(Reason::PolicyError));
}

#[test]
fn a_question_outside_the_schema_is_refused() {
    let store = CompiledStore::compile(&document("acme"), 1).unwrap();
    for (action, kind, facts) in [
        ("Unknown", "Book", json!({})),
        ("ListPayments", "Unknown", json!({})),
        ("ListPayments", "Payment", json!({})),
        ("ListPayments", "Book", json!({"surprise": 1})),
        ("CreatePayment", "Book", json!({"amount": "many"})),
        ("ListPayments\"", "Book", json!({})),
    ] {
        let asked = resource(kind, "acme", json!({}));
        assert_eq!(ask(&store, "admin", action, &asked, facts), Some(Reason::PolicyError), "{action} {kind}");
    }
}

#[test]
fn cv10_what_does_not_fit_the_schema_is_refused_on_write() {
    let check = |name: &str, text: &str, expected: &str| {
        let mut document = document("acme");
        document.policies.insert(name.to_owned(), text.to_owned());
        let fault = CompiledStore::compile(&document, 1).unwrap_err().to_string();
        assert!(fault.contains(expected), "{fault}");
    };
    check("p", "permit (principal, action, resource", "policy \"p\"");
    check("p", "permit (principal, action == Ledger::Action::\"Fly\", resource);", "does not fit the schema");
    check(
        "p",
        "permit (principal, action, resource) when { resource.colour == 1 };",
        "does not fit the schema",
    );
    check("ringfence:guardrail", "permit (principal, action, resource);", "the platform's");
    let mut broken = document("acme");
    broken.schema = "namespace Ledger {".to_owned();
    assert!(CompiledStore::compile(&broken, 1).unwrap_err().to_string().contains("schema"));
}

#[test]
fn cv11_a_template_linked_policy_permits_what_its_slots_name() {
    let mut document = document("acme");
    let template =
        "permit (principal == ?principal, action == Ledger::Action::\"ViewPayment\", resource == ?resource);";
    document.templates.insert("one-payment".to_owned(), template.to_owned());
    let before = CompiledStore::compile(&document, 1).unwrap();
    let link = crate::TemplateLink {
        template: "one-payment".to_owned(),
        principal: Some("Ledger::User::\"u-1\"".to_owned()),
        resource: Some("Ledger::Payment::\"r-1\"".to_owned()),
    };
    document.links.insert("u1-r1".to_owned(), link);
    let after = CompiledStore::compile(&document, 2).unwrap();
    let asked = resource("Payment", "acme", json!({}));
    assert_eq!(ask(&before, "nobody", "ViewPayment", &asked, json!({})), Some(Reason::Denied));
    assert_eq!(ask(&after, "nobody", "ViewPayment", &asked, json!({})), None);
    assert!(!before.names_resources(), "only roles and actions are named");
    assert!(after.names_resources(), "the link names a payment");
}

#[test]
fn cv12_an_answer_names_the_policies_that_determined_it() {
    let store = CompiledStore::compile(&document("acme"), 7).unwrap();
    let context = context("acme", "viewer");
    let (asked, facts) = (resource("Book", "acme", json!({})), Map::new());
    let question = Question {
        context: &context,
        principal: None,
        action: "ListPayments",
        resource: &asked,
        facts: &facts,
    };
    let answer = store.answer(&question).unwrap();
    assert_eq!(answer.determining, ["everyone-reads"]);
    assert_eq!(answer.revision, 7);
}

#[test]
fn policies_without_a_name_or_with_the_same_name_are_refused() {
    let mut bundle = bundle();
    bundle.policies = "permit (principal, action, resource);".to_owned();
    let seed =
        |bundle: &PolicyBundle| bundle.seed(StoreId::new("s").unwrap(), TenantId::new("acme").unwrap());
    assert!(seed(&bundle).unwrap_err().to_string().contains("@id"));
    bundle.policies =
        "@id(\"a\") permit (principal, action, resource); @id(\"a\") forbid (principal, action, resource);"
            .to_owned();
    assert!(seed(&bundle).unwrap_err().to_string().contains("named \"a\""));
}
