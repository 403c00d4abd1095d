//! Every setting of a cache, declared once.
//!
//! A row is its doc, whether the builder has a setter of that form for it, its name and type, the rule that judges it
//! and knows its default (`super::rules`), the type of what was decided, and the variable that sets it, if one does.
//! From the rows come [`Settings`](super::Settings), what is read from the environment, what `decide` makes a policy
//! of, and the setters of the builder. A row that `decide` does not read does not compile.

/// Hands all rows to the macro of this name.
macro_rules! each_setting {
    ($then:ident) => {
        $then! {
            /// How long entries live, above zero and up to 3,650 days. Default 3,600 s.
            setter ttl: Duration = time(Duration::from_secs(3_600))
                -> Duration, cachekit_default_ttl by parse::seconds("3600");
            /// How long a `None` lives: a value that serde writes as such. Default: as any value.
            setter negative_ttl: Duration = lasting() -> Option<Duration>;
            /// How long after expiry an entry may stand in for a failing computation. Default none.
            field stale_if_error: Grace = grace() -> Grace;
            /// Whether stale entries are served while they are renewed. Default: as the intent says, else true.
            setter swr_enabled: bool = or(true) -> bool;
            /// The share of its TTL after which an entry is stale, 0.1..=1.0. Default 0.5.
            setter swr_threshold_ratio: f64 = within(0.5, 0.1..=1.0) -> f64;
            /// Whether entries that are stored at once end one after another, so that they are not all computed anew at
            /// once. Each expires up to a tenth of its TTL early, never late; where stale entries are renewed, they
            /// become stale over a tenth of it, around the ratio. Without it both are exact. Default true, except with
            /// `Intent::Test`.
            setter jitter: bool = or(true) -> bool;
            /// How eagerly entries are renewed ahead of their end, 0..=100. At 0 they are not. Default 0.
            ///
            /// With `β` the setting and `cost` what the computation of the entry took, each call that finds it `left` before
            /// its end draws a `u` evenly from 0 to 1, and renews the entry if `-cost · β · ln(u) ≥ left`: with a probability
            /// of `e^(-left / (cost · β))`. So of many readers one is likely to renew just in time, and of processes that
            /// know the same entry few do so at once; the more expensive a value, the earlier. This is XFetch (A. Vattani, F.
            /// Chierichetti, K. Lowenstein: Optimal Probabilistic Cache Stampede Prevention, PVLDB 8(8), 2015), by which 1 is
            /// a good choice, and more renews earlier.
            ///
            /// The end is that of being fresh: with `swr_enabled` the share of the TTL after which an entry is stale, else its
            /// expiry. The call is answered at once and counts as a hit, and the renewal goes on in the background, as that of
            /// a stale entry; where `background` is off, the call computes. Where leases are on, processes that draw at the
            /// same time compute once. A value that was `set` has no cost, and is not renewed early.
            ///
            /// More than twelve times `cost · β` before its end an entry is answered as without the setting, at no cost.
            setter xfetch_beta: f64 = within(0.0, 0.0..=100.0) -> f64;
            /// When to answer with an older value while a computation goes on; less than `deadline`. Default never.
            setter soft_timeout: Duration = lasting() -> Option<Duration>;
            /// When to give a computation up. Default 60 s.
            setter deadline: Duration = time(Duration::from_secs(60)) -> Duration;
            /// How long a failing computation is left alone while an older value stands in. Default 10 s.
            setter throttle: Duration = pause(Duration::from_secs(10)) -> Duration;
            /// How long the error of a computation is kept in this process, above zero: so long, calls of its key that ask for
            /// the same type of error get it at once, unless the key is changed. Errors that an older value stands in for
            /// are not kept, `throttle` is for these; nor are panics and deadlines. Keep it short: an origin that is back
            /// is not asked before. Default: errors are not kept, and the next call tries again.
            setter error_ttl: Duration = lasting() -> Option<Duration>;
            /// The longest one backend operation may take. Default: as the backend's own limits let it, 5 s for most.
            setter operation_timeout: Duration = time(Duration::from_secs(5)) -> Duration;
            /// How often a backend operation is tried again that the backend was not there for and that may be carried
            /// out twice, 0..=10. Retries are a tenth of all operations at most, and end within `operation_timeout`.
            /// Default: as the intent says, else 1.
            setter retries: u32 = within(1, 0..=10) -> u32;
            /// Whether callers wait for the backend's write. Default: only where `background` is false.
            setter wait_for_write: bool = asked() -> Option<bool>;
            /// Whether work may go on after the answer; without it nothing is served stale while it is renewed. Default
            /// true, except with `Intent::Test`.
            setter background: bool = or(true) -> bool;
            /// The largest value that is cached, in bytes: as it is stored, before it is compressed, and what its
            /// collections take in memory. A larger one is returned and not stored; one that is found in the backend is
            /// a miss, and reading stops there. Default 104,857,600.
            setter max_value_size: u64 = value_size(104_857_600)
                -> usize, cachekit_max_value_size by parse::whole(1..=u64::MAX, 104_857_600);
            /// The size above which stored values are split, in MB of 1,048,576 bytes. Default 50.
            setter max_chunk_size_mb: f64 = chunk_size(50 << 20)
                -> usize, cachekit_max_chunk_size_mb by parse::megabytes;
            /// Whether the cache starts [paused](crate::Cache::pause), for incidents: every call computes, and nothing is
            /// read or stored. Default false.
            setter paused: bool = or(false) -> bool, cachekit_paused by parse::boolean;
            /// Whether the cache starts with L1 [paused](crate::Cache::pause_tier). Default false.
            setter l1_paused: bool = or(false) -> bool, cachekit_l1_paused by parse::boolean;
            /// Whether the cache starts with the backend [paused](crate::Cache::pause_tier). Default false.
            setter l2_paused: bool = or(false) -> bool, cachekit_l2_paused by parse::boolean;
            /// Whether there is an L1. Default true. Without L1 and backend nothing is cached, and a warning says so.
            setter l1_enabled: bool = or(true) -> bool, cachekit_l1_enabled by parse::boolean;
            /// The size of L1 in MB of 1,048,576 bytes, at least 1. Default 100.
            setter l1_max_size_mb: f64 = l1_size(100 << 20)
                -> usize, cachekit_l1_max_size_mb by parse::megabytes_from_one;
            /// The longest that L1 answers with an entry before the backend is read again, above zero. An entry that ends
            /// earlier does so as ever. With `jitter` up to a tenth less. Without a backend, entries live no longer.
            /// Default: as long as the entry lives.
            ///
            /// For what is changed past the cache, or by processes that are not heard: L1 lags by this at most, while the
            /// backend keeps entries for their whole TTL. Where a bus tells of changes, `max_staleness` does that without
            /// reading anew what nothing has changed.
            setter l1_ttl: Duration = lasting() -> Option<Duration>, cachekit_l1_ttl by parse::seconds("60");
            /// Whether L1, when it has to let entries go, prefers to keep what took long to compute. Each doubling of the
            /// time counts for it once more, beside how often it was asked for and how many bytes it takes: frequency comes
            /// first, and a cost of milliseconds and one of seconds differ by a factor of two. A value that was `set` has no
            /// cost. Without effect over a backend, from which all is read again at the same cost. Default false.
            setter l1_cost_aware: bool = or(false) -> bool;
            /// How many entries a process that starts reads into L1 before it is asked: those that processes of this cache
            /// have read lately, 0..=100,000. Default 0: there is no warm start.
            ///
            /// Their names are saved in the backend once a minute and on `close`, hashed where names are hidden, and
            /// encrypted where values are. The first call begins to read; [`warm_up`](crate::Cache::warm_up) waits for it,
            /// and [`Health::is_warm`](crate::Health::is_warm) says whether it is over. Without effect where there is no L1
            /// or no backend.
            setter warm_keys: usize = within(0, 0..=100_000)
                -> usize, cachekit_warm_keys by parse::whole(0..=100_000, 10_000);
            /// After how long a start counts as warm though not everything is read, above zero. Default 30 s.
            setter warm_deadline: Duration = time(Duration::from_secs(30)) -> Duration;
            /// Flights under way at once on each tokio runtime, 1..=1,000,000. A flight is what one key's callers wait
            /// for: the read of the backend, the computation, the write; a hit in L1 needs none. Default 16,384.
            ///
            /// Further ones wait in line; callers of their keys share them, and wait as long as for a computation. What
            /// a computation itself asks for does not wait, because the computation would keep its place meanwhile: for
            /// that there are as many places again, and 16 at least. The cache knows such calls as
            /// [`Context`](crate::Context) says; one that it does not know waits in line while its computation keeps a
            /// place, until the deadline at worst.
            field max_flights: usize = within(16_384, 1..=MANY) -> usize;
            /// Flights that wait in line on each tokio runtime, 0..=1,000,000. One takes about 2.5 KiB beside what its
            /// callers take. Default 100,000.
            field max_queued_flights: usize = within(100_000, 0..=MANY) -> usize;
            /// What becomes of callers beyond both. Default [`Overload::Refuse`].
            field overload: Overload = or(Overload::Refuse) -> Overload;
            /// Background renewals at once, 1..=1,000,000 and never more than `max_flights`. Default 256.
            field max_refreshes: usize = within(256, 1..=MANY) -> usize;
            /// Whether processes agree by leases on who computes. Default: as the intent says, else true, where the
            /// backend has leases.
            setter leases: bool = or(true) -> bool;
            /// How long a lease outlives a process that died while it computed. It is renewed each third of that for as
            /// long as the computation runs. Where operations take longer than an eighth of it, a lease holds for eight
            /// of them, and for a millisecond for each computation under way, up to 30 s: it is to span its own
            /// request, a read and the write, and renewals are to be few. Default 1.5 s.
            field lease_hold: Duration = time(Duration::from_millis(1_500)) -> Duration;
            /// How long to wait for another process's value. Default 5 s.
            field lease_wait: Duration = time(Duration::from_secs(5)) -> Duration;
            /// Whether other processes are told what to forget. Default: as the intent says, else true, where the
            /// backend has a bus.
            setter invalidation_enabled: bool = or(true) -> bool;
            /// The longest that an entry of L1 is served after another process may have changed it, at least 100 ms.
            /// Default: 3 s where there is a bus; without one, no bound but the entry's TTL.
            ///
            /// While the bus is heard, changes of other processes arrive within milliseconds, whatever is set here.
            /// With the bound, an entry that L1 has held for longer than that since this process last heard everything,
            /// or since it read the entry, is read from the backend again. Where there is no bus, L1 is read anew that
            /// often. The bus is asked four times as often.
            ///
            /// What counts is what other processes have acknowledged: a change whose own call failed, or whose process
            /// died in it, is found by the TTL.
            setter max_staleness: Duration = staleness() -> Option<Duration>;
            /// Whether a ledger in the backend says what was forgotten by namespace and by tag. Default: as the intent
            /// says, else true.
            setter namespace_index: bool = or(true) -> bool;
            /// Whether a backend that fails is left alone for a while, or the part of it that fails: a Redis cluster has
            /// sixteen, so that a dead master takes its own keys along and no others. Without effect where the backend does so with
            /// each of its servers ([`Capabilities::isolates`](crate::Capabilities::isolates)). Default: as the intent
            /// says, else true.
            setter breaker_enabled: bool = or(true) -> bool;
            /// Failures within 60 s that open the breaker, at least 1. Failures that overlap in time are one: those of
            /// all operations that began before the first of them was known. Default 5.
            setter failure_threshold: u32 = within(5, 1..=1_000_000) -> u32;
            /// How long the breaker stays open at most. The first probe comes after a quarter of a second; each that
            /// fails doubles the time until the next, up to this. Default 30 s.
            setter recovery_timeout: Duration = time(Duration::from_secs(30)) -> Duration;
            /// Operations let through at once while the breaker is half open, at least `success_threshold`. Default 3.
            setter half_open_requests: u32 = within(3, 1..=1_000_000) -> u32;
            /// Of these, how many have to succeed to close it, at least 1. Default 3.
            setter success_threshold: u32 = within(3, 1..=1_000_000) -> u32;
            /// Whether the time a backend operation may take follows what the last operations of its kind took: reads
            /// and writes of values below 4 KiB, those of values below 64 KiB, and all others. It is never longer than
            /// `operation_timeout`, which alone bounds operations on longer values, and those on keys whose last value
            /// was as long. An answer that comes too late gives the next read of its key more time, and one of which
            /// nothing else is heard gives more to all. Default: as the intent says, else true.
            setter adaptive_timeout_enabled: bool = or(true) -> bool;
            /// That time while there are fewer than 10 samples, from `adaptive_min` to `adaptive_max`. Default 1 s.
            setter adaptive_initial: Duration = lasting() -> Option<Duration>;
            /// The shortest. Default 0.1 s.
            setter adaptive_min: Duration = time(Duration::from_millis(100)) -> Duration;
            /// The longest. Default 5 s.
            setter adaptive_max: Duration = time(Duration::from_secs(5)) -> Duration;
            /// Operations remembered, 10..=100,000. Default 1,000.
            setter adaptive_window: usize = within(1_000, 10..=100_000) -> usize;
            /// The percentile of their latencies that is multiplied by 1.5, above 0 and up to 100. Default 95.
            setter adaptive_percentile: f64 = percentile(95.0) -> f64;
            /// Whether concurrent backend operations are bounded. What finds no room goes on without the backend.
            /// Default: as the intent says, else true.
            setter backpressure_enabled: bool = or(true) -> bool;
            /// Backend operations that run at once, 1..=1,000,000. Default 100, or as many as the backend is made for:
            /// Redis, whose connections carry many operations each, 1,000. A part of a backend that can fail alone has
            /// up to one and a half times an equal share of them, and of `max_queued`: if it hangs, the others go on.
            setter max_concurrent: usize = within(100, 1..=MANY) -> usize;
            /// Backend operations that wait for their turn, 0..=1,000,000. Default 1,000, or as many as `max_flights`
            /// if that is more. What is written behind its callers' answers is not counted: it waits as long as it
            /// takes, until 64 MiB wait.
            setter max_queued: usize = within(1_000, 0..=MANY) -> usize;
            /// How long they wait at most while the queue stands still. While it moves, they wait up to
            /// `operation_timeout`. Default 0.1 s.
            setter queue_wait: Duration = pause(Duration::from_millis(100)) -> Duration;
            /// Whether outcomes are counted. Default: as the intent says, else true.
            setter stats: bool = or(true) -> bool;
            /// What `tracing` is told, with feature `tracing`. Default: as the intent says, else [`Tracing::On`].
            setter tracing: Tracing = or(Tracing::On) -> Tracing;
            /// Whether metrics are kept and handed on to the recorder of the `metrics` crate, with feature `metrics`.
            /// Default: as the intent says, else true.
            setter metrics: bool = or(true) -> bool;
            /// Whether reads of L1 are sampled, so that `Cache::hit_curve` says how often other sizes would be hit,
            /// with feature `advisor`. Default false.
            setter advisor: bool = or(false) -> bool;
            /// Whether values above 1 KiB are compressed, where the codec can. Default true.
            setter compression_enabled: bool = or(true) -> bool, cachekit_enable_compression by parse::boolean;
            /// The zlib level, 1..=9. Default 6.
            setter compression_level: u32 = within(6, parse::LEVELS)
                -> u32, cachekit_compression_level by parse::level;
            /// Whether an entry that a confidential codec finds not authentic is kept and reported as an error, instead
            /// of being a miss. Default false.
            setter fail_closed: bool = or(false) -> bool, cachekit_encryption_fail_closed by parse::boolean;
            /// Whether keys are stored as hashes under their namespace, so that the backend, and who listens to the
            /// bus, see no names: keyed hashes with a codec that encrypts, plain BLAKE2b-256 otherwise. Default false.
            ///
            /// Costs a hash for each call. A plain hash of a name that can be guessed can be found. The key of hashes
            /// goes with the current master key, so a cache starts cold after a rotation, and processes with different
            /// current keys do not see one another's changes.
            setter hashed_keys: bool = or(false) -> bool;
            /// A number that makes entries stored under another number misses, for changes of meaning that the type
            /// does not show. Default 0.
            setter schema_version: u32 = or(0) -> u32;
        }
    };
}

pub(crate) use each_setting;
