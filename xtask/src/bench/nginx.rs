//! nginx: the application behind everyone, a plain proxy, and a proxy that asks an auth server first.
//!
//! The baselines are as nginx is at its best: connections kept alive on both sides without bound, no access log, as many
//! workers as cores, and an auth server that answers 204 at once without looking at anything.

use std::{net::SocketAddr, path::Path, thread::available_parallelism};

use super::{
    process::{Process, free_address, wait_for},
    scratch::Scratch,
};
use crate::run::{Outcome, output};

/// Size of an answer's body, in bytes.
pub(super) const ANSWER: usize = 1024;

/// The application: 1 KiB on every path, and 204 where an auth server is asked.
pub(super) struct Application {
    _process: Process,
    pub(super) address: SocketAddr,
}

/// The baselines.
pub(super) struct Baselines {
    pub(super) process: Process,
    pub(super) plain: SocketAddr,
    pub(super) auth_request: SocketAddr,
}

impl Application {
    pub(super) fn start(scratch: &Scratch) -> Outcome<Self> {
        let address = free_address()?;
        let body = "x".repeat(ANSWER);
        let servers = format!(
            "server {{
                listen {address};
                location / {{ default_type text/plain; return 200 {body}; }}
                location = /auth {{ return 204; }}
            }}"
        );
        let process = start(scratch, "application", 1, &servers)?;
        wait_for(address)?;
        Ok(Self { _process: process, address })
    }
}

impl Baselines {
    pub(super) fn start(scratch: &Scratch, application: SocketAddr) -> Outcome<Self> {
        let (plain, auth_request) = (free_address()?, free_address()?);
        let pass =
            "proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $http_host;";
        let servers = format!(
            "upstream application {{ server {application}; keepalive 256; keepalive_requests 1000000000; }}
            server {{
                listen {plain};
                location / {{ {pass} proxy_pass http://application; }}
            }}
            server {{
                listen {auth_request};
                location / {{ auth_request /auth; {pass} proxy_pass http://application; }}
                location = /auth {{
                    internal; {pass}
                    proxy_pass_request_body off; proxy_set_header Content-Length \"\";
                    proxy_pass http://application;
                }}
            }}"
        );
        let cores = available_parallelism().map_or(2, Into::into);
        let process = start(scratch, "baselines", cores, &servers)?;
        wait_for(plain)?;
        wait_for(auth_request)?;
        Ok(Self { process, plain, auth_request })
    }
}

/// Whether nginx is installed, with `auth_request`.
pub(super) fn there() -> bool {
    // It says so on standard error, as it says everything.
    output("sh", &["-c", &format!("PATH={PATH} nginx -V 2>&1")])
        .is_some_and(|told| told.contains("http_auth_request_module"))
}

/// Debian has it where only root looks.
const PATH: &str = "$PATH:/usr/sbin:/usr/local/sbin";

fn start(scratch: &Scratch, name: &str, workers: usize, servers: &str) -> Outcome<Process> {
    let folder = scratch.path().join(name);
    std::fs::create_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let config = scratch.write(&format!("{name}.conf"), &config(&folder, workers, servers))?;
    let log = folder.join("error.log");
    let command = format!("PATH={PATH} exec nginx -e {} -c {}", log.display(), config.display());
    Process::start("sh", &["-c", &command])
}

fn config(folder: &Path, workers: usize, servers: &str) -> String {
    let folder = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .iter()
        .map(|kind| format!("    {kind}_temp_path {folder}/{kind};\n"))
        .collect();
    format!(
        "worker_processes {workers};
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 4096; }}
http {{
{temporary}    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 300s;
    {servers}
}}
"
    )
}
