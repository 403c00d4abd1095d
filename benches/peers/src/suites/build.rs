//! What a program pays for depending on the library: crates, and the time to build them.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Failure;
use crate::arguments::Arguments;
use crate::report::{Case, Report, Row, less};

const ABOUT: &str = "A clean release build of the library in a directory of its own, and how many crates it takes, by `cargo \
    tree` (its own not counted). What cargo has to download is downloaded before. One run each.";
const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");

/// Features by the names that readers know.
const BUILDS: [(&str, &[&str]); 3] =
    [("core", &["--no-default-features"]), ("default", &[]), ("all", &["--all-features"])];

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    // The smallest is enough to show that it runs.
    let builds = if arguments.quick { &BUILDS[..1] } else { &BUILDS[..] };
    let row = |(name, features): &(&'static str, &[&str])| {
        eprintln!("  {name}");
        let crates = crates(features)?;
        Ok::<_, Failure>(Row { name, rounds: vec![vec![seconds(features)?, crates as f64]] })
    };
    let rows = builds.iter().map(row).collect::<Result<_, _>>()?;
    Ok(Report {
        suite: "build",
        about: ABOUT,
        metrics: vec![less("seconds"), less("crates")],
        references: vec!["core"],
        cases: vec![Case::new("features", rows)],
        remarks: Vec::new(),
    })
}

fn cargo(words: &[&str], features: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words).args(["--manifest-path", MANIFEST, "--locked"]).args(features).stderr(Stdio::null());
    command
}

fn crates(features: &[&str]) -> Result<usize, Failure> {
    let words = ["tree", "--package", "cachekit-typed", "--edges", "normal,build", "--prefix", "none", "--no-dedupe"];
    let output = cargo(&words, features).output()?;
    if !output.status.success() {
        return Err("cargo tree fails; run it by hand to see why".into());
    }
    let text = String::from_utf8(output.stdout)?;
    let all: BTreeSet<String> = text.lines().map(|line| line.trim_end_matches(" (*)").to_owned()).collect();
    Ok(all.len() - 1)
}

fn seconds(features: &[&str]) -> Result<f64, Failure> {
    let directory = tempfile::tempdir()?;
    let words = ["build", "--release", "--package", "cachekit-typed", "--lib"];
    cargo(&["fetch"], &[]).status()?;
    let began = Instant::now();
    let status = cargo(&words, features).env("CARGO_TARGET_DIR", directory.path()).status()?;
    if !status.success() {
        return Err("the library does not build; run cargo build by hand to see why".into());
    }
    Ok(began.elapsed().as_secs_f64())
}
