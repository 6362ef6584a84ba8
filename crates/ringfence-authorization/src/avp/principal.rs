//! From a token to a principal: found to be of a known identity source, verified, and mapped to entities.

use std::collections::HashSet;

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};
use ringfence_context::{RawToken, Refusal};
use serde_json::Value;

use crate::avp::{
    Avp,
    content::Content,
    error::{AvpError, Outcome},
    identity_source_form::{Configuration, OpenIdConnect, TokenSelection},
    record::SourceRecord,
    token::{Claims, claimed_issuer},
};

/// Most groups of one principal.
const GROUPS: usize = 99;

/// The tokens of a call.
pub(crate) struct Tokens {
    pub(crate) identity: Option<String>,
    pub(crate) access: Option<String>,
}

/// A principal a token has proved.
pub(crate) struct Principal {
    pub(crate) uid: EntityUid,
    /// The principal with its attributes and groups, and the groups.
    pub(crate) entities: Vec<Entity>,
    /// What policies may ask of an access token, as `context.token`.
    pub(crate) token: Option<RestrictedExpression>,
    /// The types only the token may speak of.
    pub(crate) types: Vec<EntityTypeName>,
}

impl Avp {
    /// The principal of a call's tokens.
    ///
    /// # Errors
    /// A validation error, whatever is wrong with the token: it says what, as the gateway does.
    pub(crate) async fn principal(&self, content: &Content, tokens: Tokens) -> Outcome<Principal> {
        let (token, path) = match (&tokens.access, &tokens.identity) {
            (Some(token), _) => (token, "accessToken"),
            (None, Some(token)) => (token, "identityToken"),
            (None, None) => {
                return Err(AvpError::invalid("accessToken", "or identityToken is needed for a decision"));
            }
        };
        let raw = RawToken::new(token).map_err(|refusal| refused(path, &refusal))?;
        let issuer = claimed_issuer(&raw).ok_or_else(|| AvpError::invalid(path, "is not a token"))?;
        let source = content.sources.values().find(|source| source.configuration.issuer() == issuer);
        let unknown =
            || AvpError::invalid(path, "is of an issuer that is no identity source of this policy store");
        let source = source.ok_or_else(unknown)?;
        let Configuration::OpenIdConnectConfiguration(oidc) = &source.configuration else {
            return Err(AvpError::invalid(
                path,
                "is of a Cognito user pool, whose keys this plane does not fetch",
            ));
        };
        let own = content.account.tenant().filter(|tenant| self.tokens.own_issuer(tenant) == oidc.issuer);
        let Some(tenant) = own else {
            let message = "is of another issuer than the tenant's own, whose keys this plane does not fetch";
            return Err(AvpError::invalid(path, message));
        };
        let claims = match (&oidc.token_selection, &tokens) {
            (
                TokenSelection::AccessTokenOnly { audiences, .. },
                Tokens { access: Some(_), identity: None },
            ) => {
                let verified = self.tokens.access(tenant, &raw).await;
                audience(verified.map_err(|refusal| refused(path, &refusal))?, audiences, path)?
            }
            (
                TokenSelection::IdentityTokenOnly { client_ids, .. },
                Tokens { access: None, identity: Some(_) },
            ) => {
                let verified = self.tokens.identity(tenant, &raw).await;
                audience(verified.map_err(|refusal| refused(path, &refusal))?, client_ids, path)?
            }
            _ => {
                return Err(AvpError::invalid(
                    path,
                    "is not the one kind of token the identity source takes",
                ));
            }
        };
        mapped(source, oidc, &claims)
    }
}

/// The audience an identity source asks for, beside the one the issuer's tokens have anyway.
fn audience(claims: Claims, wanted: &[String], path: &str) -> Outcome<Claims> {
    let meant = claims.texts("aud");
    if wanted.is_empty() || meant.iter().any(|aud| wanted.iter().any(|wanted| wanted == aud)) {
        return Ok(claims);
    }
    Err(AvpError::invalid(path, "is meant for another audience"))
}

fn mapped(source: &SourceRecord, oidc: &OpenIdConnect, claims: &Claims) -> Outcome<Principal> {
    let (claim, is_access) = match &oidc.token_selection {
        TokenSelection::AccessTokenOnly { principal_id_claim, .. } => (principal_id_claim, true),
        TokenSelection::IdentityTokenOnly { principal_id_claim, .. } => (principal_id_claim, false),
    };
    let path = if is_access { "accessToken" } else { "identityToken" };
    let named = claims.text(claim.as_deref().unwrap_or("sub"));
    let named = named.ok_or_else(|| AvpError::invalid(path, "lacks the claim that names the principal"))?;
    let kind = |text: &str| -> Outcome<EntityTypeName> {
        text.parse().map_err(|_| AvpError::internal("an identity source's entity type"))
    };
    let entity = |kind: &EntityTypeName, id: &str| {
        let id =
            oidc.entity_id_prefix.as_ref().map_or_else(|| id.to_owned(), |prefix| format!("{prefix}|{id}"));
        EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
    };
    let principal_type = kind(&source.principal_type)?;
    let uid = entity(&principal_type, named);
    let (mut types, mut groups) = (vec![principal_type], HashSet::new());
    if let Some(configured) = &oidc.group_configuration {
        let group_type = kind(&configured.group_entity_type)?;
        groups.extend(
            claims.texts(&configured.group_claim).into_iter().map(|group| entity(&group_type, group)),
        );
        types.push(group_type);
    }
    if groups.len() > GROUPS {
        return Err(AvpError::invalid(path, format!("has more than {GROUPS} groups")));
    }
    // What an ID token says, its principal has; what an access token says, the request has. The tenant and the subject
    // are on every principal, as they are at the gateway.
    let said: Vec<(String, RestrictedExpression)> =
        claims.shown().filter_map(|(name, value)| Some((name.clone(), expression(value)?))).collect();
    let mut attributes = if is_access { Vec::new() } else { said.clone() };
    attributes.retain(|(name, _)| !["tenant", "subject"].contains(&name.as_str()));
    for (name, value) in [("tenant", claims.text("tenant_id")), ("subject", claims.text("sub"))] {
        if let Some(value) = value {
            attributes.push((name.to_owned(), RestrictedExpression::new_string(value.to_owned())));
        }
    }
    let unfit = |error: &dyn std::fmt::Display| AvpError::invalid(path, error.to_string());
    let mut entities: Vec<Entity> = groups.iter().cloned().map(Entity::with_uid).collect();
    let attributes = attributes.into_iter().collect();
    entities.push(Entity::new(uid.clone(), attributes, groups).map_err(|error| unfit(&error))?);
    let token = is_access
        .then(|| RestrictedExpression::new_record(said))
        .transpose()
        .map_err(|error| unfit(&error))?;
    Ok(Principal { uid, entities, token, types })
}

/// A claim as a value of Cedar's; what Cedar has no value for is left out.
fn expression(value: &Value) -> Option<RestrictedExpression> {
    Some(match value {
        Value::Null => return None,
        Value::Bool(value) => RestrictedExpression::new_bool(*value),
        Value::Number(value) => RestrictedExpression::new_long(value.as_i64()?),
        Value::String(value) => RestrictedExpression::new_string(value.clone()),
        Value::Array(values) => RestrictedExpression::new_set(values.iter().filter_map(expression)),
        Value::Object(members) => {
            let members = members.iter().filter_map(|(name, value)| Some((name.clone(), expression(value)?)));
            RestrictedExpression::new_record(members).ok()?
        }
    })
}

fn refused(path: &str, refusal: &Refusal) -> AvpError {
    AvpError::invalid(path, format!("was refused: {}", refusal.reason.title()))
}
