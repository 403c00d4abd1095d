//! The examples, as a user runs them.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::servers::Server;

mod otlp;
mod postgres;
mod service;

/// A `cargo` that is called as by a user without variables of the cache.
fn cargo(verb: &str, target: [&str; 4]) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args([verb, "--quiet", "--all-features"]).args(target).stdin(Stdio::null());
    for (name, _) in std::env::vars() {
        if name.starts_with("CACHEKIT_") || name == "REDIS_URL" {
            command.env_remove(name);
        }
    }
    command
}

/// Builds an example. Where it is: `cargo` may wait for minutes for others that build, so that entries expire between
/// two runs.
fn built(example: &str) -> PathBuf {
    let output = cargo("build", ["--package", "cachekit-typed", "--example", example]).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let this = std::env::current_exe().unwrap();
    this.ancestors().nth(2).unwrap().join("examples").join(example)
}

/// Builds the program of an example that is a package of its own. Where it is.
fn built_bin(package: &str, bin: &str) -> PathBuf {
    let mut build = cargo("build", ["--package", package, "--bin", bin]);
    let output = build.args(["--message-format", "json"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let messages = text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let mut programs = messages.filter_map(|message| Some(message["executable"].as_str()?.into()));
    programs.next_back().unwrap()
}

/// Runs an example; the lines that it prints.
fn run(example: &Path, variables: &[(&str, &str)]) -> Vec<String> {
    let mut command = Command::new(example);
    for (name, _) in std::env::vars() {
        if name.starts_with("CACHEKIT_") || name == "REDIS_URL" {
            command.env_remove(name);
        }
    }
    let output = command.envs(variables.iter().copied()).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn domains_share_a_redis_and_tags_reach_across_them() {
    let server = Server::start();
    let url = server.url();
    let page = "Ada of London has ordered for 200";
    let user = ["  query: user 42", "  query: orders of user 42"];
    let prices = ["  query: price of the lamp", "  query: price of the desk"];
    let headings = [
        "first visit",
        "second visit",
        "the user moves: the tag forgets the user and the orders, not the prices",
        "new prices: the domain is forgotten as a whole, and nothing else",
    ];
    let lines = |queries: [&[&'static str]; 4], counts: [&'static str; 2]| -> Vec<&'static str> {
        let visits = headings.iter().zip(queries);
        let visits = visits.flat_map(|(heading, queries)| [&[*heading], queries, &[page]].concat());
        visits.chain(counts).collect()
    };
    let asked = [&[user, prices].concat()[..], &[], &user, &prices];
    let example = built("typed_domains");
    let first = run(&example, &[("CACHEKIT_REDIS_URL", &url)]);
    assert_eq!(first, lines(asked, ["users: 2 computed, 2 from memory", "prices: 4 computed, 4 from memory"]));
    let again = [&[][..], &[], &user, &prices];
    let second = run(&example, &[("CACHEKIT_REDIS_URL", &url)]);
    assert_eq!(second, lines(again, ["users: 1 computed, 2 from memory", "prices: 2 computed, 4 from memory"]));
}

#[test]
fn fifty_products_are_one_query() {
    let lines = run(&built("loader_batching"), &[]);
    assert_eq!(
        lines,
        [
            "a list of 50: 1 queries",
            "the list again, of 50: 0 queries",
            "a list that overlaps, of 50: 1 queries",
            "50 widgets at once: 1 queries",
            "a list beyond the last product, of 5: 1 queries",
            "that list again, of 5: 0 queries",
        ]
    );
}

#[test]
fn threads_without_async_share_a_cache() {
    let lines = run(&built("blocking"), &[]);
    assert_eq!(
        lines,
        [
            "16 threads have got 48 words; counted 1 text",
            "all texts have 6 words; counted 2 more",
            "text 7: entity not found",
        ]
    );
}

#[test]
fn backend_is_swapped_for_tests_of_a_service() {
    let server = Server::start();
    let lines = run(&built("swap_backend_in_tests"), &[("CACHEKIT_REDIS_URL", &server.url())]);
    assert_eq!(lines, ["10.00 EUR are 1070 cents", "the exchange knows no currency XXX"]);
    let tests = cargo("test", ["--package", "cachekit-typed", "--example", "swap_backend_in_tests"]).output().unwrap();
    let text = String::from_utf8(tests.stdout).unwrap();
    assert!(tests.status.success() && text.contains("5 passed"), "{text}");
}
