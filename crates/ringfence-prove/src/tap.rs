//! The tap: every byte an attack receives is kept, whatever protocol it came by, so that no canary is overlooked.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

type Segment = Arc<Mutex<Vec<u8>>>;

/// Everything one attack has received, a segment per connection, so that connections used at once do not cut each
/// other's canaries in two.
#[derive(Debug, Clone, Default)]
pub(crate) struct Transcript(Arc<Mutex<Vec<Segment>>>);

impl Transcript {
    /// A new segment.
    fn segment(&self) -> Segment {
        let segment = Segment::default();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&segment));
        segment
    }

    /// Keeps what did not come through a [`Tap`].
    pub(crate) fn keep(&self, bytes: &[u8]) {
        self.segment().lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
    }

    /// All of it, segment by segment.
    pub(crate) fn received(&self) -> Vec<Vec<u8>> {
        let segments = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        segments.iter().map(|one| one.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect()
    }
}

/// A connection whose received bytes are kept.
#[derive(Debug)]
pub(crate) struct Tap {
    stream: TcpStream,
    segment: Segment,
}

impl Tap {
    /// Taps a stream.
    pub(crate) fn new(stream: TcpStream, transcript: &Transcript) -> Self {
        let _ = stream.set_nodelay(true);
        Self { stream, segment: transcript.segment() }
    }
}

impl AsyncRead for Tap {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(cx, buf);
        let received = buf.filled().get(before..).unwrap_or_default();
        this.segment.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(received);
        polled
    }
}

impl AsyncWrite for Tap {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
