//! Settings: what was asked, each item optional.
//!
//! The builder's calls, the environment and the intent each fill a `Settings`; [`Settings::or`] lays them over one
//! another, and `decide` turns the result into a [`Policy`](super::Policy).

use std::time::Duration;

use super::policy::{Grace, Overload, Tracing};
use super::problem::Problem;
use super::table::each_setting;
use super::variables::Variables;
use super::{parse, rules};

/// A bound of what is counted, below what a semaphore takes.
pub(super) const MANY: usize = 1_000_000;

macro_rules! settings {
    ($(
        $(#[$doc:meta])+
        $kind:ident $name:ident: $type:ty = $rule:ident($($arg:expr),*) -> $decided:ty
            $(, $variable:ident by $parse:expr)?;
    )*) => {
        /// What a builder, an environment or a preset asks for. `None` leaves the question to the next in line.
        ///
        /// The defaults below hold where no source says anything; most intents do.
        ///
        /// # Examples
        /// ```
        /// use std::time::Duration;
        /// use cachekit::Settings;
        /// let mut preset = Settings::default();
        /// preset.swr_enabled = Some(false);
        /// let mut explicit = Settings::default();
        /// explicit.ttl = Some(Duration::from_secs(5));
        /// let both = explicit.or(preset);
        /// assert_eq!((both.ttl, both.swr_enabled), (Some(Duration::from_secs(5)), Some(false)));
        /// ```
        #[derive(Debug, Clone, Default, PartialEq)]
        #[non_exhaustive]
        pub struct Settings {
            $($(#[$doc])+ pub $name: Option<$type>,)*
        }

        /// Settings that were judged one by one: what was asked, or the default. One that nothing reads does not
        /// compile.
        #[deny(dead_code)]
        pub(super) struct Judged {
            $(pub(super) $name: $decided,)*
        }

        impl Settings {
            /// These settings, with `other` where they say nothing.
            #[must_use]
            pub fn or(self, other: Self) -> Self {
                Self { $($name: self.$name.or(other.$name),)* }
            }

            /// What the variables ask for.
            pub(super) fn read(vars: &Variables, problems: &mut Vec<Problem>) -> Self {
                Self { $($name: None$(.or_else(|| vars.$variable.read(problems, $parse)))?,)* }
            }

            /// Judges each. What breaks its rule joins `problems`, and is replaced by the default.
            pub(super) fn judge(&self, problems: &mut Vec<Problem>) -> Judged {
                Judged { $($name: rules::$rule(problems, stringify!($name), self.$name $(, $arg)*),)* }
            }

            /// The names of all, and of their rules.
            #[cfg(test)]
            pub(super) const RULES: &[(&str, &str)] = &[$((stringify!($name), stringify!($rule))),*];
        }
    };
}

each_setting!(settings);
