//! The names that metrics and spans have for what events say.

use super::{BreakerState, Effect, Operation, Origin, Outcome, Refusal, Tier};
use crate::error::ErrorKind;

/// Names the variants of some enums.
macro_rules! names {
    ($($type:ident { $($variant:ident $name:literal,)+ })+) => {
        $(impl $type {
            /// Its name in metrics and spans: lower case, with underscores. No two of a type have the same.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }
        })+
    };
}

/// The same, and lists them in their order, which counts are indexed by.
macro_rules! names_and_lists {
    ($($type:ident { $($variant:ident $name:literal,)+ })+) => {
        $(#[cfg(feature = "metrics")]
        impl $type {
            pub(crate) const ALL: &'static [Self] = &[$(Self::$variant,)+];
        })+

        names! { $($type { $($variant $name,)+ })+ }

        #[cfg(all(test, feature = "metrics"))]
        #[test]
        fn each_has_its_own_number_and_name() {
            $(for (number, variant) in $type::ALL.iter().enumerate() {
                assert_eq!(*variant as usize, number, "{variant:?}");
                assert!($type::ALL[..number].iter().all(|other| other.name() != variant.name()));
            })+
        }
    };
}

names! {
    BreakerState {
        Closed "closed",
        HalfOpen "half_open",
        Open "open",
    }
    Tier {
        L1 "l1",
        L2 "l2",
    }
}

names_and_lists! {
    Outcome {
        L1Hit "l1_hit",
        L2Hit "l2_hit",
        Stale "stale",
        Computed "computed",
        Joined "joined",
        Absent "absent",
        Failed "failed",
    }
    Operation {
        Get "get",
        Set "set",
        Remove "remove",
        Lease "lease",
        Ping "ping",
        Publish "publish",
        Receive "receive",
    }
    Refusal {
        BreakerOpen "breaker_open",
        QueueFull "queue_full",
        QueueTimeout "queue_timeout",
    }
    Origin {
        Here "here",
        Elsewhere "elsewhere",
    }
    Effect {
        Invalidated "invalidated",
        Expired "expired",
        Cleared "cleared",
    }
    ErrorKind {
        Config "config",
        Key "key",
        Argument "argument",
        Unavailable "unavailable",
        Overloaded "overloaded",
        Timeout "timeout",
        ReadOnly "read_only",
        Denied "denied",
        Backend "backend",
        TooLarge "too_large",
        Encode "encode",
        Decode "decode",
        Unauthentic "unauthentic",
        Unsupported "unsupported",
        Absent "absent",
        Closed "closed",
    }
}
