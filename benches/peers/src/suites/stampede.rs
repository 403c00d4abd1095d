//! Many callers of one key that no tier has, in one process and in four.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::redis::workers;
use crate::arguments::Arguments;
use crate::numbers::median;
use crate::remote::calls::{CALLERS, Call, connect};
use crate::report::{Report, less};
use crate::rounds::{Candidate, interleave};
use crate::servers::{Server, proxy, redis_url};
use crate::{Failure, children};

const ABOUT: &str = "1,000 callers of one key at once, which is nowhere and takes 50 ms to compute, with 1.5 ms of round trip \
    to Redis by a proxy of the bench. In one process, and as many in each of four. The figures are of all callers: when the \
    last had its answer, the median caller, and how often the value was computed. A raw client elects nobody; cachekit-rs \
    does what its manual says for a computation of which there is one, without its memory.";
const CALLS: usize = 1_000;
const ONE_WAY: Duration = Duration::from_micros(750);
const COMPUTE: Duration = Duration::from_millis(50);
/// How long children have to start and to connect.
const START: Duration = Duration::from_millis(800);

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let server = Server::redis()?;
    let port = proxy::start(server.port, ONE_WAY)?;
    let (mut cases, mut key) = (Vec::new(), 0);
    for processes in [1, 4] {
        let keys = std::cell::Cell::new(key);
        let candidate = |name: &'static str| {
            let keys = &keys;
            Candidate::new(name, move || {
                keys.set(keys.get() + 1);
                turn(name, port, processes, keys.get())
            })
        };
        let case = format!("1,000 callers in each of {processes}");
        cases.push(interleave(&case, arguments.rounds, CALLERS.map(candidate).into())?);
        key = keys.get();
    }
    Ok(Report {
        suite: "stampede",
        about: ABOUT,
        metrics: vec![less("last ms"), less("median ms"), less("computations")],
        references: vec!["raw redis", "cachekit-rs"],
        cases,
        remarks: Vec::new(),
    })
}

fn turn(name: &str, port: u16, processes: usize, key: usize) -> Result<Vec<f64>, Failure> {
    let start = (SystemTime::now() + START).duration_since(UNIX_EPOCH)?.as_millis();
    let words = [String::from("stampede"), name.to_owned(), port.to_string(), key.to_string(), start.to_string()];
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let all = (0..processes).map(|_| children::start(&words)).collect::<Result<Vec<_>, _>>()?;
    let all = all.into_iter().map(children::numbers).collect::<Result<Vec<_>, _>>()?;
    let figure = |index: usize| all.iter().map(move |figures| figures[index]);
    Ok(vec![figure(0).fold(0.0, f64::max), median(figure(1)), figure(2).sum()])
}

/// What a child does: connects, waits for the common start, calls.
pub(super) fn child(words: &[String]) -> Result<(), Failure> {
    let [name, port, key, start] = words else { return Err("the suite stampede gives its child four words".into()) };
    let start = UNIX_EPOCH + Duration::from_millis(start.parse()?);
    let (url, key) = (redis_url(port.parse()?), key.parse::<usize>()?);
    workers()?.block_on(async {
        let call = connect(name, &url, COMPUTE, true).await?;
        // Another key of each process: what connects at the first call has connected.
        call(1_000_000 + std::process::id() as usize).await?;
        sleep(start.duration_since(SystemTime::now()).map_err(|_| "the child started too late")?).await;
        let (mut times, computed) = crowd(&call, key).await?;
        times.sort_by(f64::total_cmp);
        println!("{} {} {computed}", times[times.len() - 1], times[times.len() / 2]);
        Ok(())
    })
}

/// Milliseconds of each caller, and how many computed.
async fn crowd(call: &Call, key: usize) -> Result<(Vec<f64>, usize), Failure> {
    let (began, mut tasks) = (Instant::now(), JoinSet::new());
    for _ in 0..CALLS {
        let call = call(key);
        tasks.spawn(async move { Ok::<_, Failure>((call.await?, began.elapsed().as_secs_f64() * 1e3)) });
    }
    let (mut times, mut computed) = (Vec::new(), 0);
    while let Some(done) = tasks.join_next().await {
        let (own, time) = done??;
        computed += usize::from(own);
        times.push(time);
    }
    Ok((times, computed))
}
