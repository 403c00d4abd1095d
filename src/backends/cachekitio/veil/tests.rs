use super::*;

const LIMIT: usize = 64;

/// What an answer that arrives in parts of `length` bytes comes to: what the client sees, the body, and whether nothing
/// followed.
fn pass(text: &str, length: usize, limit: usize) -> Result<(String, Vec<u8>, bool), ureq::Error> {
    let (mut veil, mut seen) = (Veil::new(limit), Vec::new());
    for part in text.as_bytes().chunks(length) {
        veil.pass(part, &mut seen)?;
    }
    let is_alone = veil.is_alone();
    Ok((String::from_utf8(seen).unwrap(), veil.into_body(), is_alone))
}

#[test]
fn the_client_sees_heads_and_zeros_however_an_answer_is_cut() {
    for (text, seen, body) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\0\0\0",
            "abc",
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\nab",
            "HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\n\0\0",
            "ab",
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2;x=y\r\nab\r\n0a\r\n0123456789\r\n0\r\nTrailer: t\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2\r\n\0\0\r\na\r\n\0\0\0\0\0\0\0\0\0\0\r\n0\r\n\r\n",
            "ab0123456789",
        ),
        ("HTTP/1.1 200 OK\r\n\r\nab", "HTTP/1.1 200 OK\r\n\r\n\0\0", "ab"),
        ("HTTP/1.1 204 No\r\n\r\n", "HTTP/1.1 204 No\r\n\r\n", ""),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n",
            "",
        ),
    ] {
        for length in [1, 2, 3, 7, 1_000] {
            let passed = pass(text, length, LIMIT).unwrap();
            assert_eq!(passed, (seen.to_owned(), body.as_bytes().to_vec(), true), "{text:?} by {length}");
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
        "HTTP/1.1 200 OK\nContent-Length: 3\n\nabc",
        "ICY 200 OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "\r\n\r\n",
    ] {
        assert!(matches!(pass(text, 1_000, LIMIT), Err(ureq::Error::Other(_))), "{text:?}");
    }
}

#[test]
fn what_follows_an_answer_is_seen_by_no_one_and_told_of() {
    for text in ["HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx", "HTTP/1.1 204 No\r\n\r\n"] {
        let with_stray = format!("{text}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
        let (seen, body, is_alone) = pass(&with_stray, 1_000, LIMIT).unwrap();
        assert_eq!((seen, body), pass(text, 1_000, LIMIT).map(|(seen, body, _)| (seen, body)).unwrap());
        assert!(!is_alone, "{text:?}");
    }
}

#[test]
fn what_never_ends_is_given_up_at_its_bound() {
    const OK: &str = "HTTP/1.1 200 OK\r\n";
    const CHUNKS: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    const LAST: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n";
    const LARGE: usize = 1 << 20;
    for (what, head, part, most) in [
        ("a status line", "HTTP/1.1 200 ", "O", 2 * MAX_HEAD),
        ("a header", "HTTP/1.1 200 OK\r\nX: ", "x", 2 * MAX_HEAD),
        ("headers", OK, "X: y\r\n", 2 * MAX_HEAD),
        ("interim answers", "", "HTTP/1.1 100 Continue\r\n\r\n", 2 * MAX_HEAD),
        ("chunks", CHUNKS, "8\r\n01234567\r\n", 3 * LARGE),
        ("a body without a length", "HTTP/1.1 200 OK\r\n\r\n", "0123", 2 * LARGE),
        ("a chunk's extension", CHUNKS, "8;x", 2 * MAX_HEAD),
        ("a chunk's length", CHUNKS, "0", 2 * MAX_HEAD),
        ("trailers", LAST, "X: y\r\n", 2 * MAX_HEAD),
    ] {
        let (mut veil, mut seen, mut taken) = (Veil::new(LARGE), Vec::new(), head.len());
        let memory = allocation_counter::measure(|| {
            let mut result = veil.pass(head.as_bytes(), &mut seen);
            while result.is_ok() && taken <= most {
                seen.clear();
                result = veil.pass(part.as_bytes(), &mut seen);
                taken += part.len();
            }
            assert!(result.is_err(), "{what}: {taken} bytes taken");
        });
        assert!(memory.bytes_max <= 2 * most as u64, "{what}: {} bytes of memory", memory.bytes_max);
    }
}

#[test]
fn a_length_that_is_only_declared_costs_nothing() {
    let declared = "HTTP/1.1 200 OK\r\nContent-Length: 25000000\r\n\r\nabc";
    let memory = allocation_counter::measure(|| {
        assert_eq!(pass(declared, 1_000, 25_000_000).unwrap().1, b"abc");
    });
    assert!(memory.bytes_max < 64 << 10, "{} bytes", memory.bytes_max);
    let long = format!("HTTP/1.1 200 OK\r\nContent-Length: 65\r\n\r\n{}", "x".repeat(65));
    assert!(matches!(pass(&long, 1_000, LIMIT), Err(ureq::Error::BodyExceedsLimit(64))));
    let chunk = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n41\r\n{}", "x".repeat(65));
    assert!(matches!(pass(&chunk, 1_000, LIMIT), Err(ureq::Error::BodyExceedsLimit(64))));
}
