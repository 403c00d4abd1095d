//! Commands that a server refuses: an ACL leaves them out, a proxy does not pass them on, somebody renamed them.
//!
//! A server's own words stay out of messages. So the name that is told is one of those that this backend sends.

use redis::RedisError;

use crate::error::{Error, ErrorKind};

const COMMANDS: [&str; 22] = [
    "ASKING", "CLIENT", "CLUSTER", "DEL", "EVAL", "EVALSHA", "EXEC", "EXISTS", "GET", "INFO", "MGET", "MULTI",
    "PEXPIRE", "PING", "PTTL", "ROLE", "SELECT", "SET", "UNLINK", "XADD", "XRANGE", "XREAD",
];

/// What it means that the server refuses one command, if it does.
pub(super) fn of(error: &RedisError, place: &str) -> Option<Error> {
    let is_denied = error.code() == Some("NOPERM");
    let (_, rest) = error.detail()?.split_once(if is_denied { "run the " } else { "unknown command " })?;
    let name = rest.split(['\'', '`', '|']).nth(1)?;
    let command = COMMANDS.iter().find(|command| command.eq_ignore_ascii_case(name))?;
    Some(if is_denied { denied(command, place) } else { unknown(command, place) })
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
    use super::*;

    fn told(answer: &str) -> Option<Error> {
        let value = redis::parse_redis_value(format!("-{answer}\r\n").as_bytes()).unwrap();
        of(&value.extract_error().unwrap_err(), "h:1")
    }

    #[test]
    fn the_command_is_named_and_what_to_grant() {
        for (answer, kind, words) in [
            ("NOPERM this user has no permissions to run the 'xread' command", ErrorKind::Denied, ["XREAD", "+xread"]),
            ("NOPERM User ada has no permissions to run the 'xadd' command", ErrorKind::Denied, ["XADD", "+xadd"]),
            ("ERR unknown command 'XRANGE', with args beginning with: 'x'", ErrorKind::Backend, ["XRANGE", "proxy"]),
            ("ERR unknown command `EVALSHA`, with args beginning with:", ErrorKind::Backend, ["EVALSHA", "h:1"]),
            ("ERR unknown command 'xread'", ErrorKind::Backend, ["XREAD", "6.2"]),
        ] {
            let error = told(answer).unwrap();
            let text = error.to_string();
            assert!(error.kind() == kind && words.iter().all(|word| text.contains(word)), "{error}");
            assert!(!text.contains("ada"), "{text}");
        }
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
