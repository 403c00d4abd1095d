//! What a Redis server says, as a function of bytes.

use super::replies::Replies;
use super::requests::Requests;

/// Commands of an entry, a batch, a script, a transaction and the bus, as the client writes them.
const WRITTEN: &[&[&str]] = &[
    &["CLIENT", "TRACKING", "ON", "BCAST"],
    &["GET", "users:42"],
    &["MGET", "users:42", "users:43"],
    &["SET", "users:42", "ada", "PX", "60000"],
    &["PTTL", "users:42"],
    &["MULTI"],
    &["GET", "users:42"],
    &["EXEC"],
    &["XRANGE", "users:bus", "-", "+"],
    &["EVALSHA", "0123456789012345678901234567890123456789", "1", "users:42", "token"],
    &["EVALSHA", "0123456789012345678901234567890123456789", "6", "a", "b", "c", "d", "e", "f", "token", "token"],
];

/// Answers to some commands are measured alike, however many reads they come in.
pub fn redis_answers(bytes: &[u8]) {
    let verdict = |step: usize| {
        let (mut requests, mut replies) = (Requests::default(), Replies::default());
        for words in WRITTEN {
            requests.take(format!("*{}\r\n", words.len()).as_bytes());
            words.iter().for_each(|word| requests.take(format!("${}\r\n{word}\r\n", word.len()).as_bytes()));
        }
        bytes.chunks(step).try_for_each(|part| replies.take(part, &mut requests, 1 << 10)).is_ok()
    };
    let whole = verdict(usize::MAX);
    assert_eq!([1, 7].map(verdict), [whole; 2]);
}
