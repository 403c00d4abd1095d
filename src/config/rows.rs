//! Settings and variables as data, for programs that show them.
//!
//! Docs and defaults are those of `super::table` and `super::variables`: nothing is said twice.

use std::time::Duration;

use super::policy::{Grace, Overload, Tracing};
use super::report::{ReportRow, Source};
use super::settings::{MANY, Settings};
use super::table::each_setting;
use super::variables::{self, KNOWN, Known};
use super::{Environment, parse, rules};

/// What is known of one setting, as [`Settings::table`] lists them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingRow {
    /// Its name: that of its field in [`Settings`], and of its setter if it has one.
    pub name: &'static str,
    /// What it is for, in paragraphs separated by an empty line.
    pub doc: String,
    /// The type of its value.
    pub type_name: &'static str,
    /// What holds where no source says anything; most intents say something.
    pub default: String,
    /// The variable that sets it, if one does.
    pub variable: Option<&'static str>,
    /// Whether the builder has a setter of this name. If not, [`CacheBuilder::settings`](crate::CacheBuilder::settings)
    /// takes it.
    pub has_setter: bool,
}

/// What is known of one variable, as [`Environment::table`] lists them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct VariableRow {
    /// Its name.
    pub name: &'static str,
    /// What it is for, in paragraphs separated by an empty line.
    pub doc: String,
    /// What it takes: a unit, a range.
    pub values: &'static str,
    /// What holds where it is not set.
    pub default: String,
    /// The setting that it sets, if it is one of a cache and not of a backend.
    pub setting: Option<&'static str>,
    /// Whether its value must not be shown.
    pub is_secret: bool,
}

/// Settings as they were decided, and whence each comes.
#[derive(Debug, Clone)]
pub(crate) struct Decided {
    pub(crate) settings: Settings,
    pub(crate) sources: Sources,
}

macro_rules! rows {
    ($(
        $(#[doc = $doc:literal])+
        $kind:ident $name:ident: $type:ty = $rule:ident($($arg:expr),*) -> $decided:ty
            $(, $variable:ident by $parse:expr)?;
    )*) => {
        /// Whence each setting comes.
        #[derive(Debug, Clone)]
        pub(crate) struct Sources { $(pub(crate) $name: Source,)* }

        impl Settings {
            /// Every setting there is: what it is for, its type, its default, the variable that sets it.
            ///
            /// # Examples
            /// ```
            /// use cachekit::Settings;
            /// let ttl = Settings::table().into_iter().find(|row| row.name == "ttl").unwrap();
            /// assert_eq!((ttl.default.as_str(), ttl.variable), ("3600 s", Some("CACHEKIT_DEFAULT_TTL")));
            /// assert!(ttl.has_setter && ttl.doc.starts_with("How long entries live"));
            /// ```
            pub fn table() -> Vec<SettingRow> {
                vec![$({
                    let default: $decided = rules::$rule(&mut Vec::new(), stringify!($name), None $(, $arg)*);
                    SettingRow {
                        name: stringify!($name),
                        doc: plain(concat!($($doc, "\n"),+)),
                        type_name: stringify!($type),
                        default: default.told(stringify!($name)),
                        variable: None$(.or_else(|| variables::name_of(stringify!($variable))))?,
                        has_setter: stringify!($kind) == "setter",
                    }
                }),*]
            }
        }

        impl Decided {
            /// What code, environment and intent ask for, the first first.
            pub(crate) fn new(code: &Settings, environment: &Settings, intent: &Settings) -> Self {
                let sources = Sources { $($name: source(
                    [code.$name.is_some(), environment.$name.is_some(), intent.$name.is_some()],
                    None$(.or_else(|| variables::name_of(stringify!($variable))))?,
                ),)* };
                Self { settings: code.clone().or(environment.clone()).or(intent.clone()), sources }
            }

            pub(crate) fn rows(&self) -> Vec<ReportRow> {
                vec![$({
                    let value: $decided =
                        rules::$rule(&mut Vec::new(), stringify!($name), self.settings.$name $(, $arg)*);
                    let (name, source) = (stringify!($name), self.sources.$name);
                    ReportRow { name, value: value.told(name), source }
                }),*]
            }
        }
    };
}

each_setting!(rows);

impl Environment {
    /// Every variable that is read, those of backends and of settings: what it is for, what it takes, its default.
    ///
    /// # Examples
    /// ```
    /// use cachekit::Environment;
    /// let url = Environment::table().into_iter().find(|row| row.name == "CACHEKIT_REDIS_URL").unwrap();
    /// assert_eq!((url.default.as_str(), url.is_secret, url.setting), ("redis://localhost:6379/0", true, None));
    /// ```
    pub fn table() -> Vec<VariableRow> {
        let settings = Settings::table();
        let row = |known: &Known| {
            let &Known { name, values, is_secret, .. } = known;
            let setting = settings.iter().find(|row| row.variable == Some(name));
            VariableRow {
                name,
                doc: setting.map_or_else(|| plain(known.doc), |row| row.doc.clone()),
                values,
                default: match known.default {
                    [default] => (*default).to_owned(),
                    _ => setting.map(|row| row.default.clone()).unwrap_or_default(),
                },
                setting: setting.map(|row| row.name),
                is_secret,
            }
        };
        KNOWN.iter().map(row).collect()
    }
}

fn source([code, environment, intent]: [bool; 3], variable: Option<&'static str>) -> Source {
    match variable {
        _ if code => Source::Code,
        Some(name) if environment => Source::Variable(name),
        // The program has set it in the `Environment` itself.
        None if environment => Source::Code,
        _ if intent => Source::Intent,
        _ => Source::Default,
    }
}

/// A value as text.
trait Told {
    fn told(&self, name: &str) -> String;
}

impl Told for Duration {
    fn told(&self, _: &str) -> String {
        format!("{} s", self.as_secs_f64())
    }
}

impl<T: Told> Told for Option<T> {
    fn told(&self, name: &str) -> String {
        self.as_ref().map_or_else(|| "none".to_owned(), |value| value.told(name))
    }
}

impl Told for Grace {
    fn told(&self, name: &str) -> String {
        match self {
            Self::Ttl => "as long as the ttl".to_owned(),
            Self::For(duration) => duration.told(name),
        }
    }
}

impl Told for usize {
    /// Sizes are decided in bytes, and set in MB where the name says so.
    fn told(&self, name: &str) -> String {
        match name.ends_with("_mb") {
            true => (*self as f64 / f64::from(1 << 20)).to_string(),
            false => self.to_string(),
        }
    }
}

macro_rules! told_as_displayed {
    ($($type:ty)*) => {$(
        impl Told for $type {
            fn told(&self, _: &str) -> String {
                self.to_string()
            }
        }
    )*};
}

told_as_displayed!(bool f64 u32);

macro_rules! told_as_named {
    ($($type:ty)*) => {$(
        impl Told for $type {
            fn told(&self, _: &str) -> String {
                format!("{self:?}").to_lowercase()
            }
        }
    )*};
}

told_as_named!(Overload Tracing);

/// A doc comment as text: paragraphs in one line each, links by their words.
fn plain(doc: &str) -> String {
    let paragraphs = doc.split("\n\n").map(|paragraph| {
        let words: Vec<&str> = paragraph.split_whitespace().collect();
        unlinked(&words.join(" "))
    });
    paragraphs.filter(|paragraph| !paragraph.is_empty()).collect::<Vec<_>>().join("\n\n")
}

fn unlinked(text: &str) -> String {
    let (mut out, mut rest) = (String::new(), text);
    while let Some((before, linked)) = rest.split_once('[') {
        let Some((words, after)) = linked.split_once(']') else { break };
        out.push_str(before);
        let link = after.strip_prefix('(').and_then(|target| target.split_once(')'));
        match link {
            Some((_, after)) => {
                out.push_str(words);
                rest = after;
            }
            None if words.starts_with('`') => {
                out.push_str(words);
                rest = after;
            }
            None => {
                out.push('[');
                rest = linked;
            }
        }
    }
    out + rest
}
