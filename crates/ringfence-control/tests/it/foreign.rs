//! Tokens of other issuers at the policy service: believed as their identity source says, and of nobody else.

use aws_lc_rs::{
    rand::SystemRandom,
    rsa::KeySize,
    signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair},
};
use http::StatusCode;
use ringfence_context::{
    Clock,
    key::{SigningKey, base64url},
};
use ringfence_control::{SystemClock, access_key::KeyOwner};
use serde_json::{Value, json};

use crate::{
    avp::Key,
    bench::{Answer, Bench, id, with_bench},
    issuer_server::{Page, key},
};

const SCHEMA: &str = r#"{"P": {"entityTypes": {
    "User": {"memberOfTypes": ["Group"], "shape": {"type": "Record", "attributes": {
        "email": {"type": "String", "required": false}}}},
    "Group": {}, "Photo": {}},
  "actions": {"view": {"appliesTo": {"principalTypes": ["User"], "resourceTypes": ["Photo"]}},
              "edit": {"appliesTo": {"principalTypes": ["User"], "resourceTypes": ["Photo"]}}}}}"#;

/// A store of a tenant's with an identity source.
struct Store<'a> {
    bench: &'a Bench,
    key: Key,
    id: String,
}

impl<'a> Store<'a> {
    async fn new(bench: &'a Bench, tenant: &str, configuration: Value) -> Self {
        let key = Key::new(bench, KeyOwner::Tenant(id(tenant))).await;
        let made = key.ask(bench, "CreatePolicyStore", r#"{"validationSettings":{"mode":"OFF"}}"#).await;
        let store = Self { bench, key, id: made.json()["policyStoreId"].as_str().unwrap().to_owned() };
        store.ok("PutSchema", json!({ "definition": { "cedarJson": SCHEMA } })).await;
        store.source(configuration).await;
        store
    }

    async fn ask(&self, operation: &str, mut input: Value) -> Answer {
        input["policyStoreId"] = json!(self.id);
        self.key.ask(self.bench, operation, &input.to_string()).await
    }

    async fn ok(&self, operation: &str, input: Value) -> Value {
        let answer = self.ask(operation, input).await;
        assert_eq!(answer.status, StatusCode::OK, "{operation}: {answer:?}");
        answer.json()
    }

    async fn source(&self, configuration: Value) {
        let source = json!({ "configuration": configuration, "principalEntityType": "P::User" });
        self.ok("CreateIdentitySource", source).await;
    }

    async fn permit(&self, statement: &str) {
        self.ok("CreatePolicy", json!({ "definition": { "static": { "statement": statement } } })).await;
    }

    /// Asks about a token: the decision and the principal, or what is wrong with the token.
    async fn decide(&self, kind: &str, token: &str) -> Result<(String, String), String> {
        let asked = json!({
            kind: token,
            "action": { "actionType": "P::Action", "actionId": "view" },
            "resource": { "entityType": "P::Photo", "entityId": "p" },
        });
        let answer = self.ask("IsAuthorizedWithToken", asked).await;
        let said = answer.json();
        if answer.status == StatusCode::OK {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            return Ok((text(&said["decision"]), text(&said["principal"]["entityId"])));
        }
        assert_eq!(said["__type"], "ValidationException", "{said}");
        assert_eq!(said["fieldList"][0]["path"], kind, "{said}");
        Err(said["message"].as_str().unwrap().to_owned())
    }
}

fn now() -> u64 {
    SystemClock.now().seconds()
}

fn claims(issuer: &str, more: Value) -> Value {
    let mut claims = json!({ "iss": issuer, "sub": "u-1", "iat": now(), "exp": now() + 300 });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

fn token(key: &SigningKey, claims: &Value) -> String {
    key.sign("JWT", claims).unwrap()
}

fn oidc(issuer: &str, selection: Value) -> Value {
    json!({ "openIdConnectConfiguration": {
        "issuer": issuer, "entityIdPrefix": "corp", "tokenSelection": selection,
        "groupConfiguration": { "groupClaim": "groups", "groupEntityType": "P::Group" },
    } })
}

fn allowed(id: &str) -> Result<(String, String), String> {
    Ok(("ALLOW".to_owned(), id.to_owned()))
}

/// Two decisions about one token.
async fn batch(store: &Store<'_>, token: &str) {
    let photo = json!({ "entityType": "P::Photo", "entityId": "p" });
    let request = |action: &str| json!({ "action": { "actionType": "P::Action", "actionId": action }, "resource": photo });
    let asked = json!({ "accessToken": token, "requests": [request("view"), request("edit")] });
    let decided = store.ok("BatchIsAuthorizedWithToken", asked).await;
    let decisions = (&decided["results"][0]["decision"], &decided["results"][1]["decision"]);
    assert_eq!(decisions, (&json!("ALLOW"), &json!("DENY")));
}

#[test]
fn a_token_of_another_issuer_is_believed_as_its_identity_source_says() {
    with_bench(async |bench| {
        bench.tenant("oidc").await;
        let issuer = "https://login.example.com/oidc";
        // As most providers sign: RS256.
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let modulus = base64url(&pair.public_key().as_ref()[9..265]);
        let published =
            json!({ "kty": "RSA", "n": modulus, "e": "AQAB", "kid": "one", "use": "sig", "alg": "RS256" });
        bench.issuers.issuer(issuer, &[published]);
        let sign = |claims: &Value| {
            let header = json!({ "alg": "RS256", "kid": "one", "typ": "at+jwt" }).to_string();
            let message =
                format!("{}.{}", base64url(header.as_bytes()), base64url(claims.to_string().as_bytes()));
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
            format!("{message}.{}", base64url(&signature))
        };
        let selection = json!({ "accessTokenOnly": { "audiences": ["https://api.example.com"], "principalIdClaim": "name" } });
        let store = Store::new(bench, "oidc", oidc(issuer, selection)).await;
        store.permit("permit (principal in P::Group::\"corp|staff\", action == P::Action::\"view\", resource) when { context.token.scope == \"photos\" };").await;
        let good = json!({ "name": "alice", "aud": ["x", "https://api.example.com"], "groups": ["staff"], "scope": "photos" });
        assert_eq!(
            store.decide("accessToken", &sign(&claims(issuer, good.clone()))).await,
            allowed("corp|alice")
        );
        batch(&store, &sign(&claims(issuer, good.clone()))).await;
        let with = |name: &str, value: Value| {
            let mut said = claims(issuer, good.clone());
            said[name] = value;
            sign(&said)
        };
        for (name, value, says) in [
            ("aud", json!("https://other.example.com"), "another audience"),
            ("aud", json!(null), "another audience"),
            ("exp", json!(now()), "expired"),
            ("nbf", json!(now() + 300), "not valid yet"),
            ("name", json!(null), "lacks the claim"),
            ("name", json!(""), "lacks the claim"),
            ("iss", json!("https://login.example.com/oidc/"), "no identity source"),
            ("token_use", json!("id"), "not a well-formed"),
        ] {
            let told = store.decide("accessToken", &with(name, value)).await.unwrap_err();
            assert!(told.contains(says), "{name}: {told}");
        }
        assert_eq!(
            store.decide("accessToken", &with("groups", json!(["corp|staff"]))).await.unwrap().0,
            "DENY"
        );
        let told = store.decide("identityToken", &sign(&claims(issuer, good.clone()))).await.unwrap_err();
        assert!(told.contains("not the one kind of token"), "{told}");
        // Signed by somebody else, also under the name of the issuer's key.
        let (stranger, _) = key();
        assert!(
            store
                .decide("accessToken", &token(&stranger, &claims(issuer, good)))
                .await
                .unwrap_err()
                .contains("does not verify")
        );
        assert_eq!(bench.issuers.asked("login.example.com/oidc/keys"), 1);
    });
}

#[test]
fn an_id_token_of_another_issuer_is_for_a_client_that_is_named() {
    with_bench(async |bench| {
        bench.tenant("oidc-id").await;
        let issuer = "https://login.example.com/oidc-id";
        let (own, published) = key();
        bench.issuers.issuer(issuer, &[published]);
        let selection = json!({ "identityTokenOnly": { "clientIds": ["web", "app"] } });
        let store = Store::new(bench, "oidc-id", oidc(issuer, selection)).await;
        store.permit("permit (principal, action, resource) when { principal.email == \"a@example.com\" && principal.subject == \"u-1\" && principal.tenant == \"oidc-id\" };").await;
        let said = |more: Value| {
            let mut said = claims(
                issuer,
                json!({ "email": "a@example.com", "tenant": "globex", "tenant_id": "globex", "subject": "root" }),
            );
            said.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            token(&own, &said)
        };
        for good in
            [json!({ "aud": "web" }), json!({ "aud": ["app"] }), json!({ "aud": ["web", "x"], "azp": "web" })]
        {
            assert_eq!(store.decide("identityToken", &said(good)).await, allowed("corp|u-1"));
        }
        for bad in [
            json!({ "aud": "other" }),
            json!({ "aud": ["web", "x"] }),
            json!({ "aud": ["web", "x"], "azp": "x" }),
            json!({ "aud": "web", "azp": "x" }),
            json!({ "aud": "web", "azp": ["web"] }),
            json!({ "aud": { "web": true } }),
            json!({}),
        ] {
            let told = store.decide("identityToken", &said(bad.clone())).await.unwrap_err();
            assert!(told.contains("another audience"), "{bad}: {told}");
        }
        // A source that names nobody would take what is meant for anybody.
        for (kind, selection) in [
            ("identityToken", json!({ "identityTokenOnly": {} })),
            ("accessToken", json!({ "accessTokenOnly": {} })),
        ] {
            let open = Store::new(bench, "oidc-id", oidc(issuer, selection)).await;
            let told = open.decide(kind, &said(json!({ "aud": "web" }))).await.unwrap_err();
            assert!(told.contains("name whom it must be meant for"), "{told}");
        }
    });
}

#[test]
fn tokens_of_a_cognito_user_pool_name_its_users_and_groups() {
    with_bench(async |bench| {
        bench.tenant("pool").await;
        let pool = "eu-central-1_Ab1";
        let issuer = format!("https://cognito-idp.eu-central-1.amazonaws.com/{pool}");
        let (own, published) = key();
        bench.issuers.issuer(&issuer, &[published]);
        let configuration = |clients: Value| {
            json!({ "cognitoUserPoolConfiguration": {
                "userPoolArn": format!("arn:aws:cognito-idp:eu-central-1:123456789012:userpool/{pool}"),
                "clientIds": clients, "groupConfiguration": { "groupEntityType": "P::Group" },
            } })
        };
        let store = Store::new(bench, "pool", configuration(json!(["web"]))).await;
        store.permit(&format!("permit (principal in P::Group::\"{pool}|staff\", action, resource);")).await;
        let said = |more: Value| {
            let mut said = claims(&issuer, json!({ "cognito:groups": ["staff"] }));
            said.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            token(&own, &said)
        };
        let (access, identity) = (
            json!({ "token_use": "access", "client_id": "web" }),
            json!({ "token_use": "id", "aud": "web" }),
        );
        let principal = format!("{pool}|u-1");
        assert_eq!(store.decide("accessToken", &said(access.clone())).await, allowed(&principal));
        assert_eq!(store.decide("identityToken", &said(identity.clone())).await, allowed(&principal));
        for (kind, bad) in [
            ("identityToken", access.clone()),
            ("accessToken", identity.clone()),
            ("accessToken", json!({ "client_id": "web" })),
            ("identityToken", json!({ "aud": "web" })),
            ("accessToken", json!({ "token_use": "access", "client_id": "other" })),
            ("accessToken", json!({ "token_use": "access", "aud": "web" })),
            ("identityToken", json!({ "token_use": "id", "aud": "other" })),
            ("identityToken", json!({ "token_use": "id", "client_id": "web" })),
        ] {
            assert!(store.decide(kind, &said(bad.clone())).await.is_err(), "{kind} {bad}");
        }
        let both = json!({
            "accessToken": said(access), "identityToken": said(identity),
            "action": { "actionType": "P::Action", "actionId": "view" }, "resource": { "entityType": "P::Photo", "entityId": "p" },
        });
        assert_eq!(store.ask("IsAuthorizedWithToken", both).await.status, StatusCode::BAD_REQUEST);
        let any = Store::new(bench, "pool", configuration(json!([]))).await;
        let told =
            any.decide("accessToken", &said(json!({ "token_use": "access", "client_id": "other" }))).await;
        assert_eq!(told, Ok(("DENY".to_owned(), principal)), "any client of the pool, and no policy");
    });
}

#[test]
fn x16_no_other_issuer_speaks_for_a_tenant_of_the_plane() {
    with_bench(async |bench| {
        bench.tenant("speaker").await;
        bench.tenant("spoken-for").await;
        let addresses = bench.workflow.directory.addresses();
        let victims = addresses.issuer(&id("spoken-for"));
        let key_of = Key::new(bench, KeyOwner::Tenant(id("speaker"))).await;
        // Another tenant's issuer is no identity source, by whatever name.
        let selection = json!({ "accessTokenOnly": { "audiences": ["x"] } });
        let new =
            json!({ "policyStoreId": "ps-speaker", "configuration": oidc(&victims, selection.clone()) });
        let refused = key_of.ask(bench, "CreateIdentitySource", &new.to_string()).await;
        assert_eq!(refused.json()["__type"], "ValidationException", "{refused:?}");
        let suffix = addresses.host_suffix.clone();
        let alias = format!("https://spoken-for.{suffix}/t/spoken-for");
        let (own, published) = key();
        let store = Store::new(bench, "speaker", oidc(&alias, selection.clone())).await;
        let told = store.decide("accessToken", &token(&own, &claims(&alias, json!({ "aud": "x" })))).await;
        assert!(told.clone().unwrap_err().contains("of an issuer of this plane"), "{told:?}");
        // A real token of the victim's, at a source whose issuer publishes the victim's keys as its own.
        let victim = bench.token("spoken-for", "admin").await;
        let issuer = "https://login.example.com/speaker";
        let pool = bench.workflow.directory.pool(&id("spoken-for")).unwrap();
        let mut keys: Vec<Value> =
            pool.keys.iter().map(|key| serde_json::to_value(key.jwk()).unwrap()).collect();
        keys.push(published);
        bench.issuers.issuer(issuer, &keys);
        let store = Store::new(bench, "speaker", oidc(issuer, selection.clone())).await;
        let told = store.decide("accessToken", &victim).await.unwrap_err();
        assert!(told.contains("no identity source"), "{told}");
        // A token that only says it is the plane's, or the victim's.
        let says = |issuer: &str, more: Value| token(&own, &claims(issuer, more));
        let told = store.decide("accessToken", &says(&victims, json!({ "aud": "x" }))).await.unwrap_err();
        assert!(told.contains("no identity source"), "{told}");
        // At the store that serves: whatever such a token says, its principal is the tenant's whose store it is.
        let new = json!({
            "policyStoreId": "ps-speaker", "principalEntityType": "Ledger::User",
            "configuration": { "openIdConnectConfiguration": { "issuer": issuer, "tokenSelection": selection,
                "groupConfiguration": { "groupClaim": "roles", "groupEntityType": "Ledger::Role" } } },
        });
        assert_eq!(key_of.ask(bench, "CreateIdentitySource", &new.to_string()).await.status, StatusCode::OK);
        let spoof =
            json!({ "aud": "x", "roles": ["admin"], "tenant_id": "spoken-for", "tenant": "spoken-for" });
        let decide = async |tenant: &str| {
            let asked = json!({
                "policyStoreId": "ps-speaker", "accessToken": says(issuer, spoof.clone()),
                "action": { "actionType": "Ledger::Action", "actionId": "ViewPayment" },
                "resource": { "entityType": "Ledger::Payment", "entityId": "p" },
                "entities": { "entityList": [{
                    "identifier": { "entityType": "Ledger::Payment", "entityId": "p" },
                    "attributes": { "tenant": { "string": tenant } },
                }] },
            });
            let answer = key_of.ask(bench, "IsAuthorizedWithToken", &asked.to_string()).await;
            answer.json()["decision"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned()
        };
        assert_eq!(decide("speaker").await, "ALLOW");
        assert_eq!(decide("spoken-for").await, "DENY", "another tenant's resource");
    });
}

#[test]
fn an_issuer_that_is_not_listed_or_can_not_be_had_is_refused_and_nothing_inside_is_told() {
    with_bench(async |bench| {
        bench.tenant("unlisted").await;
        let (own, published) = key();
        let selection = json!({ "accessTokenOnly": { "audiences": ["x"] } });
        let told = async |issuer: &str| {
            let store = Store::new(bench, "unlisted", oidc(issuer, selection.clone())).await;
            store
                .decide("accessToken", &token(&own, &claims(issuer, json!({ "aud": "x" }))))
                .await
                .unwrap_err()
        };
        let unlisted = told("https://other.example.com/").await;
        assert!(unlisted.contains("`issuers` under [avp] in ringfence.toml"), "{unlisted}");
        assert_eq!(told("https://169.254.169.254/").await, unlisted);
        // Nothing there, somebody else there, and inside: all the same words.
        let inside = format!("https://127.0.0.2:{}/", bench.issuers.address.port());
        bench.issuers.issuer(&inside, std::slice::from_ref(&published));
        let (gone, broken) = ("https://login.example.com/nothing", "https://login.example.com/broken");
        bench
            .issuers
            .page("login.example.com/broken/.well-known/openid-configuration", Page::Body("[".into()));
        let unavailable = told(gone).await;
        assert!(unavailable.contains("can't be had"), "{unavailable}");
        assert_eq!(told(broken).await, unavailable);
        assert_eq!(told(&inside).await, unavailable);
        assert_eq!(bench.issuers.asked("connection to 127.0.0.2"), 0);
        let by_address = format!("https://{}/", bench.issuers.address);
        bench.issuers.issuer(&by_address, &[published]);
        let store = Store::new(bench, "unlisted", oidc(&by_address, selection.clone())).await;
        let decided =
            store.decide("accessToken", &token(&own, &claims(&by_address, json!({ "aud": "x" })))).await;
        assert_eq!(decided, Ok(("DENY".to_owned(), "corp|u-1".to_owned())), "where the operator says so");
    });
}
