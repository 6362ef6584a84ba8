//! Client authentication at the token and revocation endpoints (RFC 6749 section 2.3.1): by one method only.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use http::{HeaderMap, header};
use ringfence_context::{Secret, TenantId, id::ClientId};

use super::{Identity, answer::OAuthError, form::Parameters};
use crate::{Client, ClientKind, IdentityError};

/// Who a client says it is, and how it proves that.
struct Credentials {
    id: String,
    secret: Option<Secret<String>>,
}

impl Identity {
    /// The client of this tenant that made the request: a machine with its secret, or a public one, which has none.
    pub(super) async fn client(
        &self,
        tenant: &TenantId,
        headers: &HeaderMap,
        form: &Parameters,
    ) -> Result<Client, OAuthError> {
        let Credentials { id, secret } = credentials(headers, form)?;
        let unknown = || OAuthError::client("no such client in this tenant");
        let id = ClientId::new(&id).map_err(|_| unknown())?;
        let client = match self.pools.client_get(tenant, &id).await {
            Ok(client) if !client.disabled => client,
            Ok(_) | Err(IdentityError::Missing(_)) => return Err(unknown()),
            Err(error) => return Err(error.refusal().into()),
        };
        match (&client.kind, secret) {
            (ClientKind::Machine { .. }, Some(secret)) if client.has_secret(secret.reveal()) => Ok(client),
            (ClientKind::Public { .. }, None) => Ok(client),
            _ => Err(OAuthError::client("wrong or missing secret, or one where there is none")),
        }
    }
}

fn credentials(headers: &HeaderMap, form: &Parameters) -> Result<Credentials, OAuthError> {
    let in_form = form.get("client_id");
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else {
        let id = in_form.ok_or(OAuthError::client("no client"))?.to_owned();
        let secret = form.get("client_secret").map(|secret| Secret::new(secret.to_owned()));
        return Ok(Credentials { id, secret });
    };
    if values.next().is_some() || form.get("client_secret").is_some() {
        return Err(OAuthError::request("two ways of client authentication"));
    }
    let basic = value.to_str().ok().and_then(basic).ok_or(OAuthError::client("not Basic credentials"))?;
    if in_form.is_some_and(|id| id != basic.id) {
        return Err(OAuthError::request("two clients in one request"));
    }
    Ok(basic)
}

/// Both halves are form-encoded before they are joined (RFC 6749 section 2.3.1).
fn basic(value: &str) -> Option<Credentials> {
    let (scheme, encoded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let joined = Secret::new(String::from_utf8(BASE64.decode(encoded).ok()?).ok()?);
    let (id, secret) = joined.reveal().split_once(':')?;
    let decode = |text: &str| {
        let (decoded, rest) = url::form_urlencoded::parse(text.as_bytes()).next()?;
        (rest.is_empty() && !text.contains(['&', '='])).then(|| decoded.into_owned())
    };
    Some(Credentials { id: decode(id)?, secret: Some(Secret::new(decode(secret)?)) })
}
