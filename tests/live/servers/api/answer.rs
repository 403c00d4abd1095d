//! HTTP/1.1 answers, made and written.

use std::io;

use tokio::io::{AsyncWrite, AsyncWriteExt};

/// An answer, before it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn new(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into() }.with("Content-Type", kind)
    }

    pub(super) fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    /// An error, and what is wrong.
    pub(super) fn error(status: u16, message: &str) -> Self {
        Self::json(status, &serde_json::json!({ "error": message }))
    }

    /// With the header in place of any of its name.
    pub(super) fn with(self, name: &str, value: impl ToString) -> Self {
        let mut answer = self.without(name);
        answer.headers.push((name.to_owned(), value.to_string()));
        answer
    }

    pub(super) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
        self
    }

    /// Status line and headers, for a body of `length` bytes.
    pub(super) fn head(&self, length: usize) -> String {
        format!("{}Content-Length: {length}\r\n\r\n", self.headers())
    }

    /// Status line and headers, for a body of chunks.
    pub(super) fn chunked_head(&self) -> String {
        format!("{}Transfer-Encoding: chunked\r\n\r\n", self.headers())
    }

    /// Writes the whole answer to a request of `method`.
    pub(super) async fn send(&self, stream: &mut (impl AsyncWrite + Unpin), method: &str) -> io::Result<()> {
        write(stream, self.head(self.body.len()).as_bytes()).await?;
        if method == "HEAD" { Ok(()) } else { write(stream, &self.body).await }
    }

    fn headers(&self) -> String {
        let mut text = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        for (name, value) in &self.headers {
            text += &format!("{name}: {value}\r\n");
        }
        text
    }
}

/// Writes bytes that are not held back.
pub(super) async fn write(stream: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        413 => "Payload Too Large",
        429 => "Too Many Requests",
        503 => "Service Unavailable",
        _ => "Other",
    }
}
