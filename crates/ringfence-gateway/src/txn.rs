//! The gateway's word about a request, put into its headers.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use ringfence_context::{
    Layer, Reason, Reference, Refusal, UnixTime,
    txn::{BoundRequest, Purpose, RequestBinding, TokenBinding, TxnSigner},
};

use crate::admission::Granted;

/// A `Txn-Token`, the second it was signed in, and what of the binding is the token's. It says who was permitted to do
/// what, in words that are the same for every permit of its access token and route, and is used only beside such a permit.
#[derive(Debug, Clone)]
pub struct Signed {
    second: u64,
    token: HeaderValue,
    binding: TokenBinding,
}

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
        let signed = self.signed(granted, request).ok_or(internal("signing failed"))?;
        let tenant = granted.permit.context().tenant().as_str();
        let binding = signed.binding.bind(&BoundRequest {
            method: request.method,
            target: request.target,
            tenant,
            reference: request.reference.as_str(),
        });
        let mut put = |name: HeaderName, value: &str| {
            HeaderValue::from_str(value).map(|value| headers.insert(name, value)).map(drop)
        };
        put(TENANT, tenant)
            .and_then(|()| put(TXN_BINDING, &binding))
            .and_then(|()| put(REFERENCE, request.reference.as_str()))
            .map_err(|_| internal("a header value"))?;
        headers.insert(TXN_TOKEN, signed.token);
        Ok(())
    }

    /// The `Txn-Token` of this permit and second, signed once.
    fn signed(&self, granted: &Granted, request: &Stamp<'_>) -> Option<Signed> {
        let second = request.now.seconds();
        let mut kept = granted.txn.lock().ok()?;
        if let Some(signed) = kept.as_ref()
            && signed.second == second
        {
            return Some(signed.clone());
        }
        let reference = request.reference.clone();
        let minted = self
            .signer
            .mint(&granted.permit, Purpose::Request, request.route, reference, request.now)
            .ok()?;
        let binding = self.binding.of(&minted);
        let signed = Signed { second, token: HeaderValue::try_from(minted).ok()?, binding };
        *kept = Some(signed.clone());
        Some(signed)
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
