//! One connection: a socket with a deadline, and TLS over it.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::fault::Fault;

/// The most reads of what arrived while a connection was idle: session tickets of TLS, which are few.
const TICKETS: usize = 8;

/// A connection that nobody reads along.
pub(super) struct Connection {
    stream: StreamOwned<ClientConnection, Socket>,
}

/// What every clone of a connection's socket can end.
pub(super) type Handle = Arc<TcpStream>;

/// A socket whose reads and writes end by a deadline.
struct Socket {
    stream: Handle,
    deadline: Instant,
}

/// Connects to the first of `addresses` that accepts, each in its share of the time.
pub(super) fn dial(addresses: &[SocketAddr], deadline: Instant) -> Result<Handle, Fault> {
    let mut failure = Fault::late();
    for (index, address) in addresses.iter().enumerate() {
        let others = u32::try_from(addresses.len() - index).unwrap_or(u32::MAX);
        let Ok(left) = left(deadline) else { break };
        match TcpStream::connect_timeout(address, left / others) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(Arc::new(stream));
            }
            Err(error) => failure = error.into(),
        }
    }
    Err(failure)
}

impl Connection {
    /// Agrees on TLS with the host that is to have this name.
    pub(super) fn secure(
        stream: Handle,
        config: &Arc<ClientConfig>,
        name: &ServerName<'static>,
        deadline: Instant,
    ) -> Result<Self, Fault> {
        let session = ClientConnection::new(Arc::clone(config), name.clone()).map_err(Fault::Tls)?;
        let mut stream = StreamOwned::new(session, Socket { stream, deadline });
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self { stream })
    }

    /// Whatever follows ends by then.
    pub(super) fn end_by(&mut self, deadline: Instant) {
        self.stream.sock.deadline = deadline;
    }

    /// Whether it may carry another request: it is open, and nothing has arrived that no request asked for. It would be
    /// taken for the answer to the next.
    pub(super) fn is_quiet(&mut self) -> bool {
        let StreamOwned { conn, sock } = &mut self.stream;
        if sock.stream.set_nonblocking(true).is_err() {
            return false;
        }
        let is_quiet = (0..TICKETS).find_map(|_| match conn.read_tls(&mut &*sock.stream) {
            Err(error) => Some(error.kind() == io::ErrorKind::WouldBlock),
            Ok(0) => Some(false),
            Ok(_) => match conn.process_new_packets() {
                Ok(state) if state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed() => None,
                _ => Some(false),
            },
        });
        is_quiet.unwrap_or(false) && sock.stream.set_nonblocking(false).is_ok()
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Connection {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left(self.deadline)?))?;
        in_time((&*self.stream).read(buffer))
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.deadline)?))?;
        in_time((&*self.stream).write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.stream).flush()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A handle of it may be kept elsewhere for a while.
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// What is left of the time.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Unix tells of a timeout that the call would block.
fn in_time<T>(result: io::Result<T>) -> io::Result<T> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => io::ErrorKind::TimedOut.into(),
        _ => error,
    })
}
