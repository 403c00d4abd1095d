//! Does to a request what its fault says.

use std::io::Result;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::time::sleep;

use super::answer::{Answer, write};
use super::fault::Fault;
use super::request::Request;
use super::serve::{Shared, Stream};

/// Fails a request. Returns whether the connection goes on.
pub(super) async fn fail(shared: &Shared, stream: &mut Stream, request: &Request, fault: Fault) -> Result<bool> {
    let method = request.method.as_str();
    let right = || shared.answer(request);
    match fault {
        Fault::Instead(answer) => answer.send(stream, method).await?,
        Fault::Headers(headers) => relabelled(right(), headers).send(stream, method).await?,
        Fault::Late(delay) => {
            let answer = right();
            sleep(delay).await;
            answer.send(stream, method).await?;
        }
        Fault::Truncated => return truncated(stream, &right()).await,
        Fault::Drip(distance) => drip(stream, &right(), distance, false).await?,
        Fault::DripHead(distance) => drip(stream, &right(), distance, true).await?,
        Fault::Large(length) => large(length).send(stream, method).await?,
        Fault::Endless => endless(stream).await?,
        Fault::HugeHeaders(length) => large(2).with("X-Huge", "h".repeat(length)).send(stream, method).await?,
        Fault::Garbage => {
            write(stream, b"\x15\x03\x01 this is not HTTP\r\n\r\n").await?;
            return Ok(false);
        }
        Fault::Close => return Ok(false),
        Fault::Lost => {
            right();
            return Ok(false);
        }
        Fault::Reset => unreachable!("a reset comes before the request is read"),
        Fault::Hang => while stream.read(&mut [0; 1024]).await? > 0 {},
    }
    Ok(true)
}

fn relabelled(answer: Answer, headers: Vec<(&str, Option<String>)>) -> Answer {
    headers.into_iter().fold(answer, |answer, (name, value)| match value {
        Some(value) => answer.with(name, value),
        None => answer.without(name),
    })
}

fn large(length: usize) -> Answer {
    Answer::new(200, "application/octet-stream", vec![b'x'; length])
}

/// Half of the body, and an end in order: only the length tells that it is not whole.
async fn truncated(stream: &mut Stream, answer: &Answer) -> Result<bool> {
    let told = answer.body.len().max(1);
    write(stream, answer.head(told).as_bytes()).await?;
    write(stream, &answer.body[..told / 2]).await?;
    Ok(false)
}

async fn drip(stream: &mut Stream, answer: &Answer, distance: Duration, drips_head: bool) -> Result<()> {
    let head = answer.head(answer.body.len()).into_bytes();
    let whole = [head.as_slice(), &answer.body].concat();
    let (at_once, dripping) = whole.split_at(if drips_head { 0 } else { head.len() });
    write(stream, at_once).await?;
    for byte in dripping {
        write(stream, &[*byte]).await?;
        sleep(distance).await;
    }
    Ok(())
}

async fn endless(stream: &mut Stream) -> Result<()> {
    write(stream, large(0).chunked_head().as_bytes()).await?;
    let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x1_0000], b"\r\n"].concat();
    loop {
        write(stream, &chunk).await?;
    }
}
