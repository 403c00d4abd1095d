//! A Redis that goes away under load, and comes back.

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::redis::workers;
use crate::Failure;
use crate::arguments::Arguments;
use crate::numbers::quantile_micros;
use crate::remote::calls::{CALLERS, Call, connect};
use crate::report::{Report, less};
use crate::rounds::{Candidate, interleave};
use crate::servers::Server;

const ABOUT: &str = "Eight tasks ask all the time for values that take 1 ms to compute, L1 off, while Redis is gone: killed, \
    so that it refuses connections, and started anew on the same port; or stopped, so that it answers nothing, and resumed. \
    Calls that began while it was gone: the longest, the slowest in a hundred, how many failed. `back ms` is how long after \
    its return the first call was answered by it. A raw client is a connection manager whose errors count as misses. One run \
    each.";
const TASKS: usize = 8;
const COMPUTE: Duration = Duration::from_millis(1);

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let runtime = workers()?;
    let (gone, after) = if arguments.quick { (2, 4) } else { (10, 20) };
    let times = [gone, after].map(Duration::from_secs);
    let mut cases = Vec::new();
    for (what, kills) in [("killed", true), ("stopped", false)] {
        let candidate = |name: &'static str| {
            let runtime = &runtime;
            Candidate::new(name, move || turn(runtime, name, kills, times))
        };
        cases.push(interleave(&format!("{what} for {gone} s"), 1, CALLERS.map(candidate).into())?);
    }
    Ok(Report {
        suite: "outage",
        about: ABOUT,
        metrics: vec![less("longest ms"), less("p99 ms"), less("failed"), less("back ms")],
        references: vec!["raw redis", "cachekit-rs"],
        cases,
        remarks: vec![format!("`-` under `back ms`: no call was answered by Redis within {after} s of its return.")],
    })
}

/// One call: when it began, how long it took, whether it computed; `None` if it failed.
struct Noted {
    began: Instant,
    took: Duration,
    computed: Option<bool>,
}

fn turn(runtime: &Runtime, name: &str, kills: bool, [gone, after]: [Duration; 2]) -> Result<Vec<f64>, Failure> {
    let mut server = Server::redis()?;
    let url = server.redis_url();
    let call = runtime.block_on(connect(name, &url, COMPUTE, false))?;
    let until = Instant::now() + Duration::from_secs(1) + gone + after;
    let mut tasks: JoinSet<Vec<Noted>> = JoinSet::new();
    for task in 0..TASKS {
        tasks.spawn_on(work(Call::clone(&call), task, until), runtime.handle());
    }
    std::thread::sleep(Duration::from_secs(1));
    let left = Instant::now();
    if kills {
        server.end();
        std::thread::sleep(gone);
        server = Server::redis_at(server.port)?;
    } else {
        signal(&server, Signal::STOP)?;
        std::thread::sleep(gone);
        signal(&server, Signal::CONT)?;
    }
    let back = Instant::now();
    let all: Vec<Noted> = runtime.block_on(tasks.join_all()).into_iter().flatten().collect();
    drop(server);
    Ok(figures(&all, left, back))
}

fn signal(server: &Server, signal: Signal) -> Result<(), Failure> {
    let id = Pid::from_raw(server.id().cast_signed()).ok_or("a process has a number")?;
    Ok(kill_process(id, signal)?)
}

/// Keys of its own, so that no task joins another one's computation.
async fn work(call: Call, task: usize, until: Instant) -> Vec<Noted> {
    let (mut random, mut all) = (fastrand::Rng::with_seed(task as u64), Vec::new());
    while Instant::now() < until {
        let began = Instant::now();
        let computed = call(task * 4 + random.usize(..4)).await.ok();
        all.push(Noted { began, took: began.elapsed(), computed });
        if computed.is_none() {
            // Who fails at once does not keep the others from running.
            sleep(COMPUTE).await;
        }
    }
    all
}

fn figures(all: &[Noted], left: Instant, back: Instant) -> Vec<f64> {
    let during = || all.iter().filter(|call| (left..back).contains(&call.began));
    let mut nanos: Vec<u32> = during().map(|call| u32::try_from(call.took.as_nanos()).unwrap_or(u32::MAX)).collect();
    let longest = during().map(|call| call.took.as_secs_f64()).fold(0.0, f64::max);
    let failed = during().filter(|call| call.computed.is_none()).count();
    let answered = all.iter().filter(|call| call.computed == Some(false) && call.began + call.took > back);
    let first = answered.map(|call| (call.began + call.took).duration_since(back)).min();
    let first = first.map_or(f64::NAN, |time| time.as_secs_f64() * 1e3);
    vec![longest * 1e3, quantile_micros(&mut nanos, 0.99) / 1e3, failed as f64, first]
}
