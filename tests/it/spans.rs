//! The spans of `tracing`: in which a computation runs, and those of what the cache does.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachekit::backends::Memory;
use cachekit::testing::{Chaos, Fault, ManualClock};
use cachekit::{CacheBuilder, Intent};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Instrument, Subscriber, info_span};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::intents::{heard, listen};
use harness::support::{Broken, settle};

/// Tells that it runs, before and after it waits.
async fn compute(value: u8) -> Result<u8, Broken> {
    tracing::info!("begins");
    tokio::task::yield_now().await;
    tracing::info!("ends");
    Ok(value)
}

/// The spans of what a computation told, as `name{field=value}:`.
fn spans() -> Vec<String> {
    let lines = heard();
    let told = lines.lines().filter(|line| line.contains("begins") || line.contains("ends"));
    told.map(|line| line.split_whitespace().filter(|word| word.contains('{')).collect()).collect()
}

#[tokio::test]
async fn a_computation_runs_in_the_span_of_the_call_that_starts_it() {
    let cache = CacheBuilder::new().intent(Intent::Minimal).build().unwrap();
    listen();
    let leader = cache.get_or_compute("key", || compute(1)).instrument(info_span!("request", id = 1));
    let joiner = cache.get_or_compute("key", || compute(2)).instrument(info_span!("request", id = 2));
    let (one, two) = tokio::join!(leader, joiner);
    assert_eq!((one.unwrap(), two.unwrap()), (1, 1));
    assert_eq!(spans(), ["request{id=1}:", "request{id=1}:"]);
    listen();
    cache.get_or_compute("another", || compute(3)).await.unwrap();
    assert_eq!(spans(), ["", ""], "a call in no span");
}

#[tokio::test]
async fn renewal_runs_in_the_span_of_the_call_that_found_it_stale() {
    let clock = ManualClock::new();
    let builder = CacheBuilder::new().intent(Intent::Minimal).clock(Arc::new(clock.clone())).jitter(false);
    let cache = builder.ttl(Duration::from_secs(100)).swr_enabled(true).build().unwrap();
    cache.set("key", 1u8).await.unwrap();
    clock.advance(Duration::from_secs(60));
    listen();
    let stale = cache.get_or_compute("key", || compute(2)).instrument(info_span!("request", id = 3)).await.unwrap();
    settle().await;
    assert_eq!(spans(), ["request{id=3}:", "request{id=3}:"]);
    assert_eq!((stale, cache.get::<u8>("key").await.unwrap()), (1, Some(2)));
}

/// Where each span stands: its name, that of its parent, what it follows from, and its fields.
#[derive(Debug, Default, Clone)]
struct Spans(Arc<Mutex<Vec<Seen>>>);

#[derive(Debug, Clone, Default)]
struct Seen {
    id: u64,
    name: &'static str,
    parent: Option<&'static str>,
    follows: Vec<&'static str>,
    fields: Vec<String>,
}

struct Fields<'a>(&'a mut Vec<String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.0.push(format!("{field}={value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.push(format!("{field}={value}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let parent = span.parent().map(|parent| parent.name());
        let mut seen = Seen { id: id.into_u64(), name: span.name(), parent, ..Seen::default() };
        attributes.record(&mut Fields(&mut seen.fields));
        self.0.lock().unwrap().push(seen);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        if let Some(seen) = self.0.lock().unwrap().iter_mut().rfind(|seen| seen.id == id.into_u64()) {
            values.record(&mut Fields(&mut seen.fields));
        }
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, context: Context<'_, S>) {
        let name = context.span(follows).unwrap().name();
        if let Some(seen) = self.0.lock().unwrap().iter_mut().rfind(|seen| seen.id == id.into_u64()) {
            seen.follows.push(name);
        }
    }
}

impl Spans {
    /// The spans so far, without those of the caller.
    fn take(&self) -> Vec<Seen> {
        let seen = std::mem::take(&mut *self.0.lock().unwrap());
        seen.into_iter().filter(|seen| seen.name.starts_with("cachekit")).collect()
    }

    /// Hears of everything on this thread as long as the guard lives.
    fn listen() -> (Self, DefaultGuard) {
        let spans = Self::default();
        let guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(spans.clone()));
        (spans, guard)
    }
}

fn names(seen: &[Seen]) -> Vec<(&'static str, Option<&'static str>)> {
    seen.iter().map(|seen| (seen.name, seen.parent)).collect()
}

fn has(seen: &Seen, fields: &[&str]) -> bool {
    fields.iter().all(|field| seen.fields.iter().any(|other| other == field))
}

#[tokio::test]
async fn a_miss_has_spans_for_the_call_its_flight_the_computation_and_each_operation() {
    let (spans, _guard) = Spans::listen();
    let builder = CacheBuilder::new().intent(Intent::Production).namespace("shop").backend(Memory::new(1 << 20));
    let prices = builder.build().unwrap().domain("prices").unwrap();
    let call = prices.get_or_compute("secret", || compute(1)).instrument(info_span!("request"));
    assert_eq!(call.await.unwrap(), 1);
    settle().await;
    let seen = spans.take();
    let tree = names(&seen);
    assert_eq!(tree[..2], [("cachekit.call", Some("request")), ("cachekit.flight", Some("cachekit.call"))]);
    assert!(tree.contains(&("cachekit.compute", Some("cachekit.flight"))), "{tree:?}");
    assert!(
        tree.iter().filter(|span| **span == ("cachekit.backend", Some("cachekit.flight"))).count() >= 2,
        "{tree:?}"
    );
    let names = ["cachekit.namespace=shop", "cachekit.domain=prices"];
    assert!(
        has(&seen[0], &names) && has(&seen[0], &["cachekit.outcome=computed", "cachekit.miss=new"]),
        "{:?}",
        seen[0]
    );
    assert!(has(&seen[1], &names) && has(&seen[1], &["cachekit.miss=new", "cachekit.renewal=false"]), "{:?}", seen[1]);
    let operation = ["otel.name=lease memory", "otel.kind=client", "db.system.name=memory", "db.operation.name=lease"];
    assert!(seen.iter().any(|seen| has(seen, &operation)), "{seen:?}");
    assert!(!format!("{seen:?}").contains("secret"), "no key is written anywhere");
    assert_eq!(prices.get_or_compute("secret", || compute(2)).await.unwrap(), 1);
    assert!(spans.take().is_empty(), "a hit in L1 has none");
}

#[tokio::test]
async fn a_call_that_joins_links_to_the_flight_and_a_get_says_why_it_misses() {
    let (spans, _guard) = Spans::listen();
    let cache = CacheBuilder::new().intent(Intent::Production).backend(Memory::new(1 << 20)).build().unwrap();
    let (one, two) = tokio::join!(cache.get_or_compute(1, || compute(1)), cache.get_or_compute(1, || compute(2)));
    assert_eq!((one.unwrap(), two.unwrap()), (1, 1));
    settle().await;
    let calls: Vec<Seen> = spans.take().into_iter().filter(|seen| seen.name == "cachekit.call").collect();
    assert_eq!(calls.len(), 2);
    assert!(has(&calls[0], &["cachekit.outcome=computed"]) && calls[0].follows.is_empty(), "{calls:?}");
    assert!(has(&calls[1], &["cachekit.outcome=joined"]) && calls[1].follows == ["cachekit.flight"], "{calls:?}");
    assert_eq!(cache.get::<u8>(2).await.unwrap(), None);
    let seen = spans.take();
    assert!(has(&seen[0], &["cachekit.miss=new", "cachekit.outcome=absent"]), "{seen:?}");
    assert_eq!(seen.last().map(|seen| (seen.name, seen.parent)), Some(("cachekit.backend", Some("cachekit.call"))));
    assert_eq!(cache.get_many::<u8, _>([3, 4]).await.unwrap(), [None, None]);
    assert!(has(&spans.take()[0], &["cachekit.keys=2"]));
}

#[tokio::test]
async fn what_fails_says_so_in_its_span_and_without_tracing_there_is_none() {
    let (spans, _guard) = Spans::listen();
    let chaos = Chaos::new(Memory::new(1 << 20));
    chaos.control().inject_all(Fault::Refuse);
    let builder = || CacheBuilder::new().intent(Intent::Production).retries(0);
    let cache = builder().backend(chaos).build().unwrap();
    assert!(cache.get_or_compute(1, || async { Err::<u8, _>(Broken("no")) }).await.is_err());
    let seen = spans.take();
    let failed = |name: &str| seen.iter().any(|seen| seen.name == name && has(seen, &["otel.status_code=ERROR"]));
    assert!(failed("cachekit.compute") && failed("cachekit.backend"), "{seen:?}");
    assert!(seen.iter().any(|seen| has(seen, &["error.type=unavailable"])), "{seen:?}");
    assert!(has(&seen[0], &["cachekit.outcome=failed"]));
    let silent = builder().tracing(cachekit::Tracing::Off).build().unwrap();
    assert_eq!(silent.get_or_compute(1, || compute(1)).await.unwrap(), 1);
    assert!(spans.take().is_empty());
}
