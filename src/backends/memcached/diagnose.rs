//! What servers say of themselves: version, memory, item size.
//!
//! Over a connection of its own in the text protocol, because the meta protocol has no such commands.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::error::Error;
use crate::finding::Finding;

/// How long a server may take to say it.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most lines of an answer that are read, and the longest of them.
const LINES: usize = 1_024;
const LINE: usize = 1_024;

/// What is odd about the server at `place`, of which the cache believes that its items hold `largest` bytes.
pub(super) async fn server(place: &str, largest: usize, ping: impl Future<Output = Result<(), Error>>) -> Vec<Finding> {
    if let Err(error) = ping.await {
        let follows = "the keys of this server go to the others, or nowhere if it is the only one";
        return vec![Finding::of_error(&error).follows(follows)];
    }
    match timeout(PATIENCE, stats(place)).await {
        Ok(Ok(stats)) => findings(place, largest, &stats),
        _ => vec![Finding::note(format!("memcached at {place} answers, and does not say what it is"))],
    }
}

/// The answers to `stats` and `stats settings`, by name.
async fn stats(place: &str) -> io::Result<HashMap<String, String>> {
    let mut stream = BufReader::new(TcpStream::connect(place).await?);
    stream.write_all(b"stats\r\nstats settings\r\n").await?;
    let (mut stats, mut ends) = (HashMap::new(), 0);
    for _ in 0..LINES {
        let mut line = String::new();
        (&mut stream).take(LINE as u64).read_line(&mut line).await?;
        let mut words = line.trim_end().splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("STAT"), Some(name), Some(value)) => {
                stats.entry(name.to_owned()).or_insert_with(|| value.to_owned());
            }
            (Some("END"), ..) if ends == 1 => return Ok(stats),
            (Some("END"), ..) => ends = 1,
            _ => break,
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

fn findings(place: &str, largest: usize, stats: &HashMap<String, String>) -> Vec<Finding> {
    let number = |name: &str| stats.get(name).and_then(|text| text.parse::<u64>().ok());
    let version: String =
        stats.get("version").map_or("?", String::as_str).chars().filter(|c| c.is_ascii_graphic()).collect();
    let (used, room) = (number("bytes").unwrap_or(0), number("limit_maxbytes").unwrap_or(0));
    let items = number("curr_items").unwrap_or(0);
    let mut found = vec![Finding::note(format!(
        "memcached {version} at {place}: {items} items, {} of {} MiB in use",
        used >> 20,
        room >> 20
    ))];
    if let Some(item) = number("item_size_max").filter(|item| *item < largest as u64) {
        let odd =
            format!("memcached at {place} takes items of up to {item} bytes, and the cache sends up to {largest}");
        let fix = "start it with a larger -I, or lower max_item_size";
        found.push(Finding::error(odd, fix).follows("longer values are not stored"));
    }
    match number("evictions") {
        Some(evictions @ 1..) => {
            let odd = format!("memcached at {place} has evicted {evictions} items to make room");
            found.push(Finding::warning(odd, "give it more memory (-m)").follows("entries go before their time"));
        }
        _ if room > 0 && used >= room / 100 * 95 => {
            let odd = format!("memcached at {place} is full");
            found
                .push(Finding::warning(odd, "give it more memory (-m)").follows("it evicts entries before their time"));
        }
        _ => {}
    }
    found
}
