//! What can be said of an error of any type, and of a panic.

use std::any::Any;
use std::error::Error as StdError;
use std::fmt::Display;
use std::io;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::Error;

/// The most of a panic's message that is kept, in bytes.
const LONGEST: usize = 1_024;

/// An error as what it is, where its type is one of those that are known to be errors.
///
/// The compiler cannot be asked whether a type parameter is an error, so these are compared one by one.
pub(super) fn known(error: &dyn Any) -> Option<&(dyn StdError + 'static)> {
    #[cfg(feature = "anyhow")]
    if let Some(error) = error.downcast_ref::<anyhow::Error>() {
        return Some(error.as_ref());
    }
    if let Some(error) = error.downcast_ref::<Box<dyn StdError + Send + Sync>>() {
        return Some(&**error);
    }
    if let Some(error) = error.downcast_ref::<Error>() {
        return Some(error);
    }
    error.downcast_ref::<io::Error>().map(|error| error as _)
}

/// How an error displays, where its type is one of those that are known to.
pub(crate) fn shown(error: &dyn Any) -> Option<&dyn Display> {
    #[cfg(feature = "anyhow")]
    if let Some(error) = error.downcast_ref::<anyhow::Error>() {
        // With `{:#}` it shows its sources, too.
        return Some(error);
    }
    if let Some(text) = error.downcast_ref::<String>() {
        return Some(text);
    }
    if let Some(text) = error.downcast_ref::<&'static str>() {
        return Some(text);
    }
    known(error).map(|error| error as _)
}

/// The text of a panic, cut to a bounded length.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> Arc<str> {
    let text = payload.downcast_ref::<String>().map(String::as_str).or_else(|| payload.downcast_ref().copied());
    text.map_or("without a message", beginning).into()
}

/// As [`panic_text`]. Drops the payload.
pub(crate) fn panic_message(payload: Box<dyn Any + Send>) -> Arc<str> {
    let message = panic_text(&*payload);
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        // The payload panicked as it was dropped, and so may this one.
        mem::forget(another);
    }
    message
}

/// As much of a text as is kept.
fn beginning(text: &str) -> &str {
    let end = (0..=text.len().min(LONGEST)).rev().find(|&end| text.is_char_boundary(end)).unwrap_or_default();
    &text[..end]
}
