//! Requests: what is written, read along to know what it may be answered.

use std::collections::VecDeque;

use super::rules::{Rule, Types};

/// Follows the commands that are written. A write may end anywhere.
#[derive(Debug, Default)]
pub(super) struct Requests {
    step: Step,
    /// The number of the line that is being read.
    number: usize,
    /// The arguments of the command that are not written yet.
    left: usize,
    /// How many it has behind its name.
    arguments: usize,
    /// Its name, or an argument that is read along, as far as it is known.
    word: Word,
    further: Further,
    /// The commands since MULTI.
    transaction: Option<Vec<Types>>,
    /// Whether the server was asked to say what is changed.
    pub(super) tracks: bool,
    /// What was asked and not answered, in its order.
    pub(super) asked: VecDeque<Rule>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Step {
    /// Before the number of parts of a command.
    #[default]
    Command,
    /// Before the length of a part.
    Part,
    /// Within a part, of which so many bytes are not written, its end included.
    Bytes(usize),
}

/// Which argument of a command is read along.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
enum Further {
    #[default]
    None,
    /// The first, of CLIENT: what is to be done.
    Client,
    /// The second, of a script: of how many keys it is about.
    Keys,
}

/// The first bytes of a part.
#[derive(Debug, Default)]
struct Word {
    bytes: [u8; 12],
    length: usize,
}

impl Word {
    fn push(&mut self, bytes: &[u8]) {
        let room = &mut self.bytes[self.length..];
        let taken = bytes.len().min(room.len());
        room[..taken].copy_from_slice(&bytes[..taken]);
        self.length += taken;
    }

    fn get(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl Requests {
    /// Takes what was written.
    pub(super) fn take(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            bytes = match self.step {
                Step::Bytes(left) => self.take_part(left, bytes),
                _ => self.take_line(bytes),
            };
        }
    }

    /// A line is a letter and a number.
    fn take_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        for (index, byte) in bytes.iter().enumerate() {
            match byte {
                b'0'..=b'9' => self.number = self.number * 10 + usize::from(byte - b'0'),
                b'\n' => {
                    self.end_line();
                    return &bytes[index + 1..];
                }
                _ => {}
            }
        }
        &[]
    }

    fn end_line(&mut self) {
        let number = std::mem::take(&mut self.number);
        if self.step == Step::Command {
            (self.left, self.arguments, self.further) = (number, number.saturating_sub(1), Further::None);
            self.step = Step::Part;
        } else {
            self.word.length = 0;
            self.step = Step::Bytes(number + 2);
        }
    }

    fn take_part<'a>(&mut self, left: usize, bytes: &'a [u8]) -> &'a [u8] {
        let (part, rest) = bytes.split_at(left.min(bytes.len()));
        let is_name = self.left == self.arguments + 1;
        let is_further = match self.further {
            Further::None => false,
            Further::Client => self.left == self.arguments,
            Further::Keys => self.left + 1 == self.arguments,
        };
        if is_name || is_further {
            // Without the end of the line.
            self.word.push(&part[..part.len().min(left.saturating_sub(2))]);
        }
        if part.len() < left {
            self.step = Step::Bytes(left - part.len());
            return rest;
        }
        if is_name {
            self.ask();
        } else if is_further {
            self.ask_further();
        }
        self.left -= 1;
        self.step = if self.left == 0 { Step::Command } else { Step::Part };
        rest
    }

    /// A command has begun: the server may answer it from now on, and refuse it before it has all of it.
    fn ask(&mut self) {
        let name = self.word.get();
        self.further = match name {
            b"CLIENT" => Further::Client,
            b"EVAL" | b"EVALSHA" => Further::Keys,
            _ => Further::None,
        };
        let rule = Rule::to(name, self.arguments);
        let rule = match (name, &mut self.transaction) {
            (b"MULTI", transaction) => {
                *transaction = Some(Vec::new());
                rule
            }
            (b"EXEC", transaction) => Rule::transaction(transaction.take().unwrap_or_default()),
            (_, Some(transaction)) => {
                transaction.push(rule.types);
                Rule::queued(rule.types)
            }
            (_, None) => rule,
        };
        self.asked.push_back(rule);
    }

    /// More is known of what the command asks for.
    fn ask_further(&mut self) {
        if self.further == Further::Client {
            self.tracks |= self.word.get() == b"TRACKING";
            return;
        }
        let keys = str::from_utf8(self.word.get()).ok().and_then(|keys| keys.parse().ok());
        // It was answered already if it is gone, with a refusal.
        if let (Some(keys), Some(rule), None) = (keys, self.asked.back_mut(), &self.transaction) {
            rule.is_about(keys);
        }
    }
}

#[cfg(test)]
mod tests {
    use redis::{Pipeline, cmd};

    use super::super::rules::Parts;
    use super::*;

    fn written(pipeline: &Pipeline, step: usize) -> Requests {
        let mut requests = Requests::default();
        pipeline.get_packed_pipeline().chunks(step).for_each(|bytes| requests.take(bytes));
        requests
    }

    #[test]
    fn commands_are_known_wherever_a_write_ends() {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("GET").arg("a\r\n$3\r\n").cmd("MULTI").cmd("SET").arg("k").arg("").arg("PX").arg(1);
        pipeline.cmd("DEL").arg("k").cmd("EXEC").cmd("MGET").arg("a").arg("b");
        let set = Rule::to(b"SET", 4).types;
        let del = Rule::to(b"DEL", 1).types;
        for step in [1, 2, 3, 7, 1 << 20] {
            let requests = written(&pipeline, step);
            let expected = [
                Rule::to(b"GET", 1),
                Rule::to(b"MULTI", 0),
                Rule::queued(set),
                Rule::queued(del),
                Rule::transaction(vec![set, del]),
                Rule::to(b"MGET", 2),
            ];
            assert_eq!(requests.asked, expected, "{step} bytes at a time");
            assert!(!requests.tracks && requests.step == Step::Command);
        }
    }

    #[test]
    fn script_about_several_entries_may_be_answered_for_each() {
        let of_one = Rule::to(b"EVALSHA", 5);
        for (keys, entries) in [(1, None), (3, None), (4, None), (6, Some(2)), (96, Some(32)), (97, None)] {
            let names: Vec<String> = (0..keys).map(|key| key.to_string()).collect();
            for (name, script) in [("EVALSHA", "9"), ("EVAL", "return 3")] {
                let mut pipeline = Pipeline::new();
                pipeline.cmd(name).arg(script).arg(keys).arg(&names).arg("token").cmd("GET").arg("a");
                for step in [1, 3, 1 << 20] {
                    let requests = written(&pipeline, step);
                    assert_eq!(requests.asked.len(), 2);
                    match entries {
                        None => assert_eq!(requests.asked[0], of_one, "{keys} keys"),
                        Some(entries) => {
                            assert!(matches!(requests.asked[0].parts, Parts::Each(each, _) if each == entries))
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_connection_that_asks_to_be_told_is_known() {
        let mut pipeline = Pipeline::new();
        pipeline.cmd("CLIENT").arg("SETINFO").arg("TRACKING");
        assert!(!written(&pipeline, 5).tracks);
        pipeline.cmd("CLIENT").arg("TRACKING").arg("ON");
        assert!(written(&pipeline, 5).tracks && written(&pipeline, 1 << 10).tracks);
    }

    #[test]
    fn a_command_is_asked_as_soon_as_its_name_is_written() {
        let packed = cmd("SET").arg("k").arg(vec![0u8; 1_000]).get_packed_command();
        let mut requests = Requests::default();
        requests.take(&packed[..13]);
        assert_eq!(requests.asked, [Rule::to(b"SET", 2)]);
        requests.take(&packed[13..]);
        assert_eq!(requests.asked.len(), 1);
    }
}
