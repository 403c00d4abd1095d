//! Reads and writes in L1, mixed.

use std::convert::Infallible;
use std::hint::black_box;
use std::time::Duration;

use cachekit::{Backend, Cache, Codec};

use crate::Failure;
use crate::arguments::Arguments;
use crate::load::{Order, text, texts};
use crate::local::lru::Sharded;
use crate::local::{Store, drive_async, drive_on, foyer, ours, runtime};
use crate::report::{Case, Report, less};
use crate::rounds::{Candidate, interleave};

const ABOUT: &str = "Calls of one thread, keys of text of 24 bytes, values `u64`. 95/5 and 75/25: so many reads and `set`s \
    in a hundred, Zipf 0.99 over 100,000 keys that are all there. Read-through: `get_or_compute` (the peers: `get`, then \
    `insert`) of keys by chance, of which half fit. Churn: `set` of new keys alone, into a cache that is full. Over \
    `Memory` each write goes to a backend as well, which the peers have not.";
const TURN: Duration = Duration::from_millis(240);
/// Keys of the reads and writes, and entries that fit where not all do.
const MANY: usize = 100_000;
const FEW: usize = 10_000;

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let names = texts(MANY);
    let (zipf, uniform) = (Order::zipf(MANY, 0.99), Order::uniform(FEW * 2));
    let load = |name, what, order, capacity| Load { name, what, order, names: &names, capacity, arguments };
    let loads = [
        load("95/5", What::Writes(5), &zipf, MANY * 2),
        load("75/25", What::Writes(25), &zipf, MANY * 2),
        load("read-through, half misses", What::ReadThrough, &uniform, FEW),
        load("churn of new keys", What::Churn, &uniform, FEW),
    ];
    Ok(Report {
        suite: "mixed",
        about: ABOUT,
        metrics: vec![less("CPU ns"), less("wall ns")],
        references: vec!["quick_cache", "moka"],
        cases: loads.iter().map(Load::measure).collect::<Result<_, _>>()?,
        remarks: Vec::new(),
    })
}

#[derive(Clone, Copy)]
enum What {
    /// So many of a hundred calls write.
    Writes(usize),
    ReadThrough,
    Churn,
}

struct Load<'a> {
    name: &'static str,
    what: What,
    order: &'a Order,
    names: &'a [String],
    capacity: usize,
    arguments: &'a Arguments,
}

impl Load<'_> {
    fn measure(&self) -> Result<Case, Failure> {
        let capacity = self.capacity;
        let budget = ours::weight(text(0), 0_u64)? * capacity;
        let all = vec![
            self.ours("cachekit Production", ours::production(budget)?)?,
            self.ours("cachekit Minimal", ours::minimal(budget)?)?,
            self.ours("cachekit over Memory", ours::over_memory(budget)?)?,
            self.peer("quick_cache", quick_cache::sync::Cache::new(capacity)),
            self.peer("moka", moka::sync::Cache::new(capacity as u64)),
            self.peer("foyer S3-FIFO", foyer(capacity)),
            self.peer("lru, mutex, shards", Sharded::new(capacity)),
        ];
        interleave(self.name, self.arguments.rounds, all)
    }

    /// Whether this turn writes, where some do.
    fn writes(turn: usize, percent: usize) -> bool {
        // A stride that is prime to 100 takes the writes apart.
        turn * 37 % 100 < percent
    }

    fn name(&self, turn: usize) -> &str {
        &self.names[self.order.at(turn)]
    }

    fn ours<'a>(
        &'a self,
        name: &'static str,
        cache: Cache<impl Backend, impl Codec>,
    ) -> Result<Candidate<'a>, Failure> {
        let runtime = runtime()?;
        runtime.block_on(async {
            for (id, name) in (0_u64..).zip(self.names).take(self.capacity) {
                cache.set(name, id).await?;
            }
            Ok::<_, Failure>(())
        })?;
        let (time, mut turns) = (self.arguments.turn(TURN), 0);
        Ok(Candidate::sure(name, move || match self.what {
            What::Writes(percent) => drive_async(&runtime, time, &mut turns, async |turn| {
                if Self::writes(turn, percent) {
                    put(&cache, self.name(turn), turn).await;
                } else {
                    ask(&cache, self.name(turn), turn).await;
                }
            }),
            What::ReadThrough => {
                drive_async(&runtime, time, &mut turns, async |turn| ask(&cache, self.name(turn), turn).await)
            }
            What::Churn => drive_async(&runtime, time, &mut turns, async |turn| put(&cache, &text(turn), turn).await),
        }))
    }

    fn peer<'a>(&'a self, name: &'static str, store: impl Store<str, u64> + 'a) -> Candidate<'a> {
        for (id, name) in (0..).zip(self.names).take(self.capacity) {
            store.write(name, id);
        }
        let (time, mut turns) = (self.arguments.turn(TURN), 0);
        Candidate::sure(name, move || match self.what {
            What::Writes(percent) => drive_on(time, &mut turns, |turn| {
                let name = self.name(turn);
                if Self::writes(turn, percent) {
                    store.write(name, turn as u64);
                } else {
                    black_box(store.read(name));
                }
            }),
            What::ReadThrough => drive_on(time, &mut turns, |turn| {
                let name = self.name(turn);
                if black_box(store.read(name)).is_none() {
                    store.write(name, turn as u64);
                }
            }),
            What::Churn => drive_on(time, &mut turns, |turn| store.write(&text(turn), turn as u64)),
        })
    }
}

async fn put(cache: &Cache<impl Backend, impl Codec>, key: &str, turn: usize) {
    cache.set(key, turn as u64).await.expect("L1 and Memory take it");
}

async fn ask(cache: &Cache<impl Backend, impl Codec>, key: &str, turn: usize) {
    let value = move || async move { Ok::<_, Infallible>(turn as u64) };
    black_box(cache.get_or_compute(key, value).await).expect("a value");
}
