//! Commands, as they travel.

use redis::{Cmd, RedisWrite};

use super::scripts::{FILL, LEASE, RELEASE, SET};
use super::wire::Attempt;
use crate::key::Key;

/// A command on one key.
pub(super) fn on(name: &[u8], key: &str) -> Cmd {
    let mut command = Cmd::with_capacity(2, name.len() + key.len());
    command.write_arg(name);
    command.write_arg(key.as_bytes());
    command
}

/// A command on several names.
pub(super) fn on_all<'a>(name: &[u8], names: impl Iterator<Item = &'a str> + Clone) -> Cmd {
    let (count, length) = names.clone().fold((0, 0), |(count, length), name| (count + 1, length + name.len()));
    let mut command = Cmd::with_capacity(count + 1, name.len() + length);
    command.write_arg(name);
    names.for_each(|name| command.write_arg(name.as_bytes()));
    command
}

pub(super) fn remove(key: &Key, lock: &str) -> Cmd {
    let mut command = Cmd::with_capacity(3, 6 + key.as_str().len() + lock.len());
    command.write_arg(b"UNLINK");
    command.write_arg(key.as_str().as_bytes());
    command.write_arg(lock.as_bytes());
    command
}

pub(super) fn touch(key: &Key, ttl: u64) -> Cmd {
    let mut command = on(b"PEXPIRE", key.as_str());
    command.arg(ttl);
    command
}

pub(super) fn set(attempt: Attempt, key: &Key, lock: &str, value: &[u8], ttl: u64) -> Cmd {
    let mut command = SET.call(attempt, key.as_str(), lock, value.len());
    command.write_arg(value);
    command.arg(ttl);
    command
}

/// Answers OK or nothing, or in another attempt 1 or 0.
pub(super) fn lease(attempt: Attempt, key: &Key, lock: &str, token: &str, hold: u64) -> Cmd {
    if attempt.again {
        let mut command = LEASE.call(attempt, key.as_str(), lock, token.len());
        command.arg(token).arg(hold);
        return command;
    }
    let mut command = Cmd::with_capacity(6, lock.len() + token.len() + 32);
    command.arg("SET").arg(lock).arg(token).arg("NX").arg("PX").arg(hold);
    command
}

pub(super) fn fill(attempt: Attempt, key: &Key, lock: &str, value: &[u8], ttl: u64, token: &str) -> Cmd {
    let mut command = FILL.call(attempt, key.as_str(), lock, value.len() + token.len());
    command.write_arg(value);
    command.arg(ttl).arg(token).arg(u8::from(attempt.again));
    command
}

pub(super) fn release(attempt: Attempt, key: &Key, lock: &str, token: &str) -> Cmd {
    let mut command = RELEASE.call(attempt, key.as_str(), lock, token.len());
    command.arg(token);
    command
}

pub(super) fn ping() -> Cmd {
    let mut command = Cmd::with_capacity(1, 4);
    command.write_arg(b"PING");
    command
}
