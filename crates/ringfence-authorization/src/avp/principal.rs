//! From a token to a principal: found to be of a known identity source, verified, and mapped to entities.

use std::collections::HashSet;

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};
use ringfence_context::{RawToken, TenantId, foreign::TokenKind};
use serde_json::Value;

use crate::avp::{
    Avp,
    content::Content,
    error::{AvpError, Outcome},
    identity_source_form::{Configuration, TokenSelection},
    record::SourceRecord,
    token::{Claims, claimed_issuer, refused},
};

/// Most groups of one principal.
const GROUPS: usize = 99;

/// Where a token of an Amazon Cognito user pool names its user's groups.
const COGNITO_GROUPS: &str = "cognito:groups";

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

/// How a source's tokens become principals.
struct Mapping<'a> {
    kind: TokenKind,
    principal_type: &'a str,
    /// What ids begin with, before a bar.
    prefix: Option<&'a str>,
    /// The claim that names the principal.
    id_claim: &'a str,
    /// The claim that names groups, and their type.
    groups: Option<(&'a str, &'a str)>,
    meant: Meant<'a>,
}

/// Whom a token must be meant for.
enum Meant<'a> {
    /// One of these audiences (RFC 9068 section 2.2).
    Audiences(&'a [String]),
    /// One of these clients (OpenID Connect Core section 2).
    Clients(&'a [String]),
    /// One of these clients of an Amazon Cognito user pool, or any where there are none.
    PoolClients(&'a [String]),
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
        let issuer = claimed_issuer(token).ok_or_else(|| AvpError::invalid(path, "is not a token"))?;
        let source = content.sources.values().find(|source| source.configuration.issuer() == issuer);
        let unknown =
            || AvpError::invalid(path, "is of an issuer that is no identity source of this policy store");
        let source = source.ok_or_else(unknown)?;
        let unfit = || AvpError::invalid(path, "is not the one kind of token the identity source takes");
        let mapping = tokens.kind().and_then(|kind| Mapping::of(source, kind)).ok_or_else(unfit)?;
        let tenant = content.account.tenant();
        let own = tenant.filter(|tenant| self.tokens.own_issuer(tenant) == issuer);
        let claims = match own {
            Some(tenant) => {
                let raw = RawToken::new(token).map_err(|refusal| refused(path, &refusal))?;
                let verified = match mapping.kind {
                    TokenKind::Access => self.tokens.access(tenant, &raw).await,
                    TokenKind::Identity => self.tokens.identity(tenant, &raw).await,
                };
                let claims = verified.map_err(|refusal| refused(path, &refusal))?;
                mapping.meant.own_check(&claims, path)?;
                claims
            }
            None => {
                let verified = self.tokens.foreign(&content.account, &issuer, token, mapping.kind).await;
                let claims = verified.map_err(|fault| fault.told(path))?;
                mapping.meant.check(&claims, path)?;
                claims
            }
        };
        mapping.principal(tenant, &claims, path)
    }
}

impl Tokens {
    /// The one kind that was given.
    fn kind(&self) -> Option<TokenKind> {
        match (&self.access, &self.identity) {
            (Some(_), None) => Some(TokenKind::Access),
            (None, Some(_)) => Some(TokenKind::Identity),
            (Some(_), Some(_)) | (None, None) => None,
        }
    }
}

impl Meant<'_> {
    /// A token of the tenant's own issuer has the plane's audience, or is of a client of the very pool: what a source asks for
    /// is beside that.
    fn own_check(&self, claims: &Claims, path: &str) -> Outcome<()> {
        let (Self::Audiences(wanted) | Self::Clients(wanted) | Self::PoolClients(wanted)) = self;
        if wanted.is_empty() || any_of(&claims.texts("aud"), wanted) { Ok(()) } else { Err(another(path)) }
    }

    /// A token of another issuer may be meant for anybody: it must be for one the source names.
    fn check(&self, claims: &Claims, path: &str) -> Outcome<()> {
        let unnamed = |what: &str| {
            Err(AvpError::invalid(
                path,
                format!(
                    "may be meant for anybody: name whom it must be meant for, as {what} of the identity source"
                ),
            ))
        };
        let aud = claims.texts("aud");
        let meant = match self {
            Self::Audiences([]) => return unnamed("audiences"),
            Self::Clients([]) => return unnamed("clientIds"),
            Self::Audiences(wanted) => any_of(&aud, wanted),
            Self::Clients(wanted) => {
                let party = claims.text("azp");
                let party_fits =
                    party.map_or(aud.len() == 1 && !claims.has("azp"), |azp| any_of(&[azp], wanted));
                any_of(&aud, wanted) && party_fits
            }
            // An access token names its client, an ID token has it as its audience; each says which of both it is.
            Self::PoolClients(wanted) => {
                let client = match claims.text("token_use") {
                    Some("access") => claims.text("client_id"),
                    Some("id") => aud.first().copied().filter(|_| aud.len() == 1),
                    _ => None,
                };
                client.is_some_and(|client| wanted.is_empty() || any_of(&[client], wanted))
            }
        };
        if meant { Ok(()) } else { Err(another(path)) }
    }
}

fn any_of(said: &[&str], wanted: &[String]) -> bool {
    said.iter().any(|said| wanted.iter().any(|wanted| wanted == said))
}

fn another(path: &str) -> AvpError {
    AvpError::invalid(path, "is meant for another audience")
}

impl<'a> Mapping<'a> {
    /// How a source maps tokens of this kind, if it takes them.
    fn of(source: &'a SourceRecord, kind: TokenKind) -> Option<Self> {
        let principal_type = source.principal_type.as_str();
        match &source.configuration {
            Configuration::CognitoUserPoolConfiguration(cognito) => Some(Self {
                kind,
                principal_type,
                prefix: Some(cognito.pool()),
                id_claim: "sub",
                groups: cognito
                    .group_configuration
                    .as_ref()
                    .map(|groups| (COGNITO_GROUPS, groups.group_entity_type.as_str())),
                meant: Meant::PoolClients(&cognito.client_ids),
            }),
            Configuration::OpenIdConnectConfiguration(oidc) => {
                let (claim, meant) = match (&oidc.token_selection, kind) {
                    (
                        TokenSelection::AccessTokenOnly { principal_id_claim, audiences },
                        TokenKind::Access,
                    ) => (principal_id_claim, Meant::Audiences(audiences)),
                    (
                        TokenSelection::IdentityTokenOnly { principal_id_claim, client_ids },
                        TokenKind::Identity,
                    ) => (principal_id_claim, Meant::Clients(client_ids)),
                    _ => return None,
                };
                let groups = oidc.group_configuration.as_ref();
                Some(Self {
                    kind,
                    principal_type,
                    prefix: oidc.entity_id_prefix.as_deref(),
                    id_claim: claim.as_deref().unwrap_or("sub"),
                    groups: groups
                        .map(|groups| (groups.group_claim.as_str(), groups.group_entity_type.as_str())),
                    meant,
                })
            }
        }
    }

    /// The principal these claims are of, who is `tenant`'s, whatever they say of tenants.
    fn principal(&self, tenant: Option<&TenantId>, claims: &Claims, path: &str) -> Outcome<Principal> {
        let named = claims.text(self.id_claim).filter(|named| !named.is_empty());
        let named =
            named.ok_or_else(|| AvpError::invalid(path, "lacks the claim that names the principal"))?;
        let kind = |text: &str| -> Outcome<EntityTypeName> {
            text.parse().map_err(|_| AvpError::internal("an identity source's entity type"))
        };
        let entity = |kind: &EntityTypeName, id: &str| {
            let id = self.prefix.map_or_else(|| id.to_owned(), |prefix| format!("{prefix}|{id}"));
            EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
        };
        let principal_type = kind(self.principal_type)?;
        let uid = entity(&principal_type, named);
        let (mut types, mut groups) = (vec![principal_type], HashSet::new());
        if let Some((claim, group_type)) = self.groups {
            let group_type = kind(group_type)?;
            groups.extend(claims.texts(claim).into_iter().map(|group| entity(&group_type, group)));
            types.push(group_type);
        }
        if groups.len() > GROUPS {
            return Err(AvpError::invalid(path, format!("has more than {GROUPS} groups")));
        }
        // What an ID token says, its principal has; what an access token says, the request has. The tenant and the subject
        // are on every principal, as they are at the gateway: the tenant is whose the store is.
        let said: Vec<(String, RestrictedExpression)> =
            claims.shown().filter_map(|(name, value)| Some((name.clone(), expression(value)?))).collect();
        let is_access = self.kind == TokenKind::Access;
        let mut attributes = if is_access { Vec::new() } else { said.clone() };
        attributes.retain(|(name, _)| !["tenant", "subject"].contains(&name.as_str()));
        for (name, value) in [("tenant", tenant.map(TenantId::as_str)), ("subject", claims.text("sub"))] {
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
