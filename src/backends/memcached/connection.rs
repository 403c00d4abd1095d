//! One connection: commands out, answers in, and nothing that was not asked for.
//!
//! The `memcache` crate writes commands and reads the head of an answer. Its own connections are not used: they believe
//! the length that a server declares. Here every line has a bound, no value is longer than the largest item, and memory
//! grows with the bytes that have arrived.
//!
//! Each command carries a number and asks for its key back. An answer that repeats the two belongs to the command; any
//! other shows that the connection is out of step, and nothing more is read from it.

use std::io;
use std::net::SocketAddr;

use memcache::exp::{
    self, Delete, Get, GetResult, MetaCommandResult, MetaResponse, MutationResult, Op, OpResult, Operation, ReturnCode,
    Set, parse_meta_result,
};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// The longest head of an answer: two names of 250 bytes, and numbers.
const LINE: u64 = 1 << 10;
/// The memory that a value is given before any of it has arrived.
const FIRST: usize = 16 << 10;
/// What ends a line and a value.
const END: &[u8] = b"\r\n";

pub(super) struct Connection {
    stream: BufReader<TcpStream>,
    /// The number of the next command.
    next: u32,
}

/// Why an exchange failed. The connection is of no more use.
#[derive(Debug)]
pub(super) enum Fault {
    Io(io::Error),
    /// The server refused a command, or the command cannot be written.
    Refused(exp::Error),
    /// An answer to another command, of another kind, or no answer at all.
    OutOfStep,
    /// A value is longer than the largest item. It was not read.
    TooLong(usize),
}

impl Connection {
    /// Connects to the first of `addresses` that accepts.
    pub(super) async fn open(addresses: &[SocketAddr]) -> io::Result<Self> {
        let stream = TcpStream::connect(addresses).await?;
        stream.set_nodelay(true)?;
        // Numbers begin anywhere, so that an answer to a command of another connection has no number of this one.
        Ok(Self { stream: BufReader::new(stream), next: fastrand::u32(..) })
    }

    /// Whether it may carry another exchange: it is open, and nothing has arrived that no command asked for.
    pub(super) fn is_quiet(&self) -> bool {
        let unread = self.stream.get_ref().try_read(&mut [0]);
        self.is_drained() && unread.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether everything that has been read was asked for. Costs no system call.
    pub(super) fn is_drained(&self) -> bool {
        self.stream.buffer().is_empty()
    }

    /// Carries out operations in their order. Values of up to `limit` bytes are read.
    pub(super) async fn exchange(&mut self, operations: &[Op], limit: usize) -> Result<Vec<OpResult>, Fault> {
        let first = self.next;
        let mut request = Vec::new();
        for operation in operations {
            let command = operation.prepare().map_err(Fault::Refused)?.flag("k").flag(format!("O{}", self.next));
            command.encode_into(&mut request).map_err(Fault::Refused)?;
            self.next = self.next.wrapping_add(1);
        }
        self.stream.write_all(&request).await?;
        drop(request);
        let mut answers = Vec::with_capacity(operations.len());
        for (operation, number) in operations.iter().zip(0..) {
            answers.push(self.answer(operation, first.wrapping_add(number), limit).await?);
        }
        Ok(answers)
    }

    async fn answer(&mut self, operation: &Op, number: u32, limit: usize) -> Result<OpResult, Fault> {
        let line = self.line().await?;
        let head = MetaResponse::parse_header(&line)?;
        let length = value_length(&head, &line);
        let mut answer = parse_meta_result(head)?;
        if !belongs(&answer, operation, number) || length.is_some() != expects_value(operation, answer.rc) {
            return Err(Fault::OutOfStep);
        }
        answer.value = match length {
            Some(length) if length > limit => return Err(Fault::TooLong(length)),
            Some(length) => Some(self.value(length).await?),
            None => None,
        };
        Ok(operation.parse(answer)?)
    }

    async fn line(&mut self) -> Result<Vec<u8>, Fault> {
        let mut line = Vec::new();
        let length = (&mut self.stream).take(LINE).read_until(b'\n', &mut line).await?;
        match line.strip_suffix(END) {
            Some(text) => Ok(text.to_vec()),
            None if (length as u64) < LINE && !line.ends_with(b"\n") => Err(io::ErrorKind::UnexpectedEof.into()),
            None => Err(Fault::OutOfStep),
        }
    }

    async fn value(&mut self, length: usize) -> Result<Vec<u8>, Fault> {
        let whole = length + END.len();
        let mut value = Vec::with_capacity(whole.min(FIRST));
        while value.len() < whole {
            if value.len() == value.capacity() {
                value.reserve_exact(value.len().min(whole - value.len()));
            }
            let room = (value.capacity() - value.len()).min(whole - value.len());
            if (&mut self.stream).take(room as u64).read_buf(&mut value).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        if !value.ends_with(END) {
            return Err(Fault::OutOfStep);
        }
        value.truncate(length);
        Ok(value)
    }
}

/// The length of the value that follows the head of an answer.
fn value_length(head: &MetaResponse, line: &[u8]) -> Option<usize> {
    if head.rc() != ReturnCode::Va {
        return None;
    }
    // The crate has checked it, and keeps it to itself.
    let length = line.split(|byte| *byte == b' ').filter(|token| !token.is_empty()).nth(1)?;
    std::str::from_utf8(length).ok()?.parse().ok()
}

/// Whether an answer repeats the number and the key of the operation.
fn belongs(answer: &MetaCommandResult, operation: &Op, number: u32) -> bool {
    let repeated = answer.opaque.as_deref().and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    repeated == Some(number) && answer.key.as_deref() == Some(operation.key())
}

/// Whether an answer of this kind to the operation has a value.
fn expects_value(operation: &Op, kind: ReturnCode) -> bool {
    match operation {
        Op::Get(get) => get.value && kind != ReturnCode::En,
        _ => false,
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<io::ErrorKind> for Fault {
    fn from(kind: io::ErrorKind) -> Self {
        Self::Io(kind.into())
    }
}

impl From<exp::Error> for Fault {
    /// What the crate says of an answer.
    fn from(error: exp::Error) -> Self {
        match error {
            exp::Error::Server(_) | exp::Error::Rejected(_) => Self::Refused(error),
            _ => Self::OutOfStep,
        }
    }
}

/// An operation whose answer is of one kind.
pub(super) trait Single: Into<Op> {
    type Answer: Send;

    fn answer(result: OpResult) -> Option<Self::Answer>;
}

impl Single for Get {
    type Answer = GetResult;

    fn answer(result: OpResult) -> Option<GetResult> {
        if let OpResult::Get(answer) = result { Some(answer) } else { None }
    }
}

impl Single for Set {
    type Answer = MutationResult;

    fn answer(result: OpResult) -> Option<MutationResult> {
        if let OpResult::Mutation(answer) = result { Some(answer) } else { None }
    }
}

impl Single for Delete {
    type Answer = MutationResult;

    fn answer(result: OpResult) -> Option<MutationResult> {
        if let OpResult::Mutation(answer) = result { Some(answer) } else { None }
    }
}
