//! Logs: what the library and the crates below it write there names no key, shows no secret and quotes no value.
#![cfg(unix)]
#![cfg(test)]

mod backends;
mod sink;
mod words;

use std::env;
use std::process::{Command, Stdio};

const ROLE: &str = "CACHEKIT_TEST_LOGS";

/// In a process of its own, since there is one global logger.
#[test]
fn no_record_of_any_crate_holds_a_raw_key_a_secret_or_a_value() {
    let mut child = Command::new(env::current_exe().unwrap());
    child.args(["logs::everything_is_done_in_a_process_of_its_own", "--exact", "--nocapture"]).env(ROLE, "1");
    let output = child.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("records of log and tracing"), "{said}");
}

/// Does nothing unless it is started by the test above.
#[test]
fn everything_is_done_in_a_process_of_its_own() {
    if env::var_os(ROLE).is_none() {
        return;
    }
    let sink = sink::install();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(backends::all());
    drop(runtime);
    let records = sink.take();
    for (what, part) in words::parts() {
        let found = records.lines().find(|record| record.contains(&part));
        assert!(found.is_none(), "{what} ({part}) is in a record: {}", found.unwrap_or_default());
    }
    for heard in ["a record of log", "a record of tracing", "cachekit: answered", "rustls"] {
        assert!(records.contains(heard), "nothing was heard of {heard}");
    }
    println!("{} records of log and tracing, {} bytes", records.lines().count(), records.len());
}
