//! Answers lost with their connection: what is asked again must not do harm.

use cachekit::backends::Redis;
use cachekit::{Backend, LeaseToken};

use super::support::{MINUTE, key, patient};
use crate::servers::{Mood, Proxy, Server, eventually};
use harness::support::leased;

/// A client whose answers can be lost.
struct Lossy {
    server: Server,
    proxy: Proxy,
    redis: Redis,
}

impl Lossy {
    async fn start() -> Self {
        let server = Server::start();
        let proxy = Proxy::of(server.port());
        let redis = patient(&proxy.url());
        // The scripts are known, so that the first attempt is the whole command.
        redis.set(&key("other"), "v".into(), MINUTE).await.unwrap();
        let Some(token) = leased(&redis, &key("other"), MINUTE).await.unwrap() else { panic!("held") };
        assert!(redis.fill(&key("other"), "v".into(), MINUTE, token).await.unwrap());
        redis.release(&key("other"), token).await.unwrap();
        redis.remove(&key("other")).await.unwrap();
        Self { server, proxy, redis }
    }

    /// Runs `call`; its first answer is lost once `done` is what the server answers to `probe`, and `meanwhile` is
    /// over.
    async fn lose<T: Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
        probe: &[&str],
        done: &str,
        meanwhile: impl FnOnce(),
    ) -> T {
        self.proxy.set(Mood::Mute);
        let call = tokio::spawn(call);
        eventually("the first attempt is carried out", async || self.server.cli(probe) == done).await;
        assert!(!call.is_finished());
        meanwhile();
        self.proxy.cut();
        self.proxy.set(Mood::Open);
        call.await.unwrap()
    }

    async fn leased(&self) -> LeaseToken {
        match leased(&self.redis, &key(1), MINUTE).await.unwrap() {
            Some(token) => token,
            None => panic!("held"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_again_for_a_lease_holds_it() {
    let lossy = Lossy::start().await;
    let redis = lossy.redis.clone();
    let ask = async move { leased(&redis, &key(1), MINUTE).await.unwrap() };
    let lease = lossy.lose(ask, &["EXISTS", "users:1:lock"], "1", || ()).await;
    let Some(token) = lease else { panic!("its own lock kept it out") };
    assert_eq!(lossy.server.cli(&["GET", "users:1:lock"]), format!("{:032x}", token.as_u128()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_again_for_a_lease_respects_who_was_faster() {
    let lossy = Lossy::start().await;
    let redis = lossy.redis.clone();
    let ask = async move { leased(&redis, &key(1), MINUTE).await.unwrap() };
    let server = &lossy.server;
    let steal = || {
        server.cli(&["SET", "users:1:lock", "another's", "PX", "60000"]);
    };
    assert!(lossy.lose(ask, &["EXISTS", "users:1:lock"], "1", steal).await.is_none());
    assert_eq!(server.cli(&["GET", "users:1:lock"]), "another's");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fill_that_is_asked_for_again_has_filled() {
    let lossy = Lossy::start().await;
    let (redis, token) = (lossy.redis.clone(), lossy.leased().await);
    let fill = async move { redis.fill(&key(1), "v".into(), MINUTE, token).await.unwrap() };
    assert!(lossy.lose(fill, &["GET", "users:1"], "v", || ()).await);
    assert_eq!(lossy.server.cli(&["GET", "users:1"]), "v");
    assert_eq!(lossy.server.cli(&["EXISTS", "users:1:lock"]), "0");
}

/// An invalidation came between the first attempt and the second: the second must not bring the value back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fill_that_is_asked_for_again_undoes_no_removal() {
    let lossy = Lossy::start().await;
    let (redis, token) = (lossy.redis.clone(), lossy.leased().await);
    let fill = async move { redis.fill(&key(1), "v".into(), MINUTE, token).await.unwrap() };
    let server = &lossy.server;
    let remove = || {
        server.cli(&["DEL", "users:1", "users:1:lock"]);
    };
    assert!(!lossy.lose(fill, &["GET", "users:1"], "v", remove).await);
    assert_eq!(server.cli(&["DBSIZE"]), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_that_are_asked_for_again_are_done() {
    let lossy = Lossy::start().await;
    let redis = lossy.redis.clone();
    let set = async move { redis.set(&key(1), "v".into(), MINUTE).await };
    lossy.lose(set, &["GET", "users:1"], "v", || ()).await.unwrap();

    let redis = lossy.redis.clone();
    let remove = async move { redis.remove(&key(1)).await };
    lossy.lose(remove, &["EXISTS", "users:1"], "0", || ()).await.unwrap();

    let (redis, token) = (lossy.redis.clone(), lossy.leased().await);
    let release = async move { redis.release(&key(1), token).await };
    lossy.lose(release, &["EXISTS", "users:1:lock"], "0", || ()).await.unwrap();

    let redis = lossy.redis.clone();
    let items = vec![(key(2), "x".into()), (key(3), "y".into())];
    let set_many = async move { redis.set_many(items, MINUTE).await };
    lossy.lose(set_many, &["GET", "users:3"], "y", || ()).await.unwrap();
    assert_eq!(lossy.server.cli(&["GET", "users:2"]), "x");
}
