//! Servers of the bench: on free ports of this host, ended when dropped.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Failure;

pub(crate) mod https;
pub(crate) mod proxy;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A process that listens on a port.
pub(crate) struct Server {
    process: Child,
    pub(crate) port: u16,
}

impl Server {
    /// A Redis that stores nothing on disk.
    pub(crate) fn redis() -> Result<Self, Failure> {
        Self::redis_at(free_port()?)
    }

    pub(crate) fn redis_at(port: u16) -> Result<Self, Failure> {
        let words = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"];
        Self::start("redis-server", &words, port, b"PING\r\n", b"+PONG")
    }

    pub(crate) fn memcached() -> Result<Self, Failure> {
        // Run by root, it wants to be told that this is meant.
        let words = ["-l", "127.0.0.1", "-u", "root", "-m", "256", "-U", "0", "-p"];
        Self::start("memcached", &words, free_port()?, b"version\r\n", b"VERSION")
    }

    pub(crate) fn redis_url(&self) -> String {
        redis_url(self.port)
    }

    pub(crate) fn memcache_url(&self) -> String {
        format!("memcache://127.0.0.1:{}", self.port)
    }

    /// Ends it before it is dropped.
    pub(crate) fn end(&mut self) {
        // It holds nothing that is worth saving, and may be gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// The number of its process.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// The last word is the port. It is up when it answers `question` with what begins like `answer`.
    fn start(program: &str, words: &[&str], port: u16, question: &[u8], answer: &[u8]) -> Result<Self, Failure> {
        let mut command = Command::new(program);
        command.args(words).arg(port.to_string()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().map_err(|error| {
            format!("{program} does not start: {error}; install it, by `apt-get install {program}` for example")
        })?;
        let (server, began) = (Self { process, port }, Instant::now());
        while !answers(port, question, answer) {
            if began.elapsed() > PATIENCE {
                return Err(format!("{program} does not answer on port {port}").into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end();
    }
}

pub(crate) fn redis_url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}/0")
}

fn free_port() -> Result<u16, Failure> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn answers(port: u16, question: &[u8], answer: &[u8]) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
        stream.set_read_timeout(Some(Duration::from_millis(200)))?;
        stream.write_all(question)?;
        let mut buffer = vec![0; answer.len()];
        stream.read_exact(&mut buffer)?;
        Ok::<_, std::io::Error>(buffer)
    };
    ask().is_ok_and(|begin| begin == answer)
}
