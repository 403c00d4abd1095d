//! Scans: keys by their beginning, some at a time.

use redis::Value;

use super::Shared;
use super::entries::text;
use super::request::SizeClass;
use crate::backends::{Cursor, Page};
use crate::error::{Error, ErrorKind};
use crate::key::Key;

/// The most keys that the server looks at for one page.
const MOST: usize = 1_000;

impl Shared {
    /// One `SCAN`, whose keys may be of any program.
    pub(super) async fn scan(&self, prefix: &str, after: Option<Cursor>, count: usize) -> Result<Page, Error> {
        if !self.router.is_single_node() {
            let message = "the keys of a Redis cluster are not listed: name one node of it by redis:// to see its own";
            return Err(Error::new(ErrorKind::Unsupported, message));
        }
        let cursor = after.map_or(0, Cursor::as_u128) as u64;
        let pattern = pattern(prefix);
        let scan = |_| {
            let mut command = redis::cmd("SCAN");
            command.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(count.clamp(1, MOST));
            command
        };
        let answer = self.one(&Key::from_text(prefix), SizeClass::LargeAnswer, scan).await?;
        page(answer).ok_or_else(|| self.strange())
    }
}

fn page(answer: Value) -> Option<Page> {
    let Value::Array(parts) = answer else { return None };
    let [next, listed] = <[Value; 2]>::try_from(parts).ok()?;
    let (next, Value::Array(listed)) = (text(next)?.parse::<u64>().ok()?, listed) else { return None };
    // What is no text is no key of a cache.
    let keys = listed.into_iter().filter_map(text).map(|name| Key::from_text(&name)).collect();
    Some(Page::new(keys, (next != 0).then(|| Cursor::new(next.into()))))
}

/// A glob that matches what begins with `prefix`.
fn pattern(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for char in prefix.chars() {
        if matches!(char, '*' | '?' | '[' | ']' | '\\' | '^') {
            pattern.push('\\');
        }
        pattern.push(char);
    }
    pattern.push('*');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_matches_itself_alone() {
        assert_eq!(pattern("users:+a%20b:"), "users:+a%20b:*");
        assert_eq!(pattern("a*[b]?"), "a\\*\\[b\\]\\?*");
    }

    #[test]
    fn a_page_is_keys_and_where_to_go_on() {
        let bulk = |text: &str| Value::BulkString(text.into());
        let answer = |next: &str| {
            Value::Array(vec![bulk(next), Value::Array(vec![bulk("users:1"), Value::BulkString(vec![0xff])])])
        };
        assert_eq!(page(answer("0")), Some(Page::new(vec![Key::from_text("users:1")], None)));
        assert_eq!(page(answer("17")).and_then(|page| page.next), Some(Cursor::new(17)));
        for odd in [answer("x"), Value::Nil, Value::Array(vec![bulk("0")]), Value::Array(vec![bulk("0"), Value::Nil])] {
            assert_eq!(page(odd), None);
        }
    }
}
