//! Joined scripts: what several tasks ask about one entry each, decided by one script.
//!
//! A part of what a script costs a server is its call, and another the commands that each of several would run and one
//! runs once: a lease costs 3.9 us alone and 2.4 us of 32, a fill 4.7 us and 3.3 us, besides what each command takes to be
//! read and answered. A script holds up all other clients, so one decides for about a tenth of a millisecond at most; what
//! is more becomes several.

use std::iter;

use redis::{Arg, Cmd};

use super::request::Kind;
use super::scripts;

/// Scripts of a batch, and the tasks that wait for them.
pub(super) struct Scripts<T>([Vec<(Cmd, T)>; 3]);

/// The most entries that one script is about.
const MOST: usize = 32;
/// The most bytes that one is called with, or is likely to answer with.
const BYTES: usize = 32 * 1024;

impl<T> Default for Scripts<T> {
    fn default() -> Self {
        Self([const { Vec::new() }; 3])
    }
}

impl<T> Scripts<T> {
    pub(super) fn add(&mut self, kind: Kind, command: Cmd, task: T) {
        self.0[kind as usize].push((command, task));
    }

    /// As few scripts as there may be, and who waits for the parts of each answer, or for all of it, if it is one. The
    /// values that were read lately have so many bytes on `average`.
    pub(super) fn joined(self, average: usize) -> impl Iterator<Item = (Cmd, Vec<T>)> {
        let leases = (BYTES / average.max(1)).clamp(1, MOST);
        let kinds = [(Kind::Lease, leases), (Kind::Fill, MOST), (Kind::Release, MOST)];
        self.0.into_iter().zip(kinds).flat_map(|(mut calls, (kind, most))| {
            iter::from_fn(move || {
                let few = calls.drain(..fitting(&calls, most));
                let (commands, tasks): (Vec<Cmd>, Vec<T>) = few.unzip();
                Some((join(kind, commands)?, tasks))
            })
        })
    }
}

/// How many of these calls go into one script, `most` at most.
fn fitting<T>(calls: &[(Cmd, T)], most: usize) -> usize {
    let mut bytes = 0;
    let fit = calls.iter().take(most).take_while(|(call, _)| {
        bytes += call.args_iter().map(|arg| if let Arg::Simple(arg) = arg { arg.len() } else { 0 }).sum::<usize>();
        bytes <= BYTES
    });
    fit.count().max(1).min(calls.len())
}

/// The script that does what these do, if there are any.
fn join(kind: Kind, mut commands: Vec<Cmd>) -> Option<Cmd> {
    if commands.len() > 1 { Some(scripts::joined(kind, commands.iter())) } else { commands.pop() }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many tasks wait for each script where so many ask.
    fn sizes(asked: [usize; 3], average: usize) -> Vec<usize> {
        let mut scripts = Scripts::default();
        for (kind, count) in [Kind::Lease, Kind::Fill, Kind::Release].into_iter().zip(asked) {
            (0..count).for_each(|task| scripts.add(kind, redis::cmd("EVALSHA"), task));
        }
        scripts.joined(average).map(|(_, tasks)| tasks.len()).collect()
    }

    #[test]
    fn scripts_are_of_one_kind_and_of_a_few_entries() {
        assert!(sizes([0, 0, 0], 200).is_empty());
        assert_eq!(sizes([1, 2, 3], 200), [1, 2, 3]);
        assert_eq!(sizes([70, 32, 33], 200), [32, 32, 6, 32, 32, 1]);
        assert_eq!(sizes([5, 5, 5], 16 << 10), [2, 2, 1, 5, 5], "only leases are answered with values");
        assert_eq!(sizes([2, 0, 0], 1 << 20), [1, 1]);
    }

    #[test]
    fn script_is_called_with_a_few_bytes() {
        let mut scripts = Scripts::default();
        for length in [15_000, 15_000, 15_000, 40_000, 100, 100] {
            scripts.add(Kind::Fill, redis::cmd("EVALSHA").arg(vec![7; length]).to_owned(), ());
        }
        assert_eq!(scripts.joined(200).map(|(_, tasks)| tasks.len()).collect::<Vec<_>>(), [2, 1, 1, 2]);
    }

    #[test]
    fn joined_script_names_the_keys_of_each_and_their_arguments() {
        let call = |name: &str, id: u32| {
            let mut call = redis::cmd(name);
            call.arg("hash").arg(3).arg(format!("{id}")).arg(format!("{id}:lock")).arg(format!("{id}:wait"));
            call.arg(format!("token {id}")).arg(10 * id).arg(100 * id).arg(-1).arg("").to_owned()
        };
        let words = |command: Cmd| -> Vec<String> {
            let word = |arg| {
                if let redis::Arg::Simple(bytes) = arg { String::from_utf8_lossy(bytes).into() } else { String::new() }
            };
            command.args_iter().map(word).collect()
        };
        let joined = words(join(Kind::Lease, vec![call("EVALSHA", 1), call("EVALSHA", 2)]).unwrap());
        assert_eq!((&*joined[0], joined[1].len()), ("EVALSHA", 40));
        let keys = ["6", "1", "2", "1:lock", "2:lock", "1:wait", "2:wait"];
        assert_eq!(joined[2..], [&keys[..], &["token 1", "10", "100", "token 2", "20", "200"]].concat());
        let in_full = words(join(Kind::Release, vec![call("EVALSHA", 1), call("EVAL", 2)]).unwrap());
        assert!(in_full[0] == "EVAL" && in_full[1].contains("return answers"), "one is not known by its hash");
        assert_eq!(words(join(Kind::Lease, vec![call("EVALSHA", 1)]).unwrap()), words(call("EVALSHA", 1)));
    }
}
