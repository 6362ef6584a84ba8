//! A Unix socket of which one is told when there is something to read; and when it takes more, only where it was full.
//!
//! Linux says of a Unix socket that it takes more each time its other end has read something (`unix_write_space()`), and
//! who asked for both is woken by that: once more for every second transaction, while Postgres works on it. A TCP socket
//! says so only after it was full.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::Shutdown,
    os::unix::net::UnixStream,
    path::Path,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf, unix::AsyncFd};

/// What is read at once.
const READ_BYTES: usize = 16 * 1024;

/// The socket.
pub(super) struct Local {
    stream: AsyncFd<UnixStream>,
    /// The same, while it is full, to be told when it no longer is.
    full: Option<AsyncFd<UnixStream>>,
    read: Box<[u8]>,
}

#[expect(
    deprecated,
    reason = "the one that is not is unsafe, for types whose descriptor may change: this one's does not"
)]
fn watch(stream: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    AsyncFd::with_interest(stream, interest)
}

impl Local {
    pub(super) async fn connect(path: &Path) -> io::Result<Self> {
        let stream = tokio::net::UnixStream::connect(path).await?.into_std()?;
        let stream = watch(stream, Interest::READABLE)?;
        Ok(Self { stream, full: None, read: vec![0; READ_BYTES].into() })
    }

    /// Completes when it may take more.
    fn poll_takes_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.full.is_none() {
            let same = self.stream.get_ref().try_clone()?;
            self.full = Some(watch(same, Interest::WRITABLE)?);
        }
        let Some(full) = &self.full else { return Poll::Pending };
        // What was true before may not be any more: who finds it full again waits for the next time.
        ready!(full.poll_write_ready(cx))?.clear_ready();
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Local {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { stream, read, .. } = &mut *self;
        let most = read.len().min(buf.remaining());
        let room = read.get_mut(..most).unwrap_or_default();
        loop {
            let mut ready = ready!(stream.poll_read_ready(cx))?;
            match ready.get_inner().read(room) {
                Ok(count) => {
                    if (1..room.len()).contains(&count) {
                        // That was all: it would say so if it were asked once more.
                        ready.clear_ready();
                    }
                    buf.put_slice(room.get(..count).unwrap_or_default());
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => ready.clear_ready(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Local {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            match self.stream.get_ref().write(bytes) {
                Ok(count) => {
                    self.full = None;
                    return Poll::Ready(Ok(count));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => ready!(self.poll_takes_more(cx))?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.get_ref().shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::UnixListener,
    };

    use super::*;

    async fn pair() -> (tempfile::TempDir, Local, tokio::net::UnixStream) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let listener = UnixListener::bind(&path).unwrap();
        let ours = Local::connect(&path).await.unwrap();
        let (theirs, _) = listener.accept().await.unwrap();
        (folder, ours, theirs)
    }

    #[tokio::test]
    async fn what_does_not_fit_at_once_arrives_whole_both_ways() {
        let (_folder, mut ours, mut theirs) = pair().await;
        let sent: Vec<u8> = (0..4_000_000_u32).map(|n| n.to_le_bytes()[(n % 4) as usize]).collect();
        for _ in 0..2 {
            let (mut there, mut back) = (vec![0; sent.len()], vec![0; sent.len()]);
            let (mut our_reads, mut our_writes) = tokio::io::split(&mut ours);
            let (mut their_reads, mut their_writes) = theirs.split();
            let all = async {
                tokio::try_join!(
                    our_writes.write_all(&sent),
                    async { their_reads.read_exact(&mut there).await.map(drop) },
                    their_writes.write_all(&sent),
                    async { our_reads.read_exact(&mut back).await.map(drop) },
                )
            };
            all.await.unwrap();
            assert!(there == sent && back == sent);
        }
    }

    #[tokio::test]
    async fn who_does_not_read_is_waited_for_and_the_end_is_told() {
        let (_folder, mut ours, mut theirs) = pair().await;
        let much = vec![7; 1 << 20];
        let mut writing = Box::pin(ours.write_all(&much));
        assert!(futures_util::poll!(&mut writing).is_pending(), "nobody reads");
        let mut read = vec![0; much.len()];
        let (written, got) = tokio::join!(writing, theirs.read_exact(&mut read));
        written.unwrap();
        got.unwrap();
        assert!(ours.full.is_none(), "it is asked for no longer than it must be");
        theirs.write_all(b"last words").await.unwrap();
        drop(theirs);
        let mut text = String::new();
        ours.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "last words");
        assert!(ours.write_all(b"x").await.is_err());
    }
}
