//! Replies: what is read, measured before the client believes any of it.

use super::fault::Fault;
use super::requests::Requests;
use super::rules::{Most, Parts, Rule, Types};

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

#[cfg(test)]
mod tests {
    use redis::{Pipeline, cmd};

    use super::*;

    const ACCEPTED: usize = 1_000;

    /// What becomes of an answer to these commands, in pieces of so many bytes.
    fn judged(pipeline: &Pipeline, answer: &[u8], step: usize) -> Result<usize, Fault> {
        let (mut requests, mut replies) = (Requests::default(), Replies::default());
        requests.take(&pipeline.get_packed_pipeline());
        for bytes in answer.chunks(step) {
            replies.take(bytes, &mut requests, ACCEPTED)?;
        }
        Ok(requests.asked.len() + usize::from(replies.rule.is_some()))
    }

    fn to(command: &str, answer: &[u8]) -> Result<usize, Fault> {
        let mut pipeline = Pipeline::new();
        let mut words = command.split(' ');
        let mut one = cmd(words.next().expect("a name"));
        words.for_each(|word| drop(one.arg(word)));
        pipeline.add_command(one);
        let [whole, ..] = [1 << 20, 1, 2, 3, 7].map(|step| judged(&pipeline, answer, step));
        for step in [1, 2, 3, 7] {
            assert_eq!(judged(&pipeline, answer, step), whole, "{command}: {step} bytes at a time");
        }
        whole
    }

    fn bulk(length: usize) -> Vec<u8> {
        [format!("${length}\r\n").as_bytes(), &vec![b'v'; length], b"\r\n"].concat()
    }

    #[test]
    fn what_redis_answers_passes() {
        for (command, answer) in [
            ("GET k", &b"$3\r\na\r\n\r\n"[..]),
            ("GET k", b"$-1\r\n"),
            ("GET k", b"_\r\n"),
            ("GET k", b"-WRONGTYPE Operation\r\n"),
            ("GET k", b"!6\r\nERR no\r\n"),
            ("MGET a b", b"*2\r\n$1\r\n1\r\n$-1\r\n"),
            ("DEL k", b":-9223372036854775808\r\n"),
            ("PING", b"+PONG\r\n"),
            ("XREAD STREAMS s 0", b"*-1\r\n"),
            ("XREAD STREAMS s 0", b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nm\r\n$0\r\n\r\n"),
            ("XREAD STREAMS s 0", b"%1\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nm\r\n$1\r\nx\r\n"),
            ("HELLO 3", b"%1\r\n$5\r\nproto\r\n:3\r\n"),
            ("INFO server", b"=7\r\ntxt:abc\r\n"),
            ("SENTINEL GET-MASTER-ADDR-BY-NAME m", b"*2\r\n$1\r\nh\r\n$1\r\n1\r\n"),
        ] {
            assert_eq!(to(command, answer), Ok(0), "{command}: {}", answer.escape_ascii());
            assert_eq!(to(command, &[answer, b"+"].concat()), Err(Fault::Unasked), "{command}");
            assert_eq!(to(command, &answer[..answer.len() - 1]), Ok(1), "{command}, cut");
        }
        assert_eq!(to("GET k", &bulk(ACCEPTED + FRAME)), Ok(0));
    }

    #[test]
    fn what_is_of_another_kind_is_refused_at_its_first_byte() {
        for (command, answer) in [
            ("GET k", &b"*"[..]),
            ("GET k", b":"),
            ("GET k", b"+"),
            ("GET k", b"|"),
            ("GET k", b"("),
            ("DEL k", b"$"),
            ("MGET a b", b"*1\r\n"),
            ("MGET a b", b"*3\r\n"),
            ("MGET a b", b"*2\r\n:"),
            ("MGET a b", b"*2\r\n*"),
            ("MULTI", b":"),
            ("PING", b"*"),
            ("XADD s * m v", b":"),
        ] {
            assert_eq!(to(command, answer), Err(Fault::Kind), "{command}: {}", answer.escape_ascii());
        }
        assert_eq!(to("GET k", b">"), Err(Fault::Unasked));
    }

    #[test]
    fn what_is_too_long_is_refused_when_it_is_declared() {
        for (command, answer) in [
            ("GET k", b"$5097\r\n".to_vec()),
            ("GET k", b"$18446744073709551615\r\n".to_vec()),
            ("GET k", b"$99999999999999999999\r\n".to_vec()),
            ("GET k", [b"-", &[b'e'; LINE + 1][..]].concat()),
            ("PING", [b"+", &[b'p'; LINE + 1][..]].concat()),
            ("DEL k", b":111111111111111111111".to_vec()),
            (
                "XREAD STREAMS s 0",
                b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nm\r\n$1025\r\n".to_vec(),
            ),
            ("XREAD STREAMS s 0", b"*1000000\r\n".to_vec()),
            ("HELLO 3", b"%1000000000\r\n".to_vec()),
            ("HELLO 3", b"*1\r\n".repeat(DEEPEST + 1)),
            ("CLIENT SETINFO", b"~1000000000\r\n".to_vec()),
            ("INFO server", b"=65537\r\n".to_vec()),
            ("AUTH p", b"!65537\r\n".to_vec()),
        ] {
            let fault = if command.starts_with("XREAD") { Fault::LongMessage } else { Fault::TooLong };
            assert_eq!(to(command, &answer), Err(fault), "{command}: {}", answer.escape_ascii());
        }
    }

    #[test]
    fn lengths_that_are_none_are_refused() {
        for answer in [&b"$\r\n"[..], b"$-2\r\n", b"$?\r\n", b"$+1\r\n", b"$ 1\r\n", b"$1a\r\n", b"_x\r\n"] {
            assert_eq!(to("GET k", answer), Err(Fault::Malformed), "{}", answer.escape_ascii());
        }
        for answer in [&b"%-1\r\n"[..], b"*-2\r\n", b"*?\r\n"] {
            assert_eq!(to("XREAD s", answer), Err(Fault::Malformed), "{}", answer.escape_ascii());
        }
    }

    #[test]
    fn a_batch_is_one_long_entry_and_short_ones() {
        let long = bulk(ACCEPTED + FRAME);
        assert_eq!(to("MGET a b", &[b"*2\r\n", &long[..], &long].concat()), Ok(0));
        let mut pipeline = Pipeline::new();
        pipeline.cmd("MGET").arg("a").arg("b");
        let (mut requests, mut replies) = (Requests::default(), Replies::default());
        requests.take(&pipeline.get_packed_pipeline());
        let accepted = 10 * SHORT;
        let answer = [b"*2\r\n", &bulk(accepted)[..], &bulk(2 * SHORT)].concat();
        assert_eq!(replies.take(&answer, &mut requests, accepted), Err(Fault::TooLong));
    }

    #[test]
    fn a_transaction_has_an_answer_for_each_of_its_commands() {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("MULTI").cmd("SET").arg("k").arg("v").cmd("DEL").arg("l").cmd("EXEC").cmd("GET").arg("k");
        let after = |rest: &[u8]| judged(&pipeline, &[b"+OK\r\n+QUEUED\r\n+QUEUED\r\n", rest].concat(), 3);
        assert_eq!(after(b"*2\r\n+OK\r\n:1\r\n$1\r\nv\r\n"), Ok(0));
        assert_eq!(after(b"*2\r\n-OOM no\r\n:1\r\n$1\r\nv\r\n"), Ok(0));
        assert_eq!(after(b"-EXECABORT no\r\n$1\r\nv\r\n"), Ok(0));
        for wrong in [&b"*1\r\n"[..], b"*3\r\n", b"*2\r\n:1\r\n", b"*2\r\n+OK\r\n+OK\r\n", b"$1\r\nv\r\n", b":1\r\n"] {
            assert_eq!(after(wrong), Err(Fault::Kind), "{}", wrong.escape_ascii());
        }
        let without = b"-ERR unknown command 'MULTI'\r\n+OK\r\n:1\r\n-ERR unknown command 'EXEC'\r\n$1\r\nv\r\n";
        assert_eq!(judged(&pipeline, without, 5), Ok(0), "a proxy that has no transactions");
    }

    #[test]
    fn only_a_connection_that_tracks_is_pushed_to() {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("CLIENT").arg("TRACKING").arg("ON");
        let push = |keys: &str| format!("+OK\r\n>2\r\n$10\r\ninvalidate\r\n{keys}");
        assert_eq!(judged(&pipeline, push("*1\r\n$1\r\nk\r\n").as_bytes(), 4), Ok(0));
        assert_eq!(judged(&pipeline, push("_\r\n").as_bytes(), 4), Ok(0));
        assert_eq!(judged(&pipeline, push("*100000\r\n").as_bytes(), 4), Err(Fault::TooLong));
        assert_eq!(judged(&pipeline, push("$1048576\r\n").as_bytes(), 4), Err(Fault::TooLong));
        assert_eq!(judged(&pipeline, b"+OK\r\n+OK\r\n", 4), Err(Fault::Unasked));
    }
}
