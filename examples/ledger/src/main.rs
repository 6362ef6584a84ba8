//! The sample app: a cross-border payments API, as a program behind the gateway.
//!
//! Usage: `ledger --trust FILE [--listen ADDR]`. It prints `listening on ADDR` once it serves, and ends when its
//! standard input closes, so that it never outlives the program that started it.

use std::{net::SocketAddr, path::PathBuf, process::ExitCode};

use ledger::{Ledger, clock::SystemClock};
use ringfence_sdk::Trust;
use tokio::io::AsyncReadExt;

fn main() -> ExitCode {
    match arguments().and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("ledger: {message}");
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<(PathBuf, SocketAddr), String> {
    let mut trust = None;
    let mut listen = "127.0.0.1:0".to_owned();
    let mut arguments = std::env::args().skip(1);
    while let Some(flag) = arguments.next() {
        let value = arguments.next().ok_or(format!("{flag} needs a value"))?;
        match flag.as_str() {
            "--trust" => trust = Some(PathBuf::from(value)),
            "--listen" => listen = value,
            _ => return Err(format!("unknown flag {flag}; usage: ledger --trust FILE [--listen ADDR]")),
        }
    }
    let trust = trust.ok_or("usage: ledger --trust FILE [--listen ADDR]")?;
    let listen = listen.parse().map_err(|_| format!("--listen {listen} is not an address"))?;
    Ok((trust, listen))
}

fn run((trust, listen): (PathBuf, SocketAddr)) -> Result<(), String> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let trust = Trust::load(&trust).map_err(|error| error.to_string())?;
        let ledger =
            Ledger::new(&trust, std::sync::Arc::new(SystemClock)).map_err(|error| error.to_string())?;
        let listener = tokio::net::TcpListener::bind(listen)
            .await
            .map_err(|error| format!("can't listen on {listen}: {error}; choose another with --listen"))?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        println!("listening on {address}");
        let parent_gone = async {
            let mut nothing = Vec::new();
            let _ = tokio::io::stdin().read_to_end(&mut nothing).await;
        };
        axum::serve(listener, ledger.router())
            .with_graceful_shutdown(parent_gone)
            .await
            .map_err(|error| error.to_string())
    })
}
