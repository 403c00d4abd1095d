//! The settings that most programs need, as setters.
//!
//! All of one form: what is called is the explicit choice, which wins over environment, intent and default.

use std::time::Duration;

use super::CacheBuilder;
use crate::backends::Backend;
use crate::codec::Codec;
use crate::config::Tracing;
use crate::intent::Preset;

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident($type:ty);)*) => {
        impl<B: Backend, C: Codec, P: Preset> CacheBuilder<B, C, P> {
            $(
                $(#[$doc])*
                pub fn $name(mut self, $name: $type) -> Self {
                    self.rest.explicit.$name = Some($name);
                    self
                }
            )*
        }
    };
}

setters! {
    /// How long entries live, above zero and up to 3,650 days. Default 3,600 s.
    ttl(Duration);
    /// How long a `None` lives: a value that serde writes as such. Default: as any value.
    negative_ttl(Duration);
    /// Whether stale entries are served while they are renewed. Default: as the intent says.
    swr_enabled(bool);
    /// The share of its TTL after which an entry is stale, 0.1..=1.0. Default 0.5.
    swr_threshold_ratio(f64);
    /// Whether entries that are stored at once end one after another, so that they are not all computed anew at once.
    /// Each expires up to a tenth of its TTL early, never late; where stale entries are renewed, they become stale over a
    /// tenth of it, around the ratio. Without it both are exact. Default true, except with `Intent::Test`.
    jitter(bool);
    /// When to answer with an older value while a computation goes on; less than `deadline`. Default never.
    soft_timeout(Duration);
    /// When to give a computation up. Default 60 s.
    deadline(Duration);
    /// How long a failing computation is left alone while an older value stands in. Default 10 s.
    throttle(Duration);
    /// The longest one backend operation may take. Default: as the backend's own limits let it, 5 s for most.
    operation_timeout(Duration);
    /// How often a backend operation is tried again that the backend was not there for and that may be carried out
    /// twice, 0..=10. Retries are a tenth of all operations at most, and end within `operation_timeout`. Default: as
    /// the intent says.
    retries(u32);
    /// Whether callers wait for the backend's write. Default: only where `background` is false.
    wait_for_write(bool);
    /// Whether work may go on after the answer; without it nothing is served stale while it is renewed. Default true,
    /// except with `Intent::Test`.
    background(bool);
    /// The largest stored value that is cached, in bytes. Default 104,857,600.
    max_value_size(u64);
    /// The size above which stored values are split, in MB of 1,048,576 bytes. Default 50.
    max_chunk_size_mb(f64);
    /// Whether there is an L1. Default true. Without L1 and backend nothing is cached, and a warning says so.
    l1_enabled(bool);
    /// The size of L1 in MB of 1,048,576 bytes, at least 1. Default 100.
    l1_max_size_mb(f64);
    /// Whether processes agree by leases on who computes. Default: as the intent says, where the backend has leases.
    leases(bool);
    /// Whether other processes are told what to forget. Default: as the intent says, where the backend has a bus.
    invalidation_enabled(bool);
    /// The longest that an entry of L1 is served after another process may have changed it, at least 100 ms. Default:
    /// 3 s where there is a bus; without one, no bound but the entry's TTL.
    ///
    /// While the bus is heard, changes of other processes arrive within milliseconds, whatever is set here. With the
    /// bound, an entry that L1 has held for longer than that since this process last heard everything, or since it read
    /// the entry, is read from the backend again. Where there is no bus, L1 is read anew that often. The bus is asked
    /// four times as often.
    ///
    /// What counts is what other processes have acknowledged: a change whose own call failed, or whose process died in
    /// it, is found by the TTL.
    max_staleness(Duration);
    /// Whether a ledger in the backend says what was forgotten by namespace and by tag. Default: as the intent says.
    namespace_index(bool);
    /// Whether a backend that fails is left alone for a while. Without effect where the backend does so with each of its
    /// servers ([`Capabilities::isolates`](crate::Capabilities::isolates)). Default: as the intent says.
    breaker_enabled(bool);
    /// Failures within 60 s that open the breaker, at least 1. Failures that overlap in time are one: those of all
    /// operations that began before the first of them was known. Default 5.
    failure_threshold(u32);
    /// How long the breaker stays open at most. The first probe comes after a quarter of a second; each that fails
    /// doubles the time until the next, up to this. Default 30 s.
    recovery_timeout(Duration);
    /// Operations let through at once while the breaker is half open, at least `success_threshold`. Default 3.
    half_open_requests(u32);
    /// Of these, how many have to succeed to close it, at least 1. Default 3.
    success_threshold(u32);
    /// Whether the time a backend operation may take follows what operations of its kind took of late: reads and writes
    /// of values below 4 KiB, those of values below 64 KiB, and all others. It is never longer than `operation_timeout`,
    /// which alone bounds operations on longer values, and those on keys whose last value was as long. An answer that
    /// comes too late gives the next read of its key more time, and one of which nothing else is heard gives more to all.
    /// Default: as the intent says.
    adaptive_timeout_enabled(bool);
    /// That time while there are fewer than 10 samples, from `adaptive_min` to `adaptive_max`. Default 1 s.
    adaptive_initial(Duration);
    /// The shortest. Default 0.1 s.
    adaptive_min(Duration);
    /// The longest. Default 5 s.
    adaptive_max(Duration);
    /// Operations remembered, 10..=100,000. Default 1,000.
    adaptive_window(usize);
    /// The percentile of their latencies that is multiplied by 1.5, above 0 and up to 100. Default 95.
    adaptive_percentile(f64);
    /// Whether concurrent backend operations are bounded. What finds no room goes on without the backend. Default: as
    /// the intent says.
    backpressure_enabled(bool);
    /// Backend operations that run at once, 1..=1,000,000. Default 100, or as many as the backend is made for: Redis, whose
    /// connections carry many operations each, 1,000.
    max_concurrent(usize);
    /// Backend operations that wait for their turn, 0..=1,000,000. Default 1,000, or as many as `max_flights` if that is
    /// more. What is written behind its callers' answers is not counted: it waits as long as it takes, until 64 MiB wait.
    max_queued(usize);
    /// How long they wait at most while the queue stands still. While it moves, they wait up to `operation_timeout`.
    /// Default 0.1 s.
    queue_wait(Duration);
    /// Whether outcomes are counted. Default: as the intent says.
    stats(bool);
    /// What `tracing` is told, with feature `tracing`. Default: as the intent says.
    tracing(Tracing);
    /// Whether values above 1 KiB are compressed, where the codec can. Default true.
    compression_enabled(bool);
    /// The zlib level, 1..=9. Default 6.
    compression_level(u32);
    /// Whether an entry that a confidential codec finds not authentic is kept and reported as an error, instead of
    /// being a miss. Default false.
    fail_closed(bool);
    /// Whether keys are stored as hashes under their namespace, so that the backend, and who listens to the bus, see no
    /// names: keyed hashes with a codec that encrypts, plain BLAKE2b-256 otherwise. Default false.
    ///
    /// Costs a hash for each call. A plain hash of a name that can be guessed can be found. The key of hashes goes with
    /// the current master key, so a cache starts cold after a rotation, and processes with different current keys do
    /// not see one another's changes.
    hashed_keys(bool);
    /// A number that makes entries stored under another number misses, for changes of meaning that the type does not
    /// show. Default 0.
    schema_version(u32);
}
