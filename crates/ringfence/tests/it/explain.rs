//! Who may see why a request was refused.

use crate::{
    program::{complaint, said},
    session::Plane,
};

/// A reference of the right form that names no request.
const UNKNOWN: &str = "0000000000-0000000000000000";

#[test]
fn cv32_the_operator_sees_every_layers_verdict() {
    let plane = Plane::shared();
    let token = plane.token("acme", "victor");
    let (own, theirs) = (plane.payment("acme"), plane.payment("globex"));
    let served = plane.get("acme", &token, &format!("/payments/{own}"));
    let text = said(&plane.command(&["explain", served.header("ringfence-reference")]));
    for word in
        ["gateway", "passed", "token", "authorization", "routing", "api", "guard", "acme", "everyone-reads"]
    {
        assert!(text.contains(word), "no {word} in {text}");
    }
    assert!(!text.contains("REFUSED"), "{text}");

    let refused = plane.get("globex", &token, &format!("/payments/{theirs}"));
    let text = said(&plane.command(&["explain", refused.header("ringfence-reference")]));
    assert!(text.contains("REFUSED  token: tenant_mismatch"), "{text}");
    let verdicts = plane.json(&["explain", refused.header("ringfence-reference")]);
    assert_eq!(verdicts[0]["refused"], serde_json::json!(["token", "tenant_mismatch"]));
    assert!(!text.contains(&token) && !verdicts.to_string().contains(&token));
}

#[test]
fn others_see_of_a_strangers_request_what_they_see_of_none() {
    let plane = Plane::shared();
    let served = plane.get("acme", &plane.token("acme", "victor"), "/payments");
    let reference = served.header("ringfence-reference");
    let ask = |token: &str, reference: &str| plane.api(token, "GET", &format!("/v1/explain/{reference}"));

    let own = ask(&plane.token("acme", "alice"), reference);
    assert_eq!(own.status, 200, "the tenant's administrator sees it: {own:?}");
    assert!(own.json().as_array().unwrap().iter().all(|verdict| verdict["tenant"] == "acme"));

    for (tenant, user) in [("globex", "grace"), ("acme", "victor"), ("acme", "carla"), ("globex", "vera")] {
        let token = plane.token(tenant, user);
        let (known, unknown) = (ask(&token, reference), ask(&token, UNKNOWN));
        assert!([403, 404].contains(&known.status), "{user}: {known:?}");
        assert_eq!(known.without_names(), unknown.without_names(), "{user} of {tenant}");
    }
    let complaint = complaint(&plane.command(&["explain", UNKNOWN]));
    assert!(complaint.contains("Nothing is served at this address"), "{complaint}");
}
