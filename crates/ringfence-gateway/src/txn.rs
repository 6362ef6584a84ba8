//! The gateway's word about a request, put into its headers.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use ringfence_context::{
    Layer, Reason, Reference, Refusal, UnixTime,
    txn::{BoundRequest, Purpose, RequestBinding, TxnSigner},
};

use crate::admission::Granted;

/// The tenant, for backends to read once they have verified the tokens.
pub const TENANT: HeaderName = HeaderName::from_static("x-tenant-id");
/// The `Txn-Token` (draft-ietf-oauth-transaction-tokens section 8).
pub const TXN_TOKEN: HeaderName = HeaderName::from_static("txn-token");
/// The MAC that binds it to this very request.
pub const TXN_BINDING: HeaderName = HeaderName::from_static("txn-binding");
/// The request's reference.
pub const REFERENCE: HeaderName = HeaderName::from_static(crate::refuse::REFERENCE);

/// Signs and binds.
#[derive(Debug)]
pub struct Mint {
    /// The gateway's signature.
    pub signer: Arc<TxnSigner>,
    /// The MAC shared with the backend.
    pub binding: RequestBinding,
}

impl Mint {
    /// Puts tenant, `Txn-Token`, binding and reference into `headers`, which have been stripped.
    ///
    /// # Errors
    /// [`Reason::Internal`] where signing fails.
    pub fn stamp(
        &self,
        headers: &mut HeaderMap,
        granted: &Granted,
        request: &Stamp<'_>,
    ) -> Result<(), Refusal> {
        let internal = |detail| Refusal::new(Layer::Routing, Reason::Internal, detail);
        let token = self.token(granted, request).ok_or(internal("signing failed"))?;
        let tenant = granted.permit.context().tenant().as_str();
        let txn = token.to_str().map_err(|_| internal("a Txn-Token"))?;
        let binding = self.binding.bind(&BoundRequest {
            method: request.method,
            target: request.target,
            tenant,
            reference: request.reference.as_str(),
            txn,
        });
        let mut put = |name: HeaderName, value: &str| {
            HeaderValue::from_str(value).map(|value| headers.insert(name, value)).map(drop)
        };
        put(TENANT, tenant)
            .and_then(|()| put(TXN_BINDING, &binding))
            .and_then(|()| put(REFERENCE, request.reference.as_str()))
            .map_err(|_| internal("a header value"))?;
        headers.insert(TXN_TOKEN, token);
        Ok(())
    }

    /// The `Txn-Token` of this permit and second, signed once.
    fn token(&self, granted: &Granted, request: &Stamp<'_>) -> Option<HeaderValue> {
        let second = request.now.seconds();
        let mut kept = granted.txn.lock().ok()?;
        if let Some((signed, token)) = kept.as_ref()
            && *signed == second
        {
            return Some(token.clone());
        }
        let reference = request.reference.clone();
        let minted = self
            .signer
            .mint(&granted.permit, Purpose::Request, request.route, reference, request.now)
            .ok()?;
        let token = HeaderValue::try_from(minted).ok()?;
        *kept = Some((second, token.clone()));
        Some(token)
    }
}

/// What a request is stamped with.
#[derive(Debug, Clone, Copy)]
pub struct Stamp<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its path and query, as forwarded.
    pub target: &'a str,
    /// The route's name.
    pub route: &'a str,
    /// Its reference.
    pub reference: &'a Reference,
    /// The time.
    pub now: UnixTime,
}
