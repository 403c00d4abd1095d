//! A Redis server that misbehaves on demand: in RESP2 and RESP3, alone, behind sentinels or as a cluster of one.

mod modes;
mod store;

use std::io::{BufRead, BufReader, Read, Result, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

pub(crate) use self::modes::Mode;
use self::store::Store;

/// Listens until it is dropped. Its connections end with it.
#[derive(Debug)]
pub(crate) struct RudeRedis {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    mode: Mutex<Mode>,
    store: Mutex<Store>,
    streams: Mutex<Vec<TcpStream>>,
    accepted: AtomicUsize,
    /// Bytes that were sent in place of answers.
    flooded: AtomicUsize,
}

/// One connection, as the server sees it.
pub(super) struct Talk<'a> {
    shared: &'a Shared,
    port: u16,
    reader: BufReader<TcpStream>,
    writer: TcpStream,
    resp3: bool,
    /// The commands since MULTI.
    transaction: Option<Vec<Vec<Vec<u8>>>>,
    /// An answer that is held back.
    held: Option<Vec<u8>>,
    /// Answers that were given.
    answers: usize,
}

/// More than this is sent over no connection: whoever takes so much has no bound.
const FLOOD: usize = 32 << 20;

impl RudeRedis {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (store, streams, accepted, flooded) = Default::default();
        let shared = Arc::new(Shared { mode: Mutex::new(Mode::Honest), store, streams, accepted, flooded });
        let served = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if *served.mode.lock().unwrap() == Mode::Ended {
                    return;
                }
                let shared = Arc::clone(&served);
                shared.accepted.fetch_add(1, Relaxed);
                shared.streams.lock().unwrap().push(stream.try_clone().unwrap());
                thread::spawn(move || {
                    let closing = stream.try_clone().unwrap();
                    // A client that has had enough ends it.
                    let _ = Talk::new(&shared, port, stream).serve();
                    let _ = closing.shutdown(Shutdown::Both);
                });
            }
        });
        Self { port, shared }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub(crate) fn url(&self, resp3: bool) -> String {
        format!("redis://{}/0{}", self.address(), if resp3 { "?protocol=3" } else { "" })
    }

    /// The URL of a cluster whose only node it is, and of sentinels that name it.
    pub(crate) fn discovering_urls(&self) -> [String; 2] {
        [format!("redis-cluster://{}", self.address()), format!("redis-sentinel://{}/m", self.address())]
    }

    /// Stores a value, as any other program could.
    pub(crate) fn store(&self, key: &str, value: &[u8]) {
        self.shared.store.lock().unwrap().store(key.as_bytes(), value);
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    /// Ends every connection.
    pub(crate) fn cut(&self) {
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// How many connections were made.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.accepted.load(Relaxed)
    }

    /// How many bytes were sent in place of answers.
    pub(crate) fn flooded(&self) -> usize {
        self.shared.flooded.load(Relaxed)
    }
}

impl Drop for RudeRedis {
    fn drop(&mut self) {
        self.set(Mode::Ended);
        self.cut();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl<'a> Talk<'a> {
    fn new(shared: &'a Shared, port: u16, stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        let (reader, writer) = (BufReader::new(stream.try_clone().unwrap()), stream);
        let (resp3, transaction, held, answers) = Default::default();
        Self { shared, port, reader, writer, resp3, transaction, held, answers }
    }

    fn serve(mut self) -> Result<()> {
        loop {
            let command = self.read()?;
            let answer = self.answer(&command);
            let mode = *self.shared.mode.lock().unwrap();
            // Of the commands about the client, one asks for something.
            let tracks = command.get(1).is_some_and(|word| word == b"TRACKING");
            let name = command[usize::from(tracks)].to_ascii_uppercase();
            self.say(mode, &name, answer)?;
        }
    }

    fn read(&mut self) -> Result<Vec<Vec<u8>>> {
        let count = self.number()?;
        (0..count).map(|_| self.part()).collect()
    }

    fn part(&mut self) -> Result<Vec<u8>> {
        let mut part = vec![0; self.number()? + 2];
        self.reader.read_exact(&mut part)?;
        part.truncate(part.len() - 2);
        Ok(part)
    }

    fn number(&mut self) -> Result<usize> {
        let mut line = String::new();
        self.reader.read_line(&mut line)?;
        line.get(1..).and_then(|digits| digits.trim_end().parse().ok()).ok_or(std::io::ErrorKind::UnexpectedEof.into())
    }

    /// What an honest server answers.
    fn answer(&mut self, command: &[Vec<u8>]) -> Vec<u8> {
        match &command[0].to_ascii_uppercase()[..] {
            b"HELLO" => {
                self.resp3 = command.get(1).is_some_and(|version| version == b"3");
                b"%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$5\r\nproto\r\n:3\r\n".to_vec()
            }
            b"MULTI" => {
                self.transaction = Some(Vec::new());
                b"+OK\r\n".to_vec()
            }
            b"EXEC" => {
                let commands = self.transaction.take().unwrap_or_default();
                let mut answers = format!("*{}\r\n", commands.len()).into_bytes();
                commands.iter().for_each(|command| answers.extend(self.store(command)));
                answers
            }
            _ => match &mut self.transaction {
                Some(commands) => {
                    commands.push(command.to_vec());
                    b"+QUEUED\r\n".to_vec()
                }
                None => self.store(command),
            },
        }
    }

    fn store(&self, command: &[Vec<u8>]) -> Vec<u8> {
        let answer = self.shared.store.lock().unwrap().answer(command, self.resp3, self.port);
        let waits = command.iter().any(|word| word == b"BLOCK");
        if waits && matches!(answer[..], [b'_', ..] | [b'*', b'-', ..]) {
            // Not for as long as it was asked to: whoever asks asks again.
            thread::sleep(Duration::from_millis(20));
        }
        answer
    }

    /// Sends a beginning, and then the same bytes until the client has had enough.
    fn flood(&mut self, beginning: &[u8], bytes: &[u8]) -> Result<()> {
        self.writer.write_all(beginning)?;
        let chunk = bytes.repeat((64 << 10) / bytes.len());
        for _ in 0..FLOOD / chunk.len() {
            self.writer.write_all(&chunk)?;
            self.shared.flooded.fetch_add(chunk.len(), Relaxed);
        }
        Err(std::io::ErrorKind::Other.into())
    }
}
