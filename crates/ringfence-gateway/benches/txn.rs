//! What of a `Txn-Token` is signed per request and what is reused for a second: `cargo bench -p ringfence-gateway`.
//!
//! Prints `what<TAB>microseconds` on one thread, medians of interleaved rounds; `cargo xtask bench txn` shows them.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a benchmark measures time and fails by panicking"
)]

use std::{hint::black_box, sync::Arc, time::Instant};

use http::HeaderMap;
use ringfence_context::{
    AccessVerifier, Permit, RawToken, Reference, StoreAnswer, TenantContext, TenantId, UnixTime,
    VerifyAccess,
    access::{self, AccessClaims, IssuerKeys},
    database::Seal,
    id::{ClientId, Role, StoreId, Subject, TokenId},
    key::{MacKey, SigningKey},
    txn::{BoundRequest, RequestBinding, TxnSigner, TxnVerifier, VerifyTxn},
};
use ringfence_gateway::{
    admission::Granted,
    txn::{Mint, Stamp},
};

const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000);
const ROUNDS: usize = 15;
const CALLS: u32 = 2_000;
const ROUTE: &str = "GET /payments/{id}";
const TARGET: &str = "/payments/0192a3b4-0000-7000-8000-000000000001";

/// Something measured: its name and one call of it.
type Case<'a> = (&'static str, Box<dyn FnMut() + 'a>);

fn main() {
    let context = context();
    let gateway = SigningKey::generate().unwrap().0;
    let verifier = TxnVerifier {
        keys: vec![gateway.public().clone()],
        issuer: "https://gw".to_owned(),
        audience: "https://gw/trust".to_owned(),
    };
    let signer = TxnSigner::new(gateway, verifier.issuer.clone(), verifier.audience.clone());
    let mint = Mint { signer: Arc::new(signer), binding: RequestBinding::new(MacKey::generate().unwrap()) };
    let granted = granted(&context);
    let reference = Reference::make(NOW, 7);
    let stamp = |headers: &mut HeaderMap, second: u64| {
        let now = UnixTime::from_seconds(NOW.seconds() + second);
        let stamp = Stamp { method: "GET", target: TARGET, route: ROUTE, reference: &reference, now };
        mint.stamp(headers, black_box(&granted), &stamp).unwrap();
    };
    let mut stamped = HeaderMap::new();
    stamp(&mut stamped, 0);
    let text = |name: &str| stamped[name].to_str().unwrap().to_owned();
    let (token, binding) = (text("txn-token"), text("txn-binding"));
    let bound = BoundRequest {
        method: "GET",
        target: TARGET,
        tenant: context.tenant().as_str(),
        reference: reference.as_str(),
    };
    let to_token = mint.binding.of(&token);
    let raw = RawToken::new(&token).unwrap();
    let (mut fresh, mut reused) = (HeaderMap::new(), HeaderMap::new());
    let mut second = 0;
    let cases: Vec<Case<'_>> = vec![
        (
            // A new second at every call: nothing signed before may be used.
            "gateway: signed anew for every request, and bound to it",
            Box::new(|| {
                second += 1;
                stamp(&mut fresh, second);
            }),
        ),
        ("gateway: signature of this second, and bound to the request", Box::new(|| stamp(&mut reused, 0))),
        ("  of which the HMAC-SHA-256 over the request", Box::new(|| drop(black_box(to_token.bind(&bound))))),
        (
            "backend: verifying the signature",
            Box::new(|| drop(black_box(verifier.verify_txn(&raw, NOW).unwrap()))),
        ),
        (
            "backend: verifying the binding",
            Box::new(|| mint.binding.check(&token, black_box(&bound), &binding).unwrap()),
        ),
    ];
    measure(cases);
}

/// A proved tenant, by the real issuer's and verifier's code.
fn context() -> TenantContext {
    let (key, _) = SigningKey::generate().unwrap();
    let tenant = TenantId::new("acme").unwrap();
    let keys = IssuerKeys {
        tenant: tenant.clone(),
        issuer: "https://gw/t/acme".to_owned(),
        audience: "https://gw".to_owned(),
        keys: vec![key.public().clone()],
    };
    let (jti, exp) = (TokenId::new("token-1").unwrap(), NOW.seconds() + 3600);
    let claims = AccessClaims {
        iss: keys.issuer.clone(),
        sub: Subject::new("0192a3b4-0000-7000-8000-000000000002").unwrap(),
        aud: keys.audience.clone(),
        exp,
        iat: NOW.seconds(),
        seal: Seal::issue(&MacKey::generate().unwrap(), &tenant, &jti, exp),
        jti,
        client_id: ClientId::new("web").unwrap(),
        tenant_id: tenant.clone(),
        roles: [Role::new("clerk").unwrap()].into(),
        job: None,
    };
    let raw = RawToken::new(&key.sign(access::TYP, &claims).unwrap()).unwrap();
    AccessVerifier.bind(AccessVerifier.verify(&raw, &keys, NOW).unwrap(), &tenant).unwrap()
}

fn granted(context: &TenantContext) -> Granted {
    let answer = StoreAnswer {
        store: StoreId::new("ps-acme").unwrap(),
        store_tenant: context.tenant().clone(),
        allow: true,
        determining: vec!["everyone-reads".to_owned()],
        errors: Vec::new(),
        revision: 1,
    };
    let permit = Permit::decide(context, "ViewPayment", &answer).unwrap();
    Granted {
        store_revision: 1,
        permit,
        policies: answer.determining.into(),
        revision: None,
        txn: <_>::default(),
    }
}

fn measure(mut cases: Vec<Case<'_>>) {
    let mut rounds: Vec<Vec<f64>> = vec![Vec::new(); cases.len()];
    for _ in 0..ROUNDS {
        for ((_, call), found) in cases.iter_mut().zip(&mut rounds) {
            let began = Instant::now();
            for _ in 0..CALLS {
                call();
            }
            found.push(began.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS));
        }
    }
    for ((what, _), mut found) in cases.into_iter().zip(rounds) {
        found.sort_by(f64::total_cmp);
        println!("{what}\t{:.2}", found[found.len() / 2]);
    }
}
