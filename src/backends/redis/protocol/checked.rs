//! A connection on which requests and answers are checked.

use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use redis::io::tcp::socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::time::Instant;

use super::super::accepted::Accepted;
use super::replies::Replies;
use super::requests::Requests;
use super::{Fault, Verdict};

/// What a connection is made of.
pub(in super::super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {
    /// What stands in the socket and was not read yet.
    fn unread(&self) -> Unread {
        Unread::Unknown
    }
}

/// What a socket holds for its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Unread {
    Nothing,
    Something,
    /// The other end has closed the connection.
    End,
    /// The socket cannot tell.
    Unknown,
}

impl Socket for TcpStream {
    fn unread(&self) -> Unread {
        peek(SockRef::from(self))
    }
}

#[cfg(unix)]
impl Socket for UnixStream {
    fn unread(&self) -> Unread {
        peek(SockRef::from(self))
    }
}

/// TLS says things of its own at any time.
#[cfg(feature = "redis-tls")]
impl Socket for tokio_rustls::client::TlsStream<TcpStream> {}

fn peek(socket: SockRef<'_>) -> Unread {
    match socket.peek(&mut [MaybeUninit::uninit()]) {
        Ok(0) => Unread::End,
        Ok(_) => Unread::Something,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Unread::Nothing,
        Err(_) => Unread::Unknown,
    }
}

/// A connection, under the client.
pub(in super::super) struct Checked {
    socket: Box<dyn Socket>,
    requests: Requests,
    replies: Replies,
    accepted: Arc<Accepted>,
    verdict: Arc<Verdict>,
    /// When something was read last.
    heard: Instant,
}

/// How long a connection may be silent before it is looked at once more when it is written to again. The runtime tells
/// of what arrives, and it may not have run since.
const IDLE: Duration = Duration::from_millis(10);

impl Checked {
    pub(in super::super) fn new(socket: Box<dyn Socket>, accepted: Arc<Accepted>, verdict: Arc<Verdict>) -> Self {
        let (requests, replies) = Default::default();
        Self { socket, requests, replies, accepted, verdict, heard: Instant::now() }
    }

    /// What the server has said, or that it closed the connection, since nothing is asked any more.
    fn unread_since(&self) -> Unread {
        let is_idle = self.requests.asked.is_empty() && !self.requests.tracks && self.heard.elapsed() >= IDLE;
        if is_idle { self.socket.unread() } else { Unread::Unknown }
    }

    fn refuse(&self, fault: Fault) -> io::Error {
        self.verdict.give(fault);
        fault.into()
    }
}

impl AsyncRead for Checked {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.socket).poll_read(context, buffer))?;
        let arrived = &buffer.filled()[before..];
        this.heard = Instant::now();
        if let Err(fault) = this.replies.take(arrived, &mut this.requests, this.accepted.get()) {
            buffer.set_filled(before);
            return Poll::Ready(Err(this.refuse(fault)));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Checked {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        match this.unread_since() {
            Unread::Something => return Poll::Ready(Err(this.refuse(Fault::Unasked))),
            Unread::End => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            Unread::Nothing | Unread::Unknown => {}
        }
        let written = ready!(Pin::new(&mut this.socket).poll_write(context, bytes))?;
        this.requests.take(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checked").field("asked", &self.requests.asked.len()).finish_non_exhaustive()
    }
}
