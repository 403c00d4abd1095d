//! What is sealed is opened as it was, or is refused: any type, any value, any codec, any stack.

use std::fmt::Debug;
use std::time::Duration;

use fastrand::Rng;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::codec::{Checked, Codec, Compressed, Context, Encrypted, Json, Keyring, MessagePack, Postcard};
use crate::config::{Policy, Settings};
use crate::error::{Error, ErrorKind};
use crate::key::Key;
use crate::seal::{Dates, Marks, Sealer, Value};

mod shapes;

use self::shapes::*;

/// One of the stacks around a base codec, chosen at run time: the types of the tests are many enough.
#[derive(Debug, Clone)]
enum Stack<C> {
    Bare(C),
    Checked(Checked<C>),
    Compressed(Checked<Compressed<C>>),
    Encrypted(Encrypted<C>),
}

impl<C: Codec> Stack<C> {
    fn all(base: C) -> [Sealer<Self>; 4] {
        let keyring = Keyring::from_bytes(&[7; 32]).expect("32 bytes are a key");
        [
            Self::Bare(base.clone()),
            Self::Checked(Checked::new(base.clone())),
            Self::Compressed(Checked::new(Compressed::new(base.clone()).threshold(0))),
            Self::Encrypted(Encrypted::new(base, keyring)),
        ]
        .map(|stack| Sealer::new(stack, &Settings::default().decide(&mut Vec::new())))
    }
}

macro_rules! each {
    ($stack:expr, $codec:ident => $result:expr) => {
        match $stack {
            Stack::Bare($codec) => $result,
            Stack::Checked($codec) => $result,
            Stack::Compressed($codec) => $result,
            Stack::Encrypted($codec) => $result,
        }
    };
}

impl<C: Codec> Codec for Stack<C> {
    const CONFIDENTIAL: bool = false;

    fn name(&self) -> String {
        each!(self, codec => codec.name())
    }

    fn configure(&mut self, policy: &Policy) -> Result<(), Error> {
        each!(self, codec => codec.configure(policy))
    }

    fn encode<T: Serialize>(&self, value: &T, context: Context<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        each!(self, codec => codec.encode(value, context, out))
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8], context: Context<'_>) -> Result<T, Error> {
        each!(self, codec => codec.decode(bytes, context))
    }
}

/// Whether the value is carried; if not, it is refused.
fn carries<T: Value + Debug, C: Codec>(sealer: &Sealer<C>, value: &T) -> bool {
    let key = Key::new("values", "key").expect("it is a key");
    let dates = Dates { created: 0, fresh_for: 1, ttl: 1, grace: 0, own_grace: false, clock: 0 };
    match sealer.seal(&key, value, dates, Duration::ZERO, &Marks::default()) {
        Ok(frame) => {
            let opened =
                sealer.head(key.as_str(), &frame).and_then(|head| sealer.open::<T>(key.as_str(), &frame, &head));
            let opened = opened.map(|value| format!("{value:?}"));
            assert_eq!(opened, Ok(format!("{value:?}")), "{sealer:?}");
            true
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Encode, "{error}");
            assert!(error.to_string().contains(std::any::type_name::<T>()), "the type is named: {error}");
            false
        }
    }
}

#[derive(Debug, PartialEq)]
enum Carried {
    All,
    Some,
    None,
}
use Carried::{All, None as Never, Some as Partly};

/// How many of the values a codec carries. All stacks agree on each of them.
fn share<T: Value + Debug, C: Codec>(base: C, values: &[T]) -> Carried {
    let stacks = Stack::all(base);
    let mut count = 0;
    for value in values {
        let carried = carries(&stacks[0], value);
        assert!(stacks.iter().all(|stack| carries(stack, value) == carried), "{value:?}");
        count += usize::from(carried);
    }
    match count {
        0 => Never,
        all if all == values.len() => All,
        _ => Partly,
    }
}

/// How many values of each type are tried.
const VALUES: usize = 24;

/// Random values of a type through each codec in each stack.
macro_rules! types {
    ($($test:ident: $type:ty => $postcard:expr, $messagepack:expr, $json:expr;)*) => {$(
        #[test]
        fn $test() {
            let seed = std::env::var("CACHEKIT_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
            let mut rng = Rng::with_seed(seed.unwrap_or(42));
            let values: Vec<$type> = (0..VALUES).map(|_| Random::random(&mut rng)).collect();
            let found = (
                share(Postcard, &values),
                share(MessagePack, &values),
                share(Json, &values),
            );
            assert_eq!(found, ($postcard, $messagepack, $json), "postcard, MessagePack, JSON");
        }
    )*};
}

// Which codec carries all values of a type, some of them, or none.
types! {
    plain_structs: Plain => All, All, All;
    numbers_and_text: (u8, i64, u128, String, char, bool) => All, All, All;
    floats: Floats => All, All, Partly;
    types_of_the_standard_library: Standard => All, All, All;
    renamed_fields: Renamed => All, All, All;
    fields_renamed_for_one_direction: RenamedOneWay => Never, Never, Never;
    fields_renamed_for_one_direction_with_a_default: RenamedOneWayWithDefault => Never, Never, Never;
    fields_with_aliases: Aliased => All, All, All;
    fields_with_defaults: Defaulted => All, All, All;
    fields_that_are_not_written: SkippedOnWriting => Never, Never, Never;
    fields_that_are_not_read: SkippedOnReading => Never, Never, Never;
    fields_of_which_one_is_written_and_one_read: SkippedCrosswise => Never, Never, Never;
    fields_that_are_sometimes_left_out: SkippedIf => Partly, All, All;
    options_that_are_sometimes_left_out: SkippedOptions => Partly, All, All;
    flattened_maps: Flat => Never, Partly, Partly;
    flattened_structs: FlatStruct => Never, Partly, Partly;
    flattened_maps_with_numbers_as_keys: FlatNumbers => Never, All, Partly;
    transparent_structs: Transparent => All, All, All;
    structs_that_deny_unknown_fields: Strict => All, All, All;
    structs_with_bounds: Bounded => All, All, All;
    fields_with_a_module: WithModule => All, All, All;
    numbers_that_are_written_narrower_than_read: WrittenNarrow => All, All, All;
    numbers_that_are_written_unsigned_and_read_signed: WrittenUnsigned => Never, Partly, Partly;
    numbers_that_are_written_whole_and_read_as_floats: WrittenAsFloat => Never, Partly, Partly;
    options_of_options_that_are_told_apart_by_absence: Doubled => Never, All, All;
    options_that_are_written_bare: Bare => Partly, All, All;
    options_of_nothing: Nested => All, Partly, Partly;
    things_without_contents: Nothing => All, All, All;
    units: () => All, All, All;
    options_of_options: Option<Option<u8>> => All, Partly, Partly;
    options_of_units: Option<()> => All, Partly, Partly;
    options_of_unit_structs: Option<Unit> => All, All, Partly;
    maps_with_tuples_as_keys: Keys => All, All, Partly;
    maps_with_keys_that_are_text_somehow: TextKeys => All, All, All;
    maps_with_options_as_keys: MaybeKeys => All, All, Partly;
    recursive_types: Tree => All, All, All;
    values_of_any_kind: Values => Never, Partly, Partly;
    lists_of_values_of_any_kind: Vec<serde_json::Value> => Never, All, All;
    options_of_values_of_any_kind: Option<serde_json::Value> => Never, Partly, Partly;
    remote_types: Remotes => All, All, All;
    tuples_that_are_read_as_sequences: Liars => Never, All, All;
    sequences_that_are_read_as_tuples: Liars2 => Never, All, All;
    sequences_of_another_length_than_they_say: Liars3 => Partly, Partly, Partly;
    structs_of_another_length_than_they_say: Miscounting => All, Never, All;
    maps_that_are_read_as_structs: MapForStruct => Never, All, All;
    bytes_dates_and_addresses: Custom => All, All, All;
    fields_that_are_left_out_without_a_word: Omitting => Partly, Partly, Partly;
    enums: Shape => All, All, All;
    enums_of_one_variant: Single => All, All, All;
    enums_with_a_skipped_variant: Plan => Partly, All, All;
    enums_with_a_variant_that_is_not_read: Unread => Partly, Partly, Partly;
    enums_with_a_variant_that_is_not_written: Unwritten => All, All, All;
    enums_whose_last_variant_is_skipped: LastSkipped => All, All, All;
    variants_with_aliases: AliasedVariants => All, All, All;
    variants_renamed_for_one_direction: RenamedVariants => Partly, Partly, Partly;
    renamed_variants_and_their_fields: RenamedAll => All, All, All;
    internally_tagged_enums: Kinds => Never, All, All;
    internally_tagged_enums_of_awkward_things: Awkward => Never, Partly, Partly;
    adjacently_tagged_enums: Adjacent => Never, All, All;
    untagged_enums: Untagged => Never, All, All;
    tagged_enums_with_a_rest: WithOther => Never, All, All;
    enums_with_a_rest: PlainOther => All, All, All;
    types_that_are_converted: Converted => All, All, All;
    variants_whose_fields_are_left_out: VariantFields => Partly, Partly, Partly;
}
