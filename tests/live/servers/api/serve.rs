//! Connections: TLS, requests in turn, and what goes wrong with them.

use std::net::TcpListener;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::answer::Answer;
use super::fault::Faults;
use super::request::{self, Request, Unread};
use super::store::Store;
use super::{failing, routes};
use crate::servers::tls::Issued;

pub(super) type Stream = BufStream<TlsStream<TcpStream>>;

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

    /// Does what is asked for, and says so.
    pub(super) fn answer(&self, request: &Request) -> Answer {
        routes::answer(&mut self.state().store, request)
    }

    pub(super) fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    pub(super) fn stop(&self) {
        self.stopped.send_replace(true);
    }
}

pub(super) fn acceptor(issued: &Issued) -> TlsAcceptor {
    TlsAcceptor::from(issued.config())
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
                // First, so that nothing that was sent after a cut is answered.
                biased;
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
        let request = match request::read(&mut stream).await {
            Ok(request) => request,
            Err(Unread::Ended) => break,
            Err(Unread::Refused(status)) => {
                Answer::error(status, "malformed").send(&mut stream, "GET").await?;
                break;
            }
        };
        let fault = {
            let mut state = shared.state();
            state.requests.push(request.remembered());
            state.faults.take(&request.method)
        };
        let goes_on = match fault {
            None => shared.answer(&request).send(&mut stream, &request.method).await.map(|()| true),
            Some(fault) => failing::fail(shared, &mut stream, &request, fault).await,
        };
        if !goes_on? || request.ends_connection() {
            break;
        }
    }
    stream.shutdown().await
}
