//! An HTTPS server of this process that keeps what it is given, and answers after a delay.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::Failure;

/// Entries by path.
type Entries = Arc<Mutex<HashMap<String, Arc<Vec<u8>>>>>;

pub(crate) struct Https {
    pub(crate) address: SocketAddr,
    /// Its own authority, which clients have to trust.
    pub(crate) authority: String,
}

impl Https {
    /// A thread accepts connections, and one for each answers, until this program ends.
    pub(crate) fn start(delay: Duration) -> Result<Self, Failure> {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".into()])?;
        let (authority, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let chain = vec![CertificateDer::from_pem_slice(authority.as_bytes())?];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = Arc::new(config.with_no_client_auth().with_single_cert(chain, key)?);
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let entries = Entries::default();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (config, entries) = (Arc::clone(&config), Arc::clone(&entries));
                // A client that goes away ends its thread.
                std::thread::spawn(move || serve(client, config, &entries, delay));
            }
        });
        Ok(Self { address, authority })
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }
}

/// Answers every request on a connection until it is closed.
fn serve(client: TcpStream, config: Arc<ServerConfig>, entries: &Entries, delay: Duration) -> Result<(), Failure> {
    client.set_nodelay(true)?;
    let mut tls = StreamOwned::new(ServerConnection::new(config)?, client);
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let Some((head, length)) = request(&bytes) else {
            match tls.read(&mut buffer)? {
                0 => return Ok(()),
                count => bytes.extend_from_slice(&buffer[..count]),
            }
            continue;
        };
        let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
        let answer = answer(&text, &bytes[head..head + length], entries);
        bytes.drain(..head + length);
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        tls.write_all(&answer)?;
    }
}

/// The lengths of the head and the body of the first request, once all of it is there.
fn request(bytes: &[u8]) -> Option<(usize, usize)> {
    let head = bytes.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    (bytes.len() >= head + length).then_some((head, length))
}

fn answer(head: &str, body: &[u8], entries: &Entries) -> Vec<u8> {
    let mut words = head.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut entries = entries.lock().unwrap_or_else(PoisonError::into_inner);
    let (status, body) = match method {
        "GET" => match entries.get(path) {
            Some(body) => ("200 OK", Arc::clone(body)),
            None => ("404 Not Found", Arc::default()),
        },
        "DELETE" => {
            entries.remove(path);
            ("200 OK", Arc::default())
        }
        _ => {
            entries.insert(path.to_owned(), Arc::new(body.to_vec()));
            ("200 OK", Arc::default())
        }
    };
    let head = format!("HTTP/1.1 {status}\r\nX-CacheKit-Freshness: fresh\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), &body].concat()
}
