//! `ringfence up`: runs the plane until told to stop.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use clap::Args;
use miette::{Context, IntoDiagnostic, Result, miette};
use ringfence_control::{
    Parts, Plane, Running, Settings, SystemClock, application::Application, private_file, serve,
    settings::UpstreamSettings, trust::trust_write,
};
use ringfence_guard::cluster::Durability;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    call::{self, RUNNING},
    demo::{self, Demo},
};

/// Run the plane: gateway, issuers, API, guard.
#[derive(Debug, Args)]
pub(crate) struct Up {
    /// Settings, as `ringfence init` writes them
    #[arg(long, default_value = "ringfence.toml", value_name = "FILE")]
    config: PathBuf,
    /// State folder
    #[arg(long, default_value = "ringfence-data", value_name = "DIR")]
    dir: PathBuf,
    /// Three tenants on a sample payments app, with its own settings below the state folder
    #[arg(long, conflicts_with = "config")]
    demo: bool,
    /// Listen here for gateway and issuers
    #[arg(long, value_name = "ADDR")]
    gateway: Option<SocketAddr>,
    /// Listen here for the API
    #[arg(long, value_name = "ADDR")]
    api: Option<SocketAddr>,
    /// Listen here for the guard
    #[arg(long, value_name = "ADDR")]
    guard: Option<SocketAddr>,
}

/// A plane that serves, and its application.
struct Started {
    running: Running,
    application: Option<Application>,
    call: call::Running,
}

impl Up {
    pub(crate) async fn run(self) -> Result<ExitCode> {
        let mut interrupt = signal(SignalKind::interrupt()).into_diagnostic()?;
        let mut terminate = signal(SignalKind::terminate()).into_diagnostic()?;
        let config = if self.demo { demo::settings(&self.dir)? } else { self.config.clone() };
        let _one = lock(&self.dir)?;
        let started = tokio::select! {
            started = self.start(&config) => started?,
            _ = interrupt.recv() => return Ok(ExitCode::SUCCESS),
            _ = terminate.recv() => return Ok(ExitCode::SUCCESS),
        };
        let Started { running, application, call } = started;
        let told = tokio::select! {
            told = self.tell(&call) => told,
            _ = interrupt.recv() => Err(miette!("stopped before it was ready")),
            _ = terminate.recv() => Err(miette!("stopped before it was ready")),
        };
        if told.is_ok() {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            eprintln!("stopping");
        }
        let _ = std::fs::remove_file(self.dir.join(RUNNING));
        if let Some(application) = application {
            application.stop().await;
        }
        running.stop().await.into_diagnostic()?;
        told.map(|()| ExitCode::SUCCESS)
    }

    async fn start(&self, config: &Path) -> Result<Started> {
        let mut settings = Settings::load(config)
            .into_diagnostic()
            .wrap_err("the settings can't be used; `ringfence init` writes a commented example")?;
        // Policies are translated for the solver by a process of this very program, which the system bounds.
        settings.solver.prover = Some(std::env::current_exe().into_diagnostic()?);
        let listen = &mut settings.listen;
        listen.gateway = self.gateway.unwrap_or(listen.gateway);
        listen.api = self.api.unwrap_or(listen.api);
        listen.guard = self.guard.unwrap_or(listen.guard);
        let upstream = settings.upstream.clone();
        let plane = Plane::open(settings, &self.dir, Arc::new(SystemClock), Durability::Full)
            .await
            .into_diagnostic()?;
        let trust = trust_write(&plane).into_diagnostic()?;
        let database = plane.settings.postgres.database.clone();
        let base_url = plane.addresses().base_url.clone();
        let application = match &upstream {
            UpstreamSettings::Address(_) => None,
            UpstreamSettings::Command(command) => {
                Some(Application::start(command, &trust).await.into_diagnostic()?)
            }
        };
        let address = match (&application, upstream) {
            (Some(application), _) => application.address().to_owned(),
            (None, UpstreamSettings::Address(address)) => address,
            (None, UpstreamSettings::Command(_)) => return Err(miette!("the application was not started")),
        };
        let parts = Parts::serving(&plane);
        let running = serve(plane, &parts, &address).into_diagnostic()?;
        let call = call::Running {
            base_url,
            gateway: running.gateway.to_string(),
            api: running.api.to_string(),
            guard: running.guard.to_string(),
            database,
        };
        let text = serde_json::to_string_pretty(&call).into_diagnostic()?;
        private_file::write(&self.dir.join(RUNNING), &text).into_diagnostic()?;
        Ok(Started { running, application, call })
    }

    async fn tell(&self, call: &call::Running) -> Result<()> {
        if self.demo {
            return Demo::ready(&self.dir, call).await;
        }
        say!("gateway and issuers  {}", call.base_url);
        say!("API                  http://{}", call.api);
        say!("guard                postgres://{}/{}", call.guard, call.database);
        say!("operator's token     {}", self.dir.join("operator.token").display());
        say!("application trusts   {}", self.dir.join("trust.json").display());
        say!("Ctrl-C stops it. Next: ringfence tenant create <id> --dir {}", self.dir.display());
        Ok(())
    }
}

/// Keeps two planes off one state folder.
fn lock(dir: &Path) -> Result<std::fs::File> {
    let made = std::fs::create_dir_all(dir).and_then(|()| {
        std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(dir.join("lock"))
    });
    let file = made.into_diagnostic().wrap_err_with(|| format!("the state folder {}", dir.display()))?;
    file.try_lock().map_err(|_| {
        miette!(
            help = "stop it, or name another folder with --dir",
            "a plane already runs in {}",
            dir.display()
        )
    })?;
    Ok(file)
}
