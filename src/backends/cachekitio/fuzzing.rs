//! What the service says, as a function of bytes.

use super::veil::Veil;

/// The longest body that is accepted.
const LIMIT: usize = 1 << 10;

/// An answer is the same in however many reads it comes, and no body is longer than the limit.
pub fn api_answers(bytes: &[u8]) {
    let body = |step: usize| {
        let (mut veil, mut seen) = (Veil::new(LIMIT), Vec::new());
        let mut parts = bytes.chunks(step);
        parts.try_for_each(|part| veil.pass(part, &mut seen)).ok()?;
        Some(veil.into_body())
    };
    let whole = body(usize::MAX);
    assert!(whole.as_ref().is_none_or(|body| body.len() <= LIMIT.min(bytes.len())));
    assert_eq!([1, 7].map(body), [whole.clone(), whole]);
}
