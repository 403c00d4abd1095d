//! The echo check: whether answers still belong to the requests that they are taken for.
//!
//! Answers have no names; the client gives each to the oldest request. One too many, or one that is lost on the way,
//! leaves all others in the wrong hands, and where they are of one kind, nothing shows it while requests are always in
//! flight. So a word goes with every batch and with some of what travels alone, which the server says again: where
//! another answer stands in its place, the connection is out of step.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use redis::Value;

use super::protocol::Fault;
use crate::random;

/// What is known of one connection.
#[derive(Debug)]
pub(super) struct EchoCheck {
    /// Requests since the last word.
    asked: AtomicU32,
    /// The last word. No other connection begins with the same.
    word: AtomicU64,
    /// Whether the server refuses to say a word again.
    is_mute: AtomicBool,
}

/// One request in so many takes a word with it, if it travels alone.
const PACE: u32 = 16;

impl Default for EchoCheck {
    fn default() -> Self {
        Self { asked: AtomicU32::new(0), word: AtomicU64::new(random::number()), is_mute: AtomicBool::new(false) }
    }
}

impl EchoCheck {
    /// Counts a request, and tells whether it takes a word with it.
    pub(super) fn is_due(&self) -> bool {
        let before = self.asked.load(Relaxed);
        // Two at once may count as one: it is a pace.
        self.asked.store(if before + 1 >= PACE { 0 } else { before + 1 }, Relaxed);
        before + 1 >= PACE
    }

    /// An answer was missing: the next request takes a word with it.
    pub(super) fn doubt(&self) {
        self.asked.store(PACE - 1, Relaxed);
    }

    /// A word that was never said on this connection. `None` where the server says none again.
    pub(super) fn word(&self) -> Option<String> {
        (!self.is_mute.load(Relaxed)).then(|| format!("{:016x}", self.word.fetch_add(1, Relaxed)))
    }

    /// Takes what stands in the place of a word.
    pub(super) fn hear(&self, word: &str, answer: Option<Value>) -> Result<(), Fault> {
        match answer {
            Some(Value::BulkString(said)) if said == word.as_bytes() => Ok(()),
            Some(Value::ServerError(_)) => {
                self.is_mute.store(true, Relaxed);
                Ok(())
            }
            _ => Err(Fault::Unasked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn echo_is_due_at_its_pace_and_after_a_missing_answer() {
        let check = EchoCheck::default();
        let due: Vec<u32> = (1..=3 * PACE).filter(|_| check.is_due()).collect();
        assert_eq!(due, [PACE, 2 * PACE, 3 * PACE]);
        check.doubt();
        assert!(check.is_due() && !check.is_due());
    }

    #[test]
    fn only_the_word_itself_or_a_refusal_proves_nothing_wrong() {
        let check = EchoCheck::default();
        let (first, second) = (check.word().unwrap(), check.word().unwrap());
        let bulk = |text: &str| Some(Value::BulkString(text.into()));
        assert_eq!(check.hear(&second, bulk(&first)), Err(Fault::Unasked));
        assert_eq!(check.hear(&second, None), Err(Fault::Unasked));
        assert_eq!(check.hear(&second, Some(Value::Nil)), Err(Fault::Unasked));
        assert_eq!(check.hear(&second, bulk(&second)), Ok(()));
        let refused = redis::parse_redis_value(b"-ERR unknown command 'ECHO'\r\n").unwrap();
        assert_eq!((check.hear(&second, Some(refused)), check.word()), (Ok(()), None));
    }
}
