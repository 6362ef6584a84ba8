//! Refusals: what a client is told, and nothing more.
//!
//! A [`Refusal`] is the only error a client ever sees. It names the layer that refused, a reason from a closed list,
//! whose fault it is, and what to do; its wording is fixed per reason, so no text from inside can reach a client.
//! Rendered as `application/problem+json` (RFC 9457).

use serde::Serialize;

use crate::id::Reference;

/// Where in the chain a request was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// Sign-in, pools, the pre-token hook.
    Identity,
    /// Verification of a token and of what it is bound to.
    Token,
    /// The tenant's policy store.
    Authorization,
    /// Host, headers, paths, limits, placement.
    Routing,
    /// The backend's own verification.
    Backend,
    /// The Postgres proxy.
    Guard,
    /// Row security and the context check inside Postgres.
    Database,
}

impl Layer {
    /// Its name in refusals, logs and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Identity => "identity",
            Self::Token => "token",
            Self::Authorization => "authorization",
            Self::Routing => "routing",
            Self::Backend => "backend",
            Self::Guard => "guard",
            Self::Database => "database",
        }
    }
}

/// Whose move it is after a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// The request: sending it again unchanged gives the same answer.
    Client,
    /// The plane or something it depends on: the same request may succeed later.
    Server,
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $status:literal, $fault:ident, $title:literal, $advice:literal;)+) => {
        /// Why a request was refused. Closed: adding one adds its wording.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, serde::Deserialize)]
        pub enum Reason {
            $($(#[$doc])* #[serde(rename = $code)] $name,)+
        }

        impl Reason {
            /// Every reason, for documentation and tests.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// Its stable code.
            pub const fn code(self) -> &'static str {
                match self { $(Self::$name => $code,)+ }
            }

            /// The HTTP status it is answered with (RFC 9110 section 15).
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)+ }
            }

            /// Whose move it is.
            pub const fn fault(self) -> Fault {
                match self { $(Self::$name => Fault::$fault,)+ }
            }

            /// What was refused, in one sentence.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }

            /// What to do about it, in one sentence.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice,)+ }
            }
        }
    };
}

reasons! {
    /// No token was presented.
    TokenMissing = "token_missing", 401, Client, "No access token was presented.",
        "Send one as `Authorization: Bearer`, obtained from your tenant's issuer.";
    /// Not a token of the expected form.
    TokenMalformed = "token_malformed", 401, Client, "The token is not a well-formed access token.",
        "Obtain an access token (typ at+jwt) from your tenant's issuer; an ID token is not one.";
    /// The signature, key or issuer does not verify.
    TokenInvalid = "token_invalid", 401, Client, "The token does not verify.",
        "Obtain a new access token from your tenant's issuer.";
    /// Past its expiry, or not valid yet.
    TokenExpired = "token_expired", 401, Client, "The token is expired or not valid yet.",
        "Obtain a new access token from your tenant's issuer.";
    /// Revoked, or its user was removed.
    TokenRevoked = "token_revoked", 401, Client, "The token was revoked.", "Sign in again.";
    /// The token is not for the tenant it was presented at.
    TenantMismatch = "tenant_mismatch", 401, Client, "The token is not valid here.",
        "Use your own tenant's address with a token of your tenant's issuer.";
    /// The audience is another service.
    AudienceMismatch = "audience_mismatch", 401, Client, "The token is meant for another audience.",
        "Ask the issuer for a token for this API.";
    /// Host, path or tenant that is not served: unknown and not yours look the same.
    NotServed = "not_served", 404, Client, "Nothing is served at this address.",
        "Check the host name and the path.";
    /// The tenant is suspended or being removed.
    TenantInactive = "tenant_inactive", 403, Client, "This tenant is not active.",
        "Ask the operator to resume it.";
    /// The tenant's policies do not permit it.
    Denied = "denied", 403, Client, "Your tenant's policies do not permit this.",
        "Ask your tenant's administrator for a role that may do it.";
    /// The operator has no role that may do it.
    RoleMissing = "role_missing", 403, Client, "Your operator's role does not include this.",
        "Ask an administrator of the plane, or an operator whose role it is.";
    /// A policy could not be evaluated; an error is never a permit.
    PolicyError = "policy_error", 403, Client, "A policy of your tenant could not be evaluated.",
        "Ask your tenant's administrator to look at the policy named by the reference.";
    /// The policy store is missing or is not this tenant's.
    StoreUnavailable = "store_unavailable", 403, Server, "Your tenant's policy store cannot decide.",
        "Ask the operator, naming the reference.";
    /// No route of the route table matches.
    RouteUnknown = "route_unknown", 403, Client, "No route matches this method and path.",
        "Check them against the API's documentation.";
    /// The request's form is ambiguous or not allowed.
    RequestMalformed = "request_malformed", 400, Client, "The request is ambiguous or malformed.",
        "Send a plain HTTP request: one Host, one Authorization, a path without encoded separators.";
    /// Larger than allowed.
    RequestTooLarge = "request_too_large", 413, Client, "The request is larger than allowed.", "Send less at once.";
    /// Over the tenant's rate.
    RateLimited = "rate_limited", 429, Client, "Your tenant's request rate is used up.",
        "Wait as Retry-After says, or ask the operator for a higher tier.";
    /// The application behind the gateway does not answer.
    UpstreamUnavailable = "upstream_unavailable", 503, Server, "The application does not answer.", "Try again shortly.";
    /// State, policies or the database are not reachable.
    DependencyUnavailable = "dependency_unavailable", 503, Server, "A part this request needs is not available.",
        "Try again shortly.";
    /// The consistency token is not one that this plane told this tenant.
    RevisionUnreadable = "revision_unreadable", 400, Client, "The revision asked for is not one you were told here.",
        "Send back a `Ringfence-Revision` you were given, unchanged, or leave `Ringfence-At-Least-Revision` out.";
    /// This node has not caught up with the revision asked for.
    RevisionNotReached = "revision_not_reached", 503, Server, "This node has not reached the revision asked for yet.",
        "Try again shortly, or leave `Ringfence-At-Least-Revision` out and take what this node knows.";
    /// The `Txn-Token` is missing or does not verify.
    TxnTokenInvalid = "txn_token_invalid", 401, Client, "The request did not come through the gateway.",
        "Call the gateway, not the backend.";
    /// The two signatures, or a header and a token, name different tenants.
    SourcesDisagree = "sources_disagree", 403, Client, "Two statements of the tenant disagree.",
        "Send the request unchanged through the gateway.";
    /// The database session has no verified tenant.
    ContextMissing = "context_missing", 403, Client, "The database was asked without a verified tenant.",
        "Connect through the guard with a database token.";
    /// Postgres did not accept the tenant context.
    ContextRefused = "context_refused", 403, Client, "The database did not accept the tenant context.",
        "Connect again with a fresh database token.";
    /// Row security is not in the state it was installed in.
    PostureChanged = "posture_changed", 503, Server, "The database's row security is not as installed.",
        "Ask the operator to run `ringfence data protect`.";
    /// Wrong user name or password, or unknown client: they look the same.
    SignInFailed = "sign_in_failed", 401, Client, "The user name or password is wrong.", "Check both and try again.";
    /// The membership record is missing or is not authenticated under the tenant's key.
    MembershipInvalid = "membership_invalid", 403, Client, "Your membership of this tenant cannot be established.",
        "Ask your tenant's administrator, naming the reference.";
    /// Something failed that should not have.
    Internal = "internal", 500, Server, "Something failed inside; nothing was done.", "Ask the operator, naming the reference.";
}

/// One refusal: the layer and the reason. What was found out inside stays inside, in `detail`, for logs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} refused: {}", layer.name(), reason.code())]
pub struct Refusal {
    /// The layer that refused.
    pub layer: Layer,
    /// Why.
    pub reason: Reason,
    /// What exactly was found, for the decision log only. A fixed text: nothing a client sent is quoted.
    pub detail: &'static str,
}

impl Refusal {
    /// A refusal with its finding for the log.
    pub const fn new(layer: Layer, reason: Reason, detail: &'static str) -> Self {
        Self { layer, reason, detail }
    }

    /// The same finding, reported by another layer that ran the same check.
    #[must_use]
    pub const fn at(self, layer: Layer) -> Self {
        Self { layer, ..self }
    }

    /// What the client reads, as a problem document (RFC 9457).
    pub fn problem<'a>(&self, reference: &'a Reference) -> Problem<'a> {
        Problem {
            kind: self.reason.code(),
            title: self.reason.title(),
            status: self.reason.status(),
            layer: self.layer,
            fault: self.reason.fault(),
            advice: self.reason.advice(),
            reference: reference.as_str(),
        }
    }
}

/// The body of a refusal.
#[derive(Debug, Serialize)]
pub struct Problem<'a> {
    /// The reason's code.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What was refused.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The layer that refused.
    pub layer: Layer,
    /// Whose move it is.
    pub fault: Fault,
    /// What to do.
    pub advice: &'static str,
    /// Names this request: `ringfence explain <reference>`.
    pub reference: &'a str,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn reasons_have_distinct_codes_and_whole_sentences() {
        let mut codes = HashSet::new();
        for reason in Reason::ALL {
            assert!(codes.insert(reason.code()), "{} twice", reason.code());
            assert!(reason.title().ends_with('.') && reason.advice().ends_with('.'), "{}", reason.code());
            assert!((400..600).contains(&reason.status()), "{}", reason.code());
        }
    }

    #[test]
    fn a_problem_says_layer_reason_and_reference_and_keeps_the_finding() {
        let refusal = Refusal::new(Layer::Token, Reason::TenantMismatch, "issuer of another tenant");
        let reference = Reference::new("r-1").unwrap();
        let body = serde_json::to_string(&refusal.problem(&reference)).unwrap();
        assert!(body.contains("\"layer\":\"token\"") && body.contains("r-1"), "{body}");
        assert!(!body.contains("another tenant"), "{body}");
    }
}
