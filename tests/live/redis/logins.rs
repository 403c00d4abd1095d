//! As whom connections are made: users without a password, and credentials of the hour.

use std::error::Error as _;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachekit::backends::Redis;
use cachekit::{Backend, Credentials, Error, ErrorKind, RedisSettings};

use super::support::{MINUTE, key, listening};
use crate::servers::{Authority, Cluster, Sentinels, Server, eventually};

/// What a program that fetches tokens gives, and how often it was asked.
#[derive(Clone, Default)]
struct Tokens {
    now: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
}

impl Tokens {
    fn new(token: &str) -> Self {
        let tokens = Self::default();
        tokens.turn_to(token);
        tokens
    }

    fn turn_to(&self, token: &str) {
        *self.now.lock().unwrap() = token.to_owned();
    }

    fn asked(&self) -> usize {
        self.asked.load(SeqCst)
    }

    /// A backend that asks for them, as `user` or the default one.
    fn redis(&self, url: &str, user: Option<&'static str>, change: impl FnOnce(&mut RedisSettings)) -> Redis {
        let tokens = self.clone();
        let mut settings = RedisSettings::new(url).unwrap().credentials(move || {
            let tokens = tokens.clone();
            async move {
                tokio::task::yield_now().await;
                tokens.asked.fetch_add(1, SeqCst);
                let token = tokens.now.lock().unwrap().clone();
                Ok::<_, std::io::Error>(match user {
                    Some(user) => Credentials::new(user, token),
                    None => Credentials::password(token),
                })
            }
        });
        (settings.timeout, settings.connect_timeout) = (MINUTE / 2, MINUTE / 2);
        change(&mut settings);
        assert!(!format!("{settings:?}").contains("token-"), "{settings:?}");
        Redis::new(settings).unwrap()
    }
}

async fn works(redis: &Redis) -> Result<(), Error> {
    redis.set(&key(1), "ada".into(), MINUTE).await?;
    assert_eq!(redis.get(&key(1)).await?.as_deref(), Some(&b"ada"[..]));
    Ok(())
}

#[tokio::test]
async fn a_user_that_needs_no_password_is_named_alone() {
    let server = Server::setup().user("ada", "on nopass ~* +@all").start();
    let address = server.address();
    for url in [format!("redis://ada@{address}"), format!("redis://ada:@{address}?protocol=3")] {
        works(&listening(&url)).await.unwrap();
        assert!(server.cli(&["CLIENT", "LIST"]).contains("user=ada"), "{url}");
    }
    let socket = format!("unix://{}?user=ada", server.socket().display());
    works(&listening(&socket)).await.unwrap();
    let stranger = works(&listening(&format!("redis://bob@{address}"))).await.unwrap_err();
    assert_eq!(stranger.kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn credentials_are_asked_for_at_each_connect() {
    let server = Server::setup().user("ada", "on >token-1 ~* &* +@all").start();
    let tokens = Tokens::new("token-1");
    let redis = tokens.redis(&format!("redis://ignored:in-the-url@{}", server.address()), Some("ada"), |_| ());
    works(&redis).await.unwrap();
    works(&redis).await.unwrap();
    assert_eq!(tokens.asked(), 1, "a connection that is open stays");
    assert!(server.cli(&["CLIENT", "LIST"]).contains("user=ada"));
    server.cli(&["ACL", "SETUSER", "ada", "resetpass", ">token-2"]);
    tokens.turn_to("token-2");
    works(&redis).await.unwrap();
    server.cli(&["CLIENT", "KILL", "USER", "ada"]);
    eventually("it is back as whom the program says now", async || works(&redis).await.is_ok()).await;
    assert!(tokens.asked() >= 2);
    // A new connection with an old token.
    tokens.turn_to("token-1");
    server.cli(&["CLIENT", "KILL", "USER", "ada"]);
    let mut refused = works(&redis).await;
    for _ in 0..10 {
        // The first may still find the connection.
        refused = if refused.is_ok() { works(&redis).await } else { refused };
    }
    let refused = refused.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Denied);
    assert!(refused.to_string().contains("`credentials`") && !refused.to_string().contains("token-"), "{refused}");
}

#[tokio::test]
async fn they_serve_every_way_to_a_server() {
    let (tokens, authority) = (Tokens::new("open"), Authority::new());
    let server = Server::setup().password("open").tls(&authority).start();
    let cluster = Cluster::start_with(Server::setup().password("open"));
    let group = Sentinels::start_with(Server::setup().password("open"), Server::setup());
    let mut asked = 0;
    for url in [server.url(), cluster.url(), group.url()] {
        let url = url.replace("://:open@", "://");
        assert!(!url.contains("open"), "{url}");
        let bundle = authority.bundle().to_path_buf();
        let redis = tokens.redis(&url, None, |settings| settings.ca_bundle = Some(bundle));
        for id in 0..20 {
            redis.set(&key(id), "v".into(), MINUTE).await.unwrap_or_else(|error| panic!("{url}: {error}"));
        }
        assert!(tokens.asked() > asked, "{url}");
        asked = tokens.asked();
    }
}

#[tokio::test]
async fn credentials_that_cannot_be_had_are_an_error_that_says_so() {
    let server = Server::start();
    let settings = RedisSettings::new(&server.url()).unwrap();
    let outage = || async { Err(std::io::Error::other("no token service")) };
    let error = works(&Redis::new(settings.clone().credentials(outage)).unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.source().unwrap().to_string(), "no token service");
    assert!(error.to_string().contains("credentials"), "{error}");
    let refused = || async { Err(Error::new(ErrorKind::Denied, "this role may not")) };
    let error = works(&Redis::new(settings.clone().credentials(refused)).unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    let mut hasty = settings.credentials(std::future::pending::<Result<Credentials, Error>>);
    hasty.connect_timeout = Duration::from_millis(100);
    assert_eq!(works(&Redis::new(hasty).unwrap()).await.unwrap_err().kind(), ErrorKind::Timeout);
}
