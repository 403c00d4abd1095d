//! What to make of a step that is not what the type reads.

use serde::ser::Error;

use super::place::At;
use super::{Format, SYMMETRY};
use crate::schema::{Kind, Place};

impl<F: Format> At<'_, F> {
    /// Decides on `written`, where another kind is read.
    #[cold]
    pub(super) fn mismatch<E: Error>(self, written: Kind) -> Result<Place, E> {
        let place = self.place;
        match (place.kind, written) {
            (Kind::Unknown, _) => Ok(Place::UNKNOWN),
            (Kind::Anything, _) => {
                self.look_at_buffered(written);
                Ok(place)
            }
            // The type itself leaves the `Some` out.
            (Kind::Option, _) if !F::BY_POSITION => self.inside(self.only()).expect(written),
            _ if F::BY_POSITION => self.same_bytes(written).ok_or_else(|| self.differs(written)),
            _ if is_number(place.kind) && is_number(written) => Err(self.differs(written)),
            // Bytes that say what they are give an error where they do not fit, not another value.
            _ => {
                self.exact.doubt();
                Ok(Place::UNKNOWN)
            }
        }
    }

    /// Decides on an integer, where another number is read.
    #[cold]
    pub(super) fn integer<E: Error>(self, written: Kind, value: Option<i128>) -> Result<(), E> {
        let read = self.place.kind;
        let fits = value.is_some_and(|value| fits(value, read));
        // By position, all but single bytes are written in one way, signed numbers in another.
        let alike = !F::BY_POSITION || is_wide(read) && is_wide(written) && is_signed(read) == is_signed(written);
        if fits && alike { Ok(()) } else { self.mismatch(written).map(drop) }
    }

    /// The place of what is written in the same bytes as `written`.
    fn same_bytes(self, written: Kind) -> Option<Place> {
        let empty = |place| self.node(place).is_none_or(|node| node.is_whole && node.inside.is_empty());
        match (self.place.kind, written) {
            (Kind::Str, Kind::Char) | (Kind::Bytes, Kind::Str | Kind::Char) => Some(Place::UNKNOWN),
            (Kind::Bytes, Kind::Seq) => Some(self.place),
            (Kind::Seq, Kind::Bytes | Kind::Str) if self.only().kind == Kind::U8 => Some(Place::UNKNOWN),
            (Kind::Unit, Kind::Group) => Some(self.place),
            (Kind::Group, Kind::Unit) if empty(self.place) => Some(self.place),
            _ => None,
        }
    }

    fn differs<E: Error>(self, written: Kind) -> E {
        let what = format!("it writes {}, where it reads {}", shown(written), shown(self.place.kind));
        self.exact.refuse(what, SYMMETRY)
    }

    /// What is read as anything is kept in a buffer first, which is not for all values.
    fn look_at_buffered(self, written: Kind) {
        let is_text = matches!(written, Kind::Str | Kind::Char | Kind::Enum);
        if matches!(written, Kind::I128 | Kind::U128) || F::IS_TEXT && self.is_key && !is_text {
            self.exact.doubt();
        }
    }
}

fn is_number(kind: Kind) -> bool {
    is_signed(kind) || is_unsigned(kind) || matches!(kind, Kind::F32 | Kind::F64)
}

fn is_signed(kind: Kind) -> bool {
    matches!(kind, Kind::I8 | Kind::I16 | Kind::I32 | Kind::I64 | Kind::I128)
}

fn is_unsigned(kind: Kind) -> bool {
    matches!(kind, Kind::U8 | Kind::U16 | Kind::U32 | Kind::U64 | Kind::U128)
}

fn is_wide(kind: Kind) -> bool {
    !matches!(kind, Kind::I8 | Kind::U8) && (is_signed(kind) || is_unsigned(kind))
}

/// Whether an integer keeps its value where `kind` is read.
fn fits(value: i128, kind: Kind) -> bool {
    const EXACT: i128 = 1 << f64::MANTISSA_DIGITS;
    match kind {
        Kind::I8 => i8::try_from(value).is_ok(),
        Kind::I16 => i16::try_from(value).is_ok(),
        Kind::I32 => i32::try_from(value).is_ok(),
        Kind::I64 => i64::try_from(value).is_ok(),
        Kind::I128 => true,
        Kind::U8 => u8::try_from(value).is_ok(),
        Kind::U16 => u16::try_from(value).is_ok(),
        Kind::U32 => u32::try_from(value).is_ok(),
        Kind::U64 => u64::try_from(value).is_ok(),
        Kind::U128 => value >= 0,
        Kind::F64 => (-EXACT..=EXACT).contains(&value),
        _ => false,
    }
}

fn shown(kind: Kind) -> &'static str {
    match kind {
        Kind::Unknown | Kind::Anything => "anything",
        Kind::Unit => "nothing",
        Kind::Bool => "a bool",
        Kind::I8 => "an i8",
        Kind::I16 => "an i16",
        Kind::I32 => "an i32",
        Kind::I64 => "an i64",
        Kind::I128 => "an i128",
        Kind::U8 => "a u8",
        Kind::U16 => "a u16",
        Kind::U32 => "a u32",
        Kind::U64 => "a u64",
        Kind::U128 => "a u128",
        Kind::F32 => "an f32",
        Kind::F64 => "an f64",
        Kind::Char => "a char",
        Kind::Str => "text",
        Kind::Bytes => "bytes",
        Kind::Option => "an option",
        Kind::Seq => "a sequence",
        Kind::Map => "a map",
        Kind::Group => "a struct or tuple",
        Kind::Enum => "an enum",
    }
}
