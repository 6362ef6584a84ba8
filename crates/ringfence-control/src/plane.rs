//! The plane: opened from its settings, then served from its parts.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use ringfence_authorization::{
    Gate, Governance, Stores, Trials,
    avp::{Avp, AvpParts, Quotas},
    canary::Canaries,
    page::PageKey,
    shadow::Shadows,
};
use ringfence_context::{
    AccessVerifier, Clock, OperatorRole, Secret, key::Jwks, operator::OperatorRecord, txn::TxnVerifier,
};
use ringfence_gateway::{admission::GatewayHits, consistency::Consistency, limit::RateLimits};
use ringfence_guard::cluster::Durability;
use ringfence_identity::{Addresses, Directory, Passwords, Pools};
use ringfence_store::{Follower, Follows, Records, StoreError};
use tokio::net::TcpListener;

use crate::{
    access_key::AccessKeys,
    api::avp::{OwnIssuers, TierQuotas, TierRates},
    credential,
    data::Data,
    decision_log::DecisionLog,
    fault::PlaneError,
    follow::TenantTiers,
    foreign::{Allowed, Fetch, ForeignIssuers, PlaneNames},
    keys::PlaneKeys,
    operator::{Operators, first_operator},
    schedule,
    settings::{Settings, TierPolicies},
    store_place::StorePlaces,
    tenant::Tenants,
    workflow::Workflow,
};

/// File of the first operator's token, below the state folder.
pub const OPERATOR_TOKEN: &str = "operator.token";

/// The plane, opened: everything it knows, and no listener yet serving.
pub struct Plane {
    /// What it was told.
    pub settings: Settings,
    /// Its state folder.
    pub dir: PathBuf,
    /// Its own keys.
    pub keys: PlaneKeys,
    /// Tenants' lives.
    pub workflow: Workflow,
    /// Hashes passwords.
    pub passwords: Passwords,
    /// The decision log.
    pub log: DecisionLog,
    /// The policy service.
    pub avp: Arc<Avp>,
    /// How much tenants may ask of it.
    pub avp_rates: Arc<TierRates>,
    /// What page tokens are made with.
    pub page_key: Arc<PageKey>,
    /// At which revision this node answers.
    pub consistency: Arc<Consistency>,
    /// The proposals evaluated beside what serves, with what this node has counted.
    pub shadows: Arc<Shadows>,
    /// The proposals that decide for a share, with what this node has counted.
    pub canaries: Arc<Canaries>,
    /// What keeps both as they are on record.
    pub trials: Arc<Follower<Trials>>,
    /// How often the gateway had in memory what it needed.
    pub gateway_hits: Arc<GatewayHits>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Its listeners, bound and waiting.
    pub listeners: Listeners,
    addresses: Addresses,
}

/// Bound listeners: a port in use is found before anything is changed.
#[derive(Debug)]
pub struct Listeners {
    /// Gateway and issuers.
    pub gateway: TcpListener,
    /// API.
    pub api: TcpListener,
    /// Guard.
    pub guard: TcpListener,
}

impl Listeners {
    /// Binds all three.
    ///
    /// # Errors
    /// [`PlaneError::Listen`] names the address that can't be had.
    pub async fn bind(listen: &crate::settings::Listen) -> Result<Self, PlaneError> {
        let bind = async |key: &'static str, address: SocketAddr| {
            TcpListener::bind(address).await.map_err(|error| PlaneError::Listen { key, address, error })
        };
        Ok(Self {
            gateway: bind("gateway", listen.gateway).await?,
            api: bind("api", listen.api).await?,
            guard: bind("guard", listen.guard).await?,
        })
    }
}

impl Plane {
    /// Opens the state, the keys, the database and the tenants' policies.
    ///
    /// # Errors
    /// [`PlaneError`], each saying what to do.
    pub async fn open(
        settings: Settings,
        dir: &Path,
        clock: Arc<dyn Clock>,
        durability: Durability,
    ) -> Result<Self, PlaneError> {
        let listeners = Listeners::bind(&settings.listen).await?;
        let bundles = settings.bundles()?;
        settings.route_table()?;
        settings.schema_sql()?;
        settings.upstream_check()?;
        settings.guard.identity(&settings.folder)?;
        let listed = settings.issuers()?;
        Data::names_check(&settings)?;
        Data::programs_check(&settings.postgres)?;
        std::fs::create_dir_all(dir).map_err(|error| PlaneError::folder(dir, error))?;
        let records = state(&settings, dir).await?;
        let keys = PlaneKeys::open(&records).await?;
        let log = DecisionLog::open(dir).map_err(|error| PlaneError::folder(dir, error))?;
        let addresses = addresses(&settings, &listeners)?;
        let directory = Directory::open(records.clone(), addresses.clone(), Arc::clone(&clock)).await?;
        let stores = stores(&records, &clock, &bundles).await?;
        let data = Data::open(&settings, dir, &keys.guard, durability).await?;
        let others = other_issuers(listed, &settings, &addresses, &clock);
        let gate = gate(&settings).await;
        let rates = settings.tiers.iter().map(|(name, tier)| (name.clone(), tier.rate));
        let workflow = Workflow {
            places: Arc::new(StorePlaces::new(records.clone(), settings.places())),
            access_keys: AccessKeys::new(records.clone()),
            tenants: Tenants::new(records.clone()),
            pools: Pools::new(records.clone()),
            records,
            directory,
            governance: Governance::new(Arc::clone(&stores), Arc::clone(&gate)),
            stores,
            data: Arc::new(data),
            limits: Arc::new(RateLimits::new(rates)),
            bundles: Arc::new(bundles),
            gate,
            clock: Arc::clone(&clock),
        };
        workflow.take_up().await?;
        let (avp, avp_rates) = policy_service(&workflow, others, &settings).await?;
        let page_key = Arc::new(PageKey::open(&workflow.records).await?);
        let (shadows, canaries) = (Arc::default(), Arc::new(Canaries::new(Arc::clone(&clock))));
        let trials = trials(&workflow, &canaries, &shadows).await?;
        let consistency = consistency(&workflow, &avp_rates, &trials).await?;
        let plane = Self {
            settings,
            dir: dir.to_owned(),
            keys,
            workflow,
            passwords: Passwords::new()?,
            log,
            avp,
            avp_rates,
            page_key,
            consistency,
            shadows,
            canaries,
            trials,
            gateway_hits: Arc::default(),
            clock,
            listeners,
            addresses,
        };
        plane.first_operator().await?;
        timed_work_begin(&plane).await?;
        Ok(plane)
    }

    /// Names of hosts and issuers.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Where the API answers, as those who call it know it, without a trailing slash.
    pub fn api_url(&self) -> String {
        let listens = || self.listeners.api.local_addr().map_or(self.settings.listen.api, |bound| bound);
        self.settings.api_url.clone().unwrap_or_else(|| format!("http://{}", listens()))
    }

    /// The trust domain of `Txn-Token`s.
    pub fn trust_domain(&self) -> String {
        format!("{}/trust", self.addresses.base_url)
    }

    /// The verifier of the gateway's signature.
    pub fn txn_verifier(&self) -> TxnVerifier {
        TxnVerifier {
            keys: vec![self.keys.gateway.public().clone()],
            issuer: self.addresses.base_url.clone(),
            audience: self.trust_domain(),
        }
    }

    /// The gateway's public keys.
    pub fn gateway_keys(&self) -> Jwks {
        Jwks { keys: vec![self.keys.gateway.public().jwk()] }
    }

    /// The operator's token of this folder, for the command line.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub fn operator_token(dir: &Path) -> Result<Secret<String>, PlaneError> {
        let path = dir.join(OPERATOR_TOKEN);
        let text = std::fs::read_to_string(&path).map_err(|error| PlaneError::folder(&path, error))?;
        Ok(Secret::new(text.trim().to_owned()))
    }

    async fn first_operator(&self) -> Result<(), PlaneError> {
        let operators = Operators::new(self.workflow.records.clone());
        if !operators.operator_list().await?.is_empty() {
            return Ok(());
        }
        let name = first_operator().ok_or(PlaneError::Inside("an operator's name"))?;
        let (record, token) = OperatorRecord::issue(name, BTreeSet::from([OperatorRole::Admin]))
            .map_err(|_| PlaneError::Inside("no randomness"))?;
        // The file first: an operator nobody can be is worse than a token nobody is.
        let path = self.dir.join(OPERATOR_TOKEN);
        crate::private_file::write(&path, token.reveal())
            .map_err(|error| PlaneError::folder(&self.dir, error))?;
        match operators.operator_first(record, self.clock.now()).await {
            // Another node was first: this token is nobody's.
            Err(StoreError::Conflict { .. }) => {
                std::fs::remove_file(&path).map_err(|error| PlaneError::folder(&path, error))
            }
            outcome => Ok(outcome?),
        }
    }
}

/// Has proposals published when their time has come, and logins ended when theirs is over.
async fn timed_work_begin(plane: &Plane) -> Result<(), PlaneError> {
    tokio::spawn(schedule::run(plane.workflow.clone()));
    let given = plane.settings.tiers.values().any(|tier| tier.credentials.is_some());
    let data = &plane.workflow.data;
    if given {
        data.credentials_look().await?;
    }
    for sweep in data.sweeps() {
        tokio::spawn(credential::sweep(sweep, given, Arc::clone(&plane.clock)));
    }
    Ok(())
}

/// The state that several nodes share, or this one's own.
async fn state(settings: &Settings, dir: &Path) -> Result<Records, PlaneError> {
    Ok(match settings.state_url()? {
        Some(url) => Records::open_postgres(&url, dir).await?,
        None => Records::open_sqlite(dir).await?,
    })
}

/// What stands in front of every change of policies.
async fn gate(settings: &Settings) -> Arc<Gate> {
    let gate = Arc::new(Gate::new((&settings.solver).into()).await);
    match gate.solver() {
        Ok(solver) => tracing::info!(solver, "policies are proved before they are published"),
        Err(error) => {
            tracing::warn!(error, "policies can't be proved, so they can't be changed: install cvc5")
        }
    }
    gate
}

/// The tenants' stores; what each tier's begin with is in memory.
async fn stores(
    records: &Records,
    clock: &Arc<dyn Clock>,
    tiers: &BTreeMap<String, TierPolicies>,
) -> Result<Arc<Stores>, PlaneError> {
    let stores = Stores::load(records.clone(), Arc::clone(clock)).await?;
    for TierPolicies { bundle, .. } in tiers.values() {
        // The settings were read with the same check.
        stores.keep(bundle).map_err(|_| PlaneError::Inside("a tier's policies can't be kept"))?;
    }
    tokio::spawn(Arc::clone(&stores).follow());
    Ok(stores)
}

/// The other issuers that may be asked, none of them at a name of the plane's.
fn other_issuers(
    (allowed, fetch): (Allowed, Fetch),
    settings: &Settings,
    addresses: &Addresses,
    clock: &Arc<dyn Clock>,
) -> ForeignIssuers {
    let urls = [Some(addresses.base_url.as_str()), settings.api_url.as_deref()];
    let planes = PlaneNames::new(urls.into_iter().flatten(), &addresses.host_suffix);
    ForeignIssuers::new(allowed, planes, fetch, Arc::clone(clock))
}

/// Keeps what is tried as it is on record.
async fn trials(
    workflow: &Workflow,
    canaries: &Arc<Canaries>,
    shadows: &Arc<Shadows>,
) -> Result<Arc<Follower<Trials>>, PlaneError> {
    let trials = Trials::new(workflow.governance.clone(), Arc::clone(canaries), Arc::clone(shadows));
    let trials = Follower::begin(workflow.records.clone(), trials).await?;
    tokio::spawn(Arc::clone(&trials).follow());
    Ok(trials)
}

/// Follows what other nodes change, and says how far.
async fn consistency(
    workflow: &Workflow,
    rates: &Arc<TierRates>,
    trials: &Arc<Follower<Trials>>,
) -> Result<Arc<Consistency>, PlaneError> {
    let tiers = TenantTiers {
        tenants: workflow.tenants.clone(),
        limits: Arc::clone(&workflow.limits),
        rates: Arc::clone(rates),
        data: Arc::clone(&workflow.data),
    };
    let tiers = Follower::begin(workflow.records.clone(), tiers).await?;
    tokio::spawn(Arc::clone(&tiers).follow());
    let followers: Vec<Arc<dyn Follows>> = vec![
        Arc::clone(&workflow.stores) as _,
        Arc::clone(&workflow.directory) as _,
        tiers,
        Arc::clone(trials) as _,
    ];
    Ok(Arc::new(Consistency::new(workflow.records.clone(), followers)))
}

/// The policy service over the plane's state. Tokens are verified by the kernel's own verifier.
async fn policy_service(
    workflow: &Workflow,
    foreign: ForeignIssuers,
    settings: &Settings,
) -> Result<(Arc<Avp>, Arc<TierRates>), PlaneError> {
    let clock = &workflow.clock;
    let tiers: BTreeMap<String, Quotas> =
        settings.tiers.iter().map(|(name, tier)| (name.clone(), tier.avp)).collect();
    let rates = Arc::new(TierRates::new(&tiers));
    let tokens = OwnIssuers {
        directory: Arc::clone(&workflow.directory),
        pools: workflow.pools.clone(),
        access: Arc::new(AccessVerifier),
        clock: Arc::clone(clock),
        foreign,
    };
    let parts = AvpParts {
        records: workflow.records.clone(),
        stores: Arc::clone(&workflow.stores),
        gate: Arc::clone(&workflow.gate),
        clock: Arc::clone(clock),
        tiers: Arc::new(TierQuotas {
            tenants: workflow.tenants.clone(),
            policies: Arc::clone(&workflow.bundles),
            tiers,
        }),
        tokens: Arc::new(tokens),
    };
    Ok((Arc::new(Avp::open(parts).await?), rates))
}

fn addresses(settings: &Settings, listeners: &Listeners) -> Result<Addresses, PlaneError> {
    let bound =
        listeners.gateway.local_addr().map_err(|_| PlaneError::Inside("a listener without address"))?;
    let base_url = settings.base_url.clone().unwrap_or_else(|| format!("http://{bound}"));
    let host_suffix = settings.host_suffix.clone().unwrap_or_else(|| format!("localhost:{}", bound.port()));
    let audience = settings.audience.clone().unwrap_or_else(|| base_url.clone());
    Ok(Addresses { base_url, audience, host_suffix })
}
