//! The command line: the simulator's, and cargo's.
//!
//! Whoever runs all tests gives them the arguments of Rust's own harness, so those are understood as far as they choose
//! what runs, and otherwise let pass.

/// How many simulations, and which.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arguments {
    pub(crate) from: u64,
    pub(crate) seeds: u64,
    pub(crate) steps: u64,
    pub(crate) threads: u64,
    /// Whether no other process is to make some of them again.
    pub(crate) alone: bool,
}

/// What is wanted.
pub(crate) enum Request {
    Run(Arguments),
    /// The names of the tests.
    List,
    /// Other tests.
    Nothing,
}

const NAME: &str = "simulator";

impl Default for Arguments {
    /// As many as an optimized build does in two minutes on two cores, and others in less.
    fn default() -> Self {
        let (seeds, steps) = if cfg!(debug_assertions) { (40, 2_500) } else { (200, 100_000) };
        Self { from: 0, seeds, steps, threads: 2, alone: false }
    }
}

impl Arguments {
    pub(crate) fn of(mut given: impl Iterator<Item = String>) -> Result<Request, String> {
        let mut arguments = Self::default();
        let (mut list, mut exact, mut ignored) = (false, false, false);
        let (mut wanted, mut skipped) = (Vec::new(), Vec::new());
        while let Some(argument) = given.next() {
            let mut number = |name: &str| {
                let text = given.next().unwrap_or_default();
                text.parse().map_err(|_| format!("{name} takes a number, not {text:?}"))
            };
            match &*argument {
                "--from" => arguments.from = number("--from")?,
                "--seeds" => arguments.seeds = number("--seeds")?,
                "--steps" => arguments.steps = number("--steps")?,
                "--threads" => arguments.threads = number("--threads")?.clamp(1, 64),
                "--alone" => arguments.alone = true,
                "--list" => list = true,
                "--exact" => exact = true,
                "--ignored" => ignored = true,
                "--skip" => skipped.extend(given.next()),
                "--test-threads" | "--format" | "--color" | "--logfile" | "-Z" => drop(given.next()),
                option if option.starts_with('-') => {}
                _ => wanted.push(argument),
            }
        }
        let names = |filter: &String| if exact { filter == NAME } else { NAME.contains(&**filter) };
        if ignored || skipped.iter().any(names) || !wanted.is_empty() && !wanted.iter().any(names) {
            return Ok(Request::Nothing);
        }
        Ok(if list { Request::List } else { Request::Run(arguments) })
    }
}
