//! Why a command failed.

use std::fmt;
use std::io;

#[derive(Debug)]
pub(super) enum Failure {
    /// The library says so.
    Cache(cachekit::Error),
    /// What was to be printed cannot be.
    Output(io::Error),
    /// It cannot be done as it was asked for.
    Refused(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cache(error) => error.fmt(f),
            Self::Output(error) => error.fmt(f),
            Self::Refused(text) => f.write_str(text),
        }
    }
}

impl From<cachekit::Error> for Failure {
    fn from(error: cachekit::Error) -> Self {
        Self::Cache(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::Output(error.into())
    }
}
