//! A cold start: many keys are asked for at once, and no tier has a value for any.

use std::cell::Cell;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::redis::workers;
use crate::Failure;
use crate::arguments::Arguments;
use crate::clock::{Stopwatch, Whose};
use crate::remote::calls::{CALLERS, Call, connect};
use crate::report::{Report, less, more};
use crate::rounds::{Candidate, interleave};
use crate::servers::Server;

const ABOUT: &str = "10,000 keys that are nowhere, asked for at once, a task each, closures that take no time, L1 on for those \
    who have it. `wall ms` is until the last task has its value; `stored` is how many another client finds in Redis a second \
    later: whatever is missing there the next process computes again.";
const KEYS: usize = 10_000;

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let (server, runtime) = (Server::redis()?, workers()?);
    let (url, first) = (server.redis_url(), Cell::new(0));
    let candidate = |name: &'static str| {
        let (runtime, url, first) = (&runtime, &url, &first);
        Candidate::new(name, move || {
            first.set(first.get() + KEYS);
            turn(runtime, name, url, first.get())
        })
    };
    let case = interleave("10,000 keys, a task each", arguments.rounds, CALLERS.map(candidate).into())?;
    Ok(Report {
        suite: "cold",
        about: ABOUT,
        metrics: vec![less("wall ms"), more("stored"), less("CPU us/key")],
        references: vec!["raw redis", "cachekit-rs"],
        cases: vec![case],
        remarks: Vec::new(),
    })
}

fn turn(runtime: &Runtime, name: &str, url: &str, first: usize) -> Result<Vec<f64>, Failure> {
    runtime.block_on(async {
        let call = connect(name, url, Duration::ZERO, true).await?;
        // The first call connects.
        call(usize::MAX - first).await?;
        let watch = Stopwatch::start(Whose::Process);
        all(&call, first..first + KEYS).await?;
        let (wall, _) = watch.read();
        sleep(Duration::from_secs(1)).await;
        let (_, cpu) = watch.read();
        let other = connect(name, url, Duration::ZERO, false).await?;
        let mut computed = 0;
        for begin in (first..first + KEYS).step_by(100) {
            computed += all(&other, begin..begin + 100).await?;
        }
        Ok(vec![wall * 1e3, (KEYS - computed) as f64, cpu * 1e6 / KEYS as f64])
    })
}

/// Asks for all at once; says how many were computed.
async fn all(call: &Call, ids: std::ops::Range<usize>) -> Result<usize, Failure> {
    let mut tasks: JoinSet<_> = ids.map(|id| call(id)).collect();
    let mut computed = 0;
    while let Some(done) = tasks.join_next().await {
        computed += usize::from(done??);
    }
    Ok(computed)
}
