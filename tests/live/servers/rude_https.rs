//! An HTTPS service of our own that misbehaves on demand.
//!
//! While it behaves it keeps entries as the CachekitIO API does. What goes wrong is told by its mode, and goes wrong with
//! every answer from then on.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::Authority;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RudeAnswer {
    /// Nothing.
    No,
    /// The head says so many bytes, and none follows.
    Declares(&'static str),
    /// The head says 512 MB, and they follow.
    Streams,
    /// Chunks without end.
    EndlessChunks,
    /// Chunks of one byte without end.
    TinyChunks,
    /// The first chunk says that it has 4 GB.
    HugeChunk,
    /// A header that never ends.
    EndlessHeader,
    /// Headers without end.
    EndlessHeaders,
    /// Trailers without end.
    EndlessTrailers,
    /// `100 Continue`, again and again.
    EndlessInterim,
    /// A hundred interim answers before the right one.
    ManyInterim,
    /// Another protocol than was asked for.
    Switches,
    /// The right answer, a byte at a time.
    Drip(Duration),
    /// The way to another host.
    Redirect,
    /// The right answer, which says that it is packed.
    Packed,
    /// A page in place of a value.
    Page,
    /// The right answer, and another that nobody asked for, at once.
    Stray,
    /// A length and chunks.
    TwoLengths,
    /// Half of an answer, and the end of the connection.
    Cut,
    /// No length: the end of the connection is that of the value.
    Open,
    /// The end of the connection.
    Hangup,
    /// This line.
    Says(&'static str),
    /// Nothing.
    Silent,
}

/// All modes in which something goes wrong.
pub(crate) const ALL: [RudeAnswer; 26] = [
    RudeAnswer::Declares("512000000"),
    RudeAnswer::Declares("25000000"),
    RudeAnswer::Declares("-1"),
    RudeAnswer::Declares("99999999999999999999"),
    RudeAnswer::Streams,
    RudeAnswer::EndlessChunks,
    RudeAnswer::TinyChunks,
    RudeAnswer::HugeChunk,
    RudeAnswer::EndlessHeader,
    RudeAnswer::EndlessHeaders,
    RudeAnswer::EndlessTrailers,
    RudeAnswer::EndlessInterim,
    RudeAnswer::ManyInterim,
    RudeAnswer::Switches,
    RudeAnswer::Drip(Duration::from_millis(20)),
    RudeAnswer::Redirect,
    RudeAnswer::Packed,
    RudeAnswer::Page,
    RudeAnswer::Stray,
    RudeAnswer::TwoLengths,
    RudeAnswer::Cut,
    RudeAnswer::Open,
    RudeAnswer::Hangup,
    RudeAnswer::Says("SSH-2.0-OpenSSH_9.2"),
    RudeAnswer::Says("HTTP/1.1 200"),
    RudeAnswer::Silent,
];

struct Shared {
    mode: Mutex<RudeAnswer>,
    entries: Mutex<HashMap<String, Vec<u8>>>,
    config: Arc<ServerConfig>,
    /// Where a redirect leads: a place that takes note of visits.
    elsewhere: String,
}

/// On a free port of 127.0.0.1, to the end of the process.
pub(crate) struct RudeHttps {
    url: String,
    shared: Arc<Shared>,
    elsewhere: TcpListener,
    authority: Authority,
}

impl RudeHttps {
    pub(crate) fn start() -> Self {
        let authority = Authority::new();
        let config = authority.config();
        let [listener, elsewhere] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        elsewhere.set_nonblocking(true).unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            mode: Mutex::new(RudeAnswer::No),
            entries: Mutex::default(),
            config,
            elsewhere: format!("https://{}/v1/cache/users:1", elsewhere.local_addr().unwrap()),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                thread::spawn(move || serve(&shared, stream));
            }
        });
        Self { url, shared, elsewhere, authority }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The PEM file with the certificate to trust.
    pub(crate) fn ca(&self) -> &Path {
        self.authority.bundle()
    }

    pub(crate) fn set(&self, mode: RudeAnswer) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    /// Whether anybody followed a redirect.
    pub(crate) fn was_followed(&self) -> bool {
        self.elsewhere.accept().is_ok()
    }
}

struct Request {
    method: String,
    path: String,
    body: Vec<u8>,
}

impl Request {
    fn read(reader: &mut impl BufRead) -> Option<Self> {
        let line = line(reader)?;
        let mut words = line.split(' ').map(str::to_owned);
        let (method, path) = (words.next()?, words.next()?);
        let mut length = 0;
        loop {
            let header = self::line(reader)?.to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            length = header.strip_prefix("content-length: ").map_or(length, |digits| digits.parse().unwrap());
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        Some(Self { method, path, body })
    }
}

fn line(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
    Some(line.trim_end().to_owned())
}

/// The right answer: the status, and the value.
fn right(shared: &Shared, request: &Request) -> (u16, Vec<u8>) {
    let mut entries = shared.entries.lock().unwrap();
    let path = request.path.strip_suffix("/ttl").unwrap_or(&request.path);
    let is_ttl = path.len() < request.path.len();
    match (request.method.as_str(), entries.contains_key(path)) {
        ("GET", _) if path.ends_with("/health") => (200, b"{}".to_vec()),
        ("GET" | "HEAD", false) => (404, Vec::new()),
        ("GET", true) if is_ttl => (200, br#"{"ttl": 60}"#.to_vec()),
        ("GET", true) => (200, entries[path].clone()),
        ("PUT", _) => {
            entries.insert(path.to_owned(), request.body.clone());
            (200, b"{}".to_vec())
        }
        ("DELETE", _) => {
            entries.remove(path);
            (200, b"{}".to_vec())
        }
        _ => (200, Vec::new()),
    }
}

fn serve(shared: &Shared, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let session = ServerConnection::new(Arc::clone(&shared.config)).unwrap();
    let mut reader = BufReader::new(StreamOwned::new(session, stream));
    while let Some(request) = Request::read(&mut reader) {
        let mode = *shared.mode.lock().unwrap();
        let (status, value) = right(shared, &request);
        let body = if request.method == "HEAD" { Vec::new() } else { value };
        let said = Said { mode, status, body: &body, elsewhere: &shared.elsewhere };
        if said.say(reader.get_mut()).is_err() {
            return;
        }
    }
}

struct Said<'a> {
    mode: RudeAnswer,
    status: u16,
    body: &'a [u8],
    elsewhere: &'a str,
}

impl Said<'_> {
    fn say(&self, out: &mut impl Write) -> Result<()> {
        let head = |more: &str| format!("HTTP/1.1 {} As Told\r\n{more}", self.status).into_bytes();
        let length = format!("Content-Length: {}\r\n\r\n", self.body.len());
        let chunked = "Transfer-Encoding: chunked\r\n\r\n";
        let right = [&head(&length), self.body].concat();
        let stray = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
        match self.mode {
            RudeAnswer::No => write(out, &right),
            RudeAnswer::Declares(length) => write(out, &head(&format!("Content-Length: {length}\r\n\r\n"))),
            RudeAnswer::Streams => endless(out, &head("Content-Length: 512000000\r\n\r\n"), &[b'x'; 16 << 10]),
            RudeAnswer::EndlessChunks => endless(out, &head(chunked), &chunk(16 << 10)),
            RudeAnswer::TinyChunks => endless(out, &head(chunked), &chunk(1).repeat(1_000)),
            RudeAnswer::HugeChunk => endless(out, &head(&format!("{chunked}ffffffff\r\n")), &[b'x'; 16 << 10]),
            RudeAnswer::EndlessHeader => endless(out, &head("X: "), &[b'x'; 16 << 10]),
            RudeAnswer::EndlessHeaders => endless(out, &head(""), &b"X: y\r\n".repeat(1_000)),
            RudeAnswer::EndlessTrailers => endless(out, &head(&format!("{chunked}0\r\n")), &b"X: y\r\n".repeat(1_000)),
            RudeAnswer::EndlessInterim => endless(out, b"", &b"HTTP/1.1 100 Continue\r\n\r\n".repeat(100)),
            RudeAnswer::ManyInterim => {
                write(out, &[b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n".repeat(100), right].concat())
            }
            RudeAnswer::Switches => write(out, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: evil\r\n\r\n"),
            RudeAnswer::Drip(distance) => right.iter().try_for_each(|byte| {
                thread::sleep(distance);
                write(out, &[*byte])
            }),
            RudeAnswer::Redirect => {
                let head =
                    format!("HTTP/1.1 307 Elsewhere\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", self.elsewhere);
                write(out, head.as_bytes())
            }
            RudeAnswer::Packed => {
                write(out, &[&head(&format!("Content-Encoding: gzip\r\n{length}")), self.body].concat())
            }
            RudeAnswer::Page => {
                write(out, &[&head(&format!("Content-Type: text/html\r\n{length}")), self.body].concat())
            }
            RudeAnswer::Stray => write(out, &[&right[..], stray].concat()),
            RudeAnswer::TwoLengths => {
                let head = head(&format!("Content-Length: {}\r\n{chunked}", self.body.len()));
                write(out, &[&head[..], &chunk(self.body.len()), b"0\r\n\r\n"].concat())
            }
            RudeAnswer::Cut => {
                write(out, &right[..right.len() / 2])?;
                Err(std::io::ErrorKind::ConnectionAborted.into())
            }
            RudeAnswer::Open => {
                write(out, &[&head("\r\n"), self.body].concat())?;
                Err(std::io::ErrorKind::ConnectionAborted.into())
            }
            RudeAnswer::Hangup => Err(std::io::ErrorKind::ConnectionAborted.into()),
            RudeAnswer::Says(line) => write(out, format!("{line}\r\n\r\n").as_bytes()),
            RudeAnswer::Silent => Ok(()),
        }
    }
}

fn chunk(length: usize) -> Vec<u8> {
    [format!("{length:x}\r\n").as_bytes(), &b"x".repeat(length), b"\r\n"].concat()
}

fn write(out: &mut impl Write, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes)?;
    out.flush()
}

/// Sends the same until nobody takes it.
fn endless(out: &mut impl Write, head: &[u8], part: &[u8]) -> Result<()> {
    write(out, head)?;
    loop {
        write(out, part)?;
    }
}
