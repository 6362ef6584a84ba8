//! One end of a relay: a stream with a buffer in each direction.
//!
//! Everything here may be dropped at any await without losing bytes: what was read is in `inbound`, what is to be
//! written stays in `outbound` until it is.

use std::{
    future::poll_fn,
    io,
    os::fd::{AsFd, BorrowedFd},
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, BytesMut};
use rustix::net::sockopt;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream, Empty, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{client, server};

use super::local::Local;
use crate::tls::{ALPN, Identity};

/// Stop reading from one side while this much waits for the other: back-pressure instead of memory.
const HIGH_WATER: usize = 64 * 1024;

const READ_BYTES: usize = 16 * 1024;

/// After how much silence a TCP connection's other end is asked whether it is there, how long it has to answer, and how often.
const SILENCE: Duration = Duration::from_secs(60);
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
const QUESTIONS: u32 = 3;

/// Within which time it is known, while nothing is said, that nobody is there any more.
pub(super) const KNOWN_WITHIN: Duration = SILENCE.saturating_add(ANSWER_WITHIN.saturating_mul(QUESTIONS));

/// Sends what is said at once, and finds out, while nothing is said, when nobody is there any more.
pub(super) fn attend(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, SILENCE)?;
    sockopt::set_tcp_keepintvl(stream, ANSWER_WITHIN)?;
    Ok(sockopt::set_tcp_keepcnt(stream, QUESTIONS)?)
}

/// What both kinds of socket, and a TLS stream, are.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {
    /// The TCP connection under it, where there is one.
    fn tcp(&self) -> Option<BorrowedFd<'_>>;
}

impl Duplex for TcpStream {
    fn tcp(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }
}

impl<T: Duplex> Duplex for client::TlsStream<T> {
    fn tcp(&self) -> Option<BorrowedFd<'_>> {
        self.get_ref().0.tcp()
    }
}

impl<T: Duplex> Duplex for server::TlsStream<T> {
    fn tcp(&self) -> Option<BorrowedFd<'_>> {
        self.get_ref().0.tcp()
    }
}

impl Duplex for Box<dyn Duplex> {
    fn tcp(&self) -> Option<BorrowedFd<'_>> {
        (**self).tcp()
    }
}

impl Duplex for Begun {
    fn tcp(&self) -> Option<BorrowedFd<'_>> {
        self.io.tcp()
    }
}

impl Duplex for Local {
    fn tcp(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl Duplex for DuplexStream {
    fn tcp(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl Duplex for Empty {
    fn tcp(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// A stream and its buffers.
pub(super) struct Peer {
    io: Box<dyn Duplex>,
    /// Read and not yet looked at.
    pub(super) inbound: BytesMut,
    /// To be written.
    pub(super) outbound: BytesMut,
    /// Whether the stream may still hold back what it took, as TLS does.
    held: bool,
}

/// The other end has closed the stream, or it broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gone;

impl From<io::Error> for Gone {
    fn from(_: io::Error) -> Self {
        Self
    }
}

impl Peer {
    pub(super) fn new(io: impl Duplex + 'static) -> Self {
        Self { io: Box::new(io), inbound: BytesMut::new(), outbound: BytesMut::new(), held: false }
    }

    /// How long what was sent to it may wait until it is taken: then its connection is over (RFC 5482, Linux' `TCP_USER_TIMEOUT`).
    /// Without, as long as the system tries, some fifteen minutes; and for ever where the other end is there and does not read.
    pub(super) fn takes_within(&self, most: Option<Duration>) {
        let Some(stream) = self.io.tcp() else { return };
        let millis = most.map_or(0, |most| u32::try_from(most.as_millis()).unwrap_or(u32::MAX));
        if let Err(error) = sockopt::set_tcp_user_timeout(stream, millis) {
            tracing::debug!(%error, "a connection that is over");
        }
    }

    /// Reads once.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        self.inbound.reserve(READ_BYTES);
        match pin!(self.io.read_buf(&mut self.inbound)).poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(Err(Gone)),
            Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
        }
    }

    /// Writes as much as the stream takes; pending where nothing is left to do.
    fn poll_drain(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        let mut progress = false;
        while !self.outbound.is_empty() {
            match Pin::new(&mut self.io).poll_write(cx, &self.outbound) {
                Poll::Ready(Ok(0) | Err(_)) => return Poll::Ready(Err(Gone)),
                Poll::Ready(Ok(count)) => {
                    self.outbound.advance(count);
                    (progress, self.held) = (true, true);
                }
                Poll::Pending => break,
            }
        }
        if self.held && self.outbound.is_empty() {
            match Pin::new(&mut self.io).poll_flush(cx) {
                Poll::Ready(Ok(())) => (progress, self.held) = (true, false),
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Gone)),
                Poll::Pending => {}
            }
        }
        if progress { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Whether nothing is left to look at or to write.
    pub(super) fn is_drained(&self) -> bool {
        self.inbound.is_empty() && self.outbound.is_empty() && !self.held
    }

    /// Waits for more bytes.
    pub(super) async fn fill(&mut self) -> Result<(), Gone> {
        poll_fn(|cx| self.poll_fill(cx)).await
    }

    /// Writes everything out.
    pub(super) async fn flush(&mut self) -> Result<(), Gone> {
        while !self.outbound.is_empty() || self.held {
            poll_fn(|cx| self.poll_drain(cx)).await?;
        }
        Ok(())
    }

    /// Goes on in TLS, as the one who is asked. What was read before is taken for the beginning of it.
    pub(super) async fn secure(&mut self, identity: &Identity) -> Result<Secured, Gone> {
        let io = std::mem::replace(&mut self.io, Box::new(tokio::io::empty()));
        let stream = identity.acceptor().accept(Begun { read: self.inbound.split(), io }).await?;
        let (_, connection) = stream.get_ref();
        let secured = Secured { named: connection.alpn_protocol() == Some(ALPN) };
        self.io = Box::new(stream);
        Ok(secured)
    }
}

/// What TLS was agreed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Secured {
    /// Whether the client said that it speaks Postgres.
    pub(super) named: bool,
}

/// A stream of which some was read already.
struct Begun {
    read: BytesMut,
    io: Box<dyn Duplex>,
}

impl AsyncRead for Begun {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let count = buf.remaining().min(self.read.len());
        buf.put_slice(&self.read.split_to(count));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Begun {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Which end is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Client,
    Server,
}

/// Moves bytes in all four directions until any has moved. Reads from neither side into a full buffer; of the client at
/// least `wanted` bytes.
pub(super) async fn pump(client: &mut Peer, server: &mut Peer, wanted: usize) -> Result<(), End> {
    poll_fn(|cx| {
        let mut progress = false;
        let mut note = |poll: Poll<Result<(), Gone>>, end: End| match poll {
            Poll::Ready(Err(Gone)) => Err(end),
            Poll::Ready(Ok(())) => {
                progress = true;
                Ok(())
            }
            Poll::Pending => Ok(()),
        };
        let mut all = || {
            note(client.poll_drain(cx), End::Client)?;
            // The server's last words are read even where it takes no more of ours.
            let wrote = note(server.poll_drain(cx), End::Server);
            if client.outbound.len() < HIGH_WATER && server.inbound.len() < HIGH_WATER {
                note(server.poll_fill(cx), End::Server)?;
            }
            wrote?;
            if server.outbound.len() < HIGH_WATER && client.inbound.len() < HIGH_WATER.max(wanted) {
                note(client.poll_fill(cx), End::Client)?;
            }
            Ok(())
        };
        match all() {
            Err(end) => Poll::Ready(Err(end)),
            Ok(()) if progress => Poll::Ready(Ok(())),
            Ok(()) => Poll::Pending,
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn who_is_gone_is_known_within_a_minute_and_a_half() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _theirs = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (ours, _) = listener.accept().await.unwrap();
        attend(&ours).unwrap();
        assert!(sockopt::socket_keepalive(&ours).unwrap());
        let [silence, interval] =
            [sockopt::tcp_keepidle(&ours).unwrap(), sockopt::tcp_keepintvl(&ours).unwrap()];
        let known = silence + interval * sockopt::tcp_keepcnt(&ours).unwrap();
        assert_eq!((known, KNOWN_WITHIN), (Duration::from_secs(90), known));
        let peer = Peer::new(ours);
        let waits = || sockopt::tcp_user_timeout(peer.io.tcp().unwrap()).unwrap();
        assert_eq!(waits(), 0, "a slow reader is waited for");
        peer.takes_within(Some(KNOWN_WITHIN));
        assert_eq!(waits(), 90_000);
        peer.takes_within(None);
        assert_eq!(waits(), 0);
    }
}
