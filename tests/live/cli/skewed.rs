//! A server whose clock is wrong: a proxy that changes what it says of the time.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;

/// Stands in front of a port; the clock there is ahead by so many seconds. Ends with the test's process.
pub(super) fn ahead(port: u16, seconds: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}/0", listener.local_addr().unwrap());
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = TcpStream::connect(("127.0.0.1", port)) else { return };
            let (from, to) = (near.try_clone().unwrap(), far.try_clone().unwrap());
            thread::spawn(move || copy(from, to, 0));
            thread::spawn(move || copy(far, near, seconds));
        }
    });
    url
}

fn copy(mut from: TcpStream, mut to: TcpStream, seconds: u64) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        shift(&mut buffer[..length], seconds);
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Both);
}

/// The answer to `TIME` begins with an array of two, and seconds in ten digits.
fn shift(bytes: &mut [u8], seconds: u64) {
    const HEAD: &[u8] = b"*2\r\n$10\r\n";
    let Some(at) = bytes.windows(HEAD.len()).position(|window| window == HEAD) else { return };
    let Some(digits) = bytes.get_mut(at + HEAD.len()..at + HEAD.len() + 10) else { return };
    if let Some(time) = std::str::from_utf8(digits).ok().and_then(|text| text.parse::<u64>().ok()) {
        digits.copy_from_slice(format!("{:010}", time + seconds).as_bytes());
    }
}
