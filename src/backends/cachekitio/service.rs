//! The service: one request, one answer, on this thread.
//!
//! The client is set so that it does nothing of its own accord: it takes no proxy from the environment, follows no
//! redirect, unpacks nothing, and bounds every length and time.

use std::fmt;
use std::io::Read;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use ureq::config::AutoHeaderValue;
use ureq::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, TRANSFER_ENCODING};
use ureq::http::request::Builder;
use ureq::http::{HeaderName, HeaderValue, Method, Response, Uri};
use ureq::unversioned::transport::{Connector, TcpConnector};
use ureq::{Agent, AsSendBody, Body};

use super::error;
use super::names::Names;
use super::request::{Again, Answer, Request, Verb, retry_after};
use super::tls::Tls;
use crate::backends::late::LONG;
use crate::config::CachekitIoSettings;
use crate::error::{Error, ErrorKind};

const AGENT: &str = concat!("cachekit-typed/", env!("CARGO_PKG_VERSION"));
const TTL: HeaderName = HeaderName::from_static("x-cachekit-ttl");
const FRESHNESS: HeaderName = HeaderName::from_static("x-cachekit-freshness");
const DENY_REASON: HeaderName = HeaderName::from_static("x-cachekit-deny-reason");
/// Keys of one kind must send it; a backend does not know of any L1.
const L1_STATUS: HeaderName = HeaderName::from_static("x-cachekit-l1-status");

/// The longest head of an answer.
const MAX_HEAD: usize = 16 << 10;

/// Longer than servers leave a silent connection open, by most settings, is no use.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// One service, reached by connections that are kept.
pub(super) struct Service {
    agent: Agent,
    names: Names,
    authorization: HeaderValue,
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
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", key.expose())).map_err(|_| broken())?;
        authorization.set_sensitive(true);
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
        Ok(Self { agent, names, authorization, place, usual })
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
        let (verb, uri) = (&request.verb, Uri::clone(&request.uri));
        let head = |method| {
            let head = ureq::http::Request::builder().method(method).uri(uri);
            head.header(AUTHORIZATION, &self.authorization).header(L1_STATUS, "disabled")
        };
        let response = match verb {
            Verb::Get(_) => self.send(head(Method::GET), (), limits),
            Verb::Head => self.send(head(Method::HEAD), (), limits),
            Verb::Delete => self.send(head(Method::DELETE), (), limits),
            Verb::Put(value, ttl) => {
                let head = head(Method::PUT).header(CONTENT_TYPE, "application/octet-stream").header(TTL, *ttl);
                self.send(head, &value[..], limits)
            }
            Verb::Patch(document) => {
                let head = head(Method::PATCH).header(CONTENT_TYPE, "application/json");
                self.send(head, &document[..], limits)
            }
        }?;
        self.read(response, request)
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

    fn read(&self, response: Response<Body>, request: &Request) -> Result<Answer, ureq::Error> {
        let verb = &request.verb;
        let (head, body) = response.into_parts();
        let header = |name: &HeaderName| head.headers.get(name).map(HeaderValue::as_bytes);
        let again = match (header(&RETRY_AFTER), header(&DENY_REASON)) {
            (Some(text), _) => retry_after(text),
            (None, Some(_)) => Again::Never,
            (None, None) => Again::Soon,
        };
        let stale = match (verb, header(&FRESHNESS)) {
            (_, None | Some(b"fresh")) => false,
            (Verb::Head, Some(word)) => word == b"stale",
            (_, Some(_)) => true,
        };
        let status = head.status.as_u16();
        let is_whole = header(&CONTENT_LENGTH).is_some() || header(&TRANSFER_ENCODING).is_some();
        if status == 200 && matches!(verb, Verb::Get(_)) && !is_whole {
            // A body that ends with its connection cannot be told from one that was cut off.
            return Err(ureq::Error::Other(Box::new(error::strange(&self.place))));
        }
        let limit = verb.limit();
        let known = body.content_length().and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
        request.is_long.fetch_or(known >= LONG, Relaxed);
        let mut bytes = Vec::with_capacity(known.min(limit));
        let read = body.into_with_config().limit(limit as u64).reader().read_to_end(&mut bytes);
        match read {
            Ok(_) => Ok(Answer { status, stale, again, body: bytes.into() }),
            // Of a failure the status is enough.
            Err(_) if !head.status.is_success() => Ok(Answer { status, stale, again, body: Bytes::new() }),
            Err(failure) => Err(failure.into()),
        }
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}
