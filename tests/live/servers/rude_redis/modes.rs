//! How the server misbehaves.

use std::io::{Result, Write};
use std::thread;
use std::time::Duration;

use super::Talk;
use super::store::bulk;

/// What the server does to its answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Honest,
    // It says more than anybody takes. Of entries:
    HugeValue,
    HugeBatch,
    EndlessArray,
    EndlessMap,
    EndlessSet,
    EndlessPush,
    EndlessAttribute,
    EndlessStatus,
    EndlessError,
    EndlessNumber,
    BigNumber,
    HugeVerbatim,
    HugeError,
    StreamedText,
    StreamedArray,
    DeepArrays,
    WideArrays,
    HugeCount,
    NegativeLength,
    // Before anything is asked, and where it is asked who it is:
    Banner,
    HugeHandshake,
    EndlessHandshake,
    DeepHandshake,
    SilentHandshake,
    // Where it is asked for other servers:
    HugeDiscovery,
    EndlessDiscovery,
    // Where it is asked to tell of changes:
    EndlessTracking,
    // It says what nobody asked for, or not what was asked for:
    StrayAtHandshake,
    StrayAtIdle,
    StrayBefore,
    StrayBehind,
    StrayOnce,
    StrayLater,
    Missing,
    Swapped,
    NumberForValue,
    StatusForValue,
    ListForValue,
    ShortBatch,
    LongBatch,
    ShortExec,
    LongExec,
    OtherExec,
    NothingQueued,
    UnaskedPush,
    PushBetween,
    // It says what is none:
    Garbage,
    Half,
    Ends,
    /// The server is gone.
    Ended,
}

impl Mode {
    /// All in which a lone server answers otherwise than it should.
    pub(crate) const ALL: [Self; 46] = {
        use Mode::*;
        [
            HugeValue,
            HugeBatch,
            EndlessArray,
            EndlessMap,
            EndlessSet,
            EndlessPush,
            EndlessAttribute,
            EndlessStatus,
            EndlessError,
            EndlessNumber,
            BigNumber,
            HugeVerbatim,
            HugeError,
            StreamedText,
            StreamedArray,
            DeepArrays,
            WideArrays,
            HugeCount,
            NegativeLength,
            Banner,
            HugeHandshake,
            EndlessHandshake,
            DeepHandshake,
            SilentHandshake,
            StrayAtHandshake,
            StrayAtIdle,
            StrayBefore,
            StrayBehind,
            StrayOnce,
            StrayLater,
            Missing,
            Swapped,
            NumberForValue,
            StatusForValue,
            ListForValue,
            ShortBatch,
            LongBatch,
            ShortExec,
            LongExec,
            OtherExec,
            NothingQueued,
            UnaskedPush,
            PushBetween,
            Garbage,
            Half,
            Ends,
        ]
    };

    /// Whether it is about what is said when a connection is made.
    pub(crate) fn is_of_connects(self) -> bool {
        use Mode::*;
        matches!(self, Banner | HugeHandshake | EndlessHandshake | DeepHandshake | SilentHandshake | StrayAtHandshake)
    }

    /// What is sent in place of a value: a beginning, and what follows it without an end.
    fn flood(self) -> Option<(&'static [u8], &'static [u8])> {
        Some(match self {
            Self::HugeValue => (b"$4294967296\r\n", b"v"),
            Self::EndlessArray => (b"*1000000000\r\n", b":1\r\n"),
            Self::EndlessMap => (b"%1000000000\r\n", b"+k\r\n"),
            Self::EndlessSet => (b"~1000000000\r\n", b":1\r\n"),
            Self::EndlessPush => (b">1000000000\r\n", b"+k\r\n"),
            Self::EndlessAttribute => (b"|1000000000\r\n", b"+k\r\n"),
            Self::EndlessStatus => (b"+", b"s"),
            Self::EndlessError => (b"-ERR ", b"e"),
            Self::EndlessNumber => (b":", b"1"),
            Self::BigNumber => (b"(", b"9"),
            Self::HugeVerbatim => (b"=4294967296\r\ntxt:", b"v"),
            Self::HugeError => (b"!4294967296\r\nERR ", b"e"),
            Self::StreamedText => (b"$?\r\n", b";4\r\ntext\r\n"),
            Self::StreamedArray => (b"*?\r\n", b":1\r\n"),
            Self::DeepArrays => (b"", b"*1\r\n"),
            Self::WideArrays => (b"*4096\r\n", b"*4096\r\n"),
            Self::HugeCount => (b"*9223372036854775807\r\n", b"*9223372036854775807\r\n"),
            Self::NegativeLength => (b"$-2\r\n", b"$-9223372036854775808\r\n"),
            Self::Garbage => (b"", b"\0\xFF HTTP/1.1 400 Bad Request\r\n"),
            _ => return None,
        })
    }

    /// What is sent in place of the answers to these commands.
    fn flood_of(self) -> Option<(&'static [&'static str], &'static [u8], &'static [u8])> {
        let (connects, discovers) = (&["HELLO", "CLIENT"][..], &["SENTINEL", "CLUSTER", "ROLE"][..]);
        Some(match self {
            Self::HugeHandshake => (connects, b"$4294967296\r\n", b"v"),
            Self::EndlessHandshake => (connects, b"*1000000000\r\n", b"+k\r\n"),
            Self::DeepHandshake => (connects, b"", b"*1\r\n"),
            Self::HugeDiscovery => (discovers, b"*1\r\n$4294967296\r\n", b"v"),
            Self::EndlessDiscovery => (discovers, b"*1000000000\r\n", b"*2\r\n:1\r\n:1\r\n"),
            Self::EndlessTracking => (&["TRACKING"], b"+OK\r\n>1000000000\r\n$10\r\ninvalidate\r\n", b"+k\r\n"),
            _ => return None,
        })
    }
}

impl Talk<'_> {
    /// Sends an answer to the command of this name, or what the mode makes of it.
    pub(super) fn say(&mut self, mode: Mode, name: &[u8], answer: Vec<u8>) -> Result<()> {
        let is_read = matches!(name, b"GET" | b"MGET");
        if let Some((beginning, bytes)) = mode.flood().filter(|_| is_read) {
            return self.flood(beginning, bytes);
        }
        if let Some((names, beginning, bytes)) = mode.flood_of()
            && names.iter().any(|flooded| flooded.as_bytes() == name)
        {
            return self.flood(beginning, bytes);
        }
        self.answers += usize::from(is_read);
        match name {
            b"CLIENT" | b"HELLO" if mode == Mode::SilentHandshake => Ok(()),
            b"MGET" if mode == Mode::HugeBatch => self.flood(b"*2\r\n$3\r\nabc\r\n$4294967296\r\n", b"v"),
            b"GET" if mode == Mode::HugeBatch => self.flood(b"$4294967296\r\n", b"v"),
            b"GET" | b"MGET" => self.say_value(mode, answer),
            b"EXEC" => self.say_exec(mode, answer),
            b"CLIENT" | b"HELLO" if mode == Mode::StrayAtHandshake => self.send(&[answer, self.stray()].concat()),
            b"CLIENT" | b"HELLO" if mode == Mode::Banner => {
                self.send(&[b"SSH-2.0-OpenSSH\r\n".to_vec(), answer].concat())
            }
            _ if mode == Mode::NothingQueued && answer == b"+QUEUED\r\n" => self.send(b":1\r\n"),
            _ => self.send(&answer),
        }
    }

    fn say_value(&mut self, mode: Mode, answer: Vec<u8>) -> Result<()> {
        let push = b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n";
        match mode {
            Mode::StrayAtIdle => self.stray_soon(answer),
            Mode::StrayBefore => self.send(&[self.stray(), answer].concat()),
            Mode::StrayBehind => self.send(&[answer, self.stray()].concat()),
            Mode::StrayOnce if self.answers == 2 => self.send(&[self.stray(), answer].concat()),
            Mode::StrayLater if self.answers == 2 => {
                self.send(&self.stray())?;
                thread::sleep(Duration::from_millis(2));
                self.send(&answer)
            }
            Mode::Missing if self.answers.is_multiple_of(5) => Ok(()),
            Mode::Swapped => match self.held.take() {
                Some(held) => self.send(&[answer, held].concat()),
                None => {
                    self.held = Some(answer);
                    Ok(())
                }
            },
            Mode::NumberForValue => self.send(b":7\r\n"),
            Mode::StatusForValue => self.send(b"+OK\r\n"),
            Mode::ListForValue => self.send(&[b"*1\r\n".to_vec(), self.stray()].concat()),
            Mode::ShortBatch => self.send(b"*0\r\n"),
            Mode::LongBatch => self.send(&[b"*200\r\n".to_vec(), self.stray().repeat(200)].concat()),
            Mode::UnaskedPush => self.send(&[push.to_vec(), answer].concat()),
            Mode::PushBetween => self.send(&[&answer[..answer.len() / 2], push].concat()),
            Mode::Half => {
                self.send(&answer[..answer.len() / 2])?;
                Err(std::io::ErrorKind::Other.into())
            }
            Mode::Ends => Err(std::io::ErrorKind::Other.into()),
            _ => self.send(&answer),
        }
    }

    fn say_exec(&mut self, mode: Mode, answer: Vec<u8>) -> Result<()> {
        match mode {
            Mode::ShortExec => self.send(b"*0\r\n"),
            Mode::LongExec => self.send(&[b"*9\r\n".to_vec(), b"+OK\r\n".repeat(9)].concat()),
            Mode::OtherExec => self.send(&[b"*2\r\n".to_vec(), self.stray(), self.stray()].concat()),
            _ => self.send(&answer),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write_all(bytes)
    }

    /// An answer to some other question: the value of another key.
    fn stray(&self) -> Vec<u8> {
        let turn = self.answers;
        bulk(&self.shared.store.lock().unwrap().of_another(turn))
    }

    /// Says something when nothing is asked any more.
    fn stray_soon(&mut self, answer: Vec<u8>) -> Result<()> {
        self.send(&answer)?;
        let (mut writer, stray) = (self.writer.try_clone()?, self.stray());
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(5));
            let _ = writer.write_all(&stray);
        });
        Ok(())
    }
}
