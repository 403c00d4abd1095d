//! A proxy that holds every byte back for a while: the way to a server that is not on this host.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::thread::{sleep, spawn};
use std::time::{Duration, Instant};

use crate::Failure;

/// Starts a proxy to a port of this host, and returns its own. What it reads it writes after `one_way`, in both
/// directions. It ends with this program. Threads sleep, because tokio's timer knows no part of a millisecond.
pub(crate) fn start(target: u16, one_way: Duration) -> Result<u16, Failure> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let port = listener.local_addr()?.port();
    spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            // A server that is gone ends the connection, as it would without the proxy.
            let _ = join(client, target, one_way);
        }
    });
    Ok(port)
}

fn join(client: TcpStream, target: u16, one_way: Duration) -> std::io::Result<()> {
    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, target))?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    for (from, to) in [(client.try_clone()?, server.try_clone()?), (server, client)] {
        let (sender, receiver) = channel();
        spawn(move || carry(&receiver, to));
        spawn(move || {
            let (mut from, mut buffer) = (from, vec![0; 64 << 10]);
            while let Ok(count @ 1..) = from.read(&mut buffer) {
                if sender.send((Instant::now() + one_way, buffer[..count].to_vec())).is_err() {
                    return;
                }
            }
        });
    }
    Ok(())
}

/// Writes each part when its time has come.
fn carry(parts: &Receiver<(Instant, Vec<u8>)>, mut to: TcpStream) {
    while let Ok((when, bytes)) = parts.recv() {
        sleep(when.saturating_duration_since(Instant::now()));
        if to.write_all(&bytes).is_err() {
            return;
        }
    }
    // The other side has ended; so does this one, and a failure means that it has.
    let _ = to.shutdown(Shutdown::Write);
}
