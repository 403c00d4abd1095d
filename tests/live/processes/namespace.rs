//! Forgetting a namespace, however much is in it.

use std::time::Instant;

use cachekit::backends::Redis;
use cachekit::{CacheBuilder, Intent, RedisSettings};

use crate::servers::{PATIENCE, SOON, Server, eventually};

const ENTRIES: u32 = 3_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_million_entries_are_forgotten_by_a_few_commands() {
    let server = Server::start();
    server.cli(&["DEBUG", "POPULATE", "1000000", "big", "8"]);
    let cache = || {
        let mut settings = RedisSettings::new(&server.url()).unwrap();
        (settings.timeout, settings.connect_timeout) = (PATIENCE, PATIENCE);
        let builder = CacheBuilder::new().intent(Intent::Production).namespace("big");
        builder.backend(Redis::new(settings).unwrap()).adaptive_timeout_enabled(false).build().unwrap()
    };
    let (here, there) = (cache(), cache());
    for key in 0..ENTRIES {
        here.set((key, "real"), key).await.unwrap();
        assert_eq!(there.get::<u32>((key, "real")).await.unwrap(), Some(key));
    }
    let entries: u32 = server.cli(&["DBSIZE"]).parse().unwrap();
    assert!(entries >= 1_000_000 + ENTRIES, "{entries}");

    let mut monitor = server.monitor();
    let start = Instant::now();
    here.invalidate_namespace().await.unwrap();
    let took = start.elapsed();
    let mut commands = monitor.heard(&server);
    // Both processes read the bus meanwhile.
    commands.retain(|command| !["\"XREAD\"", "\"XRANGE\"", "\"XINFO\""].iter().any(|read| command.contains(read)));
    println!("invalidate_namespace over {entries} entries took {took:?} and {} commands", commands.len());
    assert!((1..=16).contains(&commands.len()), "{commands:#?}");
    for command in &commands {
        let words: Vec<&str> = command.split('"').skip(1).step_by(2).collect();
        let name = words[0].to_uppercase();
        assert!(!["SCAN", "KEYS", "FLUSHDB", "FLUSHALL", "EVAL"].contains(&&*name), "{command}");
        assert!(!["DEL", "UNLINK"].contains(&&*name) || words.len() == 2, "{command}");
    }
    assert!(took < SOON, "{took:?}");

    for key in 0..ENTRIES {
        assert_eq!(here.get::<u32>((key, "real")).await.unwrap(), None);
    }
    eventually("the other cache has heard", async || there.get::<u32>((0, "real")).await.unwrap().is_none()).await;
    for key in 0..ENTRIES {
        assert_eq!(there.get::<u32>((key, "real")).await.unwrap(), None);
    }
    assert!(server.cli(&["DBSIZE"]).parse::<u32>().unwrap() >= entries, "they stay until they expire");
    here.set((0, "real"), 7u32).await.unwrap();
    assert_eq!(there.get::<u32>((0, "real")).await.unwrap(), Some(7));
}
