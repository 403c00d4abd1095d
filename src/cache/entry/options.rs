//! The options of entries that hold another entry, written once for all of them.

/// Gives a type the options of an entry, by those of the entry in its field `$entry`.
macro_rules! entry_options {
    ($entry:tt) => {
        $crate::cache::entry_options! { $entry:
            ttl(ttl: ::std::time::Duration);
            stale_if_error(grace: impl Into<$crate::config::Grace>);
            soft_timeout(timeout: ::std::time::Duration);
            deadline(deadline: ::std::time::Duration);
            wait_for_write(wait: bool);
            error_ttl(ttl: ::std::time::Duration);
            skip_l1_read();
            skip_l2_read();
            skip_l1_write();
            skip_l2_write();
        }

        /// As [`Entry::tags`](crate::Entry::tags).
        pub fn tags<'t>(mut self, tags: impl IntoIterator<Item = &'t str>) -> Self {
            self.$entry = self.$entry.tags(tags);
            self
        }

        /// As [`Entry::error_ttl_by`](crate::Entry::error_ttl_by).
        pub fn error_ttl_by<E: 'static>(
            mut self,
            rule: impl Fn(&E) -> ::std::time::Duration + Send + Sync + 'static,
        ) -> Self {
            self.$entry = self.$entry.error_ttl_by(rule);
            self
        }
    };
    ($entry:tt: $($name:ident($($arg:ident: $type:ty)?);)*) => {$(
        #[doc = concat!("As [`Entry::", stringify!($name), "`](crate::Entry::", stringify!($name), ").")]
        pub fn $name(mut self, $($arg: $type)?) -> Self {
            self.$entry = self.$entry.$name($($arg)?);
            self
        }
    )*};
}

pub(crate) use entry_options;
