//! What a step does: the calls of a simulation, how they go, and how that is drawn.

use std::time::Duration;

use fastrand::Rng;

use super::deeds::{Deed, TAGS};

/// How one call goes, drawn before it begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Plan {
    pub(super) key: usize,
    pub(super) deed: Deed,
    pub(super) stay: Stay,
    pub(super) end: End,
    /// How long the computation takes.
    pub(super) turns: u8,
    pub(super) pause: Option<Duration>,
    /// Whether tags are named by the computation instead of the call.
    pub(super) tags_late: bool,
    /// Whether the computation says of a previous value of its version that it is not modified.
    pub(super) revalidates: bool,
    /// Whether the call runs on the runtime that may stand still.
    pub(super) is_aside: bool,
}

impl Plan {
    /// The plan of one key of a batch.
    pub(super) fn of(self, key: usize) -> Self {
        let fails = key == self.key && self.end != End::Value;
        Self { key, end: if fails { End::Failure } else { End::Value }, ..self }
    }
}

/// Whether the caller waits for the answer.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stay {
    Always,
    /// Leaves after so many turns.
    For(u8),
    /// Stops asking after so many turns, and leaves much later.
    Parks(u8, Duration),
}

/// How a computation ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Value,
    Failure,
    Panic,
}

/// The error of computations that fail.
#[derive(Debug, Clone, Copy)]
pub(super) struct Failure {
    pub(super) key: usize,
}

/// Draws a call.
pub(super) fn draw(rng: &mut Rng, keys: usize) -> Plan {
    let deed = deed(rng);
    let (key, deed) = key(rng, keys, deed);
    let end = match rng.u8(..40) {
        0..4 => End::Failure,
        4 => End::Panic,
        _ => End::Value,
    };
    let (turns, pause) = match rng.u8(..20) {
        0..10 => (0, None),
        10..17 => (rng.u8(1..24), None),
        17..19 => (0, Some(Duration::from_millis(rng.u64(1..200)))),
        _ => (rng.u8(..4), Some(Duration::from_millis(rng.u64(200..8_000)))),
    };
    let (tags_late, revalidates) = (rng.bool(), rng.u8(..4) == 0);
    Plan { key, deed, stay: stay(rng), end, turns, pause, tags_late, revalidates, is_aside: false }
}

/// Draws the key of a deed, or another deed if it can be done to none.
fn key(rng: &mut Rng, keys: usize, deed: Deed) -> (usize, Deed) {
    let fit: Vec<usize> = (0..keys).filter(|key| deed.fits(*key)).collect();
    if fit.is_empty() {
        return (rng.usize(..keys), Deed::Compute);
    }
    // Some keys are asked for more often than others.
    (fit[rng.usize(..fit.len()).min(rng.usize(..fit.len()))], deed)
}

fn deed(rng: &mut Rng) -> Deed {
    match rng.u16(..1_000) {
        0..360 => Deed::Compute,
        360..380 => Deed::Load,
        380..397 => Deed::LoadTogether,
        397..402 => Deed::LoadMany,
        402..410 => Deed::InvalidateDomain,
        410..414 => Deed::ClearDomain,
        414..420 => Deed::ExpireDomain,
        420..450 => Deed::ComputeMany,
        450..480 => Deed::ComputeAnew,
        480..490 => Deed::GetMany,
        490..640 => Deed::Get,
        640..680 => Deed::GetFromL1,
        680..740 => Deed::GetFromL2,
        740..820 => Deed::Set,
        820..890 => Deed::Invalidate,
        890..905 => Deed::InvalidateMany,
        905..930 => Deed::InvalidateTag(TAGS[rng.usize(..TAGS.len())]),
        930..937 => Deed::InvalidateTags,
        937..945 => Deed::InvalidateNamespace,
        945..950 => Deed::Clear,
        950..990 => Deed::Expire,
        _ => Deed::ExpireAll,
    }
}

/// Draws one of the changes that end a simulation.
pub(super) fn last(rng: &mut Rng, key: usize, sweeps: bool) -> Deed {
    const LAST: [Deed; 11] = [
        Deed::Set,
        Deed::Set,
        Deed::Invalidate,
        Deed::InvalidateMany,
        Deed::Expire,
        Deed::InvalidateNamespace,
        Deed::Clear,
        Deed::ExpireAll,
        Deed::InvalidateDomain,
        Deed::ClearDomain,
        Deed::ExpireDomain,
    ];
    let deed = LAST[rng.usize(..LAST.len())];
    if deed.fits(key) && (sweeps || !deed.sweeps()) { deed } else { Deed::Invalidate }
}

fn stay(rng: &mut Rng) -> Stay {
    match rng.u8(..40) {
        0..3 => Stay::For(rng.u8(..8)),
        3 => Stay::Parks(rng.u8(..4), Duration::from_millis(rng.u64(100..10_000))),
        _ => Stay::Always,
    }
}

/// Draws how often others run after a step, and by how much the clock then moves on.
pub(super) fn pass(rng: &mut Rng) -> (u8, Duration) {
    let turns = [0, 1, 1, 1, 2, 2, 3, 4][rng.usize(..8)];
    let time = if rng.u8(..8) < 3 { rng.u64(1..12) } else { 0 };
    (turns, Duration::from_millis(time))
}
