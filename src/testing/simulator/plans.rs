//! What a step does: the calls of a simulation, drawn.

use std::time::Duration;

use fastrand::Rng;

use super::deeds::{Deed, TAGS};
use super::process::{End, Plan, Stay};

/// Draws a call.
pub(super) fn draw(rng: &mut Rng, keys: usize) -> Plan {
    // Some keys are asked for more often than others.
    let key = rng.usize(..keys).min(rng.usize(..keys));
    let deed = deed(rng);
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

fn deed(rng: &mut Rng) -> Deed {
    match rng.u16(..1_000) {
        0..420 => Deed::Compute,
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
pub(super) fn last(rng: &mut Rng, sweeps: bool) -> Deed {
    const LAST: [Deed; 8] = [
        Deed::Set,
        Deed::Set,
        Deed::Invalidate,
        Deed::InvalidateMany,
        Deed::Expire,
        Deed::InvalidateNamespace,
        Deed::Clear,
        Deed::ExpireAll,
    ];
    let deed = LAST[rng.usize(..LAST.len())];
    if sweeps || !deed.sweeps() { deed } else { Deed::Invalidate }
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
