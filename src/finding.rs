//! Findings: what is odd about a setup, what follows, and the fix.

use std::borrow::Cow;
use std::fmt;

use crate::error::Error;

/// How bad a [`Finding`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Severity {
    /// Worth knowing, and nothing to do about.
    Note,
    /// The cache works, and not as well as it could, or not for long.
    Warning,
    /// The cache does not do what it is there for.
    Error,
}

impl fmt::Display for Severity {
    /// In lower case.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// Something that was found out about a backend or an environment. It holds no secret, and no key or value of a cache.
///
/// # Examples
/// ```
/// use cachekit::{Environment, Severity};
/// let environment = Environment::from_vars([("CACHEKIT_DEFAULT_TTL", "never")]);
/// let [finding] = &environment.findings()[..] else { panic!("one thing is wrong") };
/// assert_eq!(finding.severity, Severity::Error);
/// assert!(finding.found.starts_with("CACHEKIT_DEFAULT_TTL"));
/// assert_eq!(finding.fix, "set it to, for example, 3600");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What was found.
    pub found: Cow<'static, str>,
    /// What follows from it; may be empty.
    pub follows: Cow<'static, str>,
    /// What to do about it; empty in a [`Severity::Note`].
    pub fix: Cow<'static, str>,
}

impl Finding {
    /// Something worth knowing.
    pub fn note(found: impl Into<Cow<'static, str>>) -> Self {
        Self { severity: Severity::Note, found: found.into(), follows: Cow::default(), fix: Cow::default() }
    }

    /// Something that should be otherwise.
    pub fn warning(found: impl Into<Cow<'static, str>>, fix: impl Into<Cow<'static, str>>) -> Self {
        Self { severity: Severity::Warning, fix: fix.into(), ..Self::note(found) }
    }

    /// Something that must be otherwise.
    pub fn error(found: impl Into<Cow<'static, str>>, fix: impl Into<Cow<'static, str>>) -> Self {
        Self { severity: Severity::Error, ..Self::warning(found, fix) }
    }

    /// Says what follows from it.
    #[must_use]
    pub fn follows(mut self, follows: impl Into<Cow<'static, str>>) -> Self {
        self.follows = follows.into();
        self
    }

    /// What a warning of this library says: they end in what to do about it, behind the last semicolon or colon.
    pub fn of_warning(text: &str) -> Self {
        match text.rsplit_once("; ").or_else(|| text.rsplit_once(": ")) {
            Some((found, fix)) => Self::warning(found.to_owned(), fix.to_owned()),
            None => Self::warning(text.to_owned(), ""),
        }
    }

    /// What a failure says: this library's messages end in what to do about it, behind the last colon.
    pub fn of_error(error: &Error) -> Self {
        let text = error.to_string();
        match text.rsplit_once(": ").or_else(|| text.rsplit_once("; ")) {
            Some((found, fix)) => Self::error(found.to_owned(), fix.to_owned()),
            None => Self::error(text, ""),
        }
    }
}

impl fmt::Display for Finding {
    /// In one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.found)?;
        if !self.follows.is_empty() {
            write!(f, ", so {}", self.follows)?;
        }
        if !self.fix.is_empty() {
            write!(f, "; {}", self.fix)?;
        }
        Ok(())
    }
}
