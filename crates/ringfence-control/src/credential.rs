//! Credentials: which tenants are given logins to their own databases, for how long, and that they end.
//!
//! It guarantees that nobody is given one but who has both signatures a database session asks for, that only a tenant that is alone
//! in its database is given any, and that none outlives the access token it was exchanged for.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use ringfence_context::{Clock, DatabaseToken, Layer, Reason, Refusal, TenantContext, limits};
use ringfence_guard::{Admit, credential::CredentialError};
use ringfence_identity::exchange::{CredentialAnswer, DatabaseLogin, ExchangeCredential};
use serde::Deserialize;

use crate::{
    data::{Data, DataError, Shape, Sweep},
    settings::{Settings, TierSettings},
    tenant::{TenantStatus, Tenants},
};

/// How often it is looked for those whose time is over.
const BEAT: Duration = Duration::from_secs(1);

/// How often it is looked for those of a tier that gives none any more.
const REMNANTS: Duration = Duration::from_secs(60);

/// What a tier gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CredentialSettings {
    /// For how long each is good, in seconds; at most [`limits::CREDENTIAL_LIFE_SECONDS`].
    pub seconds: u64,
}

/// What is wrong with what the tiers give, and what to write.
pub(crate) fn fault(settings: &Settings) -> Option<String> {
    settings.tiers.iter().find_map(|(name, tier)| {
        let CredentialSettings { seconds } = tier.credentials?;
        let told = if (1..=limits::CREDENTIAL_LIFE_SECONDS).contains(&seconds) {
            unreachable_from_outside(settings, tier)?
        } else {
            format!("seconds is from 1 to {}", limits::CREDENTIAL_LIFE_SECONDS)
        };
        Some(format!("credentials in [tiers.{name}]: {told}"))
    })
}

/// Why who connects without the guard would not reach the tier's databases, or more than its own.
fn unreachable_from_outside(settings: &Settings, tier: &TierSettings) -> Option<String> {
    let postgres = &settings.postgres;
    let mut servers = match tier.data {
        Shape::Rows | Shape::Role | Shape::Schema => {
            return Some(
                "only with data = \"database\" or \"server\": in a database that tenants share, whoever connects directly \
                 could LISTEN to what others NOTIFY, and no right forbids it"
                    .to_owned(),
            );
        }
        Shape::Database => postgres.server.iter().collect::<Vec<_>>(),
        Shape::Server => postgres.servers.values().collect(),
    };
    if servers.is_empty() {
        let key = if tier.data == Shape::Database { "[postgres.server]" } else { "[postgres.servers.NAME]" };
        return Some(format!(
            "only with an existing Postgres, {key}: a managed one listens on a private socket only"
        ));
    }
    servers.retain(|server| server.host.starts_with('/'));
    let server = servers.first()?;
    Some(format!(
        "host = \"{}\" is a socket's folder: credentials are for who connects over the network",
        server.host
    ))
}

/// Gives credentials.
pub(crate) struct Credentials {
    /// Tenants and where their rows are.
    pub(crate) tenants: Tenants,
    /// The databases.
    pub(crate) data: Arc<Data>,
    /// Who may open a database session: the guard's own door.
    pub(crate) admit: Arc<dyn Admit>,
    /// For how long each tier gives one.
    pub(crate) lives: BTreeMap<String, Duration>,
    /// The time.
    pub(crate) clock: Arc<dyn Clock>,
}

impl Credentials {
    /// For how long each tier gives one.
    pub(crate) fn lives(settings: &Settings) -> BTreeMap<String, Duration> {
        let life = |tier: &TierSettings| Some(Duration::from_secs(tier.credentials?.seconds));
        settings.tiers.iter().filter_map(|(name, tier)| Some((name.clone(), life(tier)?))).collect()
    }

    async fn give(
        &self,
        context: &TenantContext,
        token: &DatabaseToken,
    ) -> Result<Option<DatabaseLogin>, Refusal> {
        let now = self.clock.now();
        let unproved = Refusal::new(Layer::Guard, Reason::ContextMissing, "a credential without a permit");
        let permit = self.admit.admit(context.tenant(), token, now)?.ok_or(unproved)?;
        let (id, until) = (permit.context().tenant(), permit.context().expires());
        let tenant = match self.tenants.tenant_get(id).await {
            Ok(found) => found.value,
            Err(error) => {
                tracing::error!(tenant = %id, %error, "a tenant can't be read");
                return Err(unavailable("the tenant's record can't be read"));
            }
        };
        if tenant.status != TenantStatus::Active || tenant.held {
            return Err(unavailable("the tenant is not active, or is being moved"));
        }
        let Some(life) = self.lives.get(&tenant.tier) else { return Ok(None) };
        let expires = now.after(*life).min(until);
        match self.data.credential_put(&tenant, expires, now).await {
            Ok(login) => Ok(login),
            Err(DataError::Credential(CredentialError::TooMany)) => {
                Err(Refusal::new(Layer::Guard, Reason::RateLimited, "too many credentials of one tenant"))
            }
            Err(error) => {
                tracing::error!(tenant = %id, %error, "no credential could be made");
                Err(unavailable("the tenant's database gives no credential"))
            }
        }
    }
}

const fn unavailable(detail: &'static str) -> Refusal {
    Refusal::new(Layer::Guard, Reason::DependencyUnavailable, detail)
}

impl ExchangeCredential for Credentials {
    fn exchange<'a>(&'a self, context: &'a TenantContext, token: &'a DatabaseToken) -> CredentialAnswer<'a> {
        Box::pin(self.give(context, token))
    }
}

/// Removes the logins of one server whose time is over, until the plane ends; or, where no tier gives any, until none is left.
/// Every node does, and whichever is first has done it for all: what there is to be done is read from Postgres.
pub(crate) async fn sweep(mut sweep: Sweep, given: bool, clock: Arc<dyn Clock>) {
    let mut beat = tokio::time::interval(if given { BEAT } else { REMNANTS });
    loop {
        beat.tick().await;
        let left = sweep.run(clock.now()).await;
        if left == Some(0) && !given {
            return;
        }
    }
}
