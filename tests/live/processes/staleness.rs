//! The bound on what L1 serves, held by processes that are killed, cut off and kept waiting.
//!
//! Four processes use one server. The truth is in another: a version for each key, counted up before each change. A
//! change counts from its acknowledgement, and one that was not acknowledged does not count. Each process writes down
//! what it read and changed, and when; the parent reads it all, and finds every value that had not been current for
//! longer than the bound.

mod actor;
mod trouble;
mod verdict;

use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use self::trouble::Group;
use self::verdict::Verdict;

/// How long after a change was acknowledged it may not be seen.
const BOUND: Duration = Duration::from_secs(1);
const PROCESSES: usize = 4;
/// Operations of all processes together.
const OPERATIONS: u64 = 50_000;
/// Keys that anybody invalidates, alone, by their tag, or with all.
const SHARED: u64 = 36;
const TAGS: u64 = 6;
/// Keys that one process sets: nobody could say which of two processes set a key last.
const OWNED: u64 = 12;

#[test]
fn no_process_serves_what_was_changed_longer_ago_than_the_bound() {
    let start = Instant::now();
    let (sender, answers) = channel();
    let mut group = Group::start(sender);
    group.make_trouble();
    let mut operations = 0;
    while operations < OPERATIONS {
        let line = answers.recv_timeout(Duration::from_secs(60)).expect("the processes go on");
        operations += line.parse::<u64>().unwrap_or(0);
    }
    let logs = group.end(&answers);
    let verdict = Verdict::of(&logs);
    println!("{verdict} in {:?}", start.elapsed());
    verdict.check();
}
