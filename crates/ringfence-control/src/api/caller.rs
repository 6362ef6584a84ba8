//! Who calls: an operator, or a tenant's own token.

use axum::{
    extract::{FromRef, FromRequestParts},
    http::{HeaderMap, header, request::Parts},
};
use ringfence_authorization::govern::Author;
use ringfence_context::{
    Duty, Layer, OperatorContext, RawToken, Reason, Refusal, TenantContext, TenantId, access,
    access::claimed_issuer,
};

use crate::{
    api::{Api, failure::ApiFailure},
    operator::Operators,
};

macro_rules! operators {
    ($($(#[$doc:meta])* $name:ident = $duty:ident;)+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone)]
            pub struct $name(pub OperatorContext);

            impl<S> FromRequestParts<S> for $name
            where
                Api: FromRef<S>,
                S: Send + Sync,
            {
                type Rejection = ApiFailure;

                async fn from_request_parts(head: &mut Parts, state: &S) -> Result<Self, ApiFailure> {
                    operator(head, &Api::from_ref(state), Duty::$duty).await.map(Self)
                }
            }

            impl From<&$name> for Author {
                fn from(operator: &$name) -> Self {
                    Self::Operator(operator.0.operator().clone())
                }
            }
        )+
    };
}

// Each endpoint names the duty it is for: there is no operator without one.
operators! {
    /// A proved operator who runs the plane.
    Operator = Operate;
    /// A proved operator who may see tenants' policies and what became of requests.
    Reader = Read;
    /// A proved operator who may see who changed what of a tenant's maps.
    Auditor = Audit;
    /// A proved operator who may write and propose policies.
    PolicyAuthor = Author;
    /// A proved operator who may approve what others propose.
    PolicyReviewer = Review;
    /// A proved operator who may put into effect what was approved.
    PolicyPublisher = Publish;
}

async fn operator(head: &Parts, api: &Api, duty: Duty) -> Result<OperatorContext, ApiFailure> {
    let token = bearer(&head.headers)?;
    let operators = Operators::new(api.workflow.records.clone());
    let records = operators.operator_records().await.map_err(|error| error.refusal(Layer::Identity))?;
    let context = OperatorContext::authenticate(token, &records)?;
    context.require(duty)?;
    Ok(context)
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
