//! Output: text for people, JSON for programs.

use std::io::{self, Write};

use anstream::AutoStream;
use anstyle::{AnsiColor, Style};
use serde_json::Value;

pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const ODD: Style = AnsiColor::Yellow.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(super) const FAINT: Style = Style::new().dimmed();
pub(super) const STRONG: Style = Style::new().bold();

/// Standard output, and whether JSON is wanted there.
#[derive(Debug)]
pub(super) struct Out {
    stream: AutoStream<io::Stdout>,
    pub(super) json: bool,
}

impl Out {
    pub(super) fn new(json: bool) -> Self {
        Self { stream: anstream::stdout(), json }
    }

    pub(super) fn line(&mut self, text: impl AsRef<str>) -> io::Result<()> {
        writeln!(self.stream, "{}", text.as_ref())
    }

    /// Bytes as they are, past all that makes text fit for a terminal.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    }

    /// A document.
    pub(super) fn json(&mut self, value: &Value) -> io::Result<()> {
        let text = serde_json::to_string_pretty(value)?;
        self.line(text)
    }

    /// A document in a line.
    pub(super) fn json_line(&mut self, value: &Value) -> io::Result<()> {
        self.line(value.to_string())?;
        self.stream.flush()
    }
}

/// A text in a style.
pub(super) fn styled(style: Style, text: impl AsRef<str>) -> String {
    format!("{}{}{}", style.render(), text.as_ref(), style.render_reset())
}

/// Where a backend is, behind its name; nothing if it does not say so.
pub(super) fn at(address: Option<&str>) -> String {
    address.map(|address| format!(" at {}", printable(address))).unwrap_or_default()
}

/// Bytes in the unit that fits.
pub(super) fn size(bytes: usize) -> String {
    let bytes = bytes as f64;
    match bytes {
        _ if bytes < 1_024.0 => format!("{bytes} B"),
        _ if bytes < 1_048_576.0 => format!("{:.1} KiB", bytes / 1_024.0),
        _ if bytes < 1_073_741_824.0 => format!("{:.1} MiB", bytes / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes / 1_073_741_824.0),
    }
}

/// What a terminal may be given: of stored text, nothing that moves its cursor.
pub(super) fn printable(text: &str) -> String {
    text.chars().flat_map(|char| if char.is_control() { char.escape_default().collect() } else { vec![char] }).collect()
}
