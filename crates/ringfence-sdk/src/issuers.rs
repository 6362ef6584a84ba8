//! The tenants' issuers as a backend sees them: `{base_url}/t/{tenant}` and nothing else, keys fetched from there.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use ringfence_context::{
    IssuerKeys, Layer, Reason, Refusal, TenantId, UnixTime,
    key::{Jwks, PublicKey},
};

use crate::client::Client;

/// How long fetched keys are believed.
const KEYS_LIVE: Duration = Duration::from_secs(600);

/// How soon one issuer is asked again, so that a flood of unknown keys is not a flood of fetches.
const REFETCH: Duration = Duration::from_secs(5);

/// Most issuers remembered; past that the map starts anew.
const REMEMBERED: usize = 10_000;

/// Keys of issuers, fetched when first needed.
#[derive(Debug)]
pub struct RemoteIssuers {
    base_url: String,
    audience: String,
    client: Client,
    known: Mutex<HashMap<TenantId, (UnixTime, Arc<IssuerKeys>)>>,
}

impl RemoteIssuers {
    /// The issuers below a base URL.
    pub fn new(base_url: String, audience: String, client: Client) -> Self {
        Self { base_url, audience, client, known: <_>::default() }
    }

    /// The issuer of this URL. `unknown_key` asks again for keys fetched a while ago: they may have been replaced.
    ///
    /// # Errors
    /// [`Reason::TokenInvalid`] where the URL is not one of a tenant's, [`Reason::DependencyUnavailable`] where its
    /// keys can't be had.
    pub async fn issuer(
        &self,
        url: &str,
        unknown_key: bool,
        now: UnixTime,
    ) -> Result<Arc<IssuerKeys>, Refusal> {
        let foreign =
            Refusal::new(Layer::Backend, Reason::TokenInvalid, "iss is not an issuer of this plane");
        let tenant = url.strip_prefix(&self.base_url).and_then(|rest| rest.strip_prefix("/t/"));
        let tenant = tenant.and_then(|tenant| TenantId::new(tenant).ok()).ok_or(foreign.clone())?;
        let longest = if unknown_key { REFETCH } else { KEYS_LIVE };
        if let Some((fetched, keys)) = self.known.lock().ok().and_then(|known| known.get(&tenant).cloned())
            && now.since(fetched) < longest
        {
            return Ok(keys);
        }
        let keys = Arc::new(self.fetch(&tenant, url).await?.ok_or(foreign)?);
        if let Ok(mut known) = self.known.lock() {
            if known.len() >= REMEMBERED {
                known.clear();
            }
            known.insert(tenant, (now, Arc::clone(&keys)));
        }
        Ok(keys)
    }

    async fn fetch(&self, tenant: &TenantId, url: &str) -> Result<Option<IssuerKeys>, Refusal> {
        let unavailable =
            Refusal::new(Layer::Backend, Reason::DependencyUnavailable, "an issuer's keys can't be had");
        let uri = format!("{url}/jwks").parse().map_err(|_| unavailable.clone())?;
        let (status, body) = self.client.get(uri).await.map_err(|_| unavailable.clone())?;
        if status == http::StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let jwks: Jwks = serde_json::from_slice(&body).map_err(|_| unavailable.clone())?;
        let keys =
            jwks.keys.iter().map(PublicKey::from_jwk).collect::<Result<_, _>>().map_err(|_| unavailable)?;
        Ok(Some(IssuerKeys {
            tenant: tenant.clone(),
            issuer: url.to_owned(),
            audience: self.audience.clone(),
            keys,
        }))
    }
}
