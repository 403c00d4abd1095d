//! Errors: each says what is wrong and what to do, and none says a secret.

use bytes::Bytes;
use cachekit::backends::Redis;
use cachekit::{Backend, CacheBuilder, Error, ErrorKind, Intent, LeaseToken, RedisSettings};

use super::support::{HASTE, MINUTE, at_once, every_text, hasty, key, patient, with};
use crate::servers::{Authority, Mood, Proxy, SOON, Sentinels, Server, full_backlog, silent, unused, wait_until};
use harness::support::leased;

const USER: &str = "adalovelace";
const PASSWORD: &str = "s3same-0pen";
const VALUE: &str = "the-cached-value";
const NAME: &str = "the-user-key";

/// What the explicit operations say, having checked that all say the same and no secret.
async fn refusal(redis: &Redis) -> Error {
    let key = key(NAME);
    let errors = [
        redis.ping().await.unwrap_err(),
        redis.get(&key).await.unwrap_err(),
        redis.set(&key, VALUE.into(), MINUTE).await.unwrap_err(),
        redis.remove(&key).await.unwrap_err(),
        leased(redis, &key, MINUTE).await.unwrap_err(),
        redis.get_many(&[key]).await.unwrap_err(),
    ];
    for error in &errors {
        assert_eq!((error.kind(), error.to_string()), (errors[0].kind(), errors[0].to_string()));
        says_no_secret(error);
    }
    says_no_secret_text(&format!("{redis:?} {redis:#?}"));
    let [first, ..] = errors;
    first
}

fn says_no_secret(error: &Error) {
    says_no_secret_text(&every_text(error));
}

fn says_no_secret_text(text: &str) {
    for secret in [USER, PASSWORD, VALUE, NAME] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}

#[track_caller]
fn says(error: &Error, kind: ErrorKind, words: &[&str]) {
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}

/// A server with a password and a user.
fn guarded() -> Server {
    Server::setup().password(PASSWORD).user(USER, &format!("on >{PASSWORD} ~allowed:* +@all")).start()
}

fn login(server: &Server, login: &str) -> String {
    format!("redis://{login}@{}", server.address())
}

#[tokio::test]
async fn a_wrong_login_is_denied() {
    let server = guarded();
    for wrong in
        [":wrong-one".to_owned(), format!("{USER}:wrong-one"), format!("nobody:{PASSWORD}"), format!(":{PASSWORD}%20")]
    {
        let error = refusal(&patient(&login(&server, &wrong))).await;
        says(&error, ErrorKind::Denied, &[&server.address(), "user or the password", "URL"]);
        assert!(!error.is_temporary() && !every_text(&error).contains("wrong-one"), "{error:?}");
    }
    let error = refusal(&patient(&format!("redis://{}", server.address()))).await;
    says(&error, ErrorKind::Denied, &["password", "whether the server wants any"]);
    patient(&login(&server, &format!(":{PASSWORD}"))).ping().await.unwrap();
    patient(&login(&server, &format!("{USER}:{PASSWORD}"))).ping().await.unwrap();
}

#[tokio::test]
async fn a_password_for_a_server_without_one_is_denied() {
    let server = Server::start();
    let error = refusal(&patient(&login(&server, &format!("{USER}:{PASSWORD}")))).await;
    says(&error, ErrorKind::Denied, &["user or the password"]);
}

#[tokio::test]
async fn what_a_user_may_not_do_is_denied() {
    let server = guarded();
    let redis = patient(&login(&server, &format!("{USER}:{PASSWORD}")));
    redis.ping().await.unwrap();
    for error in [
        redis.get(&key(NAME)).await.unwrap_err(),
        redis.set(&key(NAME), VALUE.into(), MINUTE).await.unwrap_err(),
        leased(&redis, &key(NAME), MINUTE).await.unwrap_err(),
        redis.remove_many(&[key(NAME)]).await.unwrap_err(),
        redis.set_many(vec![(key(NAME), VALUE.into())], MINUTE).await.unwrap_err(),
    ] {
        says(&error, ErrorKind::Denied, &["NOPERM", "ACL", &server.address()]);
        says_no_secret(&error);
    }
    let allowed = cachekit::Key::new("allowed", 1).unwrap();
    redis.set(&allowed, "v".into(), MINUTE).await.unwrap();

    server.cli(&["ACL", "SETUSER", USER, "-@write", "-@scripting", "-get", "-mget"]);
    says(&redis.get(&allowed).await.unwrap_err(), ErrorKind::Denied, &["NOPERM"]);
    says(&redis.set(&allowed, "v".into(), MINUTE).await.unwrap_err(), ErrorKind::Denied, &["NOPERM"]);
}

/// Requests of many tasks travel together. The refusal of some must not be the answer to others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_takes_nothing_from_what_is_not() {
    let server = guarded();
    let redis = patient(&login(&server, &format!("{USER}:{PASSWORD}")));
    let ask = |id: usize| {
        let redis = redis.clone();
        async move {
            let allowed = cachekit::Key::new("allowed", id).unwrap();
            for round in 0..20 {
                if id.is_multiple_of(3) {
                    let refused = match round % 4 {
                        0 => redis.get(&key(id)).await.unwrap_err(),
                        1 => redis.set(&key(id), VALUE.into(), MINUTE).await.unwrap_err(),
                        2 => leased(&redis, &key(id), MINUTE).await.unwrap_err(),
                        _ => redis.fill(&key(id), VALUE.into(), MINUTE, LeaseToken::random()).await.unwrap_err(),
                    };
                    assert_eq!(refused.kind(), ErrorKind::Denied);
                    continue;
                }
                let value: Bytes = format!("{id} {round}").into();
                redis.set(&allowed, value.clone(), MINUTE).await.unwrap();
                assert_eq!(redis.get(&allowed).await.unwrap(), Some(value.clone()));
                let Some(token) = leased(&redis, &allowed, MINUTE).await.unwrap() else { panic!("held") };
                assert!(redis.fill(&allowed, value.clone(), MINUTE, token).await.unwrap());
                assert_eq!(redis.get(&allowed).await.unwrap(), Some(value));
                redis.remove(&allowed).await.unwrap();
                assert_eq!(redis.get(&allowed).await.unwrap(), None);
            }
        }
    };
    at_once(96, ask).await;
}

#[tokio::test]
async fn a_database_that_is_not_there_is_named() {
    let server = Server::start();
    let error = refusal(&patient(&format!("redis://{}/99", server.address()))).await;
    says(&error, ErrorKind::Backend, &["database", "URL", &server.address()]);
}

#[tokio::test]
async fn a_server_that_is_down_is_unavailable() {
    let port = unused();
    let error = refusal(&patient(&format!("redis://:{PASSWORD}@127.0.0.1:{port}"))).await;
    says(&error, ErrorKind::Unavailable, &[&format!("127.0.0.1:{port}"), "nothing listens"]);
    let error = refusal(&patient("unix:///nowhere/redis.sock")).await;
    says(&error, ErrorKind::Unavailable, &["/nowhere/redis.sock"]);
}

#[tokio::test]
async fn a_host_that_does_not_resolve_is_unavailable() {
    let redis = patient(&format!("redis://:{PASSWORD}@no-such-host.invalid:6379"));
    let error = redis.ping().await.unwrap_err();
    says(&error, ErrorKind::Unavailable, &["no-such-host.invalid", "resolves"]);
    says_no_secret(&error);
}

#[tokio::test]
async fn a_black_hole_times_out() {
    let hole = full_backlog();
    let redis = hasty(&format!("redis://:{PASSWORD}@{}", hole.address));
    let start = std::time::Instant::now();
    let error = redis.ping().await.unwrap_err();
    assert!((HASTE..SOON).contains(&start.elapsed()), "{:?}", start.elapsed());
    says(&error, ErrorKind::Timeout, &["no connection", &hole.address.to_string(), "1s"]);
    says_no_secret(&error);
}

#[tokio::test]
async fn a_server_that_never_says_a_word_times_out() {
    let (_listener, address) = silent();
    let redis = hasty(&format!("redis://:{PASSWORD}@{address}"));
    let error = redis.ping().await.unwrap_err();
    says(&error, ErrorKind::Timeout, &["no connection", &address.to_string()]);
    says_no_secret(&error);
}

#[tokio::test]
async fn a_server_that_stopped_answering_times_out() {
    let server = Server::start();
    let redis = hasty(&server.url());
    redis.ping().await.unwrap();
    server.pause();
    let error = redis.set(&key(NAME), VALUE.into(), MINUTE).await.unwrap_err();
    says(&error, ErrorKind::Timeout, &["did not answer within 1s", &server.address()]);
    says_no_secret(&error);
}

fn trusting(url: &str, authority: &Authority) -> Redis {
    with(url, |settings| {
        settings.ca_bundle = Some(authority.bundle().to_owned());
        (settings.timeout, settings.connect_timeout) = (MINUTE, MINUTE);
    })
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_told_from_the_rest() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = Server::setup().password(PASSWORD).tls(&authority).args(["--bind", "127.0.0.1", "127.0.0.2"]).start();
    let error = refusal(&trusting(&server.url(), &other)).await;
    says(&error, ErrorKind::Unavailable, &["authority", "unknown", "CA bundle", &server.address()]);
    says(&refusal(&patient(&server.url())).await, ErrorKind::Unavailable, &["authority", "unknown", "CA bundle"]);
    let elsewhere = server.url().replace("127.0.0.1", "127.0.0.2");
    says(
        &refusal(&trusting(&elsewhere, &authority)).await,
        ErrorKind::Unavailable,
        &["certificate is for another host"],
    );
    trusting(&server.url(), &authority).ping().await.unwrap();
    trusting(&server.url().replace("127.0.0.1", "localhost"), &authority).ping().await.unwrap();
}

#[tokio::test]
async fn tls_where_there_is_none_and_none_where_there_is_are_told() {
    let tls = Server::setup().password(PASSWORD).tls(&Authority::new()).start();
    let error = refusal(&patient(&tls.url().replace("rediss://", "redis://"))).await;
    says(&error, ErrorKind::Unavailable, &["TLS", "rediss://", &tls.address()]);
    // Redis waits for the end of what it takes for a command.
    let plain = Server::setup().password(PASSWORD).start();
    let error = refusal(&hasty(&plain.url().replace("redis://", "rediss://"))).await;
    assert!(error.is_temporary(), "{error:?}");
    says(&error, error.kind(), &["TLS", "redis://", &plain.address()]);
}

#[tokio::test]
async fn a_bundle_that_is_none_is_refused_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let empty = directory.path().join("empty.pem");
    std::fs::write(&empty, "no certificate at all\n").unwrap();
    for bundle in [directory.path().join("absent.pem"), empty, directory.path().to_owned()] {
        let mut settings = RedisSettings::new("rediss://localhost").unwrap();
        settings.ca_bundle = Some(bundle.clone());
        let error = Redis::new(settings).unwrap_err();
        says(&error, ErrorKind::Config, &["CA bundle"]);
    }
}

#[test]
fn a_text_that_is_no_url_is_refused_at_once() {
    for wrong in ["redis:localhost".to_owned(), "redis/localhost".into(), format!("redis:{USER}:{PASSWORD}@localhost")]
    {
        let error = Redis::from_url(&wrong).unwrap_err();
        says(&error, ErrorKind::Config, &["redis://localhost:6379/0"]);
        says_no_secret(&error);
        let from_environment = CacheBuilder::from_vars([("CACHEKIT_REDIS_URL".to_owned(), wrong.clone())]);
        let error = from_environment.intent(Intent::Minimal).build().unwrap_err();
        says(&error, ErrorKind::Config, &["CACHEKIT_REDIS_URL", "redis://localhost:6379/0"]);
        says_no_secret(&error);
    }
}

#[tokio::test]
async fn a_server_of_another_kind_is_told() {
    let server = crate::servers::Memcached::start();
    let error = hasty(&format!("redis://127.0.0.1:{}", server.port())).ping().await.unwrap_err();
    says(&error, ErrorKind::Backend, &["does not speak as Redis"]);
}

#[tokio::test]
async fn a_full_server_refuses_writes_alone() {
    let server = Server::setup().args(["--maxmemory", "1", "--maxmemory-policy", "noeviction"]).start();
    let redis = patient(&server.url());
    for error in [
        redis.set(&key(NAME), VALUE.into(), MINUTE).await.unwrap_err(),
        leased(&redis, &key(NAME), MINUTE).await.unwrap_err(),
        redis.set_many(vec![(key(NAME), VALUE.into())], MINUTE).await.unwrap_err(),
    ] {
        says(&error, ErrorKind::ReadOnly, &["out of memory", "maxmemory"]);
        says_no_secret(&error);
    }
    assert_eq!(redis.get(&key(NAME)).await.unwrap(), None);
}

#[tokio::test]
async fn a_replica_takes_no_writes() {
    let master = Server::start();
    let replica = Server::setup().args(["--replicaof", "127.0.0.1", &master.port().to_string()]).start();
    wait_until("the replica follows", || master.says(&["INFO", "replication"], "state=online"));
    let redis = patient(&replica.url());
    assert_eq!(redis.get(&key(NAME)).await.unwrap(), None);
    for error in
        [redis.set(&key(NAME), VALUE.into(), MINUTE).await.unwrap_err(), redis.remove(&key(NAME)).await.unwrap_err()]
    {
        says(&error, ErrorKind::ReadOnly, &["replica", "master"]);
        says_no_secret(&error);
    }
}

#[tokio::test]
async fn what_is_no_value_is_none() {
    let server = Server::start();
    let redis = patient(&server.url());
    server.cli(&["LPUSH", "users:1", "element"]);
    assert_eq!(redis.get(&key(1)).await.unwrap(), None);
    assert_eq!(redis.get_many(&[key(1)]).await.unwrap(), [None]);
    redis.set(&key(1), "v".into(), MINUTE).await.unwrap();
    assert_eq!(redis.get(&key(1)).await.unwrap().as_deref(), Some(&b"v"[..]));
}

#[tokio::test]
async fn a_server_that_takes_no_more_clients_is_unavailable() {
    let server = Server::setup().args(["--maxclients", "2"]).start();
    let first = patient(&server.url());
    first.ping().await.unwrap();
    let second = patient(&server.url());
    let _ = second.ping().await;
    let error = hasty(&server.url()).ping().await.unwrap_err();
    says(&error, ErrorKind::Unavailable, &["clients"]);
}

#[tokio::test]
async fn a_proxy_that_closes_at_once_is_unavailable() {
    let server = Server::start();
    let proxy = Proxy::of(server.port());
    proxy.set(Mood::Closed);
    let error = refusal(&patient(&proxy.url())).await;
    says(&error, ErrorKind::Unavailable, &["closes connections"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_that_do_not_know_the_master_are_told() {
    let group = Sentinels::start();
    let url = group.url().replace(Sentinels::NAME, "elsewhere");
    let error = hasty(&url).ping().await.unwrap_err();
    says(&error, ErrorKind::Backend, &["elsewhere", "sentinel"]);
    let nobody = format!("redis-sentinel://:{PASSWORD}@127.0.0.1:{}/{}", unused(), Sentinels::NAME);
    let error = hasty(&nobody).ping().await.unwrap_err();
    says(&error, ErrorKind::Unavailable, &["sentinel"]);
    says_no_secret(&error);
}
