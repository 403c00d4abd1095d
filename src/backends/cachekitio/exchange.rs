//! The exchange of a thread: what the client must not know of it, because it would tell the program's log.
//!
//! ureq logs the head of each request, with the path, which holds the key, and with every header. So it is given another
//! path and no API key, and the connection puts the right ones in below it. A request is made on one thread from its
//! beginning to its end, so the thread is where the connection finds them.

use std::cell::RefCell;

use super::veil::{Veil, strange};

/// The path that the client knows.
pub(super) const PATH: &str = "/-";

/// One request and its answer.
pub(super) struct Exchange<'a> {
    pub(super) path: &'a str,
    pub(super) authorization: &'a str,
    pub(super) veil: Veil,
}

struct State {
    /// What stands in place of the first line. Taken when it is sent.
    line: Option<(String, String)>,
    veil: Veil,
}

thread_local!(static STATE: RefCell<Option<State>> = const { RefCell::new(None) });

/// Ends the exchange of this thread, however it ends.
struct Running;

impl Drop for Running {
    fn drop(&mut self) {
        STATE.take();
    }
}

impl Exchange<'_> {
    /// Makes the exchange by `client`, which reads the answer to its end. Also returns the body of the answer.
    pub(super) fn run<R>(self, client: impl FnOnce() -> R) -> (R, Vec<u8>) {
        let shown = format!(" {PATH} HTTP/1.1\r\n");
        let sent = format!(" {} HTTP/1.1\r\nauthorization: {}\r\n", self.path, self.authorization);
        STATE.set(Some(State { line: Some((shown, sent)), veil: self.veil }));
        let running = Running;
        let result = client();
        let body = STATE.take().map_or_else(Vec::new, |state| state.veil.into_body());
        drop(running);
        (result, body)
    }
}

/// What is to be sent in place of these bytes, if it is something else.
pub(super) fn unveil(bytes: &[u8]) -> Result<Option<Vec<u8>>, ureq::Error> {
    STATE.with_borrow_mut(|state| {
        let Some((shown, sent)) = state.as_mut().and_then(|state| state.line.take()) else { return Ok(None) };
        let method = bytes.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
        let rest = bytes[method..].strip_prefix(shown.as_bytes()).ok_or_else(strange)?;
        Ok(Some([&bytes[..method], sent.as_bytes(), rest].concat()))
    })
}

/// Adds what the client may see of the bytes that arrived to `seen`. Whether they are all of the answer.
pub(super) fn veil(bytes: &[u8], seen: &mut Vec<u8>) -> Result<bool, ureq::Error> {
    STATE.with_borrow_mut(|state| {
        let veil = &mut state.as_mut().ok_or_else(strange)?.veil;
        veil.pass(bytes, seen)?;
        Ok(veil.is_alone())
    })
}
