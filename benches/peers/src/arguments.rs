//! What the command line asks for.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub(crate) const USAGE: &str = "\
usage: cachekit-peers [--case TEXT]... [--way TEXT]... [--rounds N] [--millis N] [--server PATH] [--current-thread]

  --case TEXT       only cases whose name holds TEXT, such as `200B`, `64 tasks` or `9:1`; may be repeated
  --way TEXT        only ways whose name holds TEXT, such as `raw` or `production`; may be repeated
  --rounds N        turns of each way (9)
  --millis N        length of a turn (1000)
  --server PATH     the server to start (redis-server)
  --current-thread  one thread instead of two workers, for profiles";

/// What to measure, and for how long.
pub(crate) struct Arguments {
    cases: Vec<String>,
    ways: Vec<String>,
    pub(crate) rounds: usize,
    pub(crate) time: Duration,
    pub(crate) server: PathBuf,
    pub(crate) current_thread: bool,
}

impl Arguments {
    /// Reads the arguments behind the program's name.
    pub(crate) fn read(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut arguments = Self {
            cases: Vec::new(),
            ways: Vec::new(),
            rounds: 9,
            time: Duration::from_secs(1),
            server: PathBuf::from("redis-server"),
            current_thread: false,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("`{word}` needs a value"));
            match word.as_str() {
                "--case" => arguments.cases.push(value()?),
                "--way" => arguments.ways.push(value()?),
                "--rounds" => arguments.rounds = positive(&value()?)?,
                "--millis" => arguments.time = Duration::from_millis(positive(&value()?)?),
                "--server" => arguments.server = PathBuf::from(value()?),
                "--current-thread" => arguments.current_thread = true,
                // What `cargo bench` adds.
                "--bench" => {}
                _ => return Err(format!("`{word}` is not known")),
            }
        }
        Ok(arguments)
    }

    pub(crate) fn takes_case(&self, name: &str) -> bool {
        takes(&self.cases, name)
    }

    pub(crate) fn takes_way(&self, name: &str) -> bool {
        takes(&self.ways, name)
    }
}

fn takes(asked: &[String], name: &str) -> bool {
    asked.is_empty() || asked.iter().any(|text| name.contains(text.as_str()))
}

fn positive<T: FromStr + PartialOrd + Default>(text: &str) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| *number > T::default());
    number.ok_or_else(|| format!("`{text}` is not a number above zero"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Arguments, String> {
        Arguments::read(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn filters_add_up_and_none_takes_all() {
        let all = read("").unwrap();
        assert!(all.takes_case("200 B, 1 task, get") && all.takes_way("raw"));
        let some = read("--case 9:1 --case 256 --rounds 3 --millis 250 --current-thread").unwrap();
        assert!(some.takes_case("200 B, 1 task, 9:1") && some.takes_case("200 B, 256 tasks, get"));
        assert!(!some.takes_case("200 B, 1 task, get"));
        assert_eq!((some.rounds, some.time, some.current_thread), (3, Duration::from_millis(250), true));
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        for line in ["--rounds", "--rounds 0", "--millis x", "--fast"] {
            assert!(read(line).is_err(), "{line}");
        }
    }
}
