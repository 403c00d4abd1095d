//! Rounds: every candidate has its turn in each.

use crate::Failure;
use crate::report::{Case, Row};

/// One who takes part in a case. A turn brings a figure for each metric of the suite.
pub(crate) struct Candidate<'a> {
    name: &'static str,
    turn: Box<dyn FnMut() -> Result<Vec<f64>, Failure> + 'a>,
}

impl<'a> Candidate<'a> {
    pub(crate) fn new(name: &'static str, turn: impl FnMut() -> Result<Vec<f64>, Failure> + 'a) -> Self {
        Self { name, turn: Box::new(turn) }
    }

    /// One whose turn cannot fail.
    pub(crate) fn sure(name: &'static str, mut turn: impl FnMut() -> Vec<f64> + 'a) -> Self {
        Self::new(name, move || Ok(turn()))
    }
}

/// Gives every candidate as many turns as there are rounds; each round begins with another one. A round before them
/// warms up and does not count, unless there is only one. One that fails has no further turn and no figures.
pub(crate) fn interleave(case: &str, rounds: usize, mut all: Vec<Candidate<'_>>) -> Result<Case, Failure> {
    eprintln!("  {case}");
    let mut rows: Vec<Row> = all.iter().map(|one| Row { name: one.name, rounds: Vec::new() }).collect();
    let mut failed: Vec<Option<String>> = vec![None; all.len()];
    let warm_up = usize::from(rounds > 1);
    for round in 0..rounds + warm_up {
        for turn in 0..all.len() {
            let index = (round + turn) % all.len();
            if failed[index].is_some() {
                continue;
            }
            match (all[index].turn)() {
                Ok(figures) if round >= warm_up => rows[index].rounds.push(figures),
                Ok(_) => {}
                Err(failure) => {
                    failed[index] = Some(format!("{case}, {}: {failure}", all[index].name));
                    rows[index].rounds.clear();
                }
            }
        }
    }
    let failed: Vec<String> = failed.into_iter().flatten().collect();
    if failed.len() == rows.len() {
        return Err(failed.join("; ").into());
    }
    Ok(Case { name: case.to_owned(), rows, failed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_alternate_and_the_first_round_does_not_count() {
        let order = std::cell::RefCell::new(String::new());
        let candidate = |name: &'static str| {
            Candidate::sure(name, || {
                order.borrow_mut().push_str(name);
                vec![order.borrow().len() as f64]
            })
        };
        let case = interleave("case", 2, vec![candidate("a"), candidate("b")]).unwrap();
        assert_eq!(*order.borrow(), "abbaab");
        assert_eq!(case.rows[0].rounds, [[4.0], [5.0]]);
    }

    #[test]
    fn one_that_fails_is_told_and_the_others_go_on() {
        let mut turns = 0;
        let failing = Candidate::new("a", || {
            turns += 1;
            if turns == 2 { Err("too much".into()) } else { Ok(vec![1.0]) }
        });
        let case = interleave("case", 3, vec![failing, Candidate::sure("b", || vec![2.0])]).unwrap();
        assert_eq!((turns, case.rows[0].rounds.len(), case.rows[1].rounds.len()), (2, 0, 3));
        assert_eq!(case.failed, ["case, a: too much"]);
        let all = vec![Candidate::new("a", || Err("nothing".into()))];
        assert!(interleave("case", 1, all).is_err());
    }
}
