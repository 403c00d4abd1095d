//! Entries live as long as asked.

use std::future::Future;
use std::time::Duration;

use super::{Case, LONG, Suite};
use crate::backends::Backend;

pub(super) async fn check<F, M, B>(suite: &mut Suite<F>)
where
    F: Fn() -> M + Send + Sync,
    M: Future<Output = B> + Send,
    B: Backend,
{
    suite.case("An entry is gone when its TTL is over.", gone).await;
    suite.case("A TTL is rounded up to the backend's precision, never down.", rounded_up).await;
    suite.case("The last `set` decides how long an entry lives.", last_wins).await;
    suite.case("Reading an entry does not prolong its life.", not_prolonged).await;
}

/// How often a check that took too long in real time to prove anything is done again.
const ATTEMPTS: u32 = 10;

/// How often such a check takes twice as long as before.
const LONGEST: u32 = 4;

impl<B: Backend> Case<B> {
    /// The unit of time of these checks: what the backend rounds to, but no less than real time can tell apart.
    pub(super) fn unit(&self) -> Duration {
        match self.options.real {
            true => self.options.precision.max(Duration::from_millis(200)),
            false => self.options.precision,
        }
    }

    /// Stores under a fresh key for `ttl`, lets `wait` pass, and fails the check unless the value is still there.
    ///
    /// A machine that is too slow to read in between gets longer times, where the backend's precision allows that.
    pub(super) async fn outlives(&self, ttl: Duration, wait: Duration) {
        let is_fine = self.options.precision < self.unit();
        for attempt in 0..ATTEMPTS {
            let longer = if is_fine { 1 << attempt.min(LONGEST) } else { 1 };
            let (ttl, wait) = (ttl * longer, wait * longer);
            let key = self.key(("outlives", attempt));
            let start = self.start();
            self.set(&key, "v", ttl).await;
            self.advance(wait).await;
            let found = self.get(&key).await;
            if found.as_deref() == Some(b"v") {
                return;
            }
            // Real time may have run on while this task did not.
            if start.is_none_or(|start| start.elapsed() < ttl) {
                panic!(
                    "{}",
                    self.complaint(&format!("with a TTL of {ttl:?} the entry was gone before {wait:?} were over"))
                );
            }
        }
        panic!("{}", self.complaint("this machine is too slow to tell"));
    }
}

async fn gone<B: Backend>(case: Case<B>) {
    let (short, long) = (case.key("short"), case.key("long"));
    let ttl = case.unit() * 2;
    case.set(&long, "long", LONG).await;
    case.set(&short, "short", ttl).await;
    case.advance(ttl + case.options.precision).await;
    case.lacks(&short, "after its TTL").await;
    case.holds(&long, b"long", "before its TTL is over").await;
    case.set(&short, "again", LONG).await;
    case.holds(&short, b"again", "after storing an expired key again").await;
}

async fn rounded_up<B: Backend>(case: Case<B>) {
    let unit = case.unit();
    // Each step ends on a whole unit, where coarse clocks show exactly what has passed.
    case.outlives(unit * 3 / 2, unit * 6 / 5).await;
    case.advance(unit * 4 / 5).await;
    case.outlives(unit / 2, unit / 4).await;
    case.advance(unit * 3 / 4).await;
    let key = case.key("half");
    case.set(&key, "v", unit / 2).await;
    case.advance(unit / 2 + case.options.precision).await;
    case.lacks(&key, "a whole unit of precision after its TTL").await;
}

async fn last_wins<B: Backend>(case: Case<B>) {
    let (shorter, longer) = (case.key("shorter"), case.key("longer"));
    let ttl = case.unit() * 2;
    case.set(&shorter, "v", LONG).await;
    case.set(&longer, "v", ttl).await;
    case.set(&shorter, "w", ttl).await;
    case.set(&longer, "w", LONG).await;
    case.advance(ttl + case.options.precision).await;
    case.lacks(&shorter, "after the TTL of the last set").await;
    case.holds(&longer, b"w", "before the TTL of the last set is over").await;
}

async fn not_prolonged<B: Backend>(case: Case<B>) {
    let key = case.key("k");
    let ttl = case.unit() * 2;
    case.set(&key, "v", ttl).await;
    case.advance(case.unit()).await;
    let _ = case.get(&key).await;
    case.advance(case.unit() + case.options.precision).await;
    case.lacks(&key, "after its TTL, having read it before").await;
}
