//! Tests of the configuration: every variable, every rule.

use super::env::Environment;

mod decided;
mod lookalikes;
mod platform;
mod redis;
mod rows;
mod secrets;
mod selection;
mod table;
mod urls;

/// An environment of just these variables.
fn environment(vars: &[(&str, &str)]) -> Environment {
    Environment::from_vars(vars.iter().copied())
}

/// The names of the variables that have problems.
fn faulty(environment: &Environment) -> Vec<&str> {
    environment.problems.iter().map(|problem| &*problem.name).collect()
}
