//! Logging in to a server that says anything at all: what fuzzing runs.

use ringfence_context::{Secret, limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::{Endpoint, Login, SETTINGS, ServerSettings, Settings};
use crate::role::RoleName;

/// What a script says where it means the guard's own nonce: as long as one.
const NONCE: &[u8] = b"{the-nonce-that-it-said}";

/// How often the guard has its turn until it is taken to wait.
const TURNS: usize = 8;

/// Lets a server say `script` to a guard that logs in; the first byte says whether the guard has a password. Says whether that
/// let it in, and what was reported to it.
///
/// # Panics
/// Where a server is believed that has not proved that it knows the password; where more is kept of what it says than may be.
#[doc(hidden)]
pub async fn log_in(script: &[u8]) -> Option<Vec<(String, String)>> {
    let (first, said) = script.split_first()?;
    let password = (first & 1 == 1).then(|| Secret::new("pencil".to_owned()));
    let [database, role] = [RoleName::new("ledger").ok()?, RoleName::new("app").ok()?];
    // Nobody connects: the server is at the other end of a pipe. It is one in the clear, of which nothing else is known.
    let endpoint = Endpoint::Tcp { host: "127.0.0.1".to_owned(), port: 5432, tls: None };
    let settings = ServerSettings { endpoint, database, role, password, search_path: "public".to_owned() };
    let (theirs, ours) = tokio::io::duplex(64 * 1024);
    let client = async {
        let mut login = Login::over(ours, &settings, SETTINGS, &Settings::default()).await.ok()?;
        assert!(
            settings.password.is_none(),
            "it was believed without having proved that it knows the password"
        );
        let (_, parameters) = login.until_ready().await.ok()?;
        let kept: usize = parameters.iter().map(|(name, value)| name.len().saturating_add(value.len())).sum();
        assert!(kept <= limits::PG_LOGIN_BYTES, "{kept} bytes are kept of what it reports");
        let _ = login.register().await;
        Some(parameters)
    };
    let ((), reported) = tokio::join!(speak(theirs, said), client);
    reported
}

/// Says it all, with the nonce of whom it speaks to where that is meant; then hears the rest, and hangs up.
async fn speak(mut stream: DuplexStream, said: &[u8]) {
    let (before, rest) = match said.windows(NONCE.len()).position(|part| part == NONCE) {
        Some(at) => said.split_at(at),
        None => (said, &[][..]),
    };
    let mut heard = Vec::new();
    let mut written = stream.write_all(before).await.is_ok();
    if let Some(rest) = rest.get(NONCE.len()..) {
        let nonce = nonce(&mut stream, &mut heard).await.unwrap_or_else(|| NONCE.to_vec());
        written = written && stream.write_all(&[&nonce, rest].concat()).await.is_ok();
    }
    if written && stream.shutdown().await.is_ok() {
        let _ = stream.read_to_end(&mut heard).await;
    }
}

/// What it says its nonce is (RFC 5802 section 7), if it does before it waits for more.
async fn nonce(stream: &mut DuplexStream, heard: &mut Vec<u8>) -> Option<Vec<u8>> {
    for _ in 0..TURNS {
        tokio::select! {
            biased;
            read = stream.read_buf(heard) => if read.unwrap_or(0) == 0 { return None },
            () = tokio::task::yield_now() => {}
        }
        let at = heard.windows(2).position(|part| part == b"r=").map(|at| at.saturating_add(2));
        if let Some(nonce) = at.and_then(|at| heard.get(at..)?.get(..NONCE.len())) {
            return Some(nonce.to_vec());
        }
    }
    None
}
