//! The service: one request, one answer, on this thread.
//!
//! The client is set so that it does nothing of its own accord: it takes no proxy from the environment, follows no
//! redirect, unpacks nothing, and bounds every length and time. What it would tell the program's log it does not know.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use ureq::config::AutoHeaderValue;
use ureq::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, TRANSFER_ENCODING};
use ureq::http::request::Builder;
use ureq::http::response::Parts;
use ureq::http::{HeaderName, HeaderValue, Method, Response, Uri};
use ureq::unversioned::transport::{Connector, TcpConnector};
use ureq::{Agent, AsSendBody, Body};

use super::error;
use super::exchange::{Exchange, PATH};
use super::names::Names;
use super::request::{Again, Answer, Request, Verb, retry_after};
use super::tls::Tls;
use super::veil::{MAX_HEAD, Veil, strange};
use crate::backends::late::LONG;
use crate::config::CachekitIoSettings;
use crate::error::{Error, ErrorKind};

/// What values are sent as, and come as.
const VALUE: &str = "application/octet-stream";
const AGENT: &str = concat!("cachekit-typed/", env!("CARGO_PKG_VERSION"));
const TTL: HeaderName = HeaderName::from_static("x-cachekit-ttl");
const FRESHNESS: HeaderName = HeaderName::from_static("x-cachekit-freshness");
const DENY_REASON: HeaderName = HeaderName::from_static("x-cachekit-deny-reason");
/// Keys of one kind must send it; a backend does not know of any L1.
const L1_STATUS: HeaderName = HeaderName::from_static("x-cachekit-l1-status");

/// Longer than servers leave a silent connection open, by most settings, is no use.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// One service, reached by connections that are kept.
pub(super) struct Service {
    agent: Agent,
    names: Names,
    authorization: String,
    /// What the client knows of the place of a request.
    uri: Uri,
    /// The path of the service, without a slash at its end.
    root: String,
    /// Host and port, for messages.
    place: String,
    /// The limits of a request that did not wait. The client is set to them once: setting it for one request costs as
    /// much as a system call.
    usual: Limits,
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

    /// Whether these are as good as the `usual` ones: a tenth of the time has gone by at most.
    fn are(self, usual: Self) -> bool {
        self.again == usual.again && self.all >= usual.all - usual.all / 10
    }
}

impl Service {
    /// # Errors
    /// [`ErrorKind::Config`] for settings that cannot be used.
    pub(super) fn new(settings: &CachekitIoSettings) -> Result<Self, Error> {
        let broken = || Error::new(ErrorKind::Config, "the API key or URL of CachekitIO cannot be sent");
        let key = settings.api_key.as_ref().ok_or_else(broken)?;
        let authorization = format!("Bearer {}", key.expose());
        HeaderValue::try_from(&authorization).map_err(|_| broken())?;
        let base = Uri::try_from(settings.url.as_str()).map_err(|_| broken())?;
        let host = base.host().ok_or_else(broken)?;
        let names = Names::new(host, base.port_u16().unwrap_or(443), settings.allow_custom_host);
        let usual = Limits { all: settings.timeout, again: settings.max_retries > 0 };
        let config = Agent::config_builder()
            .timeout_global(Some(usual.all))
            .timeout_resolve(Some(usual.connect()))
            .timeout_connect(Some(usual.connect()))
            .https_only(true)
            .proxy(None)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .user_agent(AGENT)
            .accept(AutoHeaderValue::None)
            .accept_encoding("identity")
            .max_response_header_size(MAX_HEAD)
            .max_idle_connections(settings.pool_size)
            .max_idle_connections_per_host(settings.pool_size)
            .max_idle_age(MAX_IDLE)
            .build();
        let connector = ().chain(TcpConnector::default()).chain(Tls::new(settings.ca_bundle.as_deref())?);
        let agent = Agent::with_parts(config, connector, names.clone());
        let place = base.authority().map(ToString::to_string).unwrap_or_default();
        let uri = Uri::try_from(format!("https://{place}{PATH}")).map_err(|_| broken())?;
        let root = base.path().trim_end_matches('/').to_owned();
        Ok(Self { agent, names, authorization, uri, root, place, usual })
    }

    /// The path of the service, without a slash at its end.
    pub(super) fn root(&self) -> &str {
        &self.root
    }

    /// Host and port.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// Interrupts every request, and refuses further ones.
    pub(super) fn stop(&self) {
        self.agent.clone().shutdown();
    }

    /// Makes a request within `limits`.
    pub(super) fn ask(&self, request: &Request, limits: Limits) -> Result<Answer, Error> {
        self.exchange(request, limits).map_err(|failure| {
            if matches!(failure, ureq::Error::Io(_) | ureq::Error::Timeout(_)) {
                self.names.forget();
            }
            error::of_request(failure, &self.place)
        })
    }

    fn exchange(&self, request: &Request, limits: Limits) -> Result<Answer, ureq::Error> {
        let Request { verb, path, is_long } = request;
        let veil = Veil::new(verb.limit());
        let exchange = Exchange { path, authorization: &self.authorization, veil };
        let (read, body) = exchange.run(|| self.read(self.request(verb, limits)?, verb, is_long));
        let (answer, length) = read?;
        // Of a failure the status is enough.
        let body = if answer.is_success() { body } else { Vec::new() };
        if answer.is_success() && body.len() as u64 != length {
            return Err(strange());
        }
        Ok(Answer { body: body.into(), ..answer })
    }

    fn request(&self, verb: &Verb, limits: Limits) -> Result<Response<Body>, ureq::Error> {
        let head = |method| {
            let head = ureq::http::Request::builder().method(method).uri(self.uri.clone());
            head.header(L1_STATUS, "disabled")
        };
        match verb {
            Verb::Get(_) => self.send(head(Method::GET), (), limits),
            Verb::Delete => self.send(head(Method::DELETE), (), limits),
            Verb::Put(value, ttl) => {
                let head = head(Method::PUT).header(CONTENT_TYPE, VALUE).header(TTL, *ttl);
                self.send(head, &value[..], limits)
            }
        }
    }

    fn send(&self, head: Builder, body: impl AsSendBody, limits: Limits) -> Result<Response<Body>, ureq::Error> {
        let request = head.body(body)?;
        if limits.are(self.usual) {
            return self.agent.run(request);
        }
        let connect = Some(limits.connect());
        let request = self.agent.configure_request(request).timeout_global(Some(limits.all));
        self.agent.run(request.timeout_resolve(connect).timeout_connect(connect).build())
    }

    /// Reads an answer to its end: what it says, and how many bytes its body has.
    fn read(&self, response: Response<Body>, verb: &Verb, is_long: &AtomicBool) -> Result<(Answer, u64), ureq::Error> {
        let (head, body) = response.into_parts();
        check(&head, verb)?;
        let answer = answer(&head);
        let (known, limit) = (body.content_length().unwrap_or_default(), verb.limit() as u64);
        is_long.fetch_or(known >= LONG as u64, Relaxed);
        if answer.is_success() && known > limit {
            return Err(ureq::Error::BodyExceedsLimit(limit));
        }
        match io::copy(&mut body.into_with_config().limit(limit).reader(), &mut io::sink()) {
            Err(failure) if answer.is_success() => Err(failure.into()),
            length => Ok((answer, length.unwrap_or_default())),
        }
    }
}

fn header<'a>(head: &'a Parts, name: &HeaderName) -> Option<&'a [u8]> {
    head.headers.get(name).map(HeaderValue::as_bytes)
}

/// Refuses what cannot be what was asked for.
fn check(head: &Parts, verb: &Verb) -> Result<(), ureq::Error> {
    let Verb::Get(limit) = verb else { return Ok(()) };
    if head.status.as_u16() != 200 {
        return Ok(());
    }
    // A body that ends with its connection cannot be told from one that was cut off.
    let is_whole = [&CONTENT_LENGTH, &TRANSFER_ENCODING].iter().any(|name| header(head, name).is_some());
    let is_plain = header(head, &CONTENT_ENCODING).is_none_or(|word| word.eq_ignore_ascii_case(b"identity"));
    // A page that a gateway answers in the service's name is no value.
    let is_value = *limit == 0 || header(head, &CONTENT_TYPE).is_none_or(|kind| kind.starts_with(VALUE.as_bytes()));
    if is_whole && is_plain && is_value { Ok(()) } else { Err(strange()) }
}

/// What the head of an answer says.
fn answer(head: &Parts) -> Answer {
    let again = match (header(head, &RETRY_AFTER), header(head, &DENY_REASON)) {
        (Some(text), _) => retry_after(text),
        (None, Some(_)) => Again::Never,
        (None, None) => Again::Soon,
    };
    let stale = header(head, &FRESHNESS).is_some_and(|word| word != b"fresh");
    Answer { status: head.status.as_u16(), stale, again, body: Bytes::new() }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}
