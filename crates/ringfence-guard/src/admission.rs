//! The one admission point for Postgres: who may open a database session, and what is said to the database for them.
//!
//! Follows the rule of two sources: the tenant issuer's signature on the access token and the gateway's on the
//! `Txn-Token` must name the same tenant, subject and token, and that tenant must be the user the client connects as.
//!
//! Two seams, because a range that attacks the chain replaces either: [`Admit`] decides who enters, [`Contexts`] what
//! a connection is given to a tenant with. The serving composition is [`Admission`] with [`MintContexts`]; without a permit
//! that one refuses, so that a door left open here is still closed there, and Postgres refuses what has no context.

use std::sync::Arc;

use ringfence_context::{
    DatabaseContext, DatabaseToken, Issuers, Layer, Permit, Reason, Refusal, TenantId, UnixTime,
    VerifyAccess, access, database::Backend, key::MacKey, txn::VerifyTxn,
};

/// Who may open a database session.
pub trait Admit: Send + Sync {
    /// Decides on a client that connects as `user` with `token` as its password. Only a composition that is broken on
    /// purpose answers `None`: let in without a permit.
    ///
    /// # Errors
    /// A refusal of the guard.
    fn admit(&self, user: &TenantId, token: &DatabaseToken, now: UnixTime)
    -> Result<Option<Permit>, Refusal>;

    /// Asked before every transaction: tenant still active, token not expired or revoked.
    ///
    /// # Errors
    /// A refusal of the guard; it ends the session.
    fn still(&self, permit: &Permit, now: UnixTime) -> Result<(), Refusal>;
}

/// What a connection is given to a tenant with.
pub trait Contexts: Send + Sync {
    /// The context for `backend`, asked for where it has none of this permit's that is fresh. Only a composition that is
    /// broken on purpose answers `None`: the transaction then begins without one.
    ///
    /// # Errors
    /// [`Reason::TokenExpired`], [`Reason::ContextMissing`].
    fn context(
        &self,
        permit: Option<&Permit>,
        backend: Backend,
        now: UnixTime,
    ) -> Result<Option<DatabaseContext>, Refusal>;
}

/// The admission that serves.
pub struct Admission {
    /// The issuers, and what has happened since they signed.
    pub issuers: Arc<dyn Issuers>,
    /// Verifies the tenant issuer's signature.
    pub access: Arc<dyn VerifyAccess>,
    /// Verifies the gateway's signature.
    pub txn: Arc<dyn VerifyTxn>,
}

impl Admit for Admission {
    fn admit(
        &self,
        user: &TenantId,
        token: &DatabaseToken,
        now: UnixTime,
    ) -> Result<Option<Permit>, Refusal> {
        let decide = || {
            let issuer = self.issuers.issuer(&access::claimed_issuer(&token.access)?)?;
            let verified = self.access.verify(&token.access, &issuer, now)?;
            let context = self.access.bind(verified, user)?;
            let txn = self.txn.verify_txn(&token.txn, now)?;
            // Either purpose will do: a request's token opens the session of the backend that serves the request.
            let permit = Permit::from_txn(&context, &txn)?;
            self.issuers.check_live(permit.context())?;
            Ok(Some(permit))
        };
        decide().map_err(|refusal: Refusal| refusal.at(Layer::Guard))
    }

    fn still(&self, permit: &Permit, now: UnixTime) -> Result<(), Refusal> {
        if permit.context().expires() <= now {
            return Err(Refusal::new(
                Layer::Guard,
                Reason::TokenExpired,
                "the access token expired during the session",
            ));
        }
        self.issuers.check_live(permit.context()).map_err(|refusal| refusal.at(Layer::Guard))
    }
}

/// Mints contexts with the guard's key.
#[derive(Debug)]
pub struct MintContexts {
    key: MacKey,
}

impl MintContexts {
    /// With the key that [`crate::install::guard_key_put`] has put into the database.
    pub fn new(key: MacKey) -> Self {
        Self { key }
    }
}

impl Contexts for MintContexts {
    fn context(
        &self,
        permit: Option<&Permit>,
        backend: Backend,
        now: UnixTime,
    ) -> Result<Option<DatabaseContext>, Refusal> {
        let missing = Refusal::new(Layer::Guard, Reason::ContextMissing, "a session without a permit");
        DatabaseContext::mint(permit.ok_or(missing)?, &self.key, backend, now).map(Some)
    }
}
