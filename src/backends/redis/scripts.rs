//! Scripts: what the server must do in one step.
//!
//! The first key is the entry's, the second its lock's; both are on one server. Each may be carried out twice without
//! harm, because an answer can be lost with its connection.

use std::sync::OnceLock;

use redis::Cmd;

use super::wire::Attempt;

/// A script, called by its hash where the server knows it.
pub(super) struct Script {
    code: &'static str,
    hash: OnceLock<String>,
}

/// Stores a value and ends the lease. Arguments: value, milliseconds.
pub(super) static SET: Script =
    Script::new("redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) redis.call('DEL', KEYS[2]) return 1");

/// Takes the lease, also one that the token has already. Arguments: token, milliseconds.
pub(super) static LEASE: Script = Script::new(
    "if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end \
     if redis.call('GET', KEYS[2]) == ARGV[1] then return 1 end return 0",
);

/// Stores a value and ends the lease, if the token holds it. Arguments: value, milliseconds, token, and 1 for another
/// attempt: a value that is there byte for byte is then the one that the first attempt stored.
pub(super) static FILL: Script = Script::new(
    "if redis.call('GET', KEYS[2]) == ARGV[3] then \
     redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) redis.call('DEL', KEYS[2]) return 1 end \
     if ARGV[4] == '1' and redis.call('GET', KEYS[1]) == ARGV[1] then return 1 end return 0",
);

/// Ends the lease, if the token holds it. Argument: token.
pub(super) static RELEASE: Script =
    Script::new("if redis.call('GET', KEYS[2]) == ARGV[1] then return redis.call('DEL', KEYS[2]) end return 0");

impl Script {
    const fn new(code: &'static str) -> Self {
        Self { code, hash: OnceLock::new() }
    }

    /// The call of this script, without its arguments.
    pub(super) fn call(&self, attempt: Attempt, key: &str, lock: &str, room: usize) -> Cmd {
        let mut command = Cmd::with_capacity(8, room + key.len() + lock.len() + 128);
        if attempt.in_full {
            command.arg("EVAL").arg(self.code);
        } else {
            command.arg("EVALSHA").arg(self.hash.get_or_init(|| redis::Script::new(self.code).get_hash().to_owned()));
        }
        command.arg("2").arg(key).arg(lock);
        command
    }
}
