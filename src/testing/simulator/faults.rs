//! What goes wrong in a simulation.
//!
//! Troubles come in spells: for a while, one process or all of them meet one kind. Which, when and for how long, the
//! seed says.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;

use crate::error::{Error, ErrorKind};

/// One kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Trouble {
    /// Backend operations fail at once, and do nothing.
    Refuse,
    /// Backend operations that write fail at once, and do nothing; reads work, and so does the bus.
    ReadOnly,
    /// Backend operations are carried out, then fail.
    FailAfter,
    /// Leases are granted, renewed and given back, and the answers are lost.
    LoseLease,
    /// Backend operations take up to a second longer.
    Slow,
    /// Backend operations do not answer until the spell is over.
    Hang,
    /// What the backend acknowledges to have stored is gone at once, as from one that needs the room.
    Evict,
    /// The server loses everything it holds: entries, leases and messages.
    Restart,
    /// The bus cannot be reached.
    Cut,
    /// The bus has lost its oldest messages, and says so.
    Trim,
    /// What the bus tells arrives late.
    Delay,
    /// What the bus tells arrives twice.
    Repeat,
    /// A cache is closed and another built in its place, at times without letting it end its work.
    Replace,
    /// All processes stand still for up to three seconds.
    Pause,
    /// The wall clock of a process is set: right, or up to two hours ahead or behind.
    Skew,
    /// A process has a second runtime, on which it reads and computes, and which stands still for seconds, up to half a
    /// minute.
    Stall,
    /// A cache is paused, or one tier of it, for up to some seconds.
    Switch,
}

/// The kinds of trouble that a simulation makes.
///
/// # Examples
/// ```
/// use cachekit::testing::{Faults, Trouble};
/// let faults = Faults::all().without(Trouble::Restart);
/// assert!(faults.contains(Trouble::Hang) && !faults.contains(Trouble::Restart));
/// assert!(Faults::none().with(Trouble::Cut).contains(Trouble::Cut));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Faults(u32);

const ALL: [Trouble; 17] = [
    Trouble::Refuse,
    Trouble::ReadOnly,
    Trouble::FailAfter,
    Trouble::LoseLease,
    Trouble::Slow,
    Trouble::Hang,
    Trouble::Evict,
    Trouble::Restart,
    Trouble::Cut,
    Trouble::Trim,
    Trouble::Delay,
    Trouble::Repeat,
    Trouble::Replace,
    Trouble::Pause,
    Trouble::Skew,
    Trouble::Stall,
    Trouble::Switch,
];

impl Faults {
    /// No trouble.
    pub const fn none() -> Self {
        Self(0)
    }

    /// Every kind.
    pub const fn all() -> Self {
        Self((1 << ALL.len()) - 1)
    }

    /// These and `trouble`.
    #[must_use]
    pub const fn with(self, trouble: Trouble) -> Self {
        Self(self.0 | 1 << trouble as u32)
    }

    /// These without `trouble`.
    #[must_use]
    pub const fn without(self, trouble: Trouble) -> Self {
        Self(self.0 & !(1 << trouble as u32))
    }

    /// The kinds of trouble in it.
    pub fn iter(self) -> impl Iterator<Item = Trouble> {
        ALL.into_iter().filter(move |trouble| self.contains(*trouble))
    }

    /// Whether `trouble` is one of these.
    pub const fn contains(self, trouble: Trouble) -> bool {
        self.0 & 1 << trouble as u32 != 0
    }
}

/// As the calls that make them.
impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faults::none()")?;
        self.iter().try_for_each(|trouble| write!(f, ".with(Trouble::{trouble:?})"))
    }
}

/// The spells of now.
#[derive(Debug)]
pub(super) struct Weather {
    pub(super) faults: Faults,
    spells: Vec<Spell>,
    /// Operations that met trouble, and servers and processes that did.
    pub(super) met: u64,
    rough: bool,
}

#[derive(Debug)]
struct Spell {
    trouble: Trouble,
    /// The process that meets it; `None` is every one.
    slot: Option<usize>,
    until: u64,
}

/// What an operation is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// It stores an entry.
    Store,
    /// It is about a lease, and stores nothing.
    Lease,
    /// It writes something else.
    Write,
    /// It is one of the bus.
    Bus,
    Other,
}

/// What becomes of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Works,
    Refused,
    ReadOnly,
    FailsAfter,
    Waits(Duration),
    Evicted,
    Trimmed,
    Late(Duration),
    Repeated,
}

/// At most this many at once.
const SPELLS: usize = 3;

impl Weather {
    pub(super) fn new(faults: Faults) -> Self {
        Self { faults, spells: Vec::new(), met: 0, rough: faults != Faults::none() }
    }

    /// Whether calls may fail for what was, or is, in their way.
    pub(super) fn is_rough(&self) -> bool {
        self.rough
    }

    /// What was in the way is gone for good.
    pub(super) fn calm(&mut self) {
        self.rough = false;
    }

    /// Ends all trouble for good.
    pub(super) fn clear(&mut self) {
        self.faults = Faults::none();
        self.spells.clear();
    }

    /// Begins a spell now and then. Says which trouble is to happen at once, if any is.
    pub(super) fn change(&mut self, rng: &mut Rng, slots: usize, now: u64) -> Option<Trouble> {
        self.spells.retain(|spell| now < spell.until);
        if rng.u32(..300) != 0 {
            return None;
        }
        let trouble = ALL[rng.usize(..ALL.len())];
        if !self.faults.contains(trouble) {
            return None;
        }
        if matches!(trouble, Trouble::Restart | Trouble::Replace | Trouble::Pause | Trouble::Skew | Trouble::Switch) {
            self.met += 1;
            return Some(trouble);
        }
        if self.spells.len() < SPELLS {
            let slot = (rng.u8(..3) > 0).then(|| rng.usize(..slots));
            let scale = match trouble {
                Trouble::Stall => rng.u32(11..16),
                Trouble::Cut => rng.u32(4..15),
                _ => rng.u32(4..13),
            };
            let until = now + rng.u64(..1 << scale);
            // No operation meets it.
            self.met += u64::from(trouble == Trouble::Stall);
            self.spells.push(Spell { trouble, slot, until });
        }
        None
    }

    /// Whether the second runtime of the process in `slot` stands still.
    pub(super) fn stalls(&self, slot: usize, now: u64) -> bool {
        let meets = |spell: &Spell| now < spell.until && spell.slot.is_none_or(|one| one == slot);
        self.spells.iter().any(|spell| spell.trouble == Trouble::Stall && meets(spell))
    }

    /// What becomes of an operation on the bus or the backend by the process in `slot`.
    pub(super) fn fate(&mut self, rng: &mut Rng, slot: usize, kind: Kind, now: u64) -> Fate {
        for spell in &self.spells {
            let meets = now < spell.until && spell.slot.is_none_or(|one| one == slot);
            // A bus that is cut off is so for the whole spell: it is to be unheard for long.
            if !meets || (rng.u8(..4) == 0 && spell.trouble != Trouble::Cut) {
                continue;
            }
            let fate = match (spell.trouble, kind) {
                (Trouble::Refuse, _) | (Trouble::Cut, Kind::Bus) => Fate::Refused,
                (Trouble::ReadOnly, Kind::Store | Kind::Lease | Kind::Write) => Fate::ReadOnly,
                (Trouble::FailAfter, _) | (Trouble::LoseLease, Kind::Lease) => Fate::FailsAfter,
                (Trouble::Slow, _) => Fate::Waits(Duration::from_millis(rng.u64(1..1_000))),
                (Trouble::Hang, _) => Fate::Waits(Duration::from_millis(spell.until - now)),
                (Trouble::Evict, Kind::Store) => Fate::Evicted,
                (Trouble::Trim, Kind::Bus) => Fate::Trimmed,
                (Trouble::Delay, Kind::Bus) => Fate::Late(Duration::from_millis(rng.u64(1..1_000))),
                (Trouble::Repeat, Kind::Bus) => Fate::Repeated,
                _ => continue,
            };
            self.met += 1;
            return fate;
        }
        Fate::Works
    }
}

pub(super) fn refused() -> Error {
    Error::new(ErrorKind::Unavailable, "simulation: the operation was refused")
}

pub(super) fn unanswered() -> Error {
    Error::new(ErrorKind::Timeout, "simulation: the operation ended without an answer")
}
