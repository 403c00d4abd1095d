//! Connections: TLS, requests in turn, and what goes wrong with them.

use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::fault::{Fault, Faults};
use super::http::{self, Answer, Request, Unread};
use super::routes;
use super::store::Store;
use crate::servers::tls::Issued;

type Stream = BufStream<TlsStream<TcpStream>>;

#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Counts the calls of `cut`; closed connections need not know why.
    cuts: watch::Sender<u64>,
    stopped: watch::Sender<bool>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) store: Store,
    pub(super) faults: Faults,
    pub(super) requests: Vec<Request>,
    pub(super) connections: usize,
    pub(super) open: usize,
    pub(super) most_open: usize,
}

impl Shared {
    pub(super) fn new() -> Self {
        let (store, faults) = (Store::new(), Faults::default());
        let state = State { store, faults, requests: Vec::new(), connections: 0, open: 0, most_open: 0 };
        Self { state: Mutex::new(state), cuts: watch::Sender::new(0), stopped: watch::Sender::new(false) }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(super) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub(super) fn stop(&self) {
        self.stopped.send_replace(true);
    }
}

pub(super) fn acceptor(issued: &Issued) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(&issued.certificate).unwrap().collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(&issued.key).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Serves until `stop`. With the runtime, all connections end.
pub(super) fn run(shared: &Arc<Shared>, listener: TcpListener, acceptor: TlsAcceptor) {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut stopped = shared.stopped.subscribe();
    runtime.block_on(async {
        tokio::select! {
            _ = stopped.wait_for(|stopped| *stopped) => {}
            () = accept(shared, listener, acceptor) => {}
        }
    });
}

async fn accept(shared: &Arc<Shared>, listener: TcpListener, acceptor: TlsAcceptor) {
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (shared, acceptor) = (Arc::clone(shared), acceptor.clone());
        tokio::spawn(async move {
            let _ = stream.set_nodelay(true);
            let mut cuts = shared.cuts.subscribe();
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let _open = Open::new(&shared);
            tokio::select! {
                _ = cuts.changed() => {}
                _ = serve(&shared, BufStream::new(stream)) => {}
            }
        });
    }
}

/// One more open connection, until dropped.
struct Open<'a>(&'a Shared);

impl<'a> Open<'a> {
    fn new(shared: &'a Shared) -> Self {
        let mut state = shared.state();
        state.connections += 1;
        state.open += 1;
        state.most_open = state.most_open.max(state.open);
        Self(shared)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.state().open -= 1;
    }
}

/// Answers one request after the other until the connection ends.
async fn serve(shared: &Shared, mut stream: Stream) -> std::io::Result<()> {
    while !stream.fill_buf().await?.is_empty() {
        if shared.state().faults.take_reset() {
            return stream.get_ref().get_ref().0.set_zero_linger();
        }
        let request = match http::read(&mut stream).await {
            Ok(request) => request,
            Err(Unread::Ended) => break,
            Err(Unread::Refused(status)) => {
                send(&mut stream, "GET", &Answer::error(status, "malformed")).await?;
                break;
            }
        };
        let fault = {
            let mut state = shared.state();
            state.requests.push(request.remembered());
            state.faults.take(&request.method)
        };
        let goes_on = match fault {
            None => send(&mut stream, &request.method, &shared.answer(&request)).await.map(|()| true),
            Some(fault) => fail(shared, &mut stream, &request, fault).await,
        };
        if !goes_on? || request.ends_connection() {
            break;
        }
    }
    stream.shutdown().await
}

impl Shared {
    fn answer(&self, request: &Request) -> Answer {
        routes::answer(&mut self.state().store, request)
    }
}

/// Whether the connection goes on.
async fn fail(shared: &Shared, stream: &mut Stream, request: &Request, fault: Fault) -> std::io::Result<bool> {
    let method = request.method.as_str();
    let large = |length| Answer::new(200, "application/octet-stream", vec![b'x'; length]);
    match fault {
        Fault::Instead(answer) => send(stream, method, &answer).await?,
        Fault::Headers(headers) => {
            let answer = headers.into_iter().fold(shared.answer(request), |answer, (name, value)| match value {
                Some(value) => answer.with(name, value),
                None => answer.without(name),
            });
            send(stream, method, &answer).await?;
        }
        Fault::Late(delay) => {
            let answer = shared.answer(request);
            tokio::time::sleep(delay).await;
            send(stream, method, &answer).await?;
        }
        Fault::Truncated => {
            let answer = shared.answer(request);
            let told = answer.body.len().max(1);
            write(stream, answer.head(told).as_bytes()).await?;
            write(stream, &answer.body[..told / 2]).await?;
            return Ok(false);
        }
        Fault::Drip(distance) => {
            let answer = shared.answer(request);
            write(stream, answer.head(answer.body.len()).as_bytes()).await?;
            drip(stream, &answer.body, distance).await?;
        }
        Fault::DripHead(distance) => {
            let answer = shared.answer(request);
            drip(stream, answer.head(answer.body.len()).as_bytes(), distance).await?;
            drip(stream, &answer.body, distance).await?;
        }
        Fault::Large(length) => send(stream, method, &large(length)).await?,
        Fault::Endless => endless(stream, &large(0)).await?,
        Fault::HugeHeaders(length) => send(stream, method, &large(2).with("X-Huge", "h".repeat(length))).await?,
        Fault::Garbage => {
            write(stream, b"\x15\x03\x01 this is not HTTP\r\n\r\n").await?;
            return Ok(false);
        }
        Fault::Lost => {
            shared.answer(request);
            return Ok(false);
        }
        Fault::Close => return Ok(false),
        Fault::Hang | Fault::Reset => while stream.read(&mut [0; 1024]).await? > 0 {},
    }
    Ok(true)
}

async fn send(stream: &mut Stream, method: &str, answer: &Answer) -> std::io::Result<()> {
    write(stream, answer.head(answer.body.len()).as_bytes()).await?;
    if method == "HEAD" { Ok(()) } else { write(stream, &answer.body).await }
}

async fn write(stream: &mut Stream, bytes: &[u8]) -> std::io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

async fn drip(stream: &mut Stream, bytes: &[u8], distance: Duration) -> std::io::Result<()> {
    for byte in bytes {
        write(stream, &[*byte]).await?;
        tokio::time::sleep(distance).await;
    }
    Ok(())
}

async fn endless(stream: &mut Stream, answer: &Answer) -> std::io::Result<()> {
    write(stream, answer.chunked_head().as_bytes()).await?;
    let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x1_0000], b"\r\n"].concat();
    loop {
        write(stream, &chunk).await?;
    }
}
