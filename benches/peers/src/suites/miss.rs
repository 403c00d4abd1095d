//! Misses over Redis: looked for in vain, computed, stored.

use crate::Failure;
use crate::arguments::Arguments;
use crate::remote::metrics;
use crate::remote::way::Operation;
use crate::report::Report;

use super::redis::measure;

const ABOUT: &str = "A key that is nowhere: looked for in Redis, computed by a closure that takes no time, and stored, values \
    of 200 bytes. Ours is `get_or_compute` with L1 off, which answers after the fill, and with `Production` elects the one \
    process that computes and would tell others who wait. A raw client does GET and SET and elects nobody; cachekit-rs \
    does what its manual says for a computation of which there is one.";

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let tasks: &[usize] = if arguments.quick { &[1, 64] } else { &[1, 64, 1_000] };
    Ok(Report {
        suite: "miss",
        about: ABOUT,
        metrics: metrics(),
        references: vec!["raw redis", "fred", "cachekit-rs"],
        cases: measure(arguments, 200, tasks, &[("miss", Operation::Miss)])?,
        remarks: Vec::new(),
    })
}
