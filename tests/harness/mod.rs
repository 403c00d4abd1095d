//! What the tests share; and the command line of a test without Rust's own harness.
//!
//! `cargo test` gives all tests the arguments of that harness, so those are understood as far as they choose what runs,
//! and otherwise let pass.

pub mod support;

use std::process::ExitCode;

/// The number that follows an option.
pub type Number<'a> = dyn FnMut() -> Result<u64, String> + 'a;

/// Runs the one test of a program, if it is wanted, with the `arguments` as `take` changes them for each option of its
/// own; it says whether an option is one. The test says whether it passed.
pub fn run<A>(
    name: &str,
    arguments: A,
    take: impl Fn(&mut A, &str, &mut Number<'_>) -> Result<bool, String>,
    test: impl FnOnce(A) -> bool,
) -> ExitCode {
    match request(name, arguments, take, std::env::args().skip(1)) {
        Ok(Request::Run(arguments)) => {
            let passed = test(arguments);
            println!("{} passed, {} failed", u8::from(passed), u8::from(!passed));
            if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Ok(Request::List) => {
            println!("{name}: test");
            ExitCode::SUCCESS
        }
        Ok(Request::Nothing) => {
            println!("0 passed, 0 failed");
            ExitCode::SUCCESS
        }
        Err(message) => {
            eprintln!("{name}: {message}");
            ExitCode::from(2)
        }
    }
}

/// What is wanted.
enum Request<A> {
    Run(A),
    /// The names of the tests.
    List,
    /// Other tests.
    Nothing,
}

fn request<A>(
    name: &str,
    mut arguments: A,
    take: impl Fn(&mut A, &str, &mut Number<'_>) -> Result<bool, String>,
    mut given: impl Iterator<Item = String>,
) -> Result<Request<A>, String> {
    let (mut list, mut exact, mut ignored) = (false, false, false);
    let (mut wanted, mut skipped) = (Vec::new(), Vec::new());
    while let Some(argument) = given.next() {
        let mut number = || {
            let text = given.next().unwrap_or_default();
            text.parse().map_err(|_| format!("{argument} takes a number, not {text:?}"))
        };
        if take(&mut arguments, &argument, &mut number)? {
            continue;
        }
        match &*argument {
            "--list" => list = true,
            "--exact" => exact = true,
            "--ignored" => ignored = true,
            "--skip" => skipped.extend(given.next()),
            "--test-threads" | "--format" | "--color" | "--logfile" | "-Z" => drop(given.next()),
            option if option.starts_with('-') => {}
            _ => wanted.push(argument),
        }
    }
    let names = |filter: &String| if exact { filter == name } else { name.contains(&**filter) };
    if ignored || skipped.iter().any(names) || !wanted.is_empty() && !wanted.iter().any(names) {
        return Ok(Request::Nothing);
    }
    Ok(if list { Request::List } else { Request::Run(arguments) })
}
