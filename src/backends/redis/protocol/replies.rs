//! Replies: what is read, measured before the client believes any of it.

use super::fault::Fault;
use super::requests::Requests;
use super::rules::{Most, Parts, Rule, Types};

#[cfg(test)]
mod tests;

/// Follows the answers that arrive. A read may end anywhere.
#[derive(Debug, Default)]
pub(super) struct Replies {
    step: Step,
    line: Line,
    /// The lists that the next value is within, the outermost first.
    lists: [List; DEEPEST],
    depth: usize,
    /// What the answer may be that is being read.
    rule: Option<Rule>,
    room: Room,
}

#[derive(Debug, Clone, Copy, Default)]
enum Step {
    /// Before a value.
    #[default]
    Value,
    /// Within its first line.
    Line,
    /// Within its text, of which so many bytes are missing, its end included.
    Text(usize),
}

/// The first line of a value.
#[derive(Debug, Default)]
struct Line {
    kind: u8,
    length: usize,
    number: usize,
    is_negative: bool,
    /// Whether its last byte so far is the first of two that may end it.
    ends: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct List {
    left: usize,
    length: usize,
}

/// How much more the answer may hold.
#[derive(Debug, Default)]
struct Room {
    each: usize,
    all: usize,
    values: usize,
}

/// Lists within lists: an entry of a stream is a list of two in one of entries in one of two in one of streams.
const DEEPEST: usize = 8;
/// The longest line of a status or an error, in bytes.
const LINE: usize = 4 << 10;
/// Digits of a number, and its sign.
const DIGITS: usize = 20;
/// What one short entry of a batch may take besides.
const SHORT: usize = 64 << 10;
/// What stands around an entry beside its value.
const FRAME: usize = 4 << 10;
/// The fewest bytes that a value takes on the wire: so many bytes are at most so many parts.
const FEWEST: usize = 16;

impl Replies {
    /// Measures what arrived. `accepted` is how long an entry may be.
    pub(super) fn take(&mut self, bytes: &[u8], requests: &mut Requests, accepted: usize) -> Result<(), Fault> {
        self.measure(bytes, requests, accepted).map_err(|fault| match (fault, &self.rule) {
            (Fault::TooLong, Some(rule)) if rule.is_of_streams() => Fault::LongMessage,
            (fault, _) => fault,
        })
    }

    fn measure(&mut self, mut bytes: &[u8], requests: &mut Requests, accepted: usize) -> Result<(), Fault> {
        while let Some((&first, rest)) = bytes.split_first() {
            bytes = match self.step {
                Step::Value => {
                    self.begin(first, requests, accepted)?;
                    rest
                }
                Step::Line => self.take_line(bytes)?,
                Step::Text(left) => {
                    let taken = left.min(bytes.len());
                    self.step = Step::Text(left - taken);
                    if taken == left {
                        self.end_value();
                    }
                    &bytes[taken..]
                }
            };
        }
        Ok(())
    }

    /// A value begins, with the byte that names its type.
    fn begin(&mut self, kind: u8, requests: &mut Requests, accepted: usize) -> Result<(), Fault> {
        if self.depth == 0 {
            let rule = match kind {
                b'>' if requests.tracks => Rule::PUSH,
                b'>' => return Err(Fault::Unasked),
                _ => requests.asked.pop_front().ok_or(Fault::Unasked)?,
            };
            self.room = Room::of(rule.most, accepted);
            self.rule = Some(rule);
        }
        let types = self.allowed();
        if kind != b'>' && !Types::of(kind).is_in(types) || kind == b'>' && self.depth > 0 {
            return Err(Fault::Kind);
        }
        self.line = Line { kind, ..Line::default() };
        self.step = Step::Line;
        Ok(())
    }

    /// The types that may stand here.
    fn allowed(&self) -> Types {
        let Some(rule) = &self.rule else { return Types::NONE };
        let place = self.lists[0].length - self.lists[0].left;
        match (&rule.parts, self.depth) {
            (_, 0) => rule.types,
            (Parts::Each(_, types), 1) => *types,
            (Parts::Transaction(parts), 1) => parts.get(place).copied().unwrap_or(Types::NONE),
            (Parts::Any, _) => Types::ANY,
            _ => Types::NONE,
        }
    }

    fn take_line<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Fault> {
        for (index, &byte) in bytes.iter().enumerate() {
            if byte == b'\n' && self.line.ends {
                self.end_line()?;
                return Ok(&bytes[index + 1..]);
            }
            if self.line.ends {
                self.line.push(b'\r', &mut self.room)?;
            }
            self.line.ends = byte == b'\r';
            if byte != b'\r' {
                self.line.push(byte, &mut self.room)?;
            }
        }
        Ok(&[])
    }

    fn end_line(&mut self) -> Result<(), Fault> {
        let Line { kind, length, number, is_negative, .. } = self.line;
        if !matches!(kind, b'$' | b'=' | b'!' | b'*' | b'%' | b'~' | b'>') {
            self.end_value();
            return Ok(());
        }
        let is_nothing = is_negative && number == 1 && matches!(kind, b'$' | b'*');
        if is_nothing {
            self.end_value();
            return Ok(());
        }
        if is_negative || length == 0 {
            return Err(Fault::Malformed);
        }
        match kind {
            b'$' | b'=' | b'!' => self.begin_text(number),
            b'%' => self.begin_list(number.saturating_mul(2)),
            _ => self.begin_list(number),
        }
    }

    fn begin_text(&mut self, length: usize) -> Result<(), Fault> {
        if length > self.room.each {
            return Err(Fault::TooLong);
        }
        self.room.take(length)?;
        self.step = Step::Text(length + 2);
        Ok(())
    }

    fn begin_list(&mut self, length: usize) -> Result<(), Fault> {
        let expected = match (self.depth, self.rule.as_ref().map(|rule| &rule.parts)) {
            (0, Some(Parts::Each(count, _))) => Some(*count as usize),
            (0, Some(Parts::Transaction(parts))) => Some(parts.len()),
            _ => None,
        };
        if expected.is_some_and(|expected| expected != length) {
            return Err(Fault::Kind);
        }
        // The client makes room for all parts at once.
        self.room.values = self.room.values.checked_sub(length).ok_or(Fault::TooLong)?;
        if self.depth == DEEPEST {
            return Err(Fault::TooLong);
        }
        if length == 0 {
            self.end_value();
            return Ok(());
        }
        self.lists[self.depth] = List { left: length, length };
        self.depth += 1;
        self.step = Step::Value;
        Ok(())
    }

    /// A value has ended, and with it each list that it is the last of.
    fn end_value(&mut self) {
        self.step = Step::Value;
        while let Some(within) = self.depth.checked_sub(1) {
            self.lists[within].left -= 1;
            if self.lists[within].left > 0 {
                return;
            }
            self.depth = within;
        }
        self.rule = None;
    }
}

impl Line {
    fn push(&mut self, byte: u8, room: &mut Room) -> Result<(), Fault> {
        self.length += 1;
        let is_text = matches!(self.kind, b'+' | b'-');
        if self.length > if is_text { LINE } else { DIGITS } {
            return Err(Fault::TooLong);
        }
        match (self.kind, byte) {
            _ if is_text => room.take(1)?,
            (b',' | b'#', _) => {}
            (_, b'-') if self.length == 1 => self.is_negative = true,
            (b':', b'0'..=b'9') => {}
            (_, b'0'..=b'9') => {
                let number = self.number.checked_mul(10).and_then(|ten| ten.checked_add(usize::from(byte - b'0')));
                self.number = number.ok_or(Fault::TooLong)?;
            }
            _ => return Err(Fault::Malformed),
        }
        Ok(())
    }
}

impl Room {
    /// Takes so many bytes of it.
    fn take(&mut self, bytes: usize) -> Result<(), Fault> {
        self.all = self.all.checked_sub(bytes).ok_or(Fault::TooLong)?;
        Ok(())
    }

    fn of(most: Most, accepted: usize) -> Self {
        match most {
            Most::Entries(count) => {
                let (each, count) = (accepted.saturating_add(FRAME), count as usize);
                let all = each.saturating_add(count.saturating_sub(1).saturating_mul(SHORT));
                Self { each, all, values: count }
            }
            Most::Bytes { all, each } => Self { each, all, values: all / FEWEST },
        }
    }
}
