//! Answers that only a server without manners gives.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::thread;

use cachekit::backends::CachekitIo;
use cachekit::{Backend, CachekitIoSettings, ErrorKind};
use rustls::{ServerConnection, StreamOwned};

use super::support::key;
use crate::servers::{Authority, PATIENCE, eventually};

/// Sends each request the next of `answers`, in records of their own, and closes the connection after the last.
struct Raw {
    url: String,
    connections: Arc<AtomicUsize>,
    /// How many answers were sent, to the last byte.
    sent: Arc<AtomicUsize>,
    authority: Authority,
}

impl Raw {
    fn start(answers: &'static [&'static [&'static str]]) -> Self {
        let authority = Authority::new();
        let config = authority.config();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        let connections = Arc::<AtomicUsize>::default();
        let sent = Arc::<AtomicUsize>::default();
        let (counted, told) = (Arc::clone(&connections), Arc::clone(&sent));
        thread::spawn(move || {
            let mut answers = answers.iter();
            for stream in listener.incoming() {
                counted.fetch_add(1, SeqCst);
                let session = ServerConnection::new(Arc::clone(&config)).unwrap();
                let stream = stream.unwrap();
                stream.set_nodelay(true).unwrap();
                serve(StreamOwned::new(session, stream), &mut answers, &told);
            }
        });
        Self { url, connections, sent, authority }
    }

    fn client(&self) -> CachekitIo {
        let mut settings = CachekitIoSettings::new("key").unwrap();
        settings.url = self.url.parse().unwrap();
        (settings.allow_custom_host, settings.ca_bundle) = (true, Some(self.authority.bundle().to_owned()));
        (settings.timeout, settings.max_retries, settings.pool_size) = (PATIENCE, 0, 1);
        CachekitIo::new(settings).unwrap()
    }
}

fn serve(mut stream: impl Read + Write, answers: &mut std::slice::Iter<'_, &[&str]>, sent: &AtomicUsize) {
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        request.extend_from_slice(&buffer[..length]);
        if request.ends_with(b"\r\n\r\n") {
            request.clear();
            let Some(answer) = answers.next() else { return };
            for record in *answer {
                stream.write_all(record.as_bytes()).unwrap();
                stream.flush().unwrap();
            }
            sent.fetch_add(1, SeqCst);
            if answers.len() == 0 {
                return;
            }
        }
    }
}

/// Of a body that ends with its connection nobody knows whether it is whole.
#[tokio::test]
async fn a_value_without_a_length_is_no_value() {
    let raw = Raw::start(&[&["HTTP/1.1 200 OK\r\n\r\n", "half a value"]]);
    assert_eq!(raw.client().get(&key(1)).await.unwrap_err().kind(), ErrorKind::Backend);
}

#[tokio::test]
async fn a_value_in_chunks_is_one() {
    let raw = Raw::start(&[&[
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "3\r\nabc\r\n",
        "1\r\nd\r\n0\r\n\r\n",
    ]]);
    assert_eq!(raw.client().get(&key(1)).await.unwrap().as_deref(), Some(&b"abcd"[..]));
    let cut = Raw::start(&[&["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "3\r\nabc\r\n"]]);
    assert_eq!(cut.client().get(&key(1)).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

/// What follows an answer unasked must not be taken for the next one: it would be another key's value.
#[tokio::test]
async fn what_was_not_asked_for_answers_nothing() {
    const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    let raw = Raw::start(&[
        &["HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", EVIL],
        &["HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb"],
    ]);
    let io = raw.client();
    assert_eq!(io.get(&key(1)).await.unwrap().as_deref(), Some(&b"a"[..]));
    eventually("everything is sent", async || raw.sent.load(SeqCst) == 1).await;
    assert_eq!(io.get(&key(2)).await.unwrap().as_deref(), Some(&b"b"[..]));
    assert_eq!(raw.connections.load(SeqCst), 2);
}
