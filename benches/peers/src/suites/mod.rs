//! The suites: a file each.

use std::fs;

use crate::Failure;
use crate::arguments::Arguments;
use crate::plot;
use crate::report::Report;

mod build;
mod codecs;
mod cold;
mod file;
mod hit;
mod hit_ratio;
mod http;
mod memcached;
mod memory;
mod miss;
mod mixed;
mod outage;
mod redis;
mod stampede;

type Run = fn(&Arguments) -> Result<Report, Failure>;

/// A suite under its name.
struct Suite {
    name: &'static str,
    what: &'static str,
    /// Whether it runs where none is named.
    usual: bool,
    run: Run,
}

const fn usual(name: &'static str, what: &'static str, run: Run) -> Suite {
    Suite { name, what, usual: true, run }
}

const fn named(name: &'static str, what: &'static str, run: Run) -> Suite {
    Suite { name, what, usual: false, run }
}

const SUITES: &[Suite] = &[
    usual("hit", "hits in L1, by one thread and by two", hit::run),
    usual("mixed", "reads and writes in L1", mixed::run),
    usual("hit-ratio", "which entries a full cache keeps, beside the optimum", hit_ratio::run),
    usual("costs", "what a full cache saves where values differ in cost", hit_ratio::costs::run),
    usual("memory", "bytes for each entry, and what a budget takes", memory::run),
    usual("redis", "reads, writes, invalidations over Redis, beside raw clients", redis::run),
    usual("memcached", "reads and writes over memcached, beside the bare client", memcached::run),
    usual("http", "reads and writes over HTTPS, beside the bare client", http::run),
    usual("file", "reads and writes of files, beside the bare file system", file::run),
    usual("miss", "misses over Redis: read, compute, store", miss::run),
    usual("stampede", "many callers of one key, in one process and in four", stampede::run),
    usual("cold", "many keys at once, none of them there", cold::run),
    usual("codecs", "writing and reading values, beside the bare crates", codecs::run),
    named("outage", "a Redis that goes away under load, and comes back", outage::run),
    named("build", "crates, and the time of a clean build", build::run),
];

pub(crate) fn is_known(name: &str) -> bool {
    SUITES.iter().any(|suite| suite.name == name)
}

pub(crate) fn list() {
    for suite in SUITES {
        let named = if suite.usual { "" } else { " (only if named)" };
        println!("{:<10} {}{named}", suite.name, suite.what);
    }
}

/// Runs what was asked for. A suite that fails does not keep the others from running.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    fs::create_dir_all(&arguments.out)
        .map_err(|error| format!("{} cannot be made: {error}; name another by --out", arguments.out.display()))?;
    let mut failed = Vec::new();
    for suite in SUITES {
        let asked = arguments.suites.iter().any(|name| name == suite.name);
        if asked || arguments.suites.is_empty() && suite.usual {
            eprintln!("{}", suite.name);
            if let Err(failure) = (suite.run)(arguments).and_then(|report| publish(arguments, &report)) {
                eprintln!("{}: {failure}", suite.name);
                failed.push(suite.name);
            }
        }
    }
    if failed.is_empty() { Ok(()) } else { Err(format!("these suites failed: {}", failed.join(", ")).into()) }
}

fn publish(arguments: &Arguments, report: &Report) -> Result<(), Failure> {
    let table = report.markdown();
    println!("{table}");
    fs::write(arguments.out.join(report.suite).with_extension("md"), table)?;
    fs::write(arguments.out.join(report.suite).with_extension("svg"), plot::svg(report))?;
    Ok(())
}

/// What a child of this program does.
pub(crate) fn child(words: &[String]) -> Result<(), Failure> {
    match words {
        [suite, rest @ ..] if suite == "memory" => memory::child(rest),
        [suite, rest @ ..] if suite == "stampede" => stampede::child(rest),
        _ => Err(format!("no child does {words:?}").into()),
    }
}
