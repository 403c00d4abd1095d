use redis::{Pipeline, cmd};

use super::*;

const ACCEPTED: usize = 1_000;

/// What becomes of an answer to these commands, in pieces of so many bytes.
fn judged(pipeline: &Pipeline, answer: &[u8], step: usize) -> Result<usize, Fault> {
    let (mut requests, mut replies) = (Requests::default(), Replies::default());
    requests.take(&pipeline.get_packed_pipeline());
    for bytes in answer.chunks(step) {
        replies.take(bytes, &mut requests, ACCEPTED)?;
    }
    Ok(requests.asked.len() + usize::from(replies.rule.is_some()))
}

fn to(command: &str, answer: &[u8]) -> Result<usize, Fault> {
    let mut pipeline = Pipeline::new();
    let mut words = command.split(' ');
    let mut one = cmd(words.next().expect("a name"));
    for word in words {
        one.arg(word);
    }
    pipeline.add_command(one);
    let [whole, ..] = [1 << 20, 1, 2, 3, 7].map(|step| judged(&pipeline, answer, step));
    for step in [1, 2, 3, 7] {
        assert_eq!(judged(&pipeline, answer, step), whole, "{command}: {step} bytes at a time");
    }
    whole
}

fn bulk(length: usize) -> Vec<u8> {
    [format!("${length}\r\n").as_bytes(), &vec![b'v'; length], b"\r\n"].concat()
}

#[test]
fn what_redis_answers_passes() {
    for (command, answer) in [
        ("GET k", &b"$3\r\na\r\n\r\n"[..]),
        ("GET k", b"$-1\r\n"),
        ("GET k", b"_\r\n"),
        ("GET k", b"-WRONGTYPE Operation\r\n"),
        ("GET k", b"!6\r\nERR no\r\n"),
        ("MGET a b", b"*2\r\n$1\r\n1\r\n$-1\r\n"),
        ("DEL k", b":-9223372036854775808\r\n"),
        ("PING", b"+PONG\r\n"),
        ("XREAD STREAMS s 0", b"*-1\r\n"),
        ("XREAD STREAMS s 0", b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nm\r\n$0\r\n\r\n"),
        ("XREAD STREAMS s 0", b"%1\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nm\r\n$1\r\nx\r\n"),
        ("HELLO 3", b"%1\r\n$5\r\nproto\r\n:3\r\n"),
        ("INFO server", b"=7\r\ntxt:abc\r\n"),
        ("SENTINEL GET-MASTER-ADDR-BY-NAME m", b"*2\r\n$1\r\nh\r\n$1\r\n1\r\n"),
    ] {
        assert_eq!(to(command, answer), Ok(0), "{command}: {}", answer.escape_ascii());
        assert_eq!(to(command, &[answer, b"+"].concat()), Err(Fault::Unasked), "{command}");
        assert_eq!(to(command, &answer[..answer.len() - 1]), Ok(1), "{command}, cut");
    }
    assert_eq!(to("GET k", &bulk(ACCEPTED + FRAME)), Ok(0));
}

#[test]
fn what_is_of_another_kind_is_refused_at_its_first_byte() {
    for (command, answer) in [
        ("GET k", &b"*"[..]),
        ("GET k", b":"),
        ("GET k", b"+"),
        ("GET k", b"|"),
        ("GET k", b"("),
        ("DEL k", b"$"),
        ("MGET a b", b"*1\r\n"),
        ("MGET a b", b"*3\r\n"),
        ("MGET a b", b"*2\r\n:"),
        ("MGET a b", b"*2\r\n*"),
        ("MULTI", b":"),
        ("PING", b"*"),
        ("XADD s * m v", b":"),
    ] {
        assert_eq!(to(command, answer), Err(Fault::Kind), "{command}: {}", answer.escape_ascii());
    }
    assert_eq!(to("GET k", b">"), Err(Fault::Unasked));
}

#[test]
fn what_is_too_long_is_refused_when_it_is_declared() {
    for (command, answer) in [
        ("GET k", b"$5097\r\n".to_vec()),
        ("GET k", b"$18446744073709551615\r\n".to_vec()),
        ("GET k", b"$99999999999999999999\r\n".to_vec()),
        ("GET k", [b"-", &[b'e'; LINE + 1][..]].concat()),
        ("PING", [b"+", &[b'p'; LINE + 1][..]].concat()),
        ("DEL k", b":111111111111111111111".to_vec()),
        ("XREAD STREAMS s 0", b"*1\r\n*2\r\n$1\r\ns\r\n*1\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\nm\r\n$1025\r\n".to_vec()),
        ("XREAD STREAMS s 0", b"*1000000\r\n".to_vec()),
        ("HELLO 3", b"%1000000000\r\n".to_vec()),
        ("HELLO 3", b"*1\r\n".repeat(DEEPEST + 1)),
        ("CLIENT SETINFO", b"~1000000000\r\n".to_vec()),
        ("INFO server", b"=65537\r\n".to_vec()),
        ("AUTH p", b"!65537\r\n".to_vec()),
    ] {
        let fault = if command.starts_with("XREAD") { Fault::LongMessage } else { Fault::TooLong };
        assert_eq!(to(command, &answer), Err(fault), "{command}: {}", answer.escape_ascii());
    }
}

#[test]
fn lengths_that_are_none_are_refused() {
    for answer in [&b"$\r\n"[..], b"$-2\r\n", b"$?\r\n", b"$+1\r\n", b"$ 1\r\n", b"$1a\r\n", b"_x\r\n"] {
        assert_eq!(to("GET k", answer), Err(Fault::Malformed), "{}", answer.escape_ascii());
    }
    for answer in [&b"%-1\r\n"[..], b"*-2\r\n", b"*?\r\n"] {
        assert_eq!(to("XREAD s", answer), Err(Fault::Malformed), "{}", answer.escape_ascii());
    }
}

#[test]
fn a_batch_is_one_long_entry_and_short_ones() {
    let long = bulk(ACCEPTED + FRAME);
    assert_eq!(to("MGET a b", &[b"*2\r\n", &long[..], &long].concat()), Ok(0));
    let mut pipeline = Pipeline::new();
    pipeline.cmd("MGET").arg("a").arg("b");
    let (mut requests, mut replies) = (Requests::default(), Replies::default());
    requests.take(&pipeline.get_packed_pipeline());
    let accepted = 10 * SHORT;
    let answer = [b"*2\r\n", &bulk(accepted)[..], &bulk(2 * SHORT)].concat();
    assert_eq!(replies.take(&answer, &mut requests, accepted), Err(Fault::TooLong));
}

#[test]
fn a_transaction_has_an_answer_for_each_of_its_commands() {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("MULTI").cmd("SET").arg("k").arg("v").cmd("DEL").arg("l").cmd("EXEC").cmd("GET").arg("k");
    let after = |rest: &[u8]| judged(&pipeline, &[b"+OK\r\n+QUEUED\r\n+QUEUED\r\n", rest].concat(), 3);
    assert_eq!(after(b"*2\r\n+OK\r\n:1\r\n$1\r\nv\r\n"), Ok(0));
    assert_eq!(after(b"*2\r\n-OOM no\r\n:1\r\n$1\r\nv\r\n"), Ok(0));
    assert_eq!(after(b"-EXECABORT no\r\n$1\r\nv\r\n"), Ok(0));
    for wrong in [&b"*1\r\n"[..], b"*3\r\n", b"*2\r\n:1\r\n", b"*2\r\n+OK\r\n+OK\r\n", b"$1\r\nv\r\n", b":1\r\n"] {
        assert_eq!(after(wrong), Err(Fault::Kind), "{}", wrong.escape_ascii());
    }
    let without = b"-ERR unknown command 'MULTI'\r\n+OK\r\n:1\r\n-ERR unknown command 'EXEC'\r\n$1\r\nv\r\n";
    assert_eq!(judged(&pipeline, without, 5), Ok(0), "a proxy that has no transactions");
}

#[test]
fn only_a_connection_that_tracks_is_pushed_to() {
    let mut pipeline = Pipeline::new();
    pipeline.cmd("CLIENT").arg("TRACKING").arg("ON");
    let push = |keys: &str| format!("+OK\r\n>2\r\n$10\r\ninvalidate\r\n{keys}");
    assert_eq!(judged(&pipeline, push("*1\r\n$1\r\nk\r\n").as_bytes(), 4), Ok(0));
    assert_eq!(judged(&pipeline, push("_\r\n").as_bytes(), 4), Ok(0));
    assert_eq!(judged(&pipeline, push("*100000\r\n").as_bytes(), 4), Err(Fault::TooLong));
    assert_eq!(judged(&pipeline, push("$1048576\r\n").as_bytes(), 4), Err(Fault::TooLong));
    assert_eq!(judged(&pipeline, b"+OK\r\n+OK\r\n", 4), Err(Fault::Unasked));
}
