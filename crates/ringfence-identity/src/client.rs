//! Clients of one pool: machines with a secret, and apps that have none.

use aws_lc_rs::constant_time::verify_slices_are_equal;
use ringfence_context::{
    By, Secret, TenantId,
    id::{ClientId, Role, Subject},
    key,
};
use ringfence_store::{Draft, Expect, Kind, MapStep, Scope, Stored};
use serde::{Deserialize, Serialize};

use crate::{
    error::IdentityError,
    membership::Membership,
    pool::{Pools, check_display_name, exists},
    redirect, revocation, user,
};

const CLIENT: Kind = Kind::new("client");

/// Most redirect URIs of one client.
const REDIRECTS: usize = 16;

/// A client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// Its id.
    pub id: ClientId,
    /// Shown to people.
    pub display_name: String,
    /// What it is.
    pub kind: ClientKind,
    /// Whether it gets no tokens.
    pub disabled: bool,
}

/// What a client is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum ClientKind {
    /// A service that signs in as itself, with a secret (RFC 6749 section 4.4).
    Machine {
        /// SHA-256 of its secret, base64url. A plain hash is enough: the secret is 256 random bits that we made, so
        /// there is nothing to guess from, and slowing a guess down gains nothing.
        secret_hash: String,
    },
    /// An app people sign in with, which can't keep a secret; PKCE stands in for one (RFC 7636).
    Public {
        /// Where a code may be sent.
        redirect_uris: Vec<String>,
    },
}

impl Client {
    /// Whether `secret` is this client's. A public client has none.
    pub fn has_secret(&self, secret: &str) -> bool {
        match &self.kind {
            ClientKind::Machine { secret_hash } => {
                let presented = key::base64url(&key::sha256(secret.as_bytes()));
                verify_slices_are_equal(secret_hash.as_bytes(), presented.as_bytes()).is_ok()
            }
            ClientKind::Public { .. } => false,
        }
    }

    /// Whether a code may be sent to `uri`.
    pub fn may_redirect_to(&self, uri: &str) -> bool {
        match &self.kind {
            ClientKind::Public { redirect_uris } => {
                redirect_uris.iter().any(|registered| redirect::matches(registered, uri))
            }
            ClientKind::Machine { .. } => false,
        }
    }

    /// The subject of a machine's tokens: the client itself (RFC 9068 section 2.2).
    ///
    /// # Errors
    /// [`IdentityError::Invalid`] never, for an id that is a client's.
    pub fn subject(&self) -> Result<Subject, IdentityError> {
        subject(&self.id)
    }
}

impl Pools {
    /// Makes a machine client with its membership; says its secret, this once.
    ///
    /// # Errors
    /// [`IdentityError::Exists`], [`IdentityError::Invalid`].
    pub async fn client_create_machine(
        &self,
        tenant: &TenantId,
        id: &ClientId,
        display_name: &str,
        roles: Vec<Role>,
        by: &By,
    ) -> Result<Secret<String>, IdentityError> {
        let secret = Secret::new(key::base64url(&key::random::<32>()?));
        let secret_hash = key::base64url(&key::sha256(secret.reveal().as_bytes()));
        let membership = Membership { user: subject(id)?, tenant: tenant.clone(), roles };
        let kind = ClientKind::Machine { secret_hash };
        self.client_put(tenant, id, display_name, kind, Some(membership), by).await?;
        Ok(secret)
    }

    /// Makes a client without a secret, for people to sign in with.
    ///
    /// # Errors
    /// [`IdentityError::Exists`]; [`IdentityError::Invalid`] where a redirect URI must not be one.
    pub async fn client_create_public(
        &self,
        tenant: &TenantId,
        id: &ClientId,
        display_name: &str,
        redirect_uris: Vec<String>,
        by: &By,
    ) -> Result<(), IdentityError> {
        if redirect_uris.is_empty() || redirect_uris.len() > REDIRECTS {
            return Err(IdentityError::Invalid("a client has 1 to 16 redirect URIs"));
        }
        redirect_uris.iter().try_for_each(|uri| redirect::check(uri))?;
        self.client_put(tenant, id, display_name, ClientKind::Public { redirect_uris }, None, by).await
    }

    /// The client of this id.
    ///
    /// # Errors
    /// [`IdentityError::Missing`].
    pub async fn client_get(&self, tenant: &TenantId, id: &ClientId) -> Result<Client, IdentityError> {
        Ok(self.client_stored(tenant, id).await?.value)
    }

    /// Clients by ascending id, those after `after`, at most `limit`.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn client_list(
        &self,
        tenant: &TenantId,
        after: Option<&ClientId>,
        limit: u32,
    ) -> Result<Vec<Client>, IdentityError> {
        let after = after.map(ClientId::as_str);
        let listed = self.records.list::<Client>(&tenant.into(), CLIENT, after, limit).await?;
        Ok(listed.into_iter().map(|(_, stored)| stored.value).collect())
    }

    /// Gives a client no further tokens, and ends those of a machine.
    ///
    /// # Errors
    /// As [`Pools::client_get`].
    pub async fn client_disable(
        &self,
        tenant: &TenantId,
        id: &ClientId,
        by: &By,
    ) -> Result<(), IdentityError> {
        let Stored { mut value, revision } = self.client_stored(tenant, id).await?;
        value.disabled = true;
        let draft = Draft::put(&tenant.into(), CLIENT, id.as_str(), &value)?;
        let drafts = vec![
            draft.expect(Expect::Revision(revision)),
            revocation::of_subject(tenant, &subject(id)?, by.at)?,
        ];
        let step = MapStep::ClientDisabled { client: id.clone() };
        self.records.map_commit(tenant, drafts, &step, by).await?;
        Ok(())
    }

    async fn client_stored(&self, tenant: &TenantId, id: &ClientId) -> Result<Stored<Client>, IdentityError> {
        let stored = self.records.get::<Client>(&tenant.into(), CLIENT, id.as_str()).await?;
        stored.ok_or(IdentityError::Missing("client"))
    }

    async fn client_put(
        &self,
        tenant: &TenantId,
        id: &ClientId,
        display_name: &str,
        kind: ClientKind,
        membership: Option<Membership>,
        by: &By,
    ) -> Result<(), IdentityError> {
        check_display_name(display_name)?;
        if id.as_str().starts_with(user::PREFIX) {
            return Err(IdentityError::Invalid("a client's id does not start with 'u-', as users' ids do"));
        }
        // Only where there is a pool: a client without one would be nobody's.
        self.pool_get(tenant).await?;
        let client = Client { id: id.clone(), display_name: display_name.to_owned(), kind, disabled: false };
        let scope = Scope::from(tenant);
        let mut drafts = vec![Draft::put(&scope, CLIENT, id.as_str(), &client)?.expect(Expect::Absent)];
        let machine = membership.is_some();
        drafts.extend(membership.as_ref().map(Membership::draft).transpose()?);
        let roles = membership.map(|membership| membership.roles).unwrap_or_default();
        let step = MapStep::ClientMade { client: id.clone(), machine, roles };
        exists("client", self.records.map_commit(tenant, drafts, &step, by).await)
    }
}

fn subject(id: &ClientId) -> Result<Subject, IdentityError> {
    Subject::new(id.as_str()).map_err(|_| IdentityError::Invalid("client id"))
}
