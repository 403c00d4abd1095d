//! A tiny blocking client.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Result, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use super::PATIENCE;

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Text(Vec<u8>),
    Number(i64),
    Nil,
    List(Vec<Reply>),
    Error(String),
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(&String::from_utf8_lossy(text)),
            Self::Number(number) => write!(f, "{number}"),
            Self::Nil => f.write_str("(nil)"),
            Self::Error(error) => f.write_str(error),
            Self::List(items) => items.iter().try_for_each(|item| writeln!(f, "{item}")),
        }
    }
}

#[derive(Debug)]
pub(super) struct Client(BufReader<UnixStream>);

impl Client {
    pub(super) fn connect(socket: &Path, password: Option<&str>) -> Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut client = Self(BufReader::new(stream));
        if let Some(password) = password {
            client.call(&["AUTH", password])?;
        }
        Ok(client)
    }

    pub(super) fn call<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<Reply> {
        self.send(args)?;
        self.receive()
    }

    pub(super) fn send<A: AsRef<[u8]>>(&mut self, args: &[A]) -> Result<()> {
        let mut request = format!("*{}\r\n", args.len()).into_bytes();
        for arg in args.iter().map(AsRef::as_ref) {
            request.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
            request.extend_from_slice(arg);
            request.extend_from_slice(b"\r\n");
        }
        self.0.get_mut().write_all(&request)
    }

    pub(super) fn receive(&mut self) -> Result<Reply> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let line = line.strip_suffix("\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
        let (kind, rest) = line.split_at(1);
        let number = || rest.parse::<i64>().expect("a number in the reply");
        Ok(match kind {
            "+" => Reply::Text(rest.into()),
            "-" => Reply::Error(rest.into()),
            ":" => Reply::Number(number()),
            "$" if number() >= 0 => {
                let mut text = vec![0; number() as usize + 2];
                self.0.read_exact(&mut text)?;
                text.truncate(number() as usize);
                Reply::Text(text)
            }
            "*" if number() >= 0 => Reply::List((0..number()).map(|_| self.receive()).collect::<Result<_>>()?),
            "$" | "*" => Reply::Nil,
            _ => panic!("not a reply: {line}"),
        })
    }
}
