//! The roster: the names of the entries that processes have read lately.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use crate::key::Key;
use crate::memory::Sight;

/// Names of entries, the hottest first.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Roster(pub(super) Vec<Name>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Name {
    /// Empty: the cache itself.
    pub(super) domain: Box<str>,
    /// The text of the key, without the namespace.
    text: Box<str>,
    /// When a process last found it hot, in seconds since the Unix epoch.
    seen: u64,
}

/// For how many seconds a name stays that no process finds hot any more.
const STAYS: u64 = 3_600;

/// The least heat of an entry that was read.
const WARM: u8 = 2;

impl Name {
    /// The key, if it can be one.
    pub(super) fn key(&self, root: &Key) -> Option<Key> {
        let text = format!("{}{}", root.as_str(), self.text);
        let is_key = text.len() <= Key::MAX_LEN && text.bytes().all(|byte| byte.is_ascii_graphic());
        is_key.then(|| Key::from_text(&text))
    }
}

impl Roster {
    /// The hottest of these entries, then what other processes have found hot, then the rest.
    pub(super) fn merge(hottest: Hottest<'_>, older: Self, now: u64) -> Self {
        let most = hottest.most;
        let mut own = hottest.heap.into_vec();
        own.sort_unstable_by_key(|Reverse(entry)| (Reverse(entry.heat), entry.number));
        let (warm, rest): (Vec<_>, Vec<_>) = own.into_iter().partition(|Reverse(entry)| entry.heat >= WARM);
        let own = |Reverse(Hot { domain, text, .. })| Name { domain, text, seen: now };
        let older = older.0.into_iter().filter(|name| now.saturating_sub(name.seen) < STAYS);
        let all = warm.into_iter().map(own).chain(older).chain(rest.into_iter().map(own));
        let mut known = HashSet::new();
        Self(all.filter(|name| known.insert(name.text.clone())).take(most).collect())
    }
}

/// The hottest entries of a walk through L1, so many at most.
pub(super) struct Hottest<'a> {
    most: usize,
    root: &'a Key,
    /// The domains, by their tags.
    domains: HashMap<u64, Box<str>>,
    /// How many were seen.
    seen: u64,
    /// The coldest first.
    heap: BinaryHeap<Reverse<Hot>>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Hot {
    heat: u8,
    /// Among entries that are equally hot, those that came to L1 last stay.
    number: u64,
    domain: Box<str>,
    text: Box<str>,
}

impl<'a> Hottest<'a> {
    pub(super) fn new(most: usize, root: &'a Key, domains: HashMap<u64, Box<str>>) -> Self {
        Self { most, root, domains, seen: 0, heap: BinaryHeap::new() }
    }

    pub(super) fn see(&mut self, entry: &Sight<'_>) {
        let Some(text) = entry.text.strip_prefix(self.root.as_str()) else { return };
        self.seen += 1;
        let is_hotter = |Reverse(coldest): &Reverse<Hot>| (coldest.heat, coldest.number) < (entry.heat, self.seen);
        if self.heap.len() == self.most && !self.heap.peek().is_some_and(is_hotter) {
            return;
        }
        if self.heap.len() == self.most {
            self.heap.pop();
        }
        let domain = entry.tags.iter().find_map(|tag| self.domains.get(tag)).cloned().unwrap_or_default();
        self.heap.push(Reverse(Hot { heat: entry.heat, number: self.seen, domain, text: text.into() }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn roster(root: &Key, most: usize, entries: &[(&str, u8)], older: &Roster, now: u64) -> Roster {
        let mut hottest = Hottest::new(most, root, HashMap::from([(7, "users".into())]));
        for (text, heat) in entries {
            let tags: &[u64] = if text.contains("+users") { &[3, 7] } else { &[] };
            hottest.see(&Sight { text, tags, heat: *heat });
        }
        Roster::merge(hottest, older.clone(), now)
    }

    fn texts(roster: &Roster) -> Vec<&str> {
        roster.0.iter().map(|name| &*name.text).collect()
    }

    #[test]
    fn hottest_come_first_then_those_of_others_then_what_was_not_read() {
        let root = Key::from_text("shop:");
        let entries = [("shop:a", 0), ("shop:b", 6), ("shop:+users:c", 3), ("shop:d", 2), ("other:e", 7)];
        let first = roster(&root, 10, &entries, &Roster::default(), 1_000);
        assert_eq!(texts(&first), ["b", "+users:c", "d", "a"]);
        let domains: Vec<&str> = first.0.iter().map(|name| &*name.domain).collect();
        assert_eq!(domains, ["", "users", "", ""]);
        let second = roster(&root, 10, &[("shop:x", 0), ("shop:d", 7)], &first, 1_000 + STAYS - 1);
        assert_eq!(texts(&second), ["d", "b", "+users:c", "a", "x"]);
        let third = roster(&root, 10, &[("shop:x", 0)], &second, 1_000 + STAYS);
        assert_eq!(texts(&third), ["d", "x"], "what has not been hot for an hour is left out");
        assert_eq!(texts(&roster(&root, 2, &entries, &Roster::default(), 0)), ["b", "+users:c"]);
        assert_eq!(texts(&roster(&root, 2, &[("shop:y", 4)], &first, 1_001)), ["y", "b"]);
    }

    #[test]
    fn text_that_no_key_has_names_none() {
        let root = Key::from_text("shop:");
        let key = |text: &str| Name { domain: "".into(), text: text.into(), seen: 0 }.key(&root);
        assert_eq!(key("a/b").unwrap().as_str(), "shop:a/b");
        for bad in ["a b", "a\r\nflush_all", "ä", &"x".repeat(Key::MAX_LEN)] {
            assert_eq!(key(bad), None);
        }
    }
}
