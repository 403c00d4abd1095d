//! A memcached of our own that misbehaves on demand.
//!
//! While it behaves it speaks what the backend needs of the meta protocol, as memcached 1.6 does. What goes wrong is
//! told by its mode, and goes wrong with every command from then on.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Result, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rude {
    /// Nothing.
    No,
    /// A value of so many bytes is declared, and nothing of it sent.
    Declares(u64),
    /// A value of so many bytes is declared, and sent without end.
    Streams(u64),
    /// The length of a value is these characters.
    Length(&'static str),
    /// A line that never ends.
    EndlessLine,
    /// The right answer, again and again.
    EndlessAnswers,
    /// The right answer, twice.
    Twice,
    /// The right answer, and a value of another key that nobody asked for.
    Stray,
    /// A value of another key that nobody asked for, and the right answer.
    StrayFirst,
    /// Each answer is the one to the command before.
    Behind,
    /// The answers to the commands of one packet, the last first.
    Backwards,
    /// The value of another key, under the right number and that key.
    OtherKey,
    /// The right answer under another number.
    OtherNumber,
    /// The right answer without number and key.
    Nameless,
    /// Another kind of answer than the command has.
    OtherKind,
    /// A value that is longer than its length says.
    TooLong,
    /// Half of an answer, and the end of the connection.
    Cut,
    /// A byte at a time, at this distance.
    Drip(Duration),
    /// This line.
    Says(&'static str),
    /// Numbers at the end of their range.
    Absurd,
    /// The end of the connection.
    Hangup,
    /// Nothing.
    Silent,
}

/// All modes in which something goes wrong.
pub(crate) const ALL: [Rude; 29] = [
    Rude::Declares(512 << 20),
    Rude::Declares(1 << 20),
    Rude::Declares(1 << 62),
    Rude::Streams(1 << 20),
    Rude::Streams(512 << 20),
    Rude::Streams(1 << 30),
    Rude::Length("-1"),
    Rude::Length("18446744073709551615"),
    Rude::Length("99999999999999999999"),
    Rude::Length("0x10"),
    Rude::EndlessLine,
    Rude::EndlessAnswers,
    Rude::Twice,
    Rude::Stray,
    Rude::StrayFirst,
    Rude::Behind,
    Rude::Backwards,
    Rude::OtherKey,
    Rude::OtherNumber,
    Rude::Nameless,
    Rude::OtherKind,
    Rude::TooLong,
    Rude::Cut,
    Rude::Drip(Duration::from_millis(30)),
    Rude::Says("SERVER_ERROR users:1 is secret"),
    Rude::Says("HTTP/1.1 400 Bad Request"),
    Rude::Absurd,
    Rude::Hangup,
    Rude::Silent,
];

#[derive(Debug, Default)]
struct State {
    entries: HashMap<String, (String, u64, Vec<u8>)>,
    writes: u64,
}

#[derive(Debug)]
struct Shared {
    mode: Mutex<Rude>,
    /// In place of the mode, for one command.
    once: Mutex<Option<Rude>>,
    state: Mutex<State>,
    connections: AtomicUsize,
}

/// On a free port of 127.0.0.1, to the end of the process.
#[derive(Debug)]
pub(crate) struct RudeMemcached {
    address: String,
    shared: Arc<Shared>,
}

impl RudeMemcached {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared {
            mode: Mutex::new(Rude::No),
            once: Mutex::default(),
            state: Mutex::default(),
            connections: AtomicUsize::new(0),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&serving);
                shared.connections.fetch_add(1, SeqCst);
                thread::spawn(move || serve(&shared, stream));
            }
        });
        Self { address, shared }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn set(&self, mode: Rude) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    /// Misbehaves with one command.
    pub(crate) fn set_once(&self, mode: Rude) {
        *self.shared.once.lock().unwrap() = Some(mode);
        self.set(Rude::No);
    }

    /// How many connections were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }
}

/// What a command asks for.
struct Command {
    verb: String,
    key: String,
    flags: Vec<String>,
    value: Vec<u8>,
}

impl Command {
    fn read(reader: &mut impl BufRead) -> Option<Self> {
        let mut line = String::new();
        reader.read_line(&mut line).ok().filter(|length| *length > 0)?;
        let mut words = line.split_whitespace().map(str::to_owned);
        let (verb, key) = (words.next()?, words.next().unwrap_or_default());
        let mut value = Vec::new();
        if verb == "ms" {
            value = vec![0; words.next()?.parse::<usize>().ok()? + 2];
            reader.read_exact(&mut value).ok()?;
            value.truncate(value.len() - 2);
        }
        Some(Self { verb, key, flags: words.collect(), value })
    }

    fn flag(&self, head: char) -> Option<&str> {
        self.flags.iter().find_map(|flag| flag.strip_prefix(head))
    }

    /// The number and the key, as an answer repeats them.
    fn echo(&self) -> String {
        format!(" k{} O{}", self.key, self.flag('O').unwrap_or("0"))
    }
}

/// The right answer: the kind with its numbers, and the value.
fn right(state: &mut State, command: &Command) -> (String, Option<Vec<u8>>) {
    let found = state.entries.get(&command.key).cloned();
    let same = |id: u64| command.flag('C').is_none_or(|wanted| wanted == id.to_string());
    match (command.verb.as_str(), found) {
        ("mg", None) => ("EN".into(), None),
        ("mg", Some((flags, id, value))) => {
            let numbers = format!(" f{flags} c{id} t60 s{}", value.len());
            if command.flags.iter().any(|flag| flag == "v") {
                return (format!("VA {}{numbers}", value.len()), Some(value));
            }
            (format!("HD{numbers}"), None)
        }
        ("ms", Some(_)) if command.flag('M') == Some("E") => ("NS".into(), None),
        ("ms" | "md", Some((_, id, _))) if !same(id) => ("EX".into(), None),
        ("ms", None) if command.flag('C').is_some() => ("NF".into(), None),
        ("ms", _) => {
            state.writes += 1;
            let flags = command.flag('F').unwrap_or("0").to_owned();
            state.entries.insert(command.key.clone(), (flags, state.writes, command.value.clone()));
            (format!("HD c{}", state.writes), None)
        }
        ("md", None) => ("NF".into(), None),
        _ => {
            state.entries.remove(&command.key);
            ("HD".into(), None)
        }
    }
}

fn written(head: &str, echo: &str, value: Option<&[u8]>) -> Vec<u8> {
    let mut out = format!("{head}{echo}\r\n").into_bytes();
    if let Some(value) = value {
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn serve(shared: &Shared, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(stream);
    let (mut before, mut packet): (Vec<u8>, Vec<Vec<u8>>) = (b"EN\r\n".to_vec(), Vec::new());
    while let Some(command) = Command::read(&mut reader) {
        let mode = shared.once.lock().unwrap().take().unwrap_or(*shared.mode.lock().unwrap());
        let (head, value) = right(&mut shared.state.lock().unwrap(), &command);
        let answer = written(&head, &command.echo(), value.as_deref());
        if mode == Rude::Backwards {
            packet.insert(0, answer);
            if reader.buffer().is_empty() && reader.get_mut().write_all(&std::mem::take(&mut packet).concat()).is_err()
            {
                return;
            }
            continue;
        }
        let other = another(&shared.state.lock().unwrap(), &command.key);
        let said = Said { mode, command: &command, head: &head, value: value.as_deref(), other: &other };
        if said.say(reader.get_mut(), &answer, &before).is_err() {
            return;
        }
        before = answer;
    }
}

/// The key and the value of another entry.
fn another(state: &State, key: &str) -> (String, Vec<u8>) {
    let found = state.entries.iter().find(|(name, _)| name.as_str() != key && !name.ends_with(":lock"));
    found.map_or(("other".into(), b"of another".to_vec()), |(name, (.., value))| (name.clone(), value.clone()))
}

struct Said<'a> {
    mode: Rude,
    command: &'a Command,
    head: &'a str,
    value: Option<&'a [u8]>,
    other: &'a (String, Vec<u8>),
}

impl Said<'_> {
    fn say(&self, out: &mut TcpStream, answer: &[u8], before: &[u8]) -> Result<()> {
        let echo = self.command.echo();
        let line = |length: &str| format!("VA {length} f0 c1{echo}\r\n").into_bytes();
        match self.mode {
            Rude::No | Rude::Backwards => out.write_all(answer),
            Rude::Declares(length) => out.write_all(&line(&length.to_string())),
            Rude::Streams(length) => endless(out, &line(&length.to_string()), &[b'x'; 64 << 10]),
            Rude::Length(length) => out.write_all(&line(length)),
            Rude::EndlessLine => endless(out, b"VA 10 f0 ", &[b'c'; 64 << 10]),
            Rude::EndlessAnswers => endless(out, b"", answer),
            Rude::Twice => out.write_all(&[answer, answer].concat()),
            Rude::Stray => out.write_all(&[answer, &self.other_value(" O7")].concat()),
            Rude::StrayFirst => out.write_all(&[&self.other_value(" O7"), answer].concat()),
            Rude::Behind => out.write_all(before),
            Rude::OtherKey => out.write_all(&self.other_value(&format!(" O{}", self.command.flag('O').unwrap_or("")))),
            Rude::OtherNumber => out.write_all(&written(self.head, &format!(" k{} O7", self.command.key), self.value)),
            Rude::Nameless => out.write_all(&written(self.head, "", self.value)),
            Rude::OtherKind => out.write_all(&self.other_kind(&echo)),
            Rude::TooLong => out.write_all(&[line("3"), b"abcdefgh\r\n".to_vec()].concat()),
            Rude::Cut => {
                out.write_all(&answer[..answer.len() / 2])?;
                Err(std::io::ErrorKind::ConnectionAborted.into())
            }
            Rude::Drip(distance) => answer.iter().try_for_each(|byte| {
                thread::sleep(distance);
                out.write_all(&[*byte])
            }),
            Rude::Says(line) => out.write_all(format!("{line}\r\n").as_bytes()),
            Rude::Absurd => out.write_all(&self.absurd(&echo)),
            Rude::Hangup => Err(std::io::ErrorKind::ConnectionAborted.into()),
            Rude::Silent => Ok(()),
        }
    }

    fn other_value(&self, number: &str) -> Vec<u8> {
        let (key, value) = self.other;
        written(&format!("VA {} f0 c1", value.len()), &format!(" k{key}{number}"), Some(value))
    }

    fn other_kind(&self, echo: &str) -> Vec<u8> {
        match self.command.verb.as_str() {
            "mg" => written("NS", echo, None),
            _ => written("VA 3 f0 c1", echo, Some(b"abc")),
        }
    }

    fn absurd(&self, echo: &str) -> Vec<u8> {
        let numbers =
            "f4294967295 c18446744073709551615 t-9223372036854775808 s18446744073709551615 l18446744073709551615";
        match (self.command.verb.as_str(), self.value) {
            ("mg", Some(value)) => written(&format!("VA {} {numbers}", value.len()), echo, Some(value)),
            _ => written(&format!("HD {numbers}"), echo, None),
        }
    }
}

/// Sends the same until nobody takes it.
fn endless(out: &mut TcpStream, head: &[u8], part: &[u8]) -> Result<()> {
    out.write_all(head)?;
    loop {
        out.write_all(part)?;
    }
}
