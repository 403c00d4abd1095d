//! Problems: what is wrong, where, and the fix.
//!
//! Nothing fails at the first problem: they are collected and become one error. A problem never repeats the value it is
//! about, because a secret may sit in the wrong variable.

use std::borrow::Cow;
use std::fmt;

use crate::error::{Error, ErrorKind};

/// A broken rule, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) rule: Cow<'static, str>,
    pub(crate) fix: Cow<'static, str>,
}

impl Fault {
    pub(crate) fn new(rule: impl Into<Cow<'static, str>>, fix: impl Into<Cow<'static, str>>) -> Self {
        Self { rule: rule.into(), fix: fix.into() }
    }
}

/// A fault of one setting or variable; displayed as `NAME: rule; fix`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The variable, or the name of the builder's setting.
    pub(crate) name: Cow<'static, str>,
    pub(crate) rule: Cow<'static, str>,
    pub(crate) fix: Cow<'static, str>,
}

impl Problem {
    pub(crate) fn new(name: impl Into<Cow<'static, str>>, fault: Fault) -> Self {
        Self { name: name.into(), rule: fault.rule, fix: fault.fix }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.name, self.rule, self.fix)
    }
}

/// One error that tells every problem, each on a line of its own.
pub(crate) fn error(problems: Vec<Problem>) -> Error {
    let lines: Vec<String> = problems.iter().map(Problem::to_string).collect();
    Error::new(ErrorKind::Config, lines.join("\n"))
}
