//! A proxy that can fail: a broken network for one client alone.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// What the proxy does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Hands everything on.
    Open,
    /// Hands everything on so much later.
    Slow(Duration),
    /// Hands requests on, and of answers so many bytes a second on each connection.
    Narrow(u32),
    /// Takes connections and bytes and hands nothing on, until the mood changes.
    Hole,
    /// Hands requests on, and no answers, until the mood changes.
    Mute,
    /// Hands everything on but what a server says unasked, as one that knows nothing of RESP3 might.
    Pushless,
    /// Ends every new connection at once.
    Closed,
}

/// Stands in front of one address. New connections end with it.
#[derive(Debug)]
pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    mood: Mood,
    streams: Vec<TcpStream>,
    accepted: usize,
    /// Connections up to this one are dead.
    stranded: usize,
    ended: bool,
}

impl Proxy {
    pub(crate) fn of(port: u16) -> Self {
        let target = SocketAddr::from(([127, 0, 0, 1], port));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let state = State { mood: Mood::Open, streams: Vec::new(), accepted: 0, stranded: 0, ended: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let port = listener.local_addr().unwrap().port();
        let served = Arc::clone(&shared);
        thread::spawn(move || served.serve(&listener, target));
        Self { port, shared }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The URL of database 0 behind the proxy.
    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub(crate) fn set(&self, mood: Mood) {
        self.shared.state.lock().unwrap().mood = mood;
        self.shared.changed.notify_all();
    }

    /// Ends every connection.
    pub(crate) fn cut(&self) {
        for stream in self.shared.state.lock().unwrap().streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Hands nothing on over the connections there are, for ever, as a router that has forgotten them.
    pub(crate) fn strand(&self) {
        let mut state = self.shared.state.lock().unwrap();
        state.stranded = state.accepted;
    }

    /// How many connections were made.
    pub(crate) fn accepted(&self) -> usize {
        self.shared.state.lock().unwrap().accepted
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap().ended = true;
        self.set(Mood::Open);
        self.cut();
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

impl Shared {
    fn serve(self: Arc<Self>, listener: &TcpListener, target: SocketAddr) {
        for stream in listener.incoming() {
            let mut state = self.state.lock().unwrap();
            if state.ended {
                return;
            }
            state.accepted += 1;
            let Ok(near) = stream else { continue };
            if state.mood == Mood::Closed {
                continue;
            }
            let Ok(far) = TcpStream::connect(target) else { continue };
            let both = || (near.try_clone().unwrap(), far.try_clone().unwrap());
            let ((near_in, far_out), (near_out, far_in)) = (both(), both());
            state.streams.extend([near, far]);
            let number = state.accepted;
            for (from, to, answers) in [(near_in, far_out, false), (far_in, near_out, true)] {
                let (shared, way) = (Arc::clone(&self), Way { number, answers });
                let _ = to.set_nodelay(true);
                thread::spawn(move || shared.copy(from, to, way));
            }
        }
    }

    fn copy(&self, mut from: TcpStream, mut to: TcpStream, way: Way) {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if let Some(delay) = self.wait(way, length) {
                thread::sleep(delay);
            }
            // A connection that is pushed to is asked nothing else, so what arrives on it begins with a push.
            if way.answers && buffer[0] == b'>' && self.state.lock().unwrap().mood == Mood::Pushless {
                continue;
            }
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }

    /// Waits while bytes go nowhere. Returns how much later `length` bytes go on.
    fn wait(&self, way: Way, length: usize) -> Option<Duration> {
        let goes_nowhere = |state: &mut State| match state.mood {
            _ if state.ended => false,
            _ if way.number <= state.stranded => true,
            Mood::Hole => true,
            Mood::Mute => way.answers,
            _ => false,
        };
        match self.changed.wait_while(self.state.lock().unwrap(), goes_nowhere).unwrap().mood {
            Mood::Slow(delay) => Some(delay),
            Mood::Narrow(rate) if way.answers => Some(Duration::from_secs_f64(length as f64 / f64::from(rate))),
            _ => None,
        }
    }
}

/// One direction of one connection.
#[derive(Clone, Copy)]
struct Way {
    number: usize,
    answers: bool,
}
