//! The sample app with its own lines of defence broken.

use std::sync::Arc;

use http::{HeaderMap, header, request::Parts};
use ledger::{Ledger, filter::TenantFilter};
use ringfence_context::{
    AccessClaims, DatabaseToken, RawToken, Reason, Reference, Refusal, Seal, TenantContext, TenantId,
    TokenId, UnixTime,
    broken::{context_of, context_unchecked, permit_unchecked},
    id::{ClientId, Role, Subject},
    key::MacKey,
};
use ringfence_control::{Plane, SystemClock, trust::trust};
use ringfence_sdk::{
    Recheck, Verify,
    ask::{AskStore, Asking},
    client::Client,
    issuers::RemoteIssuers,
    replay::Seen,
    session::{Proof, Subject as About},
    verify::Checking,
};
use serde_json::{Map, Value};
use tokio::net::TcpListener;

use crate::{broken, injection, layer::Layer};

/// Serves the app with these breaks; says where.
pub(crate) async fn start(plane: &Plane, breaks: &[Layer]) -> Result<String, String> {
    let trust = trust(plane).map_err(|error| error.to_string())?;
    let clock = Arc::new(SystemClock);
    let mut ledger = Ledger::new(&trust, clock.clone()).map_err(|error| error.to_string())?;
    ledger.recheck = Arc::new(Verify {
        issuers: RemoteIssuers::new(trust.base_url.clone(), trust.audience.clone(), Client::default()),
        access: broken::access(breaks),
        txn: broken::txn(plane, breaks),
        binding: trust.binding().map_err(|error| error.to_string())?,
        seen: Seen::default(),
        clock,
    });
    if breaks.contains(&Layer::Where) {
        ledger.filter = TenantFilter("$1::text IS NOT NULL");
    }
    if breaks.contains(&Layer::Backend) {
        ledger.recheck = Arc::new(BelievesHeader);
        ledger.ask = Arc::new(AsksNobody);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| error.to_string())?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let router = match breaks.contains(&Layer::Injection) {
        true => injection::router(ledger, plane)?,
        false => ledger.router(),
    };
    tokio::spawn(async move {
        // Ends with the range.
        let _ = axum::serve(listener, router).await;
    });
    Ok(address.to_string())
}

/// Takes the tenant from the header, and whatever tokens there are as they are.
struct BelievesHeader;

impl Recheck for BelievesHeader {
    fn recheck<'a>(&'a self, head: &'a Parts) -> Checking<'a> {
        Box::pin(std::future::ready(believe(&head.headers)))
    }
}

fn believe(headers: &HeaderMap) -> Result<Proof, Refusal> {
    let refuse = |detail| Refusal::new(ringfence_context::Layer::Backend, Reason::RequestMalformed, detail);
    let text = |name: &str| headers.get_all(name).iter().next_back().and_then(|value| value.to_str().ok());
    let tenant =
        text("x-tenant-id").and_then(|text| TenantId::new(text).ok()).ok_or(refuse("no tenant header"))?;
    let nothing = RawToken::new("none").map_err(|_| refuse("a token"))?;
    let access =
        text(header::AUTHORIZATION.as_str()).and_then(|value| RawToken::from_authorization(value).ok());
    let txn = text("txn-token").and_then(|value| RawToken::new(value).ok());
    let claimed = access.as_ref().and_then(|raw| context_unchecked(raw, tenant.clone()).ok());
    let context = match claimed {
        Some(claimed) => claimed.claiming(tenant),
        None => anyone(tenant).ok_or(refuse("claims"))?,
    };
    let reference = text("ringfence-reference").and_then(|value| Reference::new(value).ok());
    Ok(Proof {
        edge: permit_unchecked(&context, "anything"),
        context,
        tokens: Arc::new(DatabaseToken {
            access: access.unwrap_or(nothing.clone()),
            txn: txn.unwrap_or(nothing),
        }),
        reference: reference.unwrap_or_else(|| Reference::make(UnixTime::from_micros(0), 0)),
    })
}

/// Somebody of this tenant.
fn anyone(tenant: TenantId) -> Option<TenantContext> {
    let jti = TokenId::new("none").ok()?;
    Some(context_of(AccessClaims {
        iss: String::new(),
        sub: Subject::new("anyone").ok()?,
        aud: String::new(),
        exp: u64::MAX,
        iat: 0,
        client_id: ClientId::new("anyone").ok()?,
        roles: [Role::new("admin").ok()?].into(),
        seal: Seal::issue(&MacKey::generate().ok()?, &tenant, &jti, 0),
        tenant_id: tenant,
        jti,
        job: None,
    }))
}

/// Permits what is asked.
struct AsksNobody;

impl AskStore for AsksNobody {
    fn permit<'a>(&'a self, proof: &'a Proof, _: About<'a>, _: Map<String, Value>) -> Asking<'a> {
        Box::pin(std::future::ready(Ok(permit_unchecked(&proof.context, proof.edge.action()))))
    }
}
