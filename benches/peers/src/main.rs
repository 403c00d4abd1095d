//! cachekit beside its peers.
//!
//! All candidates of a case run in one process and in turns, so that what disturbs one disturbs all; only ratios of one
//! run mean anything. What each suite measures is in the README beside this crate.

use std::process::ExitCode;

use self::arguments::{Arguments, USAGE, Wish};

mod arguments;
mod children;
mod clock;
mod load;
mod local;
mod numbers;
mod plot;
mod remote;
mod report;
mod rounds;
mod servers;
mod suites;
mod threads;

/// Why a run ends early.
type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [first, rest @ ..] = &words[..]
        && first == children::MARK
    {
        return ended(suites::child(rest));
    }
    match Arguments::read(words.into_iter()) {
        Ok(Wish::Help) => println!("{USAGE}"),
        Ok(Wish::List) => suites::list(),
        Ok(Wish::Run(arguments)) => return ended(suites::run(&arguments)),
        Err(problem) => {
            eprintln!("{problem}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

fn ended(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}
