//! A tiny blocking client, to see answers byte by byte.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Result, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use serde_json::Value;

use crate::servers::{Api, PATIENCE};

/// One connection.
pub(super) struct Client {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    api_key: String,
}

/// Whatever came, up to the end of the body that was told.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// Names in lower case.
    headers: HashMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Client {
    pub(super) fn of(api: &Api) -> Self {
        Self::named(api, "localhost").unwrap()
    }

    /// Connects to the server under another name, which its certificate must hold.
    pub(super) fn named(api: &Api, name: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(api.ca()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let tls = ClientConnection::new(Arc::new(config), name.to_owned().try_into().unwrap()).unwrap();
        let socket = TcpStream::connect(("127.0.0.1", api.port()))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut stream = StreamOwned::new(tls, socket);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        Ok(Self { stream: BufReader::new(stream), api_key: api.key() })
    }

    /// Sends this API key from now on.
    pub(super) fn with_key(self, api_key: impl Into<String>) -> Self {
        Self { api_key: api_key.into(), ..self }
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.stream.get_ref().sock
    }

    pub(super) fn get(&mut self, path: &str) -> Reply {
        self.ask("GET", path, &[], b"")
    }

    pub(super) fn head(&mut self, path: &str) -> Reply {
        self.ask("HEAD", path, &[], b"")
    }

    pub(super) fn delete(&mut self, path: &str) -> Reply {
        self.ask("DELETE", path, &[], b"")
    }

    pub(super) fn put(&mut self, path: &str, value: &[u8], headers: &[(&str, &str)]) -> Reply {
        let kind = ("Content-Type", "application/octet-stream");
        self.ask("PUT", path, &[&[kind], headers].concat(), value)
    }

    pub(super) fn send_json(&mut self, method: &str, path: &str, body: &str) -> Reply {
        self.ask(method, path, &[("Content-Type", "application/json")], body.as_bytes())
    }

    pub(super) fn ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        self.try_ask(method, path, headers, body).unwrap()
    }

    /// Asks below `/v1/cache/`.
    pub(super) fn try_ask(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Reply> {
        let mut text = format!("{method} /v1/cache/{path} HTTP/1.1\r\nHost: localhost\r\n");
        text += &format!("Authorization: Bearer {}\r\nContent-Length: {}\r\n", self.api_key, body.len());
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        self.write(&[text.as_bytes(), b"\r\n", body].concat())?;
        self.read(method)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.get_mut().write_all(bytes)?;
        self.stream.get_mut().flush()
    }

    pub(super) fn read(&mut self, method: &str) -> Result<Reply> {
        let line = self.line()?;
        let status = line.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        let status = status.ok_or(std::io::ErrorKind::InvalidData)?;
        let mut headers = HashMap::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let length = headers.get("content-length").map_or(0, |text| text.parse().unwrap());
        let mut body = Vec::new();
        if method != "HEAD" {
            (&mut self.stream).take(length).read_to_end(&mut body)?;
        }
        Ok(Reply { status, headers, body })
    }

    /// What is left until the connection ends.
    pub(super) fn rest(&mut self) -> Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest)?;
        Ok(rest)
    }

    /// The next bytes as they come, at most so many.
    pub(super) fn take(&mut self, count: u64) -> impl Read {
        (&mut self.stream).take(count)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        line.strip_suffix("\r\n").map(str::to_owned).ok_or(std::io::ErrorKind::UnexpectedEof.into())
    }
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(&name.to_ascii_lowercase()).map(String::as_str)
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}
