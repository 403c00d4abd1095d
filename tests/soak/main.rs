//! The soak: a crowd, a failing server, an oracle.
//!
//! Sixty-four tasks use three caches over one Redis server, each with connections of its own as three processes have,
//! while the server is stopped, killed, cut off, held up and filled. No caller of `get_or_compute` may get an error or
//! another key's value, and none an older value than its cache has acknowledged; in the end nothing may be left, and
//! everybody must see what was changed last.
//!
//! `cargo test -p cachekit-tests --all-features --test soak -- --seconds 600 --seed 7` runs it by hand.
#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "clippy's allow-unwrap-in-tests knows `#[test]` functions, not their helpers")]

mod arguments;
mod crowd;
mod source;
mod trouble;
mod verdict;

#[path = "../live/servers/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the integration tests use all of it")]
mod servers;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::arguments::Arguments;
use self::crowd::Crowd;
use self::trouble::Trouble;
use self::verdict::Verdict;

fn main() -> ExitCode {
    harness::run("soak", Arguments::default(), Arguments::take, |arguments| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let verdict = runtime.block_on(soak(&arguments));
        println!("soak: {} s, seed {}, {verdict}", arguments.seconds, arguments.seed);
        verdict.is_clean()
    })
}

async fn soak(arguments: &Arguments) -> Verdict {
    let mut verdict = Verdict::default();
    let trouble = Trouble::new(arguments.seed);
    let crowd = Arc::new(Crowd::new(&trouble.url(), arguments.seed));
    let end = Instant::now() + Duration::from_secs(arguments.seconds);
    let troubled = std::thread::spawn(move || trouble.make(end));
    let tasks = crowd.start(end);
    tokio::time::sleep(Duration::from_secs(arguments.seconds) / 3).await;
    let early = verdict::resident();
    tasks.join_all().await;
    verdict.check_memory(early, verdict::resident());
    let trouble = troubled.join().unwrap();
    verdict.take(&trouble);
    crowd.settle().await;
    verdict.count(&crowd);
    crowd.close(&mut verdict).await;
    verdict
}
