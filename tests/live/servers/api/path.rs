//! From a request's path to a key.
//!
//! The service reads a path as browsers do: dot segments vanish, spelled `%2E` too, before anything is routed. Then the
//! path is split at each `/`, and the key decoded once.

/// What a path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Route {
    Health,
    Entry(String),
    Ttl(String),
    Lock(String),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unroutable {
    /// No such path: 404.
    Unknown,
    /// The key is malformed or not allowed: 400.
    Key,
}

/// Reads the path, without its query.
pub(super) fn route(path: &str) -> Result<Route, Unroutable> {
    let segments = without_dots(path);
    let [version, cache, rest @ ..] = &segments[..] else { return Err(Unroutable::Unknown) };
    if (*version, *cache) != ("v1", "cache") {
        return Err(Unroutable::Unknown);
    }
    match rest {
        ["health"] => Ok(Route::Health),
        // An empty key, and one of its sub-resources.
        ["" | "ttl" | "lock"] => Err(Unroutable::Key),
        [key] => Ok(Route::Entry(decode(key)?)),
        [key, "ttl"] => Ok(Route::Ttl(decode(key)?)),
        [key, "lock"] => Ok(Route::Lock(decode(key)?)),
        _ => Err(Unroutable::Unknown),
    }
}

fn without_dots(path: &str) -> Vec<&str> {
    let mut segments = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let (is_one, is_two) = dots(part);
        if is_two {
            segments.pop();
        }
        if !is_one && !is_two {
            segments.push(part);
        } else if parts.peek().is_none() {
            // What ends in dots ends in a slash.
            segments.push("");
        }
    }
    segments
}

fn dots(segment: &str) -> (bool, bool) {
    let plain = segment.to_ascii_lowercase().replace("%2e", ".");
    (plain == ".", plain == "..")
}

fn decode(segment: &str) -> Result<String, Unroutable> {
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || char::from(rest.next()?).to_digit(16);
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err(Unroutable::Key) };
        bytes.push((high << 4 | low) as u8);
    }
    let key = String::from_utf8(bytes).map_err(|_| Unroutable::Key)?;
    if is_key(&key) { Ok(key) } else { Err(Unroutable::Key) }
}

fn is_key(key: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.:-".contains(&byte);
    (1..=400).contains(&key.len()) && key.bytes().all(is_plain) && !key.contains("..") && has_namespace(key)
}

/// Whether a key that claims a namespace of the service names one: `ns:{namespace}:{rest}`.
fn has_namespace(key: &str) -> bool {
    let Some(claimed) = key.strip_prefix("ns:").or_else(|| key.strip_prefix("nsapi:")) else { return true };
    let Some((namespace, rest)) = claimed.split_once(':') else { return false };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    (1..=64).contains(&namespace.len()) && namespace.bytes().all(is_plain) && !rest.is_empty()
}
