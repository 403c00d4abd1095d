//! The settings that most programs need, as setters.
//!
//! All of one form: what is called is the explicit choice, which wins over environment, intent and default.

use std::time::Duration;

use super::CacheBuilder;
use crate::backends::Backend;
use crate::codec::Codec;
use crate::config::{Tracing, each_setting};
use crate::intent::Preset;

macro_rules! setters {
    ($(
        $(#[$doc:meta])+
        $kind:ident $name:ident: $type:ty = $rule:ident($($arg:expr),*) -> $decided:ty
            $(, $variable:ident by $parse:expr)?;
    )*) => {
        impl<B: Backend, C: Codec, P: Preset> CacheBuilder<B, C, P> {
            $(method! { $kind $(#[$doc])+ $name: $type })*
        }
    };
}

macro_rules! method {
    (setter $(#[$doc:meta])+ $name:ident: $type:ty) => {
        $(#[$doc])+
        pub fn $name(mut self, $name: $type) -> Self {
            self.rest.explicit.$name = Some($name);
            self
        }
    };
    (field $($rest:tt)*) => {};
}

each_setting!(setters);
