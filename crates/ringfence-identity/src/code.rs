//! Authorization codes (RFC 6749 section 4.1.2): single use, sixty seconds, bound to tenant, client, redirect URI and
//! PKCE challenge.
//!
//! Kept under the tenant's key by the code's hash, so that a look at the database gives no code. A code is spent in one
//! commit that only one of two redemptions can make; whoever presents it again ends the token it gave.

use ringfence_context::{
    Reason, Refusal, Secret, TenantId, TokenId, UnixTime,
    id::{ClientId, Subject},
    key::{self, base64url, sha256},
};
use ringfence_store::{Draft, Expect, Kind, Scope, StoreError};
use serde::{Deserialize, Serialize};

use crate::{
    error::{IdentityError, refuse},
    issuer::ACCESS_LIFE_SECONDS,
    pool::Pools,
    ticket::Ticket,
};

const CODE: Kind = Kind::new("authorization_code");

/// How long a code can be redeemed, in seconds.
const LIFE_SECONDS: u64 = 60;

/// Old codes forgotten with each new one, so that they do not add up.
const FORGET: u32 = 32;

/// Shortest and longest PKCE verifier, in bytes (RFC 7636 section 4.1).
const VERIFIER: std::ops::RangeInclusive<usize> = 43..=128;

/// What a code stands for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// What was asked for.
    pub ticket: Ticket,
    /// Who signed in.
    pub subject: Subject,
    /// When, in seconds since the epoch.
    pub signed_in: u64,
    /// The access token it gave, once it has.
    spent: Option<TokenId>,
}

/// How a code is presented.
#[derive(Debug)]
pub struct Redemption<'a> {
    /// The code.
    pub code: &'a str,
    /// By whom.
    pub client: &'a ClientId,
    /// The redirect URI it was sent to, again.
    pub redirect_uri: &'a str,
    /// The PKCE secret.
    pub verifier: &'a str,
}

impl Pools {
    /// Makes a code.
    ///
    /// # Errors
    /// What the store answers.
    pub async fn code_create(
        &self,
        tenant: &TenantId,
        ticket: Ticket,
        subject: Subject,
        now: UnixTime,
    ) -> Result<Secret<String>, IdentityError> {
        let code = Secret::new(base64url(&key::random::<32>()?));
        let (scope, id) = (Scope::from(tenant), id(code.reveal()));
        // From the new code's own place on: it is random, so every old code's turn comes.
        let old = self.records.list::<Grant>(&scope, CODE, Some(&id), FORGET).await?;
        let over = |grant: &Grant| {
            now.seconds() > grant.signed_in.saturating_add(LIFE_SECONDS + ACCESS_LIFE_SECONDS)
        };
        let old = old.iter().filter(|(_, grant)| over(&grant.value));
        let mut drafts: Vec<_> = old.map(|(id, _)| Draft::delete(&scope, CODE, id)).collect();
        let grant = Grant { ticket, subject, signed_in: now.seconds(), spent: None };
        drafts.push(Draft::put(&scope, CODE, &id, &grant)?.expect(Expect::Absent));
        self.records.commit(drafts).await?;
        Ok(code)
    }

    /// Spends a code for the access token that will have the id `token`.
    ///
    /// # Errors
    /// [`Reason::RequestMalformed`] where it is unknown here, over, spent, or presented by another; a spent one is also
    /// the end of the token it gave.
    pub async fn code_spend(
        &self,
        tenant: &TenantId,
        redemption: &Redemption<'_>,
        token: &TokenId,
        now: UnixTime,
    ) -> Result<Grant, Refusal> {
        let refused = |detail| refuse(Reason::RequestMalformed, detail);
        let failed = |error: StoreError| IdentityError::from(error).refusal();
        let (scope, id) = (Scope::from(tenant), id(redemption.code));
        let found = self.records.get::<Grant>(&scope, CODE, &id).await.map_err(failed)?;
        let found = found.ok_or(refused("no such code in this tenant"))?;
        let mut grant = found.value;
        if let Some(given) = &grant.spent {
            return Err(self.code_replayed(tenant, given, now).await);
        }
        if now.seconds() >= grant.signed_in.saturating_add(LIFE_SECONDS) {
            return Err(refused("the code is too old"));
        }
        if grant.ticket.client != *redemption.client {
            return Err(refused("the code is another client's"));
        }
        if grant.ticket.redirect_uri != redemption.redirect_uri {
            return Err(refused("the code went to another redirect URI"));
        }
        let challenge = base64url(&sha256(redemption.verifier.as_bytes()));
        if !VERIFIER.contains(&redemption.verifier.len()) || challenge != grant.ticket.challenge {
            return Err(refused("the PKCE verifier is not the challenge's"));
        }
        grant.spent = Some(token.clone());
        let draft = Draft::put(&scope, CODE, &id, &grant).map_err(failed)?;
        match self.records.commit(vec![draft.expect(Expect::Revision(found.revision))]).await {
            Ok(_) => Ok(grant),
            // Spent by another request since it was read: a race of two is a replay too.
            Err(StoreError::Conflict { .. }) => {
                let found = self.records.get::<Grant>(&scope, CODE, &id).await.map_err(failed)?;
                match found.and_then(|found| found.value.spent) {
                    Some(given) => Err(self.code_replayed(tenant, &given, now).await),
                    None => Err(refused("the code was changed meanwhile")),
                }
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// Ends the token a spent code gave: one of the two who presented it is not whom it was meant for.
    async fn code_replayed(&self, tenant: &TenantId, given: &TokenId, now: UnixTime) -> Refusal {
        let exp = UnixTime::from_seconds(now.seconds().saturating_add(ACCESS_LIFE_SECONDS));
        match self.token_revoke(tenant, given, exp, now).await {
            Ok(_) => refuse(Reason::RequestMalformed, "the code was spent before; its token is revoked"),
            Err(error) => error.refusal(),
        }
    }
}

fn id(code: &str) -> String {
    base64url(&sha256(code.as_bytes()))
}
