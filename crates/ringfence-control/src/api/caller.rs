//! Who calls: an operator, or a tenant's own token.

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{HeaderMap, header, request::Parts},
};
use ringfence_context::{
    Layer, OperatorContext, RawToken, Reason, Refusal, TenantContext, TenantId, access,
    access::claimed_issuer,
};

use crate::{
    api::{Api, failure::ApiFailure},
    keys::operator_list,
};

/// A proved operator.
#[derive(Debug, Clone)]
pub struct Operator(pub OperatorContext);

impl<S> FromRequestParts<S> for Operator
where
    Api: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = ApiFailure;

    async fn from_request_parts(head: &mut Parts, state: &S) -> Result<Self, ApiFailure> {
        let api = Api::from_ref(state);
        let token = bearer(&head.headers)?;
        let records =
            operator_list(&api.workflow.records).await.map_err(|error| error.refusal(Layer::Identity))?;
        Ok(Self(OperatorContext::authenticate(token, &records)?))
    }
}

/// The tenant an access token proves at a path of the API, by the same checks as everywhere.
///
/// # Errors
/// A refusal of the token layer.
pub fn tenant(api: &Api, headers: &HeaderMap, at: &TenantId) -> Result<TenantContext, Refusal> {
    let raw = RawToken::new(bearer(headers)?)?;
    let issuer = api.issuers.issuer(&claimed_issuer(&raw)?)?;
    let verified = api.access.verify(&raw, &issuer, api.clock.now())?;
    let context = api.access.bind(verified, at)?;
    api.issuers.check_live(&context)?;
    api.workflow.directory.check_seal(&context)?;
    Ok(context)
}

/// The tenant a token claims to be of, to look where it may be believed: it must still be proved there.
pub(crate) fn claimed_tenant(api: &Api, headers: &HeaderMap) -> Result<TenantId, Refusal> {
    let raw = RawToken::new(bearer(headers)?)?;
    Ok(api.issuers.issuer(&access::claimed_issuer(&raw)?)?.tenant.clone())
}

/// The one bearer token.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let refuse = |reason, detail| Refusal::new(Layer::Token, reason, detail);
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(refuse(Reason::TokenMissing, "no Authorization header"))?;
    let text = value.to_str().ok().filter(|_| values.next().is_none());
    text.and_then(|text| text.strip_prefix("Bearer "))
        .ok_or(refuse(Reason::TokenMalformed, "Authorization is not one bearer token"))
}
