//! HTTP/1.1 requests, read strictly.

use std::io;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt};

/// The longest request line and headers, together.
const MAX_HEAD: usize = 32 << 10;
/// The longest body that is read to its end, to be refused in a way the client can read.
const MAX_BODY: usize = 100 << 20;
/// What is remembered of a body.
const REMEMBERED: usize = 4 << 10;

/// A request as it came.
#[derive(Debug, Clone, Default)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query, as written.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    /// The body, or its first 4 KiB once it is answered.
    pub(crate) body: Vec<u8>,
    /// The length of the whole body.
    pub(crate) length: usize,
}

impl Request {
    /// The value of a header. Two of one name are none.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        values.next().filter(|_| values.next().is_none()).map(String::as_str)
    }

    pub(super) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(super) fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    pub(super) fn ends_connection(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }

    /// What is remembered of it.
    pub(super) fn remembered(&self) -> Self {
        let body = self.body[..self.body.len().min(REMEMBERED)].to_vec();
        Self {
            method: self.method.clone(),
            target: self.target.clone(),
            headers: self.headers.clone(),
            body,
            length: self.length,
        }
    }
}

/// Why a request was not read.
#[derive(Debug)]
pub(super) enum Unread {
    /// The connection ended.
    Ended,
    /// Not HTTP as this server takes it; the status says why.
    Refused(u16),
}

impl From<io::Error> for Unread {
    fn from(_: io::Error) -> Self {
        Self::Ended
    }
}

pub(super) async fn read(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<Request, Unread> {
    let mut room = MAX_HEAD;
    let first = line(stream, &mut room).await?;
    let [method, target, "HTTP/1.1"] = first.split(' ').collect::<Vec<_>>()[..] else {
        return Err(Unread::Refused(400));
    };
    let mut request = Request { method: method.into(), target: target.into(), ..Request::default() };
    loop {
        let line = line(stream, &mut room).await?;
        if line.is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':').filter(|(name, _)| is_token(name)) else {
            return Err(Unread::Refused(400));
        };
        request.headers.push((name.to_owned(), value.trim().to_owned()));
    }
    if request.header("host").is_none() {
        return Err(Unread::Refused(400));
    }
    request.body = body(stream, &request).await?;
    request.length = request.body.len();
    Ok(request)
}

async fn body(stream: &mut (impl AsyncBufRead + Unpin), request: &Request) -> Result<Vec<u8>, Unread> {
    if let Some(coding) = request.header("transfer-encoding") {
        // Both would be two truths about where the next request begins.
        let is_chunked = coding.eq_ignore_ascii_case("chunked") && request.header("content-length").is_none();
        return if is_chunked { chunks(stream).await } else { Err(Unread::Refused(400)) };
    }
    let length = match request.header("content-length") {
        None => return Ok(Vec::new()),
        Some(text) => text.parse::<usize>().map_err(|_| Unread::Refused(400))?,
    };
    if length > MAX_BODY {
        return Err(Unread::Refused(413));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

async fn chunks(stream: &mut (impl AsyncBufRead + Unpin)) -> Result<Vec<u8>, Unread> {
    let mut body = Vec::new();
    loop {
        let size = line(stream, &mut 64).await?;
        let size = usize::from_str_radix(&size, 16).map_err(|_| Unread::Refused(400))?;
        if size > MAX_BODY - body.len() {
            return Err(Unread::Refused(413));
        }
        let start = body.len();
        body.resize(start + size, 0);
        stream.read_exact(&mut body[start..]).await?;
        if !line(stream, &mut 64).await?.is_empty() {
            return Err(Unread::Refused(400));
        }
        if size == 0 {
            return Ok(body);
        }
    }
}

/// The next line, without its end, of at most `room` bytes, which it uses up.
async fn line(stream: &mut (impl AsyncBufRead + Unpin), room: &mut usize) -> Result<String, Unread> {
    let mut line = Vec::new();
    (&mut *stream).take(*room as u64).read_until(b'\n', &mut line).await?;
    *room -= line.len();
    match line.strip_suffix(b"\r\n") {
        Some(line) => String::from_utf8(line.to_vec()).map_err(|_| Unread::Refused(400)),
        None if *room == 0 => Err(Unread::Refused(431)),
        None if line.ends_with(b"\n") => Err(Unread::Refused(400)),
        None => Err(Unread::Ended),
    }
}

fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.!#$%&'*+^`|~".contains(&byte))
}
