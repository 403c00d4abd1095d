//! The command line: the soak's, and cargo's.
//!
//! Whoever runs all tests gives them the arguments of Rust's own harness, so those are understood as far as they choose
//! what runs, and otherwise let pass.

/// How long, and which.
pub(crate) struct Arguments {
    pub(crate) seconds: u64,
    pub(crate) seed: u64,
}

/// What is wanted.
pub(crate) enum Request {
    Run(Arguments),
    /// The names of the tests.
    List,
    /// Other tests.
    Nothing,
}

const NAME: &str = "soak";
const LONGEST: u64 = 3_600;

impl Arguments {
    pub(crate) fn of(mut given: impl Iterator<Item = String>) -> Result<Request, String> {
        let mut arguments = Self { seconds: 60, seed: fastrand::u64(..1_000_000) };
        let (mut list, mut exact, mut ignored) = (false, false, false);
        let (mut wanted, mut skipped) = (Vec::new(), Vec::new());
        while let Some(argument) = given.next() {
            let mut number = |name: &str| {
                let text = given.next().unwrap_or_default();
                text.parse().map_err(|_| format!("{name} takes a number, not {text:?}"))
            };
            match &*argument {
                "--seconds" => arguments.seconds = number("--seconds")?,
                "--seed" => arguments.seed = number("--seed")?,
                "--list" => list = true,
                "--exact" => exact = true,
                "--ignored" => ignored = true,
                "--skip" => skipped.extend(given.next()),
                "--test-threads" | "--format" | "--color" | "--logfile" | "-Z" => drop(given.next()),
                option if option.starts_with('-') => {}
                _ => wanted.push(argument),
            }
        }
        if !(1..=LONGEST).contains(&arguments.seconds) {
            return Err(format!("--seconds takes 1 to {LONGEST}"));
        }
        let names = |filter: &String| if exact { filter == NAME } else { NAME.contains(&**filter) };
        if ignored || skipped.iter().any(names) || !wanted.is_empty() && !wanted.iter().any(names) {
            return Ok(Request::Nothing);
        }
        Ok(if list { Request::List } else { Request::Run(arguments) })
    }
}
