//! What a memcached server says, as functions of bytes.

use std::io::{Read, Write};
use std::net::TcpListener;

use memcache::exp::{Delete, Get, Meta, Op, Set};

use super::connection::Connection;
use super::lease::Note;

/// A note of a lease that is read is written as the same bytes.
pub fn memcached_lease(bytes: &[u8]) {
    if let Some(note) = Note::decode(bytes) {
        assert_eq!(note.encode(), bytes);
    }
}

/// The longest value that is accepted.
const LIMIT: usize = 1 << 10;

/// A server that answers three commands with these bytes, in which `#` stands for the number of the first of them, and
/// ends the connection. No value is longer than the limit.
pub fn memcached_answers(bytes: &[u8]) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let address = listener.local_addr().expect("it is bound");
    let operations: [Op; 3] = [
        Get::new("users:42").meta(Meta::NONE.cas()).into(),
        Set::new("users:42", b"ada").into(),
        Delete::new("users:42").into(),
    ];
    let answers = std::thread::scope(|scope| {
        scope.spawn(|| {
            let (mut stream, _) = listener.accept().expect("it is connected to");
            let mut request = [0; 64];
            let length = stream.read(&mut request).unwrap_or(0);
            let mut number = request[..length].split(|byte| *byte == b'O').nth(1).unwrap_or_default();
            number = number.split(|byte| !byte.is_ascii_digit()).next().unwrap_or_default();
            let answer = bytes.split(|byte| *byte == b'#').collect::<Vec<_>>().join(number);
            // A client that has its answers does not wait for more.
            let _ = stream.write_all(&answer);
        });
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_io().build().expect("there is memory for it");
        runtime.block_on(async {
            let mut connection = Connection::open(&[address]).await.expect("there is a listener");
            connection.exchange(&operations[..], LIMIT).await
        })
    });
    for answer in answers.into_iter().flatten() {
        if let memcache::exp::OpResult::Get(found) = answer {
            assert!(found.value.is_none_or(|value| value.len() <= LIMIT));
        }
    }
}
