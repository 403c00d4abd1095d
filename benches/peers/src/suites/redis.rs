//! Redis: whole caches without L1 beside raw clients.

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

use crate::Failure;
use crate::arguments::Arguments;
use crate::remote::way::{Operation, Pages};
use crate::remote::{Contender, Load, candidates, fred, metrics, official, ours, raw};
use crate::report::{Case, Report};
use crate::rounds::interleave;
use crate::servers::Server;

const ABOUT: &str = "One Redis on loopback; every call goes to it, for L1 is off. Values are structs, encoded by postcard (the \
    official client has its own format). Reads check what they read. `raw redis` is redis-rs: one multiplexed connection \
    for all tasks as it comes, one that gathers up to 512 commands for a write, and two; ratios are to the fastest of these. \
    Where a raw client has no operation: `invalidate` is UNLINK or DEL, and `invalidate_tag` a SET of the tag's version, as \
    programs do it by hand, which leaves the work to reads. The processor's time is this process's, without the server's.";
const TURN: Duration = Duration::from_millis(500);

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let sizes: &[usize] = if arguments.quick { &[200] } else { &[200, 16 << 10, 256 << 10] };
    let tasks: &[usize] = if arguments.quick { &[1, 64] } else { &[1, 64, 1_000] };
    let all = [
        ("GET", Operation::Get),
        ("SET", Operation::Set),
        ("90/10", Operation::Mix),
        ("invalidate", Operation::Invalidate),
        ("invalidate_tag", Operation::InvalidateTag),
    ];
    let mut cases = Vec::new();
    for size in sizes {
        // Of what does not depend on the value, one size is enough.
        let all = if *size == 200 { &all[..] } else { &all[..3] };
        cases.extend(measure(arguments, *size, tasks, all)?);
    }
    Ok(Report {
        suite: "redis",
        about: ABOUT,
        metrics: metrics(),
        references: vec!["raw redis", "fred", "cachekit-rs"],
        cases,
        remarks: vec![String::from(
            "cachekit-rs has no tags and `Minimal` keeps no ledger: both are left out of `invalidate_tag`.",
        )],
    })
}

/// All operations on values of one size, on a server of its own.
pub(super) fn measure(
    arguments: &Arguments,
    size: usize,
    tasks: &[usize],
    operations: &[(&str, Operation)],
) -> Result<Vec<Case>, Failure> {
    let (server, runtime) = (Server::redis()?, workers()?);
    let keys = ((16 << 20) / size).min(1_000);
    let all = runtime.block_on(contenders(&server.redis_url(), keys, size))?;
    let mut cases = Vec::new();
    for (name, operation) in operations {
        for tasks in tasks {
            let load = Load { operation: *operation, tasks: *tasks, keys, time: arguments.turn(TURN) };
            let case = load.case(&format!("{name}, {}", bytes(size)));
            cases.push(interleave(&case, arguments.rounds, candidates(&runtime, &all, load))?);
        }
    }
    Ok(cases)
}

/// A runtime with a worker for each of two processors.
pub(super) fn workers() -> Result<Runtime, Failure> {
    Ok(Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

pub(super) fn bytes(size: usize) -> String {
    match size {
        0..1024 => format!("{size} B"),
        1024..1_048_576 => format!("{} KiB", size >> 10),
        _ => format!("{} MiB", size >> 20),
    }
}

async fn contenders(url: &str, keys: usize, size: usize) -> Result<Vec<Contender>, Failure> {
    let pages = |prefix| Pages::new(prefix, keys, size);
    let whole = ours::Whole::new(ours::production(url)?, pages("w"));
    let minimal = ours::Whole::new(ours::minimal(url)?, pages("m"));
    let one = raw::Raw::shared(url, 1, None, pages("one")).await?;
    let buffered = raw::Raw::shared(url, 1, Some(512), pages("buffered")).await?;
    let two = raw::Raw::shared(url, 2, None, pages("two")).await?;
    Ok(vec![
        Contender::filled("cachekit Production", keys, whole).await?,
        Contender::filled("cachekit Minimal", keys, minimal).await?,
        Contender::filled("raw redis", keys, one).await?,
        Contender::filled("raw redis, buffer 512", keys, buffered).await?,
        Contender::filled("raw redis, 2 connections", keys, two).await?,
        Contender::filled("fred", keys, fred::Fred::connect(url, pages("fred")).await?).await?,
        Contender::filled("deadpool, per command", keys, raw::Raw::pooled(url, pages("pooled"))?).await?,
        Contender::filled("cachekit-rs", keys, official::production(url, pages("official")).await?).await?,
    ])
}
