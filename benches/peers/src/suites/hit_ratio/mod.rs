//! Hit ratios: which entries a full cache keeps.

use crate::Failure;
use crate::arguments::Arguments;
use crate::report::{Case, Report, Row, more};
use crate::rounds::{Candidate, interleave};

use self::loads::{Load, Sizes};
use self::policies::Room;

mod belady;
pub(super) mod costs;
mod loads;
mod policies;
mod traces;

const ABOUT: &str = "Requests in a hundred that find their value, of a cache that starts empty and is filled by its misses. \
    Ours is a whole cache with L1 alone, asked by `get_or_compute_arc`, and counts bytes: values are made so long that the \
    budget holds as many entries of one size as the peers are told to hold. Where sizes differ, all count the same bytes \
    for an entry as ours does. The optimum is Belady's: of all entries, the new one among them, the one goes that is asked \
    for last; no policy without knowledge of the future can do better. One run each: policies draw by chance, so \
    differences below half a point say nothing.";

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let (loads, remarks) = all_loads(arguments)?;
    let mut cases = Vec::new();
    for load in &loads {
        let mut rooms = rooms(load)?;
        rooms.dedup_by_key(|room| room.name(load));
        for room in rooms {
            cases.push(measure(load, &room)?);
        }
    }
    cases.insert(0, mean(&cases));
    let references = vec!["optimum", "quick_cache", "moka"];
    Ok(Report { suite: "hit-ratio", about: ABOUT, metrics: vec![more("hit ratio %")], references, cases, remarks })
}

/// Synthetic loads, and the traces of a directory if one is named; without one, a remark says so.
fn all_loads(arguments: &Arguments) -> Result<(Vec<Load>, Vec<String>), Failure> {
    let mut loads = loads::synthetic(arguments.quick);
    let mut remarks = Vec::new();
    match &arguments.traces {
        Some(directory) => loads.extend(traces::read(directory)?),
        None => remarks.push(String::from("Synthetic loads alone: `--traces DIR` names a directory of traces.")),
    }
    Ok((loads, remarks))
}

/// The capacities that a load is measured with.
fn rooms(load: &Load) -> Result<Vec<Room>, Failure> {
    match &load.sizes {
        Sizes::Equal(None) => {
            [100, 10, 2].map(|part| Room::entries((load.distinct / part).max(16))).into_iter().collect()
        }
        Sizes::Equal(Some(entries)) => entries.iter().map(|count| Room::entries(*count)).collect(),
        Sizes::Differing(size) => {
            let all = (0..load.distinct as u32).map(|id| size(id) as usize).sum::<usize>();
            [100, 10, 2].map(|part| Room::bytes(all / part)).into_iter().collect()
        }
    }
}

fn measure(load: &Load, room: &Room) -> Result<Case, Failure> {
    let percent = |hits: usize| vec![hits as f64 * 100.0 / load.requests.len() as f64];
    let mut all = vec![Candidate::new("cachekit Production", move || Ok(percent(policies::ours(load, room)?)))];
    for (name, hits) in policies::peers(load, room) {
        all.push(Candidate::sure(name, move || percent(hits())));
    }
    if let Room::Entries { count, .. } = room {
        all.push(Candidate::sure("optimum", move || percent(belady::hits(&load.requests, load.distinct, *count))));
    }
    interleave(&format!("{}, {}", load.name, room.name(load)), 1, all)
}

/// The mean of each candidate over the cases in which all took part.
fn mean(cases: &[Case]) -> Case {
    let most = cases.iter().map(|case| case.rows.len()).max().unwrap_or(0);
    let whole: Vec<&Case> = cases.iter().filter(|case| case.rows.len() == most).collect();
    let rows = (0..most).map(|index| {
        let metrics = whole[0].rows[index].rounds[0].len();
        let sum = |metric| whole.iter().map(|case| case.rows[index].median(metric)).sum::<f64>();
        let means = (0..metrics).map(|metric| sum(metric) / whole.len() as f64).collect();
        Row { name: whole[0].rows[index].name, rounds: vec![means] }
    });
    Case::new(format!("mean of {} cases", whole.len()), rows.collect())
}
