//! What the command line asks for.

use std::path::PathBuf;
use std::time::Duration;

use crate::suites;

pub(crate) const USAGE: &str = "\
usage: cachekit-peers [SUITE...] [--list] [--quick] [--rounds N] [--out DIR] [--traces DIR]

  SUITE         what to measure; without any, all suites but those that --list marks as asked for by name
  --list        prints the suites
  --quick       short turns and the small cases alone: shows that a suite runs, measures little
  --rounds N    turns of each candidate (7; with --quick 3)
  --out DIR     where the tables and plots go (target/peers)
  --traces DIR  traces for the suite hit-ratio; without it, synthetic loads alone";

/// What to do.
pub(crate) enum Wish {
    Help,
    List,
    Run(Arguments),
}

/// What to measure, and for how long.
pub(crate) struct Arguments {
    pub(crate) suites: Vec<String>,
    pub(crate) quick: bool,
    pub(crate) rounds: usize,
    pub(crate) out: PathBuf,
    pub(crate) traces: Option<PathBuf>,
}

impl Arguments {
    /// Reads the arguments behind the program's name.
    pub(crate) fn read(mut words: impl Iterator<Item = String>) -> Result<Wish, String> {
        let (mut suites, mut quick, mut rounds) = (Vec::new(), false, None);
        let (mut out, mut traces) = (PathBuf::from("target/peers"), None);
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("`{word}` needs a value"));
            match word.as_str() {
                "--help" | "-h" => return Ok(Wish::Help),
                "--list" => return Ok(Wish::List),
                "--quick" => quick = true,
                "--rounds" => rounds = Some(positive(&value()?)?),
                "--out" => out = PathBuf::from(value()?),
                "--traces" => traces = Some(PathBuf::from(value()?)),
                name if suites::is_known(name) => suites.push(word),
                _ => return Err(format!("`{word}` is neither a suite nor an option")),
            }
        }
        let rounds = rounds.unwrap_or(if quick { 3 } else { 7 });
        Ok(Wish::Run(Self { suites, quick, rounds, out, traces }))
    }

    /// How long a turn is: `usual`, or a part of it where the run is to be short.
    pub(crate) fn turn(&self, usual: Duration) -> Duration {
        if self.quick { usual / 8 } else { usual }
    }
}

fn positive(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| *number > 0);
    number.ok_or_else(|| format!("`{text}` is not a number above zero"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Wish, String> {
        Arguments::read(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn suites_and_options_come_in_any_order() {
        let Ok(Wish::Run(arguments)) = read("--quick hit --out there codecs") else { panic!("a run") };
        assert_eq!(arguments.suites, ["hit", "codecs"]);
        assert_eq!((arguments.quick, arguments.rounds, arguments.out), (true, 3, PathBuf::from("there")));
        assert!(matches!(read("--list"), Ok(Wish::List)));
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        for line in ["--rounds", "--rounds 0", "--rounds x", "--fast", "hits"] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
