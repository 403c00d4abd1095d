use std::collections::VecDeque;

use super::*;

/// Gives one part with each read, then nothing.
struct Parts(VecDeque<Vec<u8>>);

impl Read for Parts {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(mut part) = self.0.pop_front() else { return Ok(0) };
        let rest = part.split_off(part.len().min(buffer.len()));
        buffer[..part.len()].copy_from_slice(&part);
        if !rest.is_empty() {
            self.0.push_front(rest);
        }
        Ok(part.len())
    }
}

fn parts(text: &str, length: usize) -> Parts {
    Parts(text.as_bytes().chunks(length).map(<[u8]>::to_vec).collect())
}

/// The status, the body, and whether the connection may be used again.
fn read(stream: impl Read, limit: usize) -> Result<(u16, Vec<u8>, bool), Fault> {
    let mut answers = Answers::new(stream);
    let head = answers.head()?;
    let body = answers.body(Framing::of(&head, false)?, limit)?;
    Ok((head.status, body, answers.is_reusable(&head)))
}

#[test]
fn an_answer_is_read_however_it_is_cut() {
    for (text, body) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", "abc"),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "abc",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2;x=y\r\nab\r\n0a\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n",
            "ab0123456789",
        ),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n", ""),
    ] {
        for length in [1, 2, 3, 7, 1_000] {
            let read = read(parts(text, length), 64).unwrap();
            assert_eq!(read, (200, body.as_bytes().to_vec(), true), "{text:?} by {length}");
        }
    }
}

#[test]
fn what_leaves_a_doubt_is_refused() {
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcde\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",
        "HTTP/1.1 099 Odd\r\n\r\n",
        "HTTP/1.1 200 OK\nContent-Length: 3\n\nabc\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "\r\n\r\n",
    ] {
        assert!(matches!(read(parts(text, 1_000), 64), Err(Fault::Strange)), "{text:?}");
    }
}

#[test]
fn a_connection_is_kept_only_if_nothing_is_left_on_it() {
    for (text, kept) in [
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nx", true),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\nConnection: Keep-Alive\r\n\r\nx", true),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx", false),
        ("HTTP/1.0 404 Not Found\r\nContent-Length: 1\r\n\r\nx", false),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\nxHTTP/1.1 200 OK\r\n", false),
    ] {
        assert_eq!(read(parts(text, 1_000), 64).unwrap().2, kept, "{text:?}");
    }
}

/// A stream that says one thing and then another for ever, and counts what is taken.
struct Endless<'a> {
    head: &'a [u8],
    part: &'a [u8],
    taken: usize,
}

impl Read for &mut Endless<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.head.is_empty() {
            self.head = self.part;
        }
        let length = self.head.len().min(buffer.len());
        buffer[..length].copy_from_slice(&self.head[..length]);
        self.head = &self.head[length..];
        self.taken += length;
        Ok(length)
    }
}

#[test]
fn what_never_ends_is_given_up_at_its_bound() {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\n";
    const CHUNKS: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    const LAST: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";
    const LIMIT: usize = 1 << 20;
    for (what, head, part, most) in [
        ("a status line", &b"HTTP/1.1 200 "[..], &b"O"[..], 3 * MAX_HEAD),
        ("a header", b"HTTP/1.1 200 OK\r\nX: ", b"x", 3 * MAX_HEAD),
        ("headers", OK, b"X: y\r\n", 3 * MAX_HEAD),
        ("interim answers", b"", b"HTTP/1.1 100 Continue\r\n\r\n", 3 * MAX_HEAD),
        ("chunks", CHUNKS, b"8\r\n01234567\r\n", 3 * LIMIT),
        ("a chunk's extension", CHUNKS, b"8;x", 3 * MAX_HEAD),
        ("a chunk's length", CHUNKS, b"0", 3 * MAX_HEAD),
        ("trailers", LAST, b"X: y\r\n", 3 * MAX_HEAD),
    ] {
        let mut endless = Endless { head, part, taken: 0 };
        let mut refused = false;
        let memory = allocation_counter::measure(|| refused = read(&mut endless, LIMIT).is_err());
        assert!(refused && endless.taken <= most, "{what}: {} bytes taken", endless.taken);
        assert!(memory.bytes_max <= 2 * most as u64, "{what}: {} bytes of memory", memory.bytes_max);
    }
}

#[test]
fn a_length_that_is_only_declared_costs_nothing() {
    let declared = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\nabc", 25_000_000);
    let memory = allocation_counter::measure(|| {
        let cut = read(parts(&declared, 1_000), 25_000_000);
        assert!(matches!(cut, Err(Fault::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof));
    });
    assert!(memory.bytes_max < 128 << 10, "{} bytes", memory.bytes_max);
    let above = "HTTP/1.1 200 OK\r\nContent-Length: 65\r\n\r\n";
    assert!(matches!(read(parts(above, 1_000), 64), Err(Fault::TooLong(64))));
    let chunk = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n41\r\n";
    assert!(matches!(read(parts(chunk, 1_000), 64), Err(Fault::TooLong(64))));
}
