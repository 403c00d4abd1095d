//! Commands that a server refuses: an ACL leaves them out, a proxy does not pass them on, an operator renamed them.
//!
//! A server's own words stay out of messages. So the name that is told is one of those that this backend sends.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

use redis::RedisError;

use crate::error::{Error, ErrorKind};

const COMMANDS: [&str; 26] = [
    "ASKING", "CLIENT", "CLUSTER", "DEL", "ECHO", "EVAL", "EVALSHA", "EXEC", "EXISTS", "GET", "INFO", "MGET", "MULTI",
    "PEXPIRE", "PING", "PTTL", "ROLE", "SCAN", "SELECT", "SET", "STRLEN", "UNLINK", "XADD", "XINFO", "XRANGE", "XREAD",
];

/// What it means that the server refuses one command, if it does.
pub(super) fn of(error: &RedisError, place: &str) -> Option<Error> {
    let command = command(error)?;
    Some(match is_denied(error) {
        _ if SCRIPTS.contains(&command) => unscripted(command, place),
        true => denied(command, place),
        false => unknown(command, place),
    })
}

/// Which command the server refuses, if that is why there is an error.
fn command(error: &RedisError) -> Option<&'static str> {
    let detail = error.detail()?;
    let rest = match is_denied(error) {
        true => detail.split_once("run the ")?.1,
        // As proxies put it, too.
        false => detail.split_once("unknown command ").or_else(|| detail.split_once("unsupported command "))?.1,
    };
    let name = rest.split(['\'', '`', '|']).nth(1)?;
    COMMANDS.into_iter().find(|command| command.eq_ignore_ascii_case(name))
}

fn is_denied(error: &RedisError) -> bool {
    error.code() == Some("NOPERM")
}

/// What leases are made of.
const SCRIPTS: [&str; 2] = ["EVAL", "EVALSHA"];

/// A cache that meets [`ErrorKind::Unsupported`] goes on without leases.
pub(super) fn unscripted(command: &str, place: &str) -> Error {
    let message = format!(
        "Redis at {place} refuses the command {command}, which leases need: the cache goes on without them, so several \
         processes may compute a value at the same time; grant +eval and +evalsha in the ACL, or use a server and proxy \
         that have them, and start anew"
    );
    Error::new(ErrorKind::Unsupported, message)
}

/// What this backend can do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Lack {
    /// MULTI and EXEC. What is to be done as one is done in an order in which it may be seen half done.
    Transactions = 1,
    /// UNLINK. DEL does the same, and takes longer for a long value.
    Unlink = 2,
}

impl Lack {
    /// What the server lacks, if that is why there is an error.
    pub(super) fn of(error: &RedisError) -> Option<Self> {
        match command(error)? {
            "MULTI" | "EXEC" => Some(Self::Transactions),
            "UNLINK" => Some(Self::Unlink),
            _ => None,
        }
    }
}

/// All that a server lacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lacks(u8);

impl Lacks {
    pub(super) fn has(self, lack: Lack) -> bool {
        self.0 & lack as u8 != 0
    }
}

/// What a server is known to lack.
#[derive(Debug, Default)]
pub(super) struct Known(AtomicU8);

impl Known {
    pub(super) fn get(&self) -> Lacks {
        Lacks(self.0.load(Relaxed))
    }

    /// Notes what a server lacks, and returns all.
    pub(super) fn note(&self, lack: Lack) -> Lacks {
        Lacks(self.0.fetch_or(lack as u8, Relaxed) | lack as u8)
    }
}

fn denied(command: &str, place: &str) -> Error {
    let grant = command.to_ascii_lowercase();
    let message = format!(
        "Redis at {place} does not let this user run {command} (NOPERM): grant it +{grant} in the ACL, for the keys of the \
         cache"
    );
    Error::new(ErrorKind::Denied, message)
}

fn unknown(command: &str, place: &str) -> Error {
    let message = format!(
        "{place} does not know the command {command}: use Redis 6.2 or newer that has it under this name, and no proxy \
         that leaves it out"
    );
    Error::new(ErrorKind::Backend, message)
}

#[cfg(test)]
mod tests {
    use super::super::error::refused;
    use super::*;

    fn told(answer: &str) -> Option<Error> {
        of(&refused(answer), "h:1")
    }

    #[test]
    fn the_command_is_named_and_what_to_grant() {
        for (answer, kind, words) in [
            ("NOPERM this user has no permissions to run the 'xread' command", ErrorKind::Denied, ["XREAD", "+xread"]),
            ("NOPERM User ada has no permissions to run the 'xadd' command", ErrorKind::Denied, ["XADD", "+xadd"]),
            ("ERR unknown command 'XRANGE', with args beginning with: 'x'", ErrorKind::Backend, ["XRANGE", "proxy"]),
            ("ERR unknown command `EVALSHA`, with args beginning with:", ErrorKind::Unsupported, ["EVALSHA", "leases"]),
            ("NOPERM User ada has no permissions to run the 'eval' command", ErrorKind::Unsupported, ["EVAL", "+eval"]),
            ("ERR unsupported command 'ptTL'", ErrorKind::Backend, ["PTTL", "proxy"]),
            ("ERR unknown command 'xread'", ErrorKind::Backend, ["XREAD", "6.2"]),
        ] {
            let error = told(answer).unwrap();
            let text = error.to_string();
            assert!(error.kind() == kind && words.iter().all(|word| text.contains(word)), "{error}");
            assert!(!text.contains("ada"), "{text}");
        }
    }

    #[test]
    fn what_can_be_done_without_is_known() {
        let lack = |answer: &str| Lack::of(&refused(answer));
        assert_eq!(lack("ERR unknown command 'MULTI'"), Some(Lack::Transactions));
        assert_eq!(lack("NOPERM User x has no permissions to run the 'unlink' command"), Some(Lack::Unlink));
        assert_eq!(lack("ERR unknown command 'GET'"), None);
        assert_eq!(lack("NOPERM No permissions to access a key"), None);
        let known = Known::default();
        assert_eq!(known.get(), Lacks::default());
        known.note(Lack::Unlink);
        let lacks = known.note(Lack::Transactions);
        assert!(lacks == known.get() && lacks.has(Lack::Unlink) && lacks.has(Lack::Transactions));
    }

    #[test]
    fn no_other_word_of_the_server_is_told() {
        for answer in [
            "NOPERM No permissions to access a key",
            "NOPERM this user has no permissions to run the 'hunter2' command",
            "ERR unknown command 'hunter2', with args beginning with: 'x'",
            "ERR unknown command",
            "WRONGTYPE Operation against a key holding the wrong kind of value",
        ] {
            assert!(told(answer).is_none(), "{answer}");
        }
    }
}
