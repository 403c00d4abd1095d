//! A short load on the backend, in a namespace of its own.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use cachekit::backends::AnyBackend;
use cachekit::{Backend, Environment, Error, Key};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::task::JoinSet;

use super::args::Bench;
use super::failure::Failure;
use super::output::{Out, STRONG, at, size, styled};
use super::spread::Spread;

/// How many keys are written and read.
const KEYS: usize = 1_000;
/// How long entries live that are not cleaned up, because the command was killed.
const LIFE: Duration = Duration::from_secs(60);

/// What is measured.
#[derive(Debug, Clone, Copy)]
enum Verb {
    Set,
    Get,
}

pub(super) async fn run(mut out: Out, environment: Environment, options: &Bench) -> Result<ExitCode, Failure> {
    let backend = AnyBackend::from_environment(&environment)?;
    backend.ping().await?;
    let keys = keys()?;
    let measured = measure(&backend, &keys, options).await;
    // Whatever came of it.
    for keys in keys.chunks(100) {
        backend.remove_many(keys).await?;
    }
    let [sets, gets] = measured?;
    let seconds = options.limit.as_secs_f64().max(f64::EPSILON);
    let rate = |spread: &Spread| spread.len() as f64 / seconds;
    if out.json {
        let part = |spread: &Spread| json!({ "per_second": rate(spread), "latency": spread.json() });
        out.json(&json!({
            "backend": backend.capabilities().name, "address": backend.address(), "value_bytes": options.size,
            "concurrency": options.concurrency, "seconds": seconds, "set": part(&sets), "get": part(&gets),
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
    let (name, at) = (backend.capabilities().name, at(backend.address().as_deref()));
    out.line(format!("{name}{at}: values of {}, {} at once", size(options.size), options.concurrency))?;
    for (name, spread) in [("set", &sets), ("get", &gets)] {
        out.line(format!("\n{}  {:.0} a second; {}", styled(STRONG, name), rate(spread), spread.text()))?;
        spread.chart(40).iter().try_for_each(|bar| out.line(bar))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Keys of this run alone.
fn keys() -> Result<Vec<Key>, Error> {
    let mut id = [0; 8];
    // Where there are no random numbers, the clock is another at each run.
    if getrandom::fill(&mut id).is_err() {
        id = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos().to_be_bytes()[8..].try_into().unwrap_or(id);
    }
    let namespace = format!("cachekit-bench-{:016x}", u64::from_be_bytes(id));
    (0..KEYS).map(|number| Key::new(&namespace, number as u64)).collect()
}

async fn measure(backend: &AnyBackend, keys: &[Key], options: &Bench) -> Result<[Spread; 2], Error> {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {eta}").unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(options.limit.as_millis() as u64 * 2).with_style(style);
    let mut spreads = Vec::new();
    for (name, verb) in [("set", Verb::Set), ("get", Verb::Get)] {
        bar.set_message(name);
        let until = Instant::now() + options.limit;
        let mut tasks = JoinSet::new();
        for task in 0..options.concurrency.max(1) {
            let (backend, keys, bar) = (backend.clone(), keys.to_vec(), bar.clone());
            let (bytes, is_first) = (options.size, task == 0);
            tasks.spawn(async move {
                let shown = |elapsed: Duration| {
                    if is_first {
                        bar.inc(elapsed.as_millis() as u64)
                    }
                };
                work(verb, &backend, &keys[task % KEYS..], bytes, until, shown).await
            });
        }
        let mut all = Vec::new();
        while let Some(ended) = tasks.join_next().await {
            all.extend(ended.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))?);
        }
        spreads.push(Spread::of(all));
    }
    bar.finish_and_clear();
    let gets = spreads.pop().unwrap_or_else(|| Spread::of(Vec::new()));
    Ok([spreads.pop().unwrap_or_else(|| Spread::of(Vec::new())), gets])
}

async fn work(
    verb: Verb,
    backend: &AnyBackend,
    keys: &[Key],
    bytes: usize,
    until: Instant,
    shown: impl Fn(Duration),
) -> Result<Vec<Duration>, Error> {
    let value = vec![0xA5; bytes];
    let (mut taken, mut last) = (Vec::new(), Instant::now());
    for key in keys.iter().cycle() {
        let begun = Instant::now();
        if begun >= until {
            break;
        }
        match verb {
            Verb::Set => backend.set(key, value.clone().into(), LIFE).await?,
            Verb::Get => drop(backend.get(key).await?),
        }
        taken.push(begun.elapsed());
        if last.elapsed() > Duration::from_millis(100) {
            shown(last.elapsed());
            last = Instant::now();
        }
    }
    Ok(taken)
}
