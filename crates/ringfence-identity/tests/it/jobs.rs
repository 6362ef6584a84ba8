//! Jobs: what a queue carries, who may run it, as whom, and until when.

mod revoked;

use http::{Request, StatusCode, header};
use ringfence_context::{
    AccessVerifier, DatabaseToken, Issuers, RawToken, Reason, Secret, TenantContext, VerifyJob,
    id::Role,
    job,
    key::{SigningKey, base64url, base64url_decode},
};
use ringfence_identity::{Membership, exchange, membership::DECISIONS};
use serde_json::{Value, json};

use crate::bench::{Answer, Bench, bench, by, client, form, tenant};

const DAY: u64 = 86_400;
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// Two tenants whose jobs one process runs: in each it has a client that may do nothing by itself.
struct Jobs {
    bench: Bench,
    acme: Secret<String>,
    globex: Secret<String>,
}

async fn jobs() -> Jobs {
    let bench = bench().await;
    let mut secrets = Vec::new();
    for name in ["acme", "globex"] {
        let made = bench
            .pools
            .client_create_machine(&tenant(name), &client("worker"), "Worker", vec![], &by())
            .await;
        secrets.push(made.unwrap());
        let roles = vec![Role::new(DECISIONS).unwrap()];
        bench.pools.client_create_machine(&tenant(name), &client("pdp"), "PDP", roles, &by()).await.unwrap();
    }
    bench.settle().await;
    let [acme, globex] = secrets.try_into().unwrap();
    Jobs { bench, acme, globex }
}

fn given(answer: &Answer) -> String {
    answer.json()["access_token"].as_str().unwrap_or_else(|| panic!("{}", answer.body)).to_owned()
}

fn refused(answer: &Answer) -> String {
    assert!(answer.json()["access_token"].is_null(), "{}", answer.body);
    answer.json()["error"].as_str().unwrap_or_else(|| panic!("{}", answer.body)).to_owned()
}

fn said(token: &str, segment: usize) -> Value {
    serde_json::from_slice(&base64url_decode(token.split('.').nth(segment).unwrap()).unwrap()).unwrap()
}

impl Jobs {
    /// An exchange at a tenant's endpoint, with some parameters changed, added or (empty) left out.
    async fn ask<'a>(
        &self,
        at: &str,
        fields: &[(&'a str, &'a str)],
        changes: &[(&'a str, &'a str)],
    ) -> Answer {
        let mut fields = [&[("grant_type", exchange::GRANT)], fields].concat();
        for change in changes {
            fields.retain(|(name, _)| *name != change.0);
            fields.push(*change);
        }
        fields.retain(|(_, value)| !value.is_empty());
        self.bench.post(&format!("/t/{at}/token"), &form(&fields)).await
    }

    async fn enqueue(&self, access: &str, changes: &[(&str, &str)]) -> Answer {
        let fields = [
            ("subject_token", access),
            ("subject_token_type", exchange::ACCESS_TOKEN),
            ("requested_token_type", exchange::JOB_TOKEN),
            ("scope", "job:nightly-report"),
            ("audience", "worker"),
        ];
        self.ask("acme", &fields, changes).await
    }

    /// A job token of Alice's.
    async fn job(&self) -> String {
        given(&self.enqueue(&self.bench.access_token().await, &[]).await)
    }

    async fn run(&self, at: &str, job: &str, changes: &[(&str, &str)]) -> Answer {
        let secret = if at == "globex" { &self.globex } else { &self.acme };
        let fields = [
            ("subject_token", job),
            ("subject_token_type", exchange::JOB_TOKEN),
            ("requested_token_type", exchange::ACCESS_TOKEN),
            ("client_id", "worker"),
            ("client_secret", secret.reveal()),
        ];
        self.ask(at, &fields, changes).await
    }

    async fn refusal(&self, job: &str) -> String {
        refused(&self.run("acme", job, &[]).await)
    }

    async fn context(&self, job: &str) -> TenantContext {
        self.bench.prove(&given(&self.run("acme", job, &[]).await), "acme").unwrap()
    }

    async fn revoke(&self, token: &str, id: &str, secret: &str) -> StatusCode {
        let fields = [("token", token), ("client_id", id), ("client_secret", secret)];
        let fields: Vec<_> = fields.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        self.bench.post("/t/acme/revoke", &form(&fields)).await.status
    }

    /// Alice, as a member with these roles.
    async fn roles(&self, roles: &[&str]) {
        let roles = roles.iter().map(|role| Role::new(role).unwrap()).collect();
        let membership = Membership { user: self.bench.alice.clone(), tenant: tenant("acme"), roles };
        self.bench.pools.membership_put(&membership, &by()).await.unwrap();
    }
}

#[tokio::test]
async fn a_job_runs_hours_later_as_who_enqueued_it_and_says_so() {
    let jobs = jobs().await;
    let answer = jobs.enqueue(&jobs.bench.access_token().await, &[]).await;
    assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
    let told = answer.json();
    assert_eq!(told["issued_token_type"], exchange::JOB_TOKEN);
    assert_eq!((told["token_type"].as_str(), told["expires_in"].as_u64()), (Some("N_A"), Some(DAY)));
    let job = given(&answer);
    assert_eq!(said(&job, 0)["typ"], "job+jwt");
    let claims = said(&job, 1);
    assert_eq!(claims["aud"], format!("{}/token", claims["iss"].as_str().unwrap()));
    assert_eq!(
        (claims["sub"].as_str(), &claims["job"]),
        (Some(jobs.bench.alice.as_str()), &"nightly-report".into())
    );
    assert_eq!((&claims["tenant_id"], &claims["may_act"]), (&"acme".into(), &json!({ "sub": "worker" })));

    jobs.bench.pass(DAY / 2).await;
    let answer = jobs.run("acme", &job, &[]).await;
    assert_eq!((&answer.json()["token_type"], &answer.json()["expires_in"]), (&"Bearer".into(), &300.into()));
    assert_eq!(answer.json()["issued_token_type"], exchange::ACCESS_TOKEN);
    let context = jobs.bench.prove(&given(&answer), "acme").unwrap();
    assert_eq!((context.subject(), context.client().as_str()), (&jobs.bench.alice, "worker"));
    assert_eq!((context.roles()[0].as_str(), context.is_machine()), ("clerk", false));
    let of = context.job().unwrap();
    assert_eq!((of.name.as_str(), of.client_id.as_str()), ("nightly-report", "web"));
    assert_eq!(of.jti.as_str(), claims["jti"].as_str().unwrap());

    let database = jobs.run("acme", &job, &[("requested_token_type", exchange::DATABASE_TOKEN)]).await;
    assert_eq!(database.json()["issued_token_type"], exchange::DATABASE_TOKEN);
    let database = DatabaseToken::new(&given(&database)).unwrap();
    assert_eq!(database.txn.reveal(), "acme.for.txn");
    let context = jobs.bench.prove(database.access.reveal(), "acme").unwrap();
    assert_eq!(context.job().unwrap().name.as_str(), "nightly-report");
    let login = jobs.run("acme", &job, &[("requested_token_type", exchange::DATABASE_CREDENTIAL)]).await;
    assert_eq!(login.json()["database"]["user"], "vended_1");

    let verdicts = jobs.bench.verdicts.0.lock().unwrap();
    let of_job = verdicts.iter().filter(|verdict| verdict.ends_with("allowed job nightly-report"));
    assert_eq!(of_job.count(), 4, "{verdicts:?}");
}

#[tokio::test]
async fn x16_a_job_of_acme_is_nothing_at_globex_whoever_brings_it() {
    let jobs = jobs().await;
    let job = jobs.job().await;
    let acme = jobs.acme.reveal().as_str();
    assert_eq!(refused(&jobs.run("globex", &job, &[]).await), "invalid_grant");
    assert_eq!(refused(&jobs.run("globex", &job, &[("client_secret", acme)]).await), "invalid_client");
    let theirs = jobs.globex.reveal().as_str();
    assert_eq!(refused(&jobs.run("acme", &job, &[("client_secret", theirs)]).await), "invalid_client");
    let database = ("requested_token_type", exchange::DATABASE_TOKEN);
    assert_eq!(refused(&jobs.run("globex", &job, &[database]).await), "invalid_grant");
    // The very check: the tenant its issuer signed for, and no other, though all else is right.
    let raw = RawToken::new(&job).unwrap();
    let issuer = jobs.bench.directory.issuer(&job::claimed_issuer(&raw).unwrap()).unwrap();
    let verified =
        AccessVerifier.verify_job(&raw, &issuer, ringfence_context::Clock::now(&*jobs.bench.clock));
    let bound = AccessVerifier.bind_job(verified.unwrap(), &tenant("globex"));
    assert_eq!(bound.unwrap_err().reason, Reason::TenantMismatch);
}

#[tokio::test]
async fn x16_a_job_token_is_no_access_token_and_nothing_else_is_a_job_token() {
    let jobs = jobs().await;
    let job = jobs.job().await;
    assert_eq!(jobs.bench.prove(&job, "acme").unwrap_err(), Reason::TokenMalformed);
    let userinfo = Request::get("/t/acme/userinfo").header(header::AUTHORIZATION, format!("Bearer {job}"));
    let userinfo = jobs.bench.send(userinfo.body(axum::body::Body::empty()).unwrap()).await;
    assert_eq!(userinfo.status, StatusCode::UNAUTHORIZED);
    for wanted in [exchange::DATABASE_TOKEN, exchange::DATABASE_CREDENTIAL, exchange::JOB_TOKEN] {
        let changes = [("subject_token_type", exchange::ACCESS_TOKEN), ("requested_token_type", wanted)];
        let more = [("scope", "job:other"), ("audience", "worker"), ("client_id", ""), ("client_secret", "")];
        let answer = jobs.run("acme", &job, &[&changes[..], &more[..]].concat()).await;
        assert_eq!(refused(&answer), "invalid_grant", "{wanted}");
    }
    let code = jobs.bench.code().await;
    let signed_in = jobs.bench.redeem("acme", &code, &[]).await.json();
    for other in ["access_token", "id_token"] {
        assert_eq!(jobs.refusal(signed_in[other].as_str().unwrap()).await, "invalid_grant", "{other}");
    }
    for wanted in [exchange::JOB_TOKEN, ID_TOKEN, "job", exchange::GRANT] {
        let answer = jobs.run("acme", &job, &[("requested_token_type", wanted)]).await;
        assert_eq!(refused(&answer), "invalid_request", "{wanted}");
    }
    assert_eq!(refused(&jobs.run("acme", &job, &[("actor_token", &job)]).await), "invalid_request");
}

#[tokio::test]
async fn x16_a_job_that_was_forged_or_changed_runs_nowhere() {
    let jobs = jobs().await;
    let job = jobs.job().await;
    let (header, claims) = (said(&job, 0), said(&job, 1));
    let signature = job.rsplit_once('.').unwrap().1;
    let text = |header: &Value, claims: &Value| {
        format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(claims.to_string().as_bytes()))
    };
    let changes = [
        ("tenant_id", json!("globex")),
        ("sub", json!("u-other")),
        ("iss", json!("http://gateway.test:8080/t/globex")),
        ("iss", json!("https://idp.example")),
        ("aud", json!("http://gateway.test:8080")),
        ("may_act", json!({ "sub": "acme-job" })),
        ("exp", json!(claims["exp"].as_u64().unwrap() + 1)),
        ("job", json!("other")),
    ];
    let (stranger, _) = SigningKey::generate().unwrap();
    for (name, value) in changes {
        let mut changed = claims.clone();
        changed[name] = value;
        let kept = format!("{}.{signature}", text(&header, &changed));
        for token in [kept, stranger.sign(job::TYP, &changed).unwrap()] {
            for at in ["acme", "globex"] {
                assert_eq!(refused(&jobs.run(at, &token, &[]).await), "invalid_grant", "{at} {name}");
            }
        }
    }
    for (name, value) in
        [("alg", "none"), ("alg", "HS256"), ("typ", "at+jwt"), ("typ", "txntoken+jwt"), ("jku", "x")]
    {
        let mut changed = header.clone();
        changed[name] = value.into();
        for signature in ["", signature] {
            let token = format!("{}.{signature}", text(&changed, &claims));
            assert_eq!(jobs.refusal(&token).await, "invalid_grant", "{name} {value}");
        }
    }
}

#[tokio::test]
async fn x16_what_a_stolen_signing_key_says_has_no_seal() {
    let jobs = jobs().await;
    let claims = said(&jobs.job().await, 1);
    let key = jobs.bench.pools.pool_get(&tenant("acme")).await.unwrap().signing_key().unwrap();
    assert!(
        jobs.bench
            .prove(&given(&jobs.run("acme", &key.sign(job::TYP, &claims).unwrap(), &[]).await), "acme")
            .is_ok()
    );
    for (name, value) in [("sub", "u-other"), ("job", "other"), ("may_act", ""), ("seal", "")] {
        let mut changed = claims.clone();
        match (name, value) {
            ("may_act", _) => changed[name] = json!({ "sub": "acme-job" }),
            ("seal", _) => drop(changed.as_object_mut().unwrap().remove(name)),
            _ => changed[name] = value.into(),
        }
        let token = key.sign(job::TYP, &changed).unwrap();
        assert_eq!(jobs.refusal(&token).await, "invalid_grant", "{name}");
    }
}

#[tokio::test]
async fn x16_only_its_worker_runs_a_job() {
    let jobs = jobs().await;
    let job = jobs.job().await;
    let other = jobs.bench.machine_secret.reveal().as_str();
    for (id, secret, error) in [
        ("", "", "invalid_client"),
        ("worker", "", "invalid_client"),
        ("worker", "wrong", "invalid_client"),
        ("worker", other, "invalid_client"),
        ("acme-job", other, "invalid_grant"),
        ("web", "", "unauthorized_client"),
    ] {
        let answer = jobs.run("acme", &job, &[("client_id", id), ("client_secret", secret)]).await;
        assert_eq!(refused(&answer), error, "{id}");
    }
    let access = given(&jobs.run("acme", &job, &[]).await);
    jobs.bench.pools.client_disable(&tenant("acme"), &client("worker"), &by()).await.unwrap();
    jobs.bench.settle().await;
    assert_eq!(jobs.refusal(&job).await, "invalid_client");
    assert_eq!(jobs.bench.prove(&access, "acme").unwrap_err(), Reason::TokenRevoked);
}

#[tokio::test]
async fn x16_a_worker_that_is_no_member_any_more_runs_nothing() {
    let jobs = jobs().await;
    let job = jobs.job().await;
    let worker = ringfence_context::id::Subject::new("worker").unwrap();
    jobs.bench.pools.membership_delete(&tenant("acme"), &worker, &by()).await.unwrap();
    assert_eq!(jobs.refusal(&job).await, "access_denied");
    let access = jobs.bench.access_token().await;
    assert_eq!(refused(&jobs.enqueue(&access, &[]).await), "invalid_target");
}

#[tokio::test]
async fn a_job_has_the_roles_of_now() {
    let jobs = jobs().await;
    jobs.roles(&["admin", "clerk"]).await;
    let job = jobs.job().await;
    let roles = |context: TenantContext| {
        context.roles().iter().map(|role| role.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(roles(jobs.context(&job).await), ["admin", "clerk"]);
    jobs.roles(&["viewer"]).await;
    assert_eq!(roles(jobs.context(&job).await), ["viewer"]);
    jobs.roles(&[]).await;
    assert!(roles(jobs.context(&job).await).is_empty());
}

#[tokio::test]
async fn x16_who_enqueued_and_is_gone_runs_no_more_jobs() {
    let jobs = jobs().await;
    let (acme, alice) = (tenant("acme"), &jobs.bench.alice);
    let job = jobs.job().await;
    jobs.bench.pools.user_disable(&acme, alice, &by()).await.unwrap();
    assert_eq!(jobs.refusal(&job).await, "invalid_grant");
    jobs.bench.settle().await;
    assert_eq!(jobs.refusal(&job).await, "invalid_grant");
    jobs.bench.pools.user_enable(&acme, alice, &by()).await.unwrap();
    jobs.bench.settle().await;
    assert_eq!(jobs.context(&job).await.subject(), alice);
    jobs.bench.pools.membership_delete(&acme, alice, &by()).await.unwrap();
    assert_eq!(jobs.refusal(&job).await, "access_denied");
}

#[tokio::test]
async fn x16_a_suspended_tenants_jobs_wait_and_a_tenant_that_is_gone_has_none() {
    let jobs = jobs().await;
    let (acme, pools) = (tenant("acme"), &jobs.bench.pools);
    let job = jobs.job().await;
    pools.pool_suspend(&acme).await.unwrap();
    jobs.bench.settle().await;
    assert_eq!(jobs.run("acme", &job, &[]).await.json()["type"], "not_served");
    pools.pool_resume(&acme).await.unwrap();
    jobs.bench.settle().await;
    assert_eq!(jobs.context(&job).await.tenant(), &acme);

    pools.pool_delete(&acme).await.unwrap();
    jobs.bench.records.tenant_shred(&acme).await.unwrap();
    jobs.bench.settle().await;
    assert_eq!(jobs.run("acme", &job, &[]).await.json()["type"], "not_served");
    let again = tenant("acme-two");
    jobs.bench.records.tenant_add(&again).await.unwrap();
    pools.pool_create(&again, "Acme Corporation").await.unwrap();
    let secret =
        pools.client_create_machine(&again, &client("worker"), "Worker", vec![], &by()).await.unwrap();
    jobs.bench.settle().await;
    let answer = jobs.run("acme-two", &job, &[("client_secret", secret.reveal())]).await;
    assert_eq!(refused(&answer), "invalid_grant");
}

#[tokio::test]
async fn a_job_ends_with_its_token_and_so_does_what_came_of_it() {
    let jobs = jobs().await;
    let job = jobs.job().await;
    jobs.bench.pass(DAY - 60).await;
    let answer = jobs.run("acme", &job, &[]).await;
    assert_eq!(answer.json()["expires_in"], 60);
    jobs.bench.pass(61).await;
    assert_eq!(jobs.bench.prove(&given(&answer), "acme").unwrap_err(), Reason::TokenExpired);
    assert_eq!(jobs.refusal(&job).await, "invalid_grant");
}

#[tokio::test]
async fn x16_no_chain_of_jobs_outlives_its_first() {
    let jobs = jobs().await;
    let first = jobs.job().await;
    let end = said(&first, 1)["exp"].as_u64().unwrap();
    let mut job = first.clone();
    for hours in 1..=3 {
        jobs.bench.pass(3600).await;
        let access = given(&jobs.run("acme", &job, &[]).await);
        let answer = jobs.enqueue(&access, &[("scope", "job:next")]).await;
        assert_eq!(answer.json()["expires_in"], DAY - 3600 * hours);
        job = given(&answer);
        assert_eq!(said(&job, 1)["exp"], end);
        let context = jobs.context(&job).await;
        let of = context.job().unwrap();
        assert_eq!((of.name.as_str(), of.exp, of.client_id.as_str()), ("next", end, "web"));
    }
    jobs.bench.pass(DAY - 3 * 3600).await;
    for job in [first, job] {
        assert_eq!(jobs.refusal(&job).await, "invalid_grant");
    }
}

#[tokio::test]
async fn a_machine_may_enqueue_and_stays_one() {
    let jobs = jobs().await;
    let machine = [
        ("grant_type", "client_credentials"),
        ("client_id", "acme-job"),
        ("client_secret", jobs.bench.machine_secret.reveal()),
    ];
    let access = given(&jobs.bench.post("/t/acme/token", &form(&machine)).await);
    let job = given(&jobs.enqueue(&access, &[]).await);
    let context = jobs.context(&job).await;
    assert_eq!((context.subject().as_str(), context.client().as_str()), ("acme-job", "worker"));
    assert!(context.is_machine());
    let next = given(&jobs.enqueue(&given(&jobs.run("acme", &job, &[]).await), &[]).await);
    assert!(jobs.context(&next).await.is_machine());
    jobs.bench.pools.client_disable(&tenant("acme"), &client("acme-job"), &by()).await.unwrap();
    assert_eq!(jobs.refusal(&job).await, "invalid_grant");
}

#[tokio::test]
async fn a_job_is_named_and_for_a_worker_of_the_tenant() {
    let jobs = jobs().await;
    let access = jobs.bench.access_token().await;
    for scope in [
        "",
        "job:",
        "nightly",
        "openid",
        "job:a openid",
        "job:a\"b",
        "job:a|b",
        &format!("job:{}", "a".repeat(129)),
    ] {
        let error = if scope.is_empty() { "invalid_request" } else { "invalid_scope" };
        assert_eq!(refused(&jobs.enqueue(&access, &[("scope", scope)]).await), error, "{scope}");
    }
    assert_eq!(refused(&jobs.enqueue(&access, &[("audience", "")]).await), "invalid_request");
    jobs.bench.pools.client_disable(&tenant("acme"), &client("acme-job"), &by()).await.unwrap();
    let mut bodies = Vec::new();
    for audience in ["web", "nobody", "globex-job", "acme-job", "pdp", "a b", jobs.bench.alice.as_str()] {
        let answer = jobs.enqueue(&access, &[("audience", audience)]).await;
        assert_eq!(refused(&answer), "invalid_target", "{audience}");
        bodies.push(answer.body_without_names());
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
}

#[tokio::test]
async fn x16_who_is_not_proved_or_may_only_decide_enqueues_nothing() {
    let jobs = jobs().await;
    let access = jobs.bench.access_token().await;
    let fields = [
        ("subject_token", access.as_str()),
        ("subject_token_type", exchange::ACCESS_TOKEN),
        ("requested_token_type", exchange::JOB_TOKEN),
        ("scope", "job:nightly-report"),
        ("audience", "worker"),
    ];
    assert_eq!(refused(&jobs.ask("globex", &fields, &[]).await), "invalid_grant");
    for change in [("subject_token", "a.b.c"), ("client_id", "other")] {
        assert_eq!(refused(&jobs.ask("acme", &fields, &[change]).await), "invalid_grant", "{change:?}");
    }
    assert_eq!(
        refused(&jobs.ask("acme", &fields, &[("subject_token_type", ID_TOKEN)]).await),
        "invalid_request"
    );
    let roles = vec![Role::new(DECISIONS).unwrap()];
    let pools = &jobs.bench.pools;
    let secret =
        pools.client_create_machine(&tenant("acme"), &client("decider"), "D", roles, &by()).await.unwrap();
    let machine =
        [("grant_type", "client_credentials"), ("client_id", "decider"), ("client_secret", secret.reveal())];
    let decides = given(&jobs.bench.post("/t/acme/token", &form(&machine)).await);
    assert_eq!(refused(&jobs.enqueue(&decides, &[]).await), "unauthorized_client");
    jobs.bench.pass(301).await;
    assert_eq!(refused(&jobs.ask("acme", &fields, &[]).await), "invalid_grant");
}

#[tokio::test]
async fn a_replaced_key_ends_what_it_has_signed_for_queues_an_hour_later() {
    let jobs = jobs().await;
    let job = jobs.job().await;
    jobs.bench
        .pools
        .key_rotate(&tenant("acme"), ringfence_context::Clock::now(&*jobs.bench.clock))
        .await
        .unwrap();
    jobs.bench.settle().await;
    assert_eq!(jobs.context(&job).await.subject(), &jobs.bench.alice);
    jobs.bench.pass(3601).await;
    assert_eq!(jobs.refusal(&job).await, "invalid_grant");
}
