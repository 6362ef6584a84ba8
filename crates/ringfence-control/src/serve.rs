//! Serving: the parts behind their listeners, until told to stop.

use std::{net::SocketAddr, sync::Arc};

use axum::Router;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use ringfence_context::{
    Record,
    txn::{RequestBinding, TxnSigner},
};
use ringfence_gateway::{
    Gateway, GatewayParts,
    exchange::DatabaseExchange,
    forward::Upstream,
    host::{Address, Hosts},
    refuse::{Body, refuse},
    serve::serve as serve_http,
    txn::Mint,
    workers::Workers,
};
use ringfence_identity::Identity;
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tower::ServiceExt;

use crate::{
    api::{self, Api},
    credential::Credentials,
    data::Data,
    fault::PlaneError,
    parts::Parts,
    plane::Plane,
    sample::Sampled,
    settings::upstream_authority,
};

/// A plane that serves.
pub struct Running {
    /// Where gateway and issuers answer.
    pub gateway: SocketAddr,
    /// Where the API answers.
    pub api: SocketAddr,
    /// Where the guard answers.
    pub guard: SocketAddr,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    data: Arc<Data>,
}

impl Running {
    /// Lets running requests finish, then stops everything, the managed Postgres last.
    ///
    /// # Errors
    /// Where Postgres will not stop.
    pub async fn stop(mut self) -> Result<(), PlaneError> {
        let _ = self.stop.send(true);
        while self.tasks.join_next().await.is_some() {}
        self.data.stop().await.map_err(PlaneError::from)
    }
}

/// Serves an opened plane from these parts, in front of the application at `upstream` (`host:port`).
///
/// # Errors
/// [`PlaneError`].
pub fn serve(plane: Plane, parts: &Parts, upstream: &str) -> Result<Running, PlaneError> {
    let signer = Arc::new(signer(&plane)?);
    let gateway = Arc::new(gateway(&plane, parts, &signer, upstream)?);
    let front = Arc::new(Front { hosts: hosts(&plane), issuers: issuers(&plane, parts, &signer), gateway });
    let api = api_router(&plane, parts);
    let guard = crate::guard::guard(&plane, parts)?;

    let (stop, stopped) = watch::channel(false);
    let stopping = || wait(stopped.clone());
    let listeners = plane.listeners;
    let (mut tasks, data) = (JoinSet::new(), Arc::clone(&plane.workflow.data));
    let running = (address(&listeners.gateway)?, address(&listeners.api)?, address(&listeners.guard)?);
    let workers = Workers::per_core().map_err(|_| PlaneError::Inside("no threads to serve on"))?;
    tasks.spawn(serve_http(
        listeners.gateway,
        Some(workers),
        move |request| {
            let front = Arc::clone(&front);
            async move { front.answer(request).await }
        },
        stopping(),
    ));
    tasks.spawn(serve_http(listeners.api, None, move |request| routed(api.clone(), request), stopping()));
    let (listener, stopping) = (listeners.guard, stopping());
    tasks.spawn(async move {
        if let Err(error) = guard.serve(listener, stopping).await {
            tracing::error!(%error, "the guard does not serve");
        }
    });
    let (gateway, api, guard) = running;
    Ok(Running { gateway, api, guard, stop, tasks, data })
}

/// What answers at the gateway's port: the issuers at the base host, the gateway at the tenants'.
struct Front {
    hosts: Hosts,
    issuers: Router,
    gateway: Arc<Gateway>,
}

impl Front {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        match self.hosts.address(request.uri(), request.headers()) {
            Ok(Address::Tenant(tenant)) => self.gateway.handle(tenant, request).await,
            Ok(Address::Base) => routed(self.issuers.clone(), request).await,
            Err(refusal) => refuse(&refusal, &self.gateway.reference()),
        }
    }
}

async fn routed(router: Router, request: Request<Incoming>) -> Response<Body> {
    let answered = match router.oneshot(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    };
    answered.map(|body| body.map_err(Into::into).boxed_unsync())
}

async fn wait(mut stopped: watch::Receiver<bool>) {
    // An error means that whoever could say so is gone: stop as well.
    let _ = stopped.wait_for(|stopped| *stopped).await;
}

fn address(listener: &TcpListener) -> Result<SocketAddr, PlaneError> {
    listener.local_addr().map_err(|_| PlaneError::Inside("a listener without address"))
}

fn signer(plane: &Plane) -> Result<TxnSigner, PlaneError> {
    let key = plane.keys.gateway_signer().map_err(|_| PlaneError::Inside("the gateway's key"))?;
    Ok(TxnSigner::new(key, plane.addresses().base_url.clone(), plane.trust_domain()))
}

fn hosts(plane: &Plane) -> Hosts {
    let addresses = plane.addresses();
    let base = addresses.base_url.split_once("://").map_or(addresses.base_url.as_str(), |(_, host)| host);
    Hosts { base: base.to_ascii_lowercase(), suffix: addresses.host_suffix.clone() }
}

fn gateway(
    plane: &Plane,
    parts: &Parts,
    signer: &Arc<TxnSigner>,
    upstream: &str,
) -> Result<Gateway, PlaneError> {
    let authority = upstream_authority(upstream)?;
    Ok(Gateway::new(GatewayParts {
        issuers: Arc::clone(&plane.workflow.directory) as _,
        access: Arc::clone(&parts.gateway_access),
        decide: Arc::clone(&parts.gateway_decide),
        consistency: Arc::clone(&plane.consistency),
        strip: Arc::clone(&parts.strip),
        mint: Mint { signer: Arc::clone(signer), binding: RequestBinding::new(plane.keys.binding.clone()) },
        routes: plane.settings.route_table()?,
        limit: Arc::clone(&plane.workflow.limits),
        upstream: Upstream::new(authority),
        clock: Arc::clone(&plane.clock),
        record: record(plane),
        hits: Arc::clone(&plane.gateway_hits),
    }))
}

fn issuers(plane: &Plane, parts: &Parts, signer: &Arc<TxnSigner>) -> Router {
    let exchange = DatabaseExchange {
        decide: Arc::clone(&parts.gateway_decide),
        signer: Arc::clone(signer),
        clock: Arc::clone(&plane.clock),
        action: plane.settings.database_action.clone(),
        resource: plane.settings.tenant_resource.clone(),
    };
    let credentials = Credentials {
        tenants: plane.workflow.tenants.clone(),
        data: Arc::clone(&plane.workflow.data),
        admit: Arc::clone(&parts.admit),
        lives: Credentials::lives(&plane.settings),
        clock: Arc::clone(&plane.clock),
    };
    let pools = plane.workflow.pools.clone();
    let directory = Arc::clone(&plane.workflow.directory);
    let hook = Arc::clone(&parts.hook);
    let identity = Identity::new(pools, directory, hook, plane.passwords.clone(), Arc::clone(&plane.clock))
        .with_verifier(Arc::clone(&parts.access))
        .with_exchange(Arc::new(exchange))
        .with_credentials(Arc::new(credentials))
        .with_job_seconds(plane.settings.jobs.seconds)
        .with_record(record(plane));
    ringfence_identity::router(Arc::new(identity))
}

/// What answers at the API's port.
pub fn api_router(plane: &Plane, parts: &Parts) -> Router {
    api::router(Api {
        workflow: plane.workflow.clone(),
        passwords: plane.passwords.clone(),
        log: plane.log.clone(),
        record: record(plane),
        decide: Arc::clone(&parts.decide),
        issuers: Arc::clone(&plane.workflow.directory) as _,
        access: Arc::clone(&parts.access),
        txn: Arc::clone(&parts.txn),
        binding: RequestBinding::new(plane.keys.binding.clone()),
        avp: Arc::clone(&plane.avp),
        avp_rates: Arc::clone(&plane.avp_rates),
        access_keys: plane.workflow.access_keys.clone(),
        page_key: Arc::clone(&plane.page_key),
        consistency: Arc::clone(&plane.consistency),
        base_url: plane.api_url().into(),
        shadows: Arc::clone(&plane.shadows),
        canaries: Arc::clone(&plane.canaries),
        trials: Arc::clone(&plane.trials),
        gateway_hits: Arc::clone(&plane.gateway_hits),
        clock: Arc::clone(&plane.clock),
    })
}

fn record(plane: &Plane) -> Arc<dyn Record> {
    let tiers = plane.settings.tiers.iter().map(|(name, tier)| (name.clone(), tier.decision_log)).collect();
    Sampled::over(Arc::new(plane.log.clone()), tiers, Arc::clone(&plane.workflow.limits))
}
