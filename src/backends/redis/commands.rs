//! Commands, as they travel.

use bytes::Bytes;
use redis::{Arg, Cmd, RedisWrite};

use super::refusal::Lack;
use super::request::{Attempt, Kind, Single, Store};
use super::scripts::{FILL, LEASE, MOVE, RELEASE, RENEW, STORE};
use crate::backends::{Lease, LeaseToken};
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

/// The name of the command that removes.
pub(super) fn unlink(attempt: Attempt) -> &'static [u8] {
    if attempt.lacks.has(Lack::Unlink) { b"DEL" } else { b"UNLINK" }
}

/// Removes a value and ends the lease.
pub(super) fn remove(attempt: Attempt, key: &Key, lock: &str) -> Single {
    Single::Remove(on_all(unlink(attempt), [key.as_str(), lock].into_iter()))
}

/// One command for several of one kind, each of which names what it is about.
pub(super) fn merged(commands: &[Cmd]) -> Cmd {
    let names = || commands.iter().flat_map(|command| command.args_iter().skip(1));
    let mut merged = Cmd::with_capacity(commands.len() * 2 + 1, 0);
    // The last one knows most of what the server refuses.
    for arg in commands.last().into_iter().flat_map(|last| last.args_iter().take(1)).chain(names()) {
        if let Arg::Simple(bytes) = arg {
            merged.write_arg(bytes);
        }
    }
    merged
}

/// Stores a value and ends the lease.
pub(super) fn set(attempt: Attempt, key: &Key, lock: &str, value: &[u8], ttl: u64) -> Single {
    let (set, unlock) = (store(key.as_str(), value, ttl), on(b"DEL", lock));
    if attempt.lacks.has(Lack::Transactions) {
        in_row(unlock, vec![set])
    } else {
        Single::Store(Box::new(Store { set, unlock }))
    }
}

/// Like [`set`], of a short value that travels alone: in fewer commands. Together with others a transaction costs the
/// server less.
pub(super) fn set_alone(attempt: Attempt, key: &Key, lock: &str, value: &[u8], ttl: u64) -> Single {
    if !attempt.alone || value.len() >= LONG {
        return set(attempt, key, lock, value, ttl);
    }
    let mut command = STORE.call(attempt, &[key.as_str(), lock], value.len());
    command.write_arg(value);
    command.arg(ttl);
    command.into()
}

/// Like [`set`], of several values on one server.
pub(super) fn set_all(attempt: Attempt, items: &[(Key, Bytes)], locks: &[String], ttl: u64) -> Single {
    let mut stores: Vec<Cmd> = items.iter().map(|(key, value)| store(key.as_str(), value, ttl)).collect();
    let unlock = on_all(b"DEL", locks.iter().map(String::as_str));
    if attempt.lacks.has(Lack::Transactions) {
        return in_row(unlock, stores);
    }
    stores.push(unlock);
    Single::Atomic(stores)
}

/// Stores without a transaction. Leases are ended before and after: one that was granted before all is stored cannot
/// fill.
fn in_row(unlock: Cmd, mut stores: Vec<Cmd>) -> Single {
    stores.insert(0, unlock.clone());
    stores.push(unlock);
    Single::Row(stores)
}

fn store(key: &str, value: &[u8], ttl: u64) -> Cmd {
    let mut command = Cmd::with_capacity(5, key.len() + value.len() + 32);
    command.write_arg(b"SET");
    command.write_arg(key.as_bytes());
    command.write_arg(value);
    command.arg("PX").arg(ttl);
    command
}

/// What stands beside an entry while a lease of it is out.
pub(super) struct Beside {
    pub(super) lock: String,
    /// The mark of those who were refused the lease.
    pub(super) mark: String,
}

impl Beside {
    fn keys<'a>(&'a self, key: &'a Key) -> [&'a str; 3] {
        [key.as_str(), &self.lock, &self.mark]
    }
}

/// Answers 1 or 0, or the value that is there and was not `seen`. Of another holder's lease, `longest` is the longest
/// that it can last.
pub(super) fn lease(
    attempt: Attempt,
    key: &Key,
    beside: &Beside,
    (token, [hold, longest]): (&str, [u64; 2]),
    seen: Option<&Bytes>,
) -> Single {
    let (length, beginning) = seen.map_or((-1, &[][..]), |seen| (seen.len() as i64, &seen[..]));
    let beginning = &beginning[..beginning.len().min(Lease::COMPARED)];
    let mut command = LEASE.call(attempt, &beside.keys(key), token.len() + beginning.len());
    command.arg(token).arg(hold).arg(longest).arg(length);
    command.write_arg(beginning);
    if seen.is_some() { Single::Lease(command) } else { Single::Script(Kind::Lease, command) }
}

/// Answers 1 or 0.
pub(super) fn renew(attempt: Attempt, key: &Key, lock: &str, token: &str, hold: u64) -> Cmd {
    let mut command = RENEW.call(attempt, &[key.as_str(), lock], token.len());
    command.arg(token).arg(hold);
    command
}

/// What a fill needs to know.
pub(super) struct Fill<'a> {
    pub(super) key: &'a Key,
    pub(super) beside: &'a Beside,
    /// Where a long value waits for the decision.
    pub(super) aside: &'a str,
    pub(super) value: &'a [u8],
    pub(super) ttl: u64,
    pub(super) token: &'a str,
}

/// The size from which a value is stored aside and moved, so that the script does not copy it.
const LONG: usize = 2 * 1024;

impl Fill<'_> {
    /// Answers 2, 1 or 0, or an array whose last part that is.
    pub(super) fn command(&self, attempt: Attempt) -> Single {
        let again = u8::from(attempt.again);
        let [key, lock, mark] = self.beside.keys(self.key);
        if self.value.len() < LONG {
            let mut command = FILL.call(attempt, &[key, lock, mark], self.value.len() + self.token.len());
            command.arg(self.token).arg(again);
            command.write_arg(self.value);
            command.arg(self.ttl);
            return Single::Script(Kind::Fill, command);
        }
        let mut decide = MOVE.call(attempt, &[key, lock, mark, self.aside], self.token.len());
        decide.arg(self.token).arg(again);
        let both = vec![store(self.aside, self.value, self.ttl), decide];
        // The script alone decides: no other command reads what stands aside.
        if attempt.lacks.has(Lack::Transactions) { Single::Row(both) } else { Single::Atomic(both) }
    }
}

/// Answers 2, 1 or 0.
pub(super) fn release(attempt: Attempt, key: &Key, beside: &Beside, token: &str) -> Single {
    let mut command = RELEASE.call(attempt, &beside.keys(key), token.len());
    command.arg(token);
    Single::Script(Kind::Release, command)
}

pub(super) fn ping() -> Cmd {
    let mut command = Cmd::with_capacity(1, 4);
    command.write_arg(b"PING");
    command
}

/// A token, as a lock holds it.
pub(super) fn text(token: LeaseToken) -> String {
    format!("{:032x}", token.as_u128())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merged_commands_name_all_that_each_of_them_names() {
        let commands = [on_all(b"UNLINK", ["a", "a:lock"].into_iter()), on_all(b"DEL", ["b", "b:lock"].into_iter())];
        let expected = on_all(b"DEL", ["a", "a:lock", "b", "b:lock"].into_iter());
        assert_eq!(merged(&commands).get_packed_command(), expected.get_packed_command());
    }

    #[test]
    fn tokens_are_32_lower_hex_digits() {
        let token = text(LeaseToken::random());
        assert!(token.len() == 32 && token.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{token}");
    }
}
