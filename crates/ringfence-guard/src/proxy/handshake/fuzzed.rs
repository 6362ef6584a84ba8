//! The opening of a connection by a client that says anything at all: what fuzzing runs.

use std::sync::Arc;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    sync::watch,
};

use super::serve;
use crate::{Guard, proxy::peer::Peer};

/// How much a client may say at once, and be told before it listens, in bytes.
const ROOM: usize = 64 * 1024;

/// How often the guard has its turn before a client says more.
const HEARD: usize = 4;

/// Lets a client say `script`, a piece after the other, over a connection nobody can listen to, and hang up; what it was told.
#[doc(hidden)]
pub async fn open(guard: &Guard, script: &[Vec<u8>]) -> Vec<u8> {
    let (theirs, ours) = tokio::io::duplex(ROOM);
    let (mut hears, mut says) = tokio::io::split(theirs);
    let (_down, seen) = watch::channel(false);
    let served = serve(Arc::clone(&guard.shared), Peer::new(ours), true, seen);
    let speak = async {
        for piece in script {
            // It may have been turned away.
            if says.write_all(piece).await.is_err() {
                break;
            }
            // So that it is heard before the next: whoever asks for TLS waits for the answer.
            for _ in 0..HEARD {
                tokio::task::yield_now().await;
            }
        }
        let _ = says.shutdown().await;
    };
    let mut told = Vec::new();
    let listen = hears.read_to_end(&mut told);
    let ((), (), _) = tokio::join!(served, speak, listen);
    told
}
