//! `ringfence.toml`: read strictly, with messages that say which key and what to write.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use http::uri::Authority;
use ringfence_authorization::{Mode, PolicyBundle, Review, SolverSettings, Terms, WhenUnproved, avp::Quotas};
use ringfence_context::{Secret, limits};
use ringfence_gateway::{RouteTable, limit::Rate};
use ringfence_guard::tls::Authorities;
use ringfence_identity::job::JOB_SECONDS;
use serde::Deserialize;

use crate::{
    credential::{self, CredentialSettings},
    data::Shape,
    fault::PlaneError,
    foreign::{Allowed, Fetch, IssuerSettings},
    guard::{self, GuardSettings, TierGuard},
    sample::Sampling,
    store_place::Place,
};

/// What is wrong with the settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file can't be read.
    #[error("can't read {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file is not of its form.
    #[error("{}: {what}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to write.
        what: String,
    },
}

/// The settings of one plane.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where the plane listens.
    #[serde(default)]
    pub listen: Listen,
    /// The URL people reach the gateway at, without a trailing slash; by default made from `listen.gateway`.
    pub base_url: Option<String>,
    /// The URL the API is reached at, without a trailing slash; by default made from `listen.api`. What AuthZEN's metadata
    /// says follows from it, and AuthZEN wants `https`.
    pub api_url: Option<String>,
    /// What follows `{tenant}.` in tenants' hosts; by default `localhost` with the gateway's port.
    pub host_suffix: Option<String>,
    /// The audience of access tokens; by default the base URL.
    pub audience: Option<String>,
    /// A state that several nodes share; by default it is a file below the state folder, and one node's.
    pub state: Option<StateSettings>,
    /// The application.
    pub upstream: UpstreamSettings,
    /// The database.
    pub postgres: PostgresSettings,
    /// How the guard meets its clients, and how many.
    #[serde(default)]
    pub guard: GuardSettings,
    /// The route table's file.
    pub routes: PathBuf,
    /// The solver that proves policies.
    #[serde(default)]
    pub solver: Solver,
    /// Other issuers whose tokens the policy service takes.
    #[serde(default)]
    pub avp: IssuerSettings,
    /// Job tokens.
    #[serde(default)]
    pub jobs: JobSettings,
    /// Tiers by name.
    pub tiers: BTreeMap<String, TierSettings>,
    /// The Cedar action that permits a direct database session.
    #[serde(default = "connect_database")]
    pub database_action: String,
    /// The Cedar type that stands for the whole of a tenant.
    pub tenant_resource: String,
    /// The folder file names are relative to: where the settings were read.
    #[serde(skip)]
    pub folder: PathBuf,
}

fn connect_database() -> String {
    "ConnectDatabase".to_owned()
}

/// Listeners.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Listen {
    /// Gateway and issuers.
    pub gateway: SocketAddr,
    /// Control and decision API.
    pub api: SocketAddr,
    /// The Postgres proxy.
    pub guard: SocketAddr,
}

impl Default for Listen {
    fn default() -> Self {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Self { gateway: loopback(8080), api: loopback(8081), guard: loopback(6432) }
    }
}

/// Job tokens: what a queue carries (`docs/reference/jobs.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobSettings {
    /// For how long each is good, in seconds; at most [`limits::JOB_TOKEN_LIFE_SECONDS`].
    pub seconds: u64,
}

impl Default for JobSettings {
    fn default() -> Self {
        Self { seconds: JOB_SECONDS }
    }
}

impl JobSettings {
    /// What is wrong with it, and what to write.
    fn fault(self) -> Option<String> {
        let fits = (1..=limits::JOB_TOKEN_LIFE_SECONDS).contains(&self.seconds);
        (!fits).then(|| format!("seconds in [jobs] is from 1 to {}", limits::JOB_TOKEN_LIFE_SECONDS))
    }
}

/// A state that several nodes share.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateSettings {
    /// A file with its address: `postgres://role:password@host/database`.
    pub url_file: PathBuf,
}

/// The application behind the gateway: where it answers, or how to start it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
pub enum UpstreamSettings {
    /// `host:port` of an application that runs by itself.
    Address(String),
    /// A program to run and its arguments; `{trust}` becomes the path of the trust file and `{listen}` the address to
    /// listen on. It says `listening on ADDR` on its standard output, and ends when its standard input closes.
    Command(Vec<String>),
}

/// The database behind the guard.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresSettings {
    /// The database's name.
    pub database: String,
    /// The role all tenants' statements run as.
    pub app_role: String,
    /// The tables to put under row security, parents first.
    pub tables: Vec<String>,
    /// For a managed cluster: SQL files that make the tables, run once.
    #[serde(default)]
    pub schema: Vec<PathBuf>,
    /// A folder of migrations, `0001_what.sql` and so on, for `ringfence data migrate`.
    pub migrations: Option<PathBuf>,
    /// The folder of Postgres' programs, where it is not found by itself.
    pub binaries: Option<PathBuf>,
    /// An existing server, instead of a managed one.
    pub server: Option<ServerSettings>,
    /// Servers for one tenant each, of tiers with `data = "server"`, by name; without, each gets a managed one.
    #[serde(default)]
    pub servers: BTreeMap<String, ServerSettings>,
}

/// An existing Postgres server.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSettings {
    /// Its host name or address; or, as libpq has it, the folder of its socket, which begins with `/`.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Whether connections to it are in TLS; by default `"verify-full"`, but for sockets and this machine's own address.
    pub sslmode: Option<SslMode>,
    /// A file with the authorities that may vouch for it, in PEM, and no others; by default those browsers believe.
    pub sslrootcert: Option<PathBuf>,
    /// The role that installs: may create roles and owns the tables.
    pub admin_role: String,
    /// A file with that role's password.
    pub admin_password_file: PathBuf,
    /// A file with the application role's password.
    pub app_password_file: PathBuf,
}

/// Whether connections to Postgres are in TLS: libpq's `sslmode`, of which nothing in between is offered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SslMode {
    /// They are not: the way there is private.
    Disable,
    /// They are, and with nobody but the very host.
    VerifyFull,
}

/// The solver that proves policies, and what one proof may take.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Solver {
    /// The program: a path, or a name to be found.
    pub program: PathBuf,
    /// Seconds.
    pub seconds: u64,
    /// Memory, in MiB.
    pub memory: u32,
    /// The program that answers [`ringfence_authorization::proof::answer`] when it is told `prover`: not a setting, but what the
    /// program that runs the plane says of itself.
    #[serde(skip)]
    pub prover: Option<PathBuf>,
}

impl Default for Solver {
    fn default() -> Self {
        let SolverSettings { program, time, memory, prover } = SolverSettings::default();
        Self { program, seconds: time.as_secs(), memory, prover }
    }
}

impl ServerSettings {
    /// By whose word it is who it says; none where connections are in the clear.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(crate) fn authorities(&self, folder: &Path) -> Result<Option<Authorities>, SettingsError> {
        let here = || {
            let address = self.host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
            address || self.host == "localhost" || self.host.starts_with('/')
        };
        let mode =
            self.sslmode.unwrap_or_else(|| if here() { SslMode::Disable } else { SslMode::VerifyFull });
        if mode == SslMode::Disable {
            return Ok(None);
        }
        let path = self.sslrootcert.as_ref().map(|file| folder.join(file));
        let pem = path.as_deref().map(read).transpose()?;
        let authorities = Authorities::new(pem.as_deref().map(str::as_bytes)).map_err(|error| {
            SettingsError::Form { path: path.unwrap_or_default(), what: error.to_string() }
        })?;
        Ok(Some(authorities))
    }
}

impl From<&Solver> for SolverSettings {
    fn from(solver: &Solver) -> Self {
        let Solver { program, seconds, memory, prover } = solver.clone();
        Self { program, time: Duration::from_secs(seconds), memory, prover }
    }
}

/// What a tier's stores begin with, and what may be published in them.
#[derive(Debug, Clone)]
pub struct TierPolicies {
    /// What they begin with.
    pub bundle: PolicyBundle,
    /// What is asked of a change.
    pub terms: Terms,
}

/// A tier.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TierSettings {
    /// How much each tenant may ask.
    pub rate: Rate,
    /// The namespace of the schema.
    pub namespace: String,
    /// The Cedar schema new tenants start with.
    pub schema: PathBuf,
    /// The Cedar policies and templates new tenants start with.
    pub policies: PathBuf,
    /// Where new tenants' policies are kept: each tenant's in a store of its own, or in one store that the tier's tenants
    /// share: `"own"` or `"shared"`.
    #[serde(default)]
    pub policy_store: Mode,
    /// How new tenants' rows are kept from others': `"rows"`, in tables they share, or `"database"`, in one of their own.
    #[serde(default)]
    pub data: Shape,
    /// Logins to a tenant's own database, for who connects without the guard: `{ seconds = 900 }`; absent, none are given.
    pub credentials: Option<CredentialSettings>,
    /// What each tenant may take of the guard.
    #[serde(default)]
    pub guard: TierGuard,
    /// How many tenants may have a store of their own. Those who come after are put in the shared store.
    pub own_stores: Option<u64>,
    /// What becomes of a change to policies that can neither be proved safe nor refuted: `"refuse"` or `"accept"`.
    #[serde(default)]
    pub unproved: WhenUnproved,
    /// Whether a change takes effect at once, or is proposed and approved by another operator: `"none"` or `"required"`.
    #[serde(default)]
    pub review: Review,
    /// Which share of its verdicts the decision log keeps.
    #[serde(default)]
    pub decision_log: Sampling,
    /// What each tenant may have: at the policy service, and in the store its requests are decided by.
    #[serde(default)]
    pub avp: Quotas,
}

impl Settings {
    /// Reads a settings file.
    ///
    /// # Errors
    /// What is wrong, naming file and key.
    pub fn load(path: &Path) -> Result<Self, SettingsError> {
        let text = read(path)?;
        let mut settings: Self = toml::from_str(&text)
            .map_err(|error| SettingsError::Form { path: path.to_owned(), what: error.to_string() })?;
        settings.folder = path.parent().map(Path::to_owned).unwrap_or_default();
        if settings.tiers.is_empty() {
            let what = "there is no tier: add [tiers.standard]".to_owned();
            return Err(SettingsError::Form { path: path.to_owned(), what });
        }
        if let Some((name, _)) = settings.tiers.iter().find(|(_, tier)| !tier.decision_log.is_valid()) {
            let what = format!("decision_log in [tiers.{name}]: allow and deny are from 0.0 to 1.0");
            return Err(SettingsError::Form { path: path.to_owned(), what });
        }
        if let Err(what) = Allowed::read(&settings.avp) {
            return Err(SettingsError::Form { path: path.to_owned(), what });
        }
        if let Some(what) = credential::fault(&settings) {
            return Err(SettingsError::Form { path: path.to_owned(), what });
        }
        if let Some(what) = guard::fault(&settings) {
            return Err(SettingsError::Form { path: path.to_owned(), what });
        }
        if let Some(what) = settings.jobs.fault() {
            return Err(SettingsError::Form { path: path.to_owned(), what });
        }
        if let Some(what) = settings.unshared() {
            return Err(SettingsError::Form { path: path.to_owned(), what: what.to_owned() });
        }
        Ok(settings)
    }

    /// What several nodes would each have of their own, though they are one plane.
    fn unshared(&self) -> Option<&'static str> {
        self.state.as_ref()?;
        match self {
            Self { base_url: None, .. } | Self { host_suffix: None, .. } => {
                Some("with [state], set base_url and host_suffix: all nodes answer under the same names")
            }
            Self { postgres: PostgresSettings { server: None, .. }, .. } => {
                Some("with [state], set [postgres.server]: a managed Postgres is one node's alone")
            }
            _ => None,
        }
    }

    /// The address of the state that several nodes share, if there is one.
    ///
    /// # Errors
    /// Where its file can't be read.
    pub fn state_url(&self) -> Result<Option<Secret<String>>, SettingsError> {
        let Some(state) = &self.state else { return Ok(None) };
        Ok(Some(Secret::new(read(&self.folder.join(&state.url_file))?.trim().to_owned())))
    }

    /// The route table.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn route_table(&self) -> Result<RouteTable, SettingsError> {
        let path = self.folder.join(&self.routes);
        RouteTable::parse(&read(&path)?)
            .map_err(|fault| SettingsError::Form { path: path.clone(), what: fault.to_string() })
    }

    /// What each tier seeds a tenant's store with; it has been compiled once, so that the first tenant does not find
    /// what is wrong with it.
    ///
    /// # Errors
    /// What is wrong with a file.
    pub fn bundles(&self) -> Result<BTreeMap<String, TierPolicies>, SettingsError> {
        let bundle = |(name, tier): (&String, &TierSettings)| {
            let schema = read(&self.folder.join(&tier.schema))?;
            let path = self.folder.join(&tier.policies);
            let bundle = PolicyBundle { namespace: tier.namespace.clone(), schema, policies: read(&path)? };
            bundle.check().map_err(|what| {
                let what = format!("with {} in [tiers.{name}]: {what}", tier.schema.display());
                SettingsError::Form { path, what }
            })?;
            let terms = Terms { unproved: tier.unproved, review: tier.review, quotas: tier.avp };
            Ok((name.clone(), TierPolicies { bundle, terms }))
        };
        self.tiers.iter().map(bundle).collect()
    }

    /// Where each tier's policy stores are kept.
    pub fn places(&self) -> BTreeMap<String, Place> {
        let place = |tier: &TierSettings| Place { mode: tier.policy_store, own_stores: tier.own_stores };
        self.tiers.iter().map(|(name, tier)| (name.clone(), place(tier))).collect()
    }

    /// What fetches other issuers' keys, with the authorities it believes.
    ///
    /// # Errors
    /// What is wrong with their file.
    pub(crate) fn issuers(&self) -> Result<(Allowed, Fetch), SettingsError> {
        let path = self.avp.ca_file.as_ref().map(|file| self.folder.join(file));
        let authorities = path.as_deref().map(read).transpose()?;
        let form = |what| SettingsError::Form { path: path.clone().unwrap_or_default(), what };
        let fetch = Fetch::new(authorities.as_deref().map(str::as_bytes)).map_err(form)?;
        Ok((Allowed::read(&self.avp).map_err(form)?, fetch))
    }

    /// The application's address is one, if the settings name one.
    ///
    /// # Errors
    /// [`PlaneError::Upstream`].
    pub fn upstream_check(&self) -> Result<(), PlaneError> {
        match &self.upstream {
            UpstreamSettings::Address(address) => upstream_authority(address).map(drop),
            UpstreamSettings::Command(_) => Ok(()),
        }
    }

    /// The SQL that makes the tables of a managed cluster.
    ///
    /// # Errors
    /// Where a file can't be read.
    pub fn schema_sql(&self) -> Result<String, SettingsError> {
        let texts = self.postgres.schema.iter().map(|path| read(&self.folder.join(path)));
        Ok(texts.collect::<Result<Vec<_>, _>>()?.join("\n"))
    }
}

/// An application's address, as the gateway takes it.
pub(crate) fn upstream_authority(address: &str) -> Result<Authority, PlaneError> {
    let authority: Option<Authority> = address.parse().ok();
    authority
        .filter(|authority| authority.port_u16().is_some())
        .ok_or_else(|| PlaneError::Upstream(address.to_owned()))
}

pub(crate) fn read(path: &Path) -> Result<String, SettingsError> {
    std::fs::read_to_string(path).map_err(|error| SettingsError::Read { path: path.to_owned(), error })
}
