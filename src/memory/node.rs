//! One entry of L1, and where victims wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use super::share::Charge;
use super::span::Span;
use super::{Absence, Age, AnyValue, Cost, Entry, Lead, Sight};
use crate::frame::Labels;
use crate::key::Name;
use crate::order::{AtomicMoment, Fate, Moment, Orders};

/// A tick, and what is forgotten by then.
#[derive(Clone, Copy)]
pub(super) struct Now<'a> {
    pub(super) tick: u64,
    pub(super) orders: &'a Orders,
}

/// What a shard keeps for a key.
pub(super) struct Node {
    text: Text,
    pub(super) held: AnyValue,
    /// Before this tick it is fresh, and no read renews it.
    calm_until: i64,
    expires: u64,
    /// From its making until it expires.
    life: Span,
    /// From then until it is gone.
    grace: Span,
    /// The last order before its making began, or before it was last found good.
    since: AtomicMoment,
    /// Boxed: few entries have any, and a wide pointer would cost all of them eight bytes.
    marks: Option<Box<Marks>>,
    /// Everything the entry costs; 32 bits keep the node in 96 bytes.
    weight: u32,
    lead: Lead,
    reads: AtomicU8,
    cost: Cost,
}

/// What only some entries have.
struct Marks {
    labels: Labels,
    charge: Option<Charge>,
}

/// The text of a key, in place if it is short, which spares a hit a fetch from elsewhere.
#[derive(PartialEq, Clone)]
enum Text {
    Short { len: u8, bytes: [u8; 30] },
    Long(Arc<str>),
}

impl Marks {
    /// The same of an entry of another weight.
    fn of(&self, weight: usize) -> Self {
        Self { labels: self.labels.clone(), charge: self.charge.as_ref().map(|charge| charge.of(weight)) }
    }
}

impl Text {
    fn new(text: &Arc<str>) -> Self {
        let mut bytes = [0; 30];
        match bytes.get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(text.as_bytes());
                Self::Short { len: text.len() as u8, bytes }
            }
            None => Self::Long(Arc::clone(text)),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            // It was made of a whole text.
            Self::Short { len, bytes } => str::from_utf8(&bytes[..usize::from(*len)]).unwrap_or_default(),
            Self::Long(long) => long,
        }
    }

    #[inline]
    fn is(&self, name: Name<'_>) -> bool {
        match self {
            Self::Short { len, bytes } => bytes.get(..usize::from(*len)).is_some_and(|text| name.is(text)),
            Self::Long(long) => name.is(long.as_bytes()),
        }
    }
}

/// Where the read counter stops, so that a hot entry is not written to by each hit.
const MAX_READS: u8 = 3;

impl Node {
    /// The most an entry can weigh.
    pub(super) const MAX_WEIGHT: usize = u32::MAX as usize;

    /// `weight` is at most [`Node::MAX_WEIGHT`].
    pub(super) fn new(text: &Arc<str>, entry: Entry, weight: usize, now: u64) -> Self {
        let Entry { held, fresh_until, lead, cost, expires, gone, age, since, labels, share, .. } = entry;
        let marks = Marks { labels, charge: share.map(|share| Charge::new(share, weight)) };
        // With a sign: near its beginning a clock has shown fewer ticks than the window is long.
        let signed = |tick| i64::try_from(tick).unwrap_or(i64::MAX);
        Self {
            text: Text::new(text),
            held,
            calm_until: signed(fresh_until).saturating_sub(signed(lead.window())).min(signed(expires)),
            expires,
            life: Span::new(expires.saturating_add(age).saturating_sub(now)),
            grace: Span::new(gone.saturating_sub(expires)),
            since: AtomicMoment::new(since),
            marks: (!marks.labels.is_empty() || marks.charge.is_some()).then(|| Box::new(marks)),
            weight: u32::try_from(weight).unwrap_or(u32::MAX),
            lead,
            reads: AtomicU8::new(0),
            cost,
        }
    }

    /// This entry with its value in the place of what is sealed.
    pub(super) fn opened(&self, held: AnyValue, weight: usize) -> Self {
        let &Self { calm_until, expires, life, grace, lead, cost, .. } = self;
        Self {
            text: self.text.clone(),
            held,
            calm_until,
            expires,
            life,
            grace,
            since: AtomicMoment::new(self.since.load()),
            marks: self.marks.as_deref().map(|marks| Box::new(marks.of(weight))),
            weight: u32::try_from(weight).unwrap_or(u32::MAX),
            lead,
            reads: AtomicU8::new(self.reads.load(Ordering::Relaxed)),
            cost,
        }
    }

    /// What a walk shows of it, in the queue for what came back or in the other.
    pub(super) fn sight(&self, in_main: bool) -> Sight<'_> {
        let heat = self.reads() * 2 + u8::from(in_main);
        Sight { text: self.text.as_str(), tags: self.tags(), heat }
    }

    /// Whether this is the entry of a key: a hash alone is not identity.
    #[inline]
    pub(super) fn is_of(&self, name: Name<'_>) -> bool {
        self.text.is(name)
    }

    /// Whether both are entries of one key.
    pub(super) fn has_key_of(&self, other: &Self) -> bool {
        self.text == other.text
    }

    pub(super) fn weight(&self) -> usize {
        self.weight as usize
    }

    pub(super) fn cost(&self) -> Cost {
        self.cost
    }

    pub(super) fn labels(&self) -> Option<Labels> {
        self.marks.as_deref().map(|marks| marks.labels.clone())
    }

    pub(super) fn tags(&self) -> &[u64] {
        self.marks.as_deref().map_or(&[], |marks| &marks.labels.tags)
    }

    /// What it takes of its share, if it has one.
    pub(super) fn charge(&self) -> Option<&Charge> {
        self.marks.as_deref()?.charge.as_ref()
    }

    /// Takes nothing of its share any more, because it is on its way out.
    pub(super) fn free_share(&mut self) {
        if let Some(marks) = &mut self.marks {
            marks.charge = None;
        }
    }

    /// How often it was read of late.
    pub(super) fn reads(&self) -> u8 {
        self.reads.load(Ordering::Relaxed)
    }

    /// The tick at which it was made; negative before the first.
    #[inline]
    pub(super) fn made(&self) -> i64 {
        (self.expires as i64).saturating_sub_unsigned(self.life.ticks())
    }

    /// The tick from which it is gone.
    #[cold]
    pub(super) fn gone(&self) -> u64 {
        self.expires.saturating_add(self.grace.ticks())
    }

    /// How old the entry is, and from which tick it is expired. `None` once it is gone, was forgotten,
    /// or is not believed any more. Of one that is near its end, `is_due` says whether it is to be renewed.
    #[inline]
    pub(super) fn life(&self, now: Now<'_>, is_due: impl FnOnce(Lead, u64) -> bool) -> Option<(Age, u64)> {
        // Nothing is gone before it is old.
        let is_calm = (now.tick as i64) < self.calm_until;
        if !is_calm && now.tick >= self.gone() {
            return None;
        }
        let (latest, since) = (now.orders.latest(), self.since.load());
        if since != latest && !self.is_still_good(now, since, latest)? {
            return Some((Age::Expired, self.expires.min(now.tick)));
        }
        if is_calm {
            return Some((Age::Fresh, self.expires));
        }
        Some((self.late_age(now.tick, is_due), self.expires))
    }

    /// Whether it is fresh, not near its end, and no order was given since it was last found good.
    #[inline]
    pub(super) fn is_fresh(&self, now: Now<'_>) -> bool {
        (now.tick as i64) < self.calm_until && self.since.load() == now.orders.latest()
    }

    /// Why an entry that has no [`life`](Self::life) any more has none.
    #[cold]
    pub(super) fn absence(&self, now: Now<'_>) -> Absence {
        let since = self.since.load();
        if now.tick >= self.gone() {
            return Absence::Expired;
        }
        if now.orders.doubts(since) {
            return Absence::Doubted;
        }
        now.orders.forgotten_by(since, self.tags()).map_or(Absence::Expired, Absence::Forgotten)
    }

    /// How old an entry is that is not calm any more. Apart, so that a hit computes nothing of it ahead.
    #[cold]
    fn late_age(&self, tick: u64, is_due: impl FnOnce(Lead, u64) -> bool) -> Age {
        if tick >= self.expires {
            return Age::Expired;
        }
        match u64::try_from(self.fresh_until().saturating_sub(tick as i64)) {
            Err(_) | Ok(0) => Age::Stale,
            Ok(left) if is_due(self.lead, left) => Age::Early,
            Ok(_) => Age::Fresh,
        }
    }

    /// The tick from which it is stale.
    #[inline]
    pub(super) fn fresh_until(&self) -> i64 {
        self.calm_until.saturating_add_unsigned(self.lead.window())
    }

    /// Whether nothing has forgotten the entry since its making began, nor let it expire. `None` if it is gone for it.
    #[cold]
    fn is_still_good(&self, now: Now<'_>, since: Moment, latest: Moment) -> Option<bool> {
        if now.orders.doubts(since) {
            return None;
        }
        match now.orders.fate(since, self.tags()) {
            Fate::Forgotten => None,
            Fate::Expired(at) => (now.tick < self.gone_if_expired(at)).then_some(false),
            Fate::Good => {
                // Of several readers any may win: each that is written here was found good.
                self.since.store(latest);
                Some(true)
            }
        }
    }

    /// When the entry is gone if it expires at the tick `at`, if not before: its grace begins then.
    fn gone_if_expired(&self, at: u64) -> u64 {
        self.expires.min(at).saturating_add(self.grace.ticks())
    }

    /// Lets the entry expire at the tick `at`, if not before.
    pub(super) fn expire(&mut self, at: u64) {
        let made = self.made();
        self.expires = self.expires.min(at);
        self.life = Span::new((self.expires as i64).saturating_sub(made).max(0) as u64);
        self.calm_until = self.calm_until.min(i64::try_from(at).unwrap_or(i64::MAX));
    }

    /// Whether the entry is neither gone nor forgotten.
    pub(super) fn is_live(&self, now: Now<'_>) -> bool {
        self.life(now, |_, _| false).is_some()
    }

    /// Counts a read. A lost update under contention costs one count, a read-modify-write costs every hit.
    #[inline]
    pub(super) fn touch(&self) {
        let reads = self.reads.load(Ordering::Relaxed);
        if reads < MAX_READS {
            self.reads.store(reads + 1, Ordering::Relaxed);
        }
    }

    pub(super) fn was_read(&self) -> bool {
        self.reads() > 0
    }

    /// What it cost has spoken for it.
    pub(super) fn spend_cost(&mut self) {
        self.cost = self.cost.spent();
    }

    /// Takes one read off the counter.
    pub(super) fn cool(&mut self) {
        self.cost = self.cost.whole();
        let reads = self.reads.get_mut();
        *reads = reads.saturating_sub(1);
    }

    /// Forgets all reads.
    pub(super) fn reset_reads(&mut self) {
        *self.reads.get_mut() = 0;
    }

    /// Lets this node go on where `older` stood.
    pub(super) fn inherit_reads(&mut self, older: &Self) {
        *self.reads.get_mut() = older.reads.load(Ordering::Relaxed);
    }
}

/// Nodes on their way out, kept until no lock is held: dropping a value runs user code.
///
/// Room for what a usual write replaces and evicts, without an allocation.
#[derive(Default)]
pub(super) struct Dropped {
    first: [Option<Node>; 4],
    rest: Vec<Node>,
}

impl Dropped {
    pub(super) fn push(&mut self, node: Node) {
        match self.first.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => *slot = Some(node),
            None => self.rest.push(node),
        }
    }
}
