//! Whom it talks to, and what it tells.

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachekit::backends::CachekitIo;
use cachekit::{Backend, CacheBuilder, CachekitIoSettings, ErrorKind, Event, Intent, Observer};

use super::support::{MINUTE, every_text, hasty, key, once, settings, start, with};
use crate::servers::{Authority, Fault};

#[tokio::test]
async fn a_redirect_is_not_followed_wherever_it_leads() {
    let (api, other) = (start(), start());
    let io = once(&api);
    for location in
        [other.url(), "http://169.254.169.254/latest/meta-data".into(), "/v1/cache/other".into(), String::new()]
    {
        let before = api.requests().len();
        api.fault(Fault::redirect(&location).times(1));
        let error = io.get(&key(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Backend, "{location}");
        assert!(error.to_string().contains("not followed"), "{error}");
        assert_eq!(api.requests().len() - before, 1, "{location}");
    }
    assert!(other.requests().is_empty() && other.connections() == 0);
}

#[tokio::test]
async fn servers_that_cannot_be_trusted_get_no_request() {
    let (api, stranger) = (start(), Authority::new());
    let other_name = |settings: &mut CachekitIoSettings| {
        settings.url = format!("https://127.0.0.2:{}", api.port()).parse().unwrap();
    };
    let unknown = with(&api, |settings| settings.ca_bundle = None);
    let wrong = with(&api, |settings| settings.ca_bundle = Some(stranger.bundle().to_owned()));
    for io in [unknown, wrong] {
        let error = io.get(&key(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Backend, "{error:?}");
        assert!(error.to_string().contains("CACHEKIT_CA_BUNDLE"), "{error}");
    }
    // The server is not at this address; whoever is must have a certificate for it.
    assert!(with(&api, other_name).get(&key(1)).await.is_err());
    assert!(api.requests().is_empty());
}

#[tokio::test]
async fn a_server_without_tls_gets_nothing() {
    let api = start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let io = with(&api, |settings| settings.url = format!("https://{address}").parse().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").unwrap();
        let mut read = vec![0; 4096];
        let length = stream.read(&mut read).unwrap();
        read.truncate(length);
        read
    });
    assert_eq!(io.ping().await.unwrap_err().kind(), ErrorKind::Backend);
    let told = server.join().unwrap();
    assert!(told.first() == Some(&0x16), "a handshake, and nothing else");
}

/// Loopback is for those who allow it: the same server, without leave.
#[tokio::test]
async fn without_leave_only_the_service_is_connected_to() {
    let api = start();
    for host in ["localhost", "127.0.0.1", "[::1]", "cachekit.test", "api.cachekit.io.evil.example"] {
        let mut settings = settings(&api);
        settings.url = api.url_of(host).parse().unwrap();
        settings.allow_custom_host = false;
        let error = CachekitIo::new(settings).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("CACHEKIT_ALLOW_CUSTOM_HOST"), "{error}");
    }
    for host in ["169.254.169.254", "[fe80::1]", "metadata.google.internal"] {
        let error = api.url_of(host).parse::<cachekit::ApiUrl>().unwrap_err();
        assert!(error.to_string().contains("link-local or metadata"), "{error}");
    }
    assert_eq!(api.connections(), 0);
}

#[tokio::test]
async fn a_name_is_looked_up_and_its_certificate_is_for_it() {
    let api = start();
    let io = with(&api, |settings| settings.url = api.url().parse().unwrap());
    io.ping().await.unwrap();
    assert!(api.requests()[0].header("host").unwrap().starts_with("localhost:"));
    let nowhere = with(&api, |settings| {
        settings.url = "https://nowhere.invalid".parse().unwrap();
        settings.max_retries = 0;
    });
    let error = nowhere.ping().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("nowhere.invalid"), "{error}");
}

/// Everything that is told.
#[derive(Debug, Default)]
struct Told(Mutex<String>);

impl Observer for Told {
    fn event(&self, event: &Event<'_>) {
        let mut told = self.0.lock().unwrap();
        writeln!(told, "{event:?} {event:#?}").unwrap();
        if let Event::BackendFailed { error, .. } | Event::NotStored { error, .. } = event {
            told.push_str(&every_text(error));
        }
    }
}

#[tokio::test]
async fn no_output_holds_the_api_key_a_key_or_a_value() {
    let api = start();
    let told = Arc::<Told>::default();
    let io = hasty(&api);
    let mut text = format!("{:?} {:#?} {io:?} {io:#?} {:?}", settings(&api), settings(&api), io.capabilities());
    let builder = CacheBuilder::new().intent(Intent::Io).backend(io.clone()).namespace("app");
    let cache = builder.observer(Arc::<Told>::clone(&told) as _).build().unwrap();
    text += &format!("{cache:?} {cache:#?} {:?} {}", cache.report(), cache.report());
    io.set(&key("private-name"), "private-value".into(), MINUTE).await.unwrap();
    let faults = [
        Fault::status(401),
        Fault::status(403),
        Fault::status(413),
        Fault::status(503),
        Fault::body(400, &api.key()),
        Fault::redirect(&format!("https://evil.example/{}", api.key())),
        Fault::Garbage,
        Fault::Close,
        Fault::Truncated,
        Fault::Hang,
    ];
    for fault in faults {
        api.fault(fault);
        let key = key("private-name");
        for error in [io.get(&key).await.err(), io.set(&key, "private-value".into(), MINUTE).await.err()] {
            text += &every_text(&error.expect("the fault strikes"));
        }
        let _ = cache.set("private-name", "private-value".to_owned()).await;
        let _ = cache.get::<String>("private-name").await;
        api.clear();
    }
    text += &every_text(&CachekitIoSettings::new("private key").unwrap_err());
    if let Err(error) = cache.close(Duration::from_secs(5)).await {
        text += &every_text(&error);
    }
    text += &told.0.lock().unwrap();
    assert!(text.len() > 10_000 && text.contains("BackendFailed"), "{text}");
    for secret in [api.key().as_str(), &api.key()[8..24], "private-", "private key"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    assert!(api.requests().iter().all(|request| !request.target.contains(&api.key())));
}
