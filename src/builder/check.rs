//! What `build` refuses, and how it says so.

use crate::backends::Capabilities;
use crate::config::{Fault, LONGEST, Policy, Problem, Settings};
use crate::error::{Error, ErrorKind};

/// Refuses what was asked for explicitly and the backend cannot do.
pub(super) fn capabilities(explicit: &Settings, can: Capabilities, has_bus: bool, problems: &mut Vec<Problem>) {
    if explicit.invalidation_enabled == Some(true) && !has_bus {
        problems.push(Problem::new(
            "invalidation_enabled",
            Fault::new(
                format!("the {} backend has no bus to other processes", can.name),
                "name the bus of another backend with bus_from, or leave invalidation_enabled out",
            ),
        ));
    }
    if explicit.leases == Some(true) && !can.leases {
        problems.push(Problem::new(
            "leases",
            Fault::new(
                format!("the {} backend has no leases", can.name),
                "leave leases out, or use a backend that has them",
            ),
        ));
    }
}

/// Checks how long entries are kept, where that is in L1 or in a backend that can do this.
pub(super) fn life(policy: &Policy, can: Option<Capabilities>, problems: &mut Vec<Problem>) {
    let (keeper, most) = can
        .map_or((String::from("L1"), LONGEST), |can| (format!("the {} backend", can.name), can.max_ttl.min(LONGEST)));
    let longest = policy.ttl.saturating_add(policy.stale_if_error.of(policy.ttl));
    if longest > most {
        problems.push(Problem::new(
            "ttl",
            Fault::new(
                format!("{keeper} keeps entries for at most {} s", most.as_secs()),
                "shorten ttl or stale_if_error: their sum is how long an entry is kept",
            ),
        ));
    }
}

/// What the intent turns on and the backend lacks, if anything, and what follows from it.
pub(super) fn missing(policy: &Policy, can: Capabilities, has_bus: bool) -> Option<String> {
    let believes = policy.l1_max_size.is_some() && policy.max_staleness.is_none();
    let bus = policy.invalidation && !has_bus && believes;
    let leases = policy.leases.is_some() && !can.leases;
    let what = match (bus, leases) {
        (false, false) => return None,
        (true, false) => {
            "has no bus, so other processes hear of no change before their entries expire: name the bus of another \
             backend with bus_from, bound it with max_staleness, or say invalidation_enabled(false)"
        }
        (false, true) => "has no leases, so each process computes for itself: say leases(false)",
        (true, true) => {
            "has no bus and no leases, so other processes hear of no change before their entries expire, and each \
             computes for itself: name the bus of another backend with bus_from, bound it with max_staleness, or say \
             invalidation_enabled(false) and leases(false)"
        }
    };
    Some(format!("the {} backend {what}", can.name))
}

/// One error for all that is wrong.
pub(super) fn everything_wrong(problems: Vec<Problem>, others: impl Iterator<Item = Error>) -> Error {
    // What is missing only because its variable is wrong is told by the variable's own line.
    let is_told = |error: &Error| {
        let text = error.to_string();
        problems.iter().any(|problem| text.strip_prefix(&*problem.name).is_some_and(|rest| rest.starts_with(':')))
    };
    let mut others: Vec<Error> = others.filter(|error| !is_told(error)).collect();
    if problems.is_empty() && others.len() == 1 {
        return others.remove(0);
    }
    let lines: Vec<String> =
        problems.iter().map(ToString::to_string).chain(others.iter().map(ToString::to_string)).collect();
    Error::new(ErrorKind::Config, lines.join("\n"))
}
