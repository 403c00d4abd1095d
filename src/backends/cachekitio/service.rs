//! The service: one request, one answer, on this thread.
//!
//! Nothing is done that was not asked for: no proxy is taken from the environment, no redirect followed, nothing
//! unpacked; every length and time is bounded.

use std::fmt;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::connection::{self, Connection};
use super::fault::Fault;
use super::names::Names;
use super::pool::Pool;
use super::request::{Again, Answer, Request, Verb, retry_after};
use super::wire::{Answers, Framing, Head};
use super::{error, tls};
use crate::backends::late::LONG;
use crate::config::{CachekitIoSettings, Secret};
use crate::error::{Error, ErrorKind};

const AGENT: &str = concat!("cachekit-typed/", env!("CARGO_PKG_VERSION"));
/// What a value is sent and comes back as.
const VALUE: &str = "application/octet-stream";

/// One service, reached by connections that are kept.
pub(super) struct Service {
    pool: Pool,
    names: Names,
    tls: Arc<ClientConfig>,
    /// Whom certificates must name.
    name: ServerName<'static>,
    api_key: Secret<str>,
    /// Host and port, as requests and messages name them.
    place: String,
}

/// How long a request may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) all: Duration,
    /// Whether another attempt may follow, for which a look-up or a connect that hangs must leave time.
    pub(super) again: bool,
}

impl Limits {
    /// Of it, the look-up and the connect, each.
    fn connect(self) -> Duration {
        if self.again { self.all / 2 } else { self.all }
    }
}

impl Service {
    /// # Errors
    /// [`ErrorKind::Config`] for settings that cannot be used.
    pub(super) fn new(settings: &CachekitIoSettings) -> Result<Self, Error> {
        let broken = || Error::new(ErrorKind::Config, "the API key or URL of CachekitIO cannot be sent");
        let api_key = settings.api_key.clone().ok_or_else(broken)?;
        let (host, port) = settings.url.host().ok_or_else(broken)?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Ok(Self {
            pool: Pool::default(),
            names: Names::new(host, port.unwrap_or(443), settings.allow_custom_host),
            tls: tls::config(settings.ca_bundle.as_deref())?,
            name: ServerName::try_from(bare.to_owned()).map_err(|_| broken())?,
            api_key,
            place: settings.url.authority().to_owned(),
        })
    }

    /// Host and port.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Interrupts every request, and refuses further ones.
    pub(super) fn stop(&self) {
        self.pool.stop();
    }

    /// Makes a request within `limits`.
    pub(super) fn ask(&self, request: &Request, limits: Limits) -> Result<Answer, Error> {
        self.exchange(request, limits).map_err(|fault| {
            if fault.is_of_connection() {
                self.names.forget();
            }
            error::of_request(fault, &self.place)
        })
    }

    fn exchange(&self, request: &Request, limits: Limits) -> Result<Answer, Fault> {
        let deadline = Instant::now() + limits.all;
        let mut connection = match self.pool.take() {
            Some(connection) => connection,
            None => self.connect(limits, deadline)?,
        };
        connection.end_by(deadline);
        connection.write_all(self.head(request).as_bytes())?;
        connection.write_all(request.verb.body())?;
        connection.flush()?;
        let mut answers = Answers::new(&mut connection);
        let head = answers.head()?;
        let framing = Framing::of(&head, matches!(request.verb, Verb::Head))?;
        check(&head, framing, &request.verb)?;
        if let Framing::Length(length) = framing {
            request.is_long.fetch_or(length >= LONG, Relaxed);
        }
        let body = match answers.body(framing, request.verb.limit(head.is_success())) {
            Ok(body) => {
                if answers.is_reusable(&head) {
                    self.pool.put(connection);
                }
                body
            }
            Err(fault) if head.is_success() && framing != Framing::Open => return Err(fault),
            // The status is enough.
            Err(_) => Vec::new(),
        };
        Ok(answer(&head, &request.verb, body.into()))
    }

    fn connect(&self, limits: Limits, deadline: Instant) -> Result<Connection, Fault> {
        let addresses = self.names.addresses(limits.connect()).ok_or_else(Fault::late)??;
        let deadline = deadline.min(Instant::now() + limits.connect());
        let handle = connection::dial(&addresses, deadline)?;
        if !self.pool.add(&handle) {
            return Err(error::lost().into());
        }
        Connection::secure(handle, &self.tls, &self.name, deadline)
    }

    /// Keys of one kind must say that they keep no L1; a backend does not know of any.
    fn head(&self, request: &Request) -> String {
        let Request { verb, path, .. } = request;
        let mut head = format!(
            "{} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nUser-Agent: {AGENT}\r\n\
             Accept-Encoding: identity\r\nX-CacheKit-L1-Status: disabled\r\n",
            verb.method(),
            self.place,
            self.api_key.expose(),
        );
        match verb {
            Verb::Get(_) | Verb::Head | Verb::Delete => {}
            Verb::Put(_, ttl) => head += &format!("Content-Type: {VALUE}\r\nX-CacheKit-TTL: {ttl}\r\n"),
            Verb::Patch(_) => head += "Content-Type: application/json\r\n",
        }
        if matches!(verb, Verb::Put(..) | Verb::Patch(_)) {
            head += &format!("Content-Length: {}\r\n", verb.body().len());
        }
        head + "\r\n"
    }
}

/// Refuses what cannot be what was asked for.
fn check(head: &Head, framing: Framing, verb: &Verb) -> Result<(), Fault> {
    let Verb::Get(limit) = verb else { return Ok(()) };
    if head.status != 200 {
        return Ok(());
    }
    let is_plain = head.get("content-encoding").is_none_or(|word| word.eq_ignore_ascii_case(b"identity"));
    // A page that a gateway answers in the service's name is no value.
    let is_value = *limit == 0 || head.get("content-type").is_none_or(|kind| kind.starts_with(VALUE.as_bytes()));
    if is_plain && is_value && framing != Framing::Open { Ok(()) } else { Err(Fault::Strange) }
}

fn answer(head: &Head, verb: &Verb, body: Bytes) -> Answer {
    let again = match (head.get("retry-after"), head.get("x-cachekit-deny-reason")) {
        (Some(text), _) => retry_after(text),
        (None, Some(_)) => Again::Never,
        (None, None) => Again::Soon,
    };
    let stale = match (verb, head.get("x-cachekit-freshness")) {
        (_, None | Some(b"fresh")) => false,
        (Verb::Head, Some(word)) => word == b"stale",
        (_, Some(_)) => true,
    };
    let body = if head.is_success() { body } else { Bytes::new() };
    Answer { status: head.status, stale, again, body }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// What is checked is what is connected to: the name in the URL is not looked up a second time.
    #[test]
    fn nothing_is_connected_to_but_addresses_that_were_checked() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let mut settings = CachekitIoSettings::new("key").unwrap();
        (settings.url, settings.allow_custom_host) = (format!("https://{address}").parse().unwrap(), true);
        let mut service = Service::new(&settings).unwrap();
        service.names = Names::with("h", address.port(), false, move |_, _| Ok(vec![address]));
        let request = Request { verb: Verb::Get(0), path: "/".into(), is_long: Arc::default() };
        let limits = Limits { all: Duration::from_secs(30), again: false };
        let refusal = service.ask(&request, limits).unwrap_err();
        assert!(refusal.to_string().contains("no public address"), "{refusal}");
        assert!(listener.accept().is_err(), "somebody connected");
    }

    #[test]
    fn a_request_carries_the_key_the_path_and_the_lengths_and_nothing_else_of_the_caller() {
        let mut settings = CachekitIoSettings::new("ck_live_42").unwrap();
        (settings.url, settings.allow_custom_host) = ("https://[::1]:8443/base".parse().unwrap(), true);
        let service = Service::new(&settings).unwrap();
        let verb = Verb::Put(Bytes::from("value"), 60);
        let head = service.head(&Request { verb, path: "/base/v1/cache/k".into(), is_long: Arc::default() });
        let lines: Vec<&str> = head.split("\r\n").collect();
        assert_eq!(
            lines[..3],
            ["PUT /base/v1/cache/k HTTP/1.1", "Host: [::1]:8443", "Authorization: Bearer ck_live_42"]
        );
        assert_eq!(
            lines[6..],
            ["Content-Type: application/octet-stream", "X-CacheKit-TTL: 60", "Content-Length: 5", "", ""]
        );
    }
}
