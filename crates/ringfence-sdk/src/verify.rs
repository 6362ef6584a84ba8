//! Verification of a request at the backend: two signatures that agree, and a MAC over this very request.

use std::{future::Future, pin::Pin, sync::Arc};

use http::{HeaderMap, HeaderName, header, request::Parts};
use ringfence_context::{
    Clock, DatabaseToken, Layer, Permit, RawToken, Reason, Reference, Refusal, TenantContext, UnixTime,
    VerifyAccess, access,
    txn::{BoundRequest, Purpose, RequestBinding, VerifyTxn},
};

use crate::{issuers::RemoteIssuers, replay::Seen, session::Proof};

const TENANT: HeaderName = HeaderName::from_static("x-tenant-id");
const TXN_TOKEN: HeaderName = HeaderName::from_static("txn-token");
const TXN_BINDING: HeaderName = HeaderName::from_static("txn-binding");
const REFERENCE: HeaderName = HeaderName::from_static("ringfence-reference");

/// What a recheck resolves to.
pub type Checking<'a> = Pin<Box<dyn Future<Output = Result<Proof, Refusal>> + Send + 'a>>;

/// The seam at which the backend's verification stands in the chain.
pub trait Recheck: Send + Sync {
    /// Proves the tenant of a request as the backend received it.
    fn recheck<'a>(&'a self, head: &'a Parts) -> Checking<'a>;
}

/// The verification.
pub struct Verify {
    /// Issuers below the plane's base URL.
    pub issuers: RemoteIssuers,
    /// Verification of access tokens.
    pub access: Arc<dyn VerifyAccess>,
    /// Verification of `Txn-Token`s.
    pub txn: Arc<dyn VerifyTxn>,
    /// The per-request MAC.
    pub binding: RequestBinding,
    /// Requests believed before.
    pub seen: Seen,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Recheck for Verify {
    fn recheck<'a>(&'a self, head: &'a Parts) -> Checking<'a> {
        Box::pin(self.verify(head))
    }
}

impl Verify {
    async fn verify(&self, head: &Parts) -> Result<Proof, Refusal> {
        let now = self.clock.now();
        let sent = Sent::read(&head.headers)?;
        let txn = self.txn.verify_txn(&sent.tokens.txn, now).map_err(|refusal| refusal.at(Layer::Backend))?;
        if txn.claims().purp != Purpose::Request {
            return Err(invalid("a Txn-Token for something else than a request"));
        }
        let target = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let bound = BoundRequest {
            method: head.method.as_str(),
            target,
            tenant: sent.tenant,
            reference: sent.reference.as_str(),
        };
        self.binding.check(sent.tokens.txn.reveal(), &bound, sent.binding)?;
        let context = self.context(&sent, now).await.map_err(|refusal| refusal.at(Layer::Backend))?;
        if context.tenant().as_str() != sent.tenant {
            let detail = "the tenant header and the access token name different tenants";
            return Err(Refusal::new(Layer::Backend, Reason::SourcesDisagree, detail));
        }
        let edge = Permit::from_txn(&context, &txn)?;
        self.seen.first(&sent.reference, now)?;
        Ok(Proof { context, edge, tokens: Arc::new(sent.tokens), reference: sent.reference })
    }

    async fn context(&self, sent: &Sent<'_>, now: UnixTime) -> Result<TenantContext, Refusal> {
        let raw = &sent.tokens.access;
        let url = access::claimed_issuer(raw)?;
        let issuer = self.issuers.issuer(&url, false, now).await?;
        let verified = match self.access.verify(raw, &issuer, now) {
            // The issuer may have replaced its key since.
            Err(refusal) if refusal.reason == Reason::TokenInvalid => {
                let issuer = self.issuers.issuer(&url, true, now).await?;
                self.access.verify(raw, &issuer, now)?
            }
            outcome => outcome?,
        };
        // The address it is presented at is the one the gateway's own signature names.
        let presented_at = sent.tenant.parse().map_err(|_| invalid("the tenant header is not a tenant"))?;
        self.access.bind(verified, &presented_at)
    }
}

/// The headers the gateway sets, each exactly once.
struct Sent<'a> {
    tokens: DatabaseToken,
    tenant: &'a str,
    binding: &'a str,
    reference: Reference,
}

impl<'a> Sent<'a> {
    fn read(headers: &'a HeaderMap) -> Result<Self, Refusal> {
        let txn = RawToken::new(one(headers, &TXN_TOKEN)?).map_err(|refusal| refusal.at(Layer::Backend))?;
        let access = RawToken::from_authorization(one(headers, &header::AUTHORIZATION)?)
            .map_err(|refusal| refusal.at(Layer::Backend))?;
        let reference =
            Reference::new(one(headers, &REFERENCE)?).map_err(|_| invalid("the reference header"))?;
        let (tenant, binding) = (one(headers, &TENANT)?, one(headers, &TXN_BINDING)?);
        Ok(Self { tokens: DatabaseToken { access, txn }, tenant, binding, reference })
    }
}

/// A header's value where it stands exactly once.
pub(crate) fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<&'a str, Refusal> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(http::HeaderValue::to_str), values.next()) {
        (Some(Ok(value)), None) => Ok(value),
        _ => Err(invalid("a header of the gateway is missing, repeated or not text")),
    }
}

const fn invalid(detail: &'static str) -> Refusal {
    Refusal::new(Layer::Backend, Reason::TxnTokenInvalid, detail)
}
