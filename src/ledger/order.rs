//! Orders to forget more than one key.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Change, Head, Record, record_of};
use crate::key::Key;
use crate::{frame, random, slots};

/// What other processes are told in the step that makes a change.
#[derive(Debug, Clone)]
pub(crate) struct Announcement {
    /// The name of the bus.
    pub(crate) bus: Key,
    /// The message. That of an order lacks its end: the lineage and the time of the order.
    pub(crate) message: Bytes,
}

/// An order to forget, for [`Backend::forget`](crate::Backend::forget): what is to be changed in the ledger of a cache.
///
/// A ledger is a few items under reserved keys, which are read as all others are. An order changes two of them or more,
/// and must do that as one step. A backend that can read and write several keys under a lock does it by
/// [`carry_out`](Order::carry_out); one that has leases, by
/// [`forget_by_leases`](crate::backends::forget_by_leases); one that has neither, by
/// [`forget_by_set`](crate::backends::forget_by_set).
#[derive(Debug, Clone)]
pub struct Order {
    pub(crate) root: Key,
    pub(crate) part: u16,
    pub(crate) change: Change,
    /// Of the ledger that is made if there is none.
    pub(crate) lineage: u64,
    /// Of a ledger that is not believed any more, and is made anew.
    pub(crate) replaces: Option<u64>,
    pub(crate) announcement: Option<Announcement>,
}

/// What an order does to one record.
pub(crate) struct Plan {
    number: u16,
    pub(crate) key: Key,
    tags: Vec<u64>,
}

impl Order {
    /// An order for the ledger beside `root` in this part of the backend.
    pub(crate) fn new(root: &Key, part: u16, change: Change) -> Self {
        let (root, lineage) = (root.clone(), random::number());
        Self { root, part, change, lineage, replaces: None, announcement: None }
    }

    /// The key of the head.
    pub(crate) fn head_key(root: &Key, part: u16) -> Key {
        name(root, part, "")
    }

    /// The key of the record of this number.
    pub(crate) fn record_key(root: &Key, part: u16, number: u16) -> Key {
        name(root, part, &format!(":{number:03x}"))
    }

    /// The key of the ledger's head, which every order reads and most write.
    pub fn head(&self) -> Key {
        Self::head_key(&self.root, self.part)
    }

    /// The part of the backend whose ledger this is about, of [`Capabilities::parts`](crate::Capabilities::parts).
    pub fn part(&self) -> u16 {
        self.part
    }

    /// The keys of the items that the order reads and changes: the head, then records.
    pub fn keys(&self) -> Vec<Key> {
        [self.head()].into_iter().chain(self.plans().map(|plan| plan.key)).collect()
    }

    /// Carries the order out: says what to store, and under which keys, in place of what was `found` under each of its
    /// [keys](Order::keys), in their order. It is to be kept as long as the backend keeps items, and nothing else may
    /// change these items between the reads and the writes.
    pub fn carry_out(&self, found: &[Option<Bytes>]) -> (Vec<(Key, Bytes)>, Forgotten) {
        let mut found = found.iter().map(Option::as_deref);
        let (mut head, is_new) = self.head_of(found.next().flatten());
        let time = head.now.time + 1;
        let changed = |plan: Plan| {
            let record = plan.record(found.next().flatten(), &head, time);
            (plan.key, record.to_bytes())
        };
        let mut changes: Vec<_> = self.plans().map(changed).collect();
        if self.notes(&mut head, time) || is_new {
            changes.push((self.head(), head.to_bytes()));
        }
        (changes, Forgotten::new(head))
    }

    /// What other processes are to be told of the order once it was carried out, and by which bus.
    pub(crate) fn message_of(&self, forgotten: &Forgotten) -> Option<(Key, Bytes)> {
        let (Announcement { bus, message }, head) = (self.announcement.as_ref()?, forgotten.head.as_ref()?);
        Some((bus.clone(), [&message[..], &head.now.to_bytes()].concat().into()))
    }

    /// The head that was found, or a new one, and whether it is new.
    pub(crate) fn head_of(&self, found: Option<&[u8]>) -> (Head, bool) {
        let found = found.and_then(Head::read).filter(|head| self.replaces != Some(head.now.lineage));
        found.map_or_else(|| (Head::new(self.lineage), true), |head| (head, false))
    }

    /// Notes the order in the head. Says whether that changes anything.
    pub(crate) fn notes(&self, head: &mut Head, time: u64) -> bool {
        if self.change == Change::Nothing {
            return false;
        }
        head.note(&self.change, time);
        true
    }

    /// What the order does to each of the records that it is about.
    pub(crate) fn plans(&self) -> impl Iterator<Item = Plan> {
        let mut records: BTreeMap<u16, Vec<u64>> = BTreeMap::new();
        if let Change::Tags(tags) = &self.change {
            for tag in tags {
                records.entry(record_of(*tag)).or_default().push(*tag);
            }
        }
        let key = |number| Self::record_key(&self.root, self.part, number);
        records.into_iter().map(move |(number, tags)| Plan { number, key: key(number), tags })
    }
}

impl Plan {
    /// The record after the order, which takes this time.
    pub(crate) fn record(&self, found: Option<&[u8]>, head: &Head, time: u64) -> Record {
        let lineage = head.now.lineage;
        // One that was made and is not there was lost, and what it knew with it.
        let floor = if head.has(self.number) { time } else { 0 };
        let found = found.and_then(|bytes| Record::read(bytes, lineage));
        let mut record = found.unwrap_or(Record::new(lineage, floor));
        record.forget(&self.tags, time);
        record
    }

    /// The number of the record.
    #[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "Redis makes the record itself"))]
    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// The tags that it names from now on.
    #[cfg_attr(not(feature = "redis"), expect(dead_code, reason = "Redis makes the record itself"))]
    pub(crate) fn tags(&self) -> &[u64] {
        &self.tags
    }
}

/// All names of a ledger are in one slot of a Redis cluster, which is of the group that is the part there. Those of
/// different caches are in different ones.
fn name(root: &Key, part: u16, rest: &str) -> Key {
    let tag = slots::tag(&format!("ledger-{:016x}-", frame::fingerprint(root.as_str())), part);
    root.reserved(&format!("{tag}:{part:x}{rest}"))
}

/// What an order was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a cache learns the time from it"]
pub struct Forgotten {
    /// None, if the part of the backend is away, and what it holds is not believed once it is back.
    pub(crate) head: Option<Head>,
    /// Whether other processes were told in the same step.
    pub(crate) announced: bool,
}

impl Forgotten {
    pub(crate) fn new(head: Head) -> Self {
        Self { head: Some(head), announced: false }
    }

    /// That of a part that is away.
    #[cfg(feature = "memcached")]
    pub(crate) fn nowhere() -> Self {
        Self { head: None, announced: false }
    }

    /// Says that other processes were told in the same step.
    pub(crate) fn announced(self) -> Self {
        Self { announced: true, ..self }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Items, and what the orders to one ledger make of them.
    #[derive(Default)]
    struct Items(HashMap<Key, Bytes>);

    impl Items {
        fn order(&mut self, change: Change) -> Head {
            let order = Order::new(&root(), 0, change);
            let found: Vec<_> = order.keys().iter().map(|key| self.0.get(key).cloned()).collect();
            let (changes, forgotten) = order.carry_out(&found);
            self.0.extend(changes);
            forgotten.head.unwrap()
        }

        fn record(&self, number: u16, lineage: u64) -> Option<Record> {
            Record::read(self.0.get(&Order::record_key(&root(), 0, number))?, lineage)
        }
    }

    fn root() -> Key {
        Key::new("app", "x").unwrap()
    }

    #[test]
    fn invalidation_takes_the_next_time_and_an_empty_one_takes_none() {
        let mut items = Items::default();
        let first = items.order(Change::Nothing);
        assert_eq!((first.now.time, items.0.len()), (0, 1));
        let head = items.order(Change::Tags(vec![1 << 52, 2 << 52, (1 << 52) + 5]));
        assert_eq!((head.now, head.has(1), head.has(2), head.has(3)), (first_at(&first, 1), true, true, false));
        assert_eq!(items.0.len(), 3);
        assert_eq!(items.order(Change::Everything).forgot_all, 2);
        let head = items.order(Change::Expiry { at: 9 });
        assert_eq!((head.now, head.expired_all), (first_at(&first, 3), (3, 9)));
        assert_eq!(items.order(Change::Nothing), head);
        let record = items.record(1, first.now.lineage).unwrap();
        assert_eq!([1 << 52, (1 << 52) + 5, 7].map(|tag| record.forgotten_at(tag)), [1, 1, 0]);
    }

    fn first_at(head: &Head, time: u64) -> super::super::Stamp {
        super::super::Stamp { time, ..head.now }
    }

    #[test]
    fn lost_record_forgets_its_tags_and_a_lost_head_everything() {
        let mut items = Items::default();
        items.order(Change::Tags(vec![1]));
        items.0.remove(&Order::record_key(&root(), 0, 0));
        let head = items.order(Change::Tags(vec![2]));
        assert_eq!(items.record(0, head.now.lineage).unwrap().forgotten_at(1), 2);
        items.0.remove(&Order::head_key(&root(), 0));
        let anew = items.order(Change::Tags(vec![3]));
        assert_ne!(anew.now.lineage, head.now.lineage);
        let record = items.record(0, anew.now.lineage).unwrap();
        assert_eq!((anew.now.time, record.forgotten_at(3), record.forgotten_at(1)), (1, 1, 0));
    }

    #[test]
    fn a_ledger_that_is_not_believed_is_made_anew_once() {
        let mut items = Items::default();
        let old = items.order(Change::Everything);
        let order = Order { replaces: Some(old.now.lineage), ..Order::new(&root(), 0, Change::Nothing) };
        let (changes, made) = order.carry_out(&[Some(old.to_bytes())]);
        let made = made.head.unwrap();
        assert_eq!((made.clone(), changes), (Head::new(order.lineage), vec![(order.head(), made.to_bytes())]));
        let (changes, kept) = order.carry_out(&[Some(made.to_bytes())]);
        assert_eq!((changes, kept.head), (vec![], Some(made)));
    }
}
