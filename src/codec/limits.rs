//! How much one call of `decode` may build.
//!
//! Bytes from outside choose how deep a recursive type nests, how many elements a sequence has, and so how much memory
//! they take: an element of one byte may be one of kilobytes in memory. Postcard bounds nothing of this, the other formats
//! only what they see themselves: an `Option` inside an `Option` costs them no byte. The layer in
//! `limited` sits between a format and a type, and counts here, whatever the format.
//!
//! What is counted are the elements of sequences and maps, by their size in memory, and what lies behind a pointer: a
//! value that does not fit into the place that its parent has for it. Text is as long as in the bytes, which are no
//! more than a value may have either. So a value takes at most twice the limit, and while collections grow four times.

use std::any::type_name;
use std::cell::Cell;

use super::Context;
use crate::error::{Error, ErrorKind};
use crate::stack::StackMark;

/// How many sequences, maps, enums, options and newtypes may be open at once.
const MAX_DEPTH: u16 = 256;

/// How many elements of no bytes, such as `()`, one value may hold.
const MAX_EMPTY: usize = 65_536;

/// The size of an element up to which a collection that takes its memory ahead stays within the limit.
const HINTED: usize = 1_024;

/// What one call of `decode` may still do.
pub(super) struct Limits {
    stack: StackMark,
    input: usize,
    max: usize,
    /// How many more elements may be read.
    elements: Cell<usize>,
    /// How many more bytes may be built.
    memory: Cell<usize>,
    /// For how many more elements memory may be taken ahead.
    hints: Cell<usize>,
    refused: Cell<Option<(ErrorKind, &'static str)>>,
}

impl Limits {
    /// The limits of decoding these bytes: one element a byte, and the empty ones, of no more memory than the context
    /// allows.
    pub(super) fn of(bytes: &[u8], context: Context<'_>) -> Self {
        let (input, max) = (bytes.len(), context.max_value_size());
        Self {
            stack: StackMark::here(),
            input,
            max,
            elements: Cell::new(max_elements(input)),
            memory: Cell::new(max),
            hints: Cell::new(input),
            refused: Cell::new(None),
        }
    }

    /// What reading a `T` may build.
    pub(super) fn scope<T, E: serde::de::Error>(&self) -> Result<Scope<'_>, E> {
        if self.input > self.max {
            return Err(self.too_large());
        }
        Ok(Scope { limits: self, room: room_of::<T>(), depth: MAX_DEPTH })
    }

    /// Fails if a limit was hit: a type that takes its default for what cannot be read is not what was stored.
    pub(super) fn kept<E: serde::de::Error>(&self) -> Result<(), E> {
        self.refused.get().map_or(Ok(()), |(_, reason)| Err(E::custom(reason)))
    }

    /// Which limit was hit, if one was.
    pub(super) fn refusal(&self) -> Option<Error> {
        self.refused.get().map(|(kind, reason)| Error::new(kind, reason))
    }

    #[cold]
    fn refuse<E: serde::de::Error>(&self, reason: &'static str) -> E {
        self.refused.set(Some((ErrorKind::Decode, reason)));
        E::custom(reason)
    }

    #[cold]
    fn too_large<E: serde::de::Error>(&self) -> E {
        let reason = "the value is larger than the setting max_value_size";
        self.refused.set(Some((ErrorKind::TooLarge, reason)));
        E::custom(reason)
    }

    /// Counts bytes that are built.
    #[inline]
    fn build<E: serde::de::Error>(&self, bytes: usize) -> Result<(), E> {
        match self.memory.get().checked_sub(bytes) {
            Some(left) => {
                self.memory.set(left);
                Ok(())
            }
            None => Err(self.too_large()),
        }
    }
}

/// How many elements, ends of sequences among them, may be read from this many bytes: one a byte, and the empty ones.
fn max_elements(bytes: usize) -> usize {
    bytes.saturating_add(MAX_EMPTY)
}

/// The bytes of a `T` in place.
#[inline]
fn room_of<T>() -> u32 {
    u32::try_from(size_of::<T>()).unwrap_or(u32::MAX)
}

/// Checks that what was written to this many bytes will be read: so many `elements` that take `memory`.
pub(super) fn check_written<T>(
    elements: usize,
    memory: usize,
    bytes: usize,
    context: Context<'_>,
) -> Result<(), Error> {
    if elements > max_elements(bytes) {
        let message = format!("this `{}` has more than 65,536 elements of no bytes", type_name::<T>());
        return Err(Error::new(ErrorKind::Encode, message));
    }
    let max = context.max_value_size();
    if memory.max(bytes) > max {
        let size = memory.max(bytes);
        let message = format!("a value of {size} bytes is larger than the {max} bytes of the setting max_value_size");
        return Err(Error::new(ErrorKind::TooLarge, message));
    }
    Ok(())
}

/// Where in the value we are.
#[derive(Clone, Copy)]
pub(super) struct Scope<'a> {
    limits: &'a Limits,
    /// The bytes that the parent has in place for what is read next.
    room: u32,
    depth: u16,
}

impl Scope<'_> {
    /// The same place, which the parent has for a `T`.
    #[inline]
    pub(super) fn of<T>(self) -> Self {
        Self { room: room_of::<T>(), ..self }
    }

    /// Goes into a `T`.
    #[inline]
    pub(super) fn deeper<T, E: serde::de::Error>(self) -> Result<Self, E> {
        let Some(depth) = self.depth.checked_sub(1) else {
            return Err(self.limits.refuse("the bytes nest more than 256 levels deep"));
        };
        if self.limits.stack.is_far() {
            return Err(self.limits.refuse("the bytes nest too deep for the stack"));
        }
        let size = room_of::<T>();
        if size > self.room {
            self.limits.build((size - self.room) as usize)?;
        }
        Ok(Self { depth, room: size, limits: self.limits })
    }

    /// Counts an element that the bytes may have.
    #[inline]
    pub(super) fn element<E: serde::de::Error>(self) -> Result<(), E> {
        match self.limits.elements.get().checked_sub(1) {
            Some(left) => {
                self.limits.elements.set(left);
                Ok(())
            }
            None => Err(self.limits.refuse("the bytes claim more than 65,536 elements of no bytes")),
        }
    }

    /// Counts an element, or a part of an entry, that is built. Those of a byte are no more than the elements that may
    /// be read.
    #[inline]
    pub(super) fn built<T, E: serde::de::Error>(self) -> Result<(), E> {
        if size_of::<T>() > 1 { self.limits.build(size_of::<T>()) } else { Ok(()) }
    }

    /// How many elements a collection may take memory for ahead, of those that the bytes claim.
    ///
    /// All collections together get one hint for each byte, so that sequences in sequences cannot each claim all of
    /// them.
    pub(super) fn hint(self, claimed: usize) -> usize {
        let Limits { hints, memory, .. } = self.limits;
        let hint = claimed.min(hints.get()).min(memory.get() / HINTED);
        hints.set(hints.get() - hint);
        hint
    }
}
