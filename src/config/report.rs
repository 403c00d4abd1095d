//! Reports: how a cache is set up, and whence each setting comes.

use std::fmt;

/// Whence the value of a setting comes.
///
/// Each wins over those below it: code over variables, those over the intent, that over what the backend is made for,
/// and that over the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// A call of the builder, or a field that the program set.
    Code,
    /// The variable of this name.
    Variable(&'static str),
    /// The intent.
    Intent,
    /// What the backend is made for.
    Backend,
    /// The library.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Code => "code",
            Self::Variable(name) => name,
            Self::Intent => "intent",
            Self::Backend => "backend",
            Self::Default => "default",
        })
    }
}

/// One setting of a [`Report`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReportRow {
    /// Its name, as in [`Settings`](crate::Settings).
    pub name: &'static str,
    /// What was decided, as text.
    pub value: String,
    /// Whence that comes.
    pub source: Source,
}

/// How a cache is set up, as [`Cache::report`](crate::Cache::report) tells: for logs, and for people who wonder why it
/// behaves as it does.
///
/// It holds no secret: no user, password, key of encryption or API key. `Display` is a line for each setting, `Debug` one
/// line without them.
///
/// # Examples
/// ```
/// use cachekit::{CacheBuilder, Intent, Source};
/// let cache = CacheBuilder::from_vars([("CACHEKIT_DEFAULT_TTL", "90")])
///     .l1_only()
///     .intent(Intent::Production)
///     .namespace("users")
///     .swr_enabled(false)
///     .build()?;
/// let report = cache.report();
/// let source = |name| report.settings().find(|row| row.name == name).map(|row| (row.value.as_str(), row.source));
/// assert_eq!(source("ttl"), Some(("90 s", Source::Variable("CACHEKIT_DEFAULT_TTL"))));
/// assert_eq!(source("swr_enabled"), Some(("false", Source::Code)));
/// assert_eq!(source("leases"), Some(("true", Source::Intent)));
/// assert_eq!(source("deadline"), Some(("60 s", Source::Default)));
/// # Ok::<(), cachekit::Error>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Report {
    /// The namespace, as it stands in keys.
    pub namespace: String,
    /// The domain, if the report is that of one.
    pub domain: Option<String>,
    /// The name of the backend; `none` where there is L1 alone.
    pub backend: &'static str,
    /// Where the entries of the backend are, if it says so.
    pub address: Option<String>,
    /// The codecs around a value, from the outside in.
    pub codec: String,
    /// The intent.
    pub intent: String,
    /// By what other processes are told of changes: `backend`, `code` if the program named another, or `none`.
    pub bus: &'static str,
    pub(crate) rows: Vec<ReportRow>,
}

impl Report {
    /// Every setting, in the order of [`Settings::table`](crate::Settings::table).
    pub fn settings(&self) -> impl ExactSizeIterator<Item = &ReportRow> {
        self.rows.iter()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "namespace  {}", self.namespace)?;
        if let Some(domain) = &self.domain {
            writeln!(f, "domain     {domain}")?;
        }
        let at = self.address.as_ref().map(|address| format!(" at {address}")).unwrap_or_default();
        writeln!(f, "backend    {}{at}", self.backend)?;
        writeln!(f, "codec      {}", self.codec)?;
        writeln!(f, "intent     {}", self.intent)?;
        write!(f, "bus        {}", self.bus)?;
        let width = |text: fn(&ReportRow) -> usize| self.rows.iter().map(text).max().unwrap_or(0);
        let (names, values) = (width(|row| row.name.len()), width(|row| row.value.len()));
        for ReportRow { name, value, source } in &self.rows {
            write!(f, "\n{name:names$}  {value:values$}  {source}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Report")
            .field("namespace", &self.namespace)
            .field("backend", &self.backend)
            .field("codec", &self.codec)
            .finish_non_exhaustive()
    }
}
