//! Free loopback ports.
//!
//! Below the ports that the system gives to clients, so that nobody takes the port of a server that is being restarted.
//! A cluster's own traffic goes 10,000 above.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 10_000;
const COUNT: u16 = 10_000;

/// A port nobody listens on, and that no other test of this process is given.
pub(crate) fn unused() -> u16 {
    static STEPS: AtomicU16 = AtomicU16::new(0);
    static START: std::sync::LazyLock<u16> = std::sync::LazyLock::new(|| fastrand::u16(..COUNT));
    for _ in 0..COUNT {
        let port = FIRST + (*START + STEPS.fetch_add(1, Ordering::Relaxed) % COUNT) % COUNT;
        if is_free(port) && is_free(port + 10_000) {
            return port;
        }
    }
    panic!("no free port from {FIRST} on");
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
