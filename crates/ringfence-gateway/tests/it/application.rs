//! An application by hand, so that a test decides what it does with its connections.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// How an application answers a request, given as its head's text: the bytes of the answer, and whether it closes the
/// connection after it without having said so.
pub(crate) type Answer = fn(&str) -> (String, bool);

/// A running application.
pub(crate) struct Application {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<AtomicUsize>,
}

impl Application {
    /// Answers on connections of its own.
    pub(crate) async fn start(answer: Answer) -> Self {
        Self::start_closing(answer, false).await
    }

    /// The same; where it closes, with a reset instead of a farewell.
    pub(crate) async fn start_closing(answer: Answer, reset: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                if reset {
                    stream.set_zero_linger().unwrap();
                }
                tokio::spawn(serve(stream, answer));
            }
        });
        Self { address, connections }
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Every header line that arrives, as the answer's body, in small letters.
pub(crate) fn echo(head: &str) -> (String, bool) {
    (ok(&head.to_ascii_lowercase()), false)
}

/// The same, as it arrives.
pub(crate) fn echo_verbatim(head: &str) -> (String, bool) {
    (ok(head), false)
}

/// A whole answer with this body.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

async fn serve(mut stream: TcpStream, answer: Answer) {
    let mut bytes = Vec::new();
    loop {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
            continue;
        };
        let head = String::from_utf8(bytes.drain(..end + 4).collect()).unwrap();
        let lower = head.to_ascii_lowercase();
        let length =
            lower.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse().ok());
        let mut missing: usize = length.unwrap_or(0);
        while missing > 0 {
            if bytes.is_empty() && stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
            let taken = missing.min(bytes.len());
            bytes.drain(..taken);
            missing -= taken;
        }
        let (text, close) = answer(&head);
        if stream.write_all(text.as_bytes()).await.is_err() || close {
            return;
        }
    }
}
