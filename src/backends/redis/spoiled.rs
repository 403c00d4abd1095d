//! Spoiled keys: what is under a key is of no use as what this backend keeps there.
//!
//! Any program that writes to the server can put something of another type under any name, or use up the ids of a
//! stream. Each would fail every later command on the key, for good. So a read takes it for nothing, and a write puts
//! what it writes in its place.

use redis::RedisError;

use crate::error::{Error, ErrorKind};

/// The source of the error of such a key.
#[derive(Debug, thiserror::Error)]
#[error("the key holds something that is of no use")]
struct Spoiled;

/// What it means that the server refuses a command for what is under its key, if it does.
pub(super) fn of(error: &RedisError, place: &str) -> Option<Error> {
    let what = if is_of_another_type(error) {
        "keeps something of another type under a key of the cache (WRONGTYPE)"
    } else if error.detail().is_some_and(says_used_up) {
        "has no ids left for the stream of the bus"
    } else {
        return None;
    };
    let message = format!("Redis at {place} {what}: see which program writes below the namespace of the cache");
    Some(Error::with_source(ErrorKind::Backend, message, Spoiled))
}

/// Whether an operation failed for what is under its key.
pub(super) fn is_spoiled(error: &Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<Spoiled>())
}

/// Whether the server refuses a command because there is something of another type under its key.
pub(super) fn is_of_another_type(error: &RedisError) -> bool {
    error.code() == Some("WRONGTYPE")
}

/// The words of servers that can append nothing more, because the last id is the last there can be.
fn says_used_up(detail: &str) -> bool {
    detail.contains("exhausted the last possible ID") || detail.contains("smaller than the target stream top item")
}

#[cfg(test)]
mod tests {
    use super::super::error::refused;
    use super::*;

    fn told(answer: &str) -> Option<Error> {
        of(&refused(answer), "h:1")
    }

    #[test]
    fn wrong_type_or_used_up_ids_mean_a_spoiled_stream() {
        for answer in [
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "ERR The stream has exhausted the last possible ID, unable to add more items",
            "ERR The ID specified in XADD is equal or smaller than the target stream top item",
        ] {
            let error = told(answer).unwrap();
            assert!(is_spoiled(&error) && error.kind() == ErrorKind::Backend, "{error:?}");
            assert!(error.to_string().contains("h:1"), "{error}");
        }
        for answer in ["OOM command not allowed", "ERR unknown command 'XADD'", "NOPERM No permissions", "LOADING x"] {
            assert!(told(answer).is_none(), "{answer}");
        }
    }
}
