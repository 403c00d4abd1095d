//! Values that only encrypting caches take.
//!
//! What a cache takes depends on its codec: [`Storable<C>`](Storable). Every [`Value`] is storable with every codec. A
//! type that is no `Value`, because serde cannot write it, may be storable with `Encrypted<_>` alone; then the compiler
//! refuses it to every other cache, and serde to every log.

#[cfg(feature = "encryption")]
use std::fmt;

use crate::codec::Codec;
#[cfg(feature = "encryption")]
use crate::codec::Encrypted;
use crate::seal::Value;

/// What a cache whose codec is `C` takes and gives: every [`Value`], and with `Encrypted<_>` what is `Sensitive<_>`.
///
/// To mark a type of your own, leave serde's traits to another type, its form, and implement this for `Encrypted<_>` by
/// hand. Methods that share values (`get_arc`, `get_or_compute_arc`, `get_or_decide`) take values alone.
///
/// # Examples
/// ```
/// use cachekit::codec::{Encrypted, Keyring};
/// use cachekit::{CacheBuilder, Codec, Intent, Storable};
///
/// struct Card {
///     number: String,
/// }
///
/// impl<C: Codec> Storable<Encrypted<C>> for Card {
///     type Form = String;
///     fn into_form(self) -> String {
///         self.number
///     }
///     fn from_form(number: String) -> Self {
///         Self { number }
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # let key = "ab".repeat(32);
/// let cards = CacheBuilder::new().intent(Intent::Secure).keyring(Keyring::from_hex(&key)?).build()?;
/// cards.set(42, Card { number: "4111".into() }).await?;
/// assert_eq!(cards.get::<Card>(42).await?.unwrap().number, "4111");
/// # Ok::<(), cachekit::Error>(()) }).unwrap();
/// ```
/// No other cache takes it:
/// ```compile_fail,E0277
/// # struct Card;
/// # impl<C: cachekit::Codec> cachekit::Storable<cachekit::codec::Encrypted<C>> for Card {
/// #     type Form = ();
/// #     fn into_form(self) {}
/// #     fn from_form(_: ()) -> Self { Self }
/// # }
/// # async {
/// let plain = cachekit::CacheBuilder::new().build()?;
/// plain.set(42, Card).await?;
/// # Ok::<(), cachekit::Error>(()) };
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be cached with the codec `{C}`",
    label = "not storable with this codec",
    note = "values own what they hold, are `Send + Sync`, and derive `serde::Serialize` and `serde::Deserialize`",
    note = "`Sensitive<_>` values need a cache that encrypts: `Cache<_, Encrypted<_>>`, by `Intent::Secure`"
)]
pub trait Storable<C>: Sized + Send + Sync + 'static {
    /// What is serialized.
    type Form: Value;

    /// Turns what is to be cached into its form.
    fn into_form(self) -> Self::Form;

    /// Turns the form of a cached value back.
    fn from_form(form: Self::Form) -> Self;
}

impl<T: Value, C: Codec> Storable<C> for T {
    type Form = T;

    fn into_form(self) -> T {
        self
    }

    fn from_form(form: T) -> T {
        form
    }
}

/// A value that only encrypting caches take, and nothing prints.
///
/// It has no `Serialize`, so serde writes it nowhere, and `Debug` shows nothing of it. A cache takes it where the
/// codec is `Encrypted<_>`: every other one is refused by the compiler. Entries are those of `T`.
///
/// # Examples
/// ```
/// use cachekit::codec::Keyring;
/// use cachekit::{CacheBuilder, Intent, Sensitive};
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// # let key = "ab".repeat(32);
/// let cards = CacheBuilder::new().intent(Intent::Secure).keyring(Keyring::from_hex(&key)?).build()?;
/// let load = || async { Ok::<_, std::io::Error>(Sensitive::new("4111".to_owned())) };
/// let card: Sensitive<String> = cards.get_or_compute(42, load).await?;
/// assert_eq!(card.expose(), "4111");
/// assert_eq!(format!("{card:?}"), "Sensitive(..)");
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
/// No other cache takes it:
/// ```compile_fail,E0277
/// # async {
/// let plain = cachekit::CacheBuilder::new().build()?;
/// plain.set(42, cachekit::Sensitive::new("4111".to_owned())).await?;
/// # Ok::<(), cachekit::Error>(()) };
/// ```
#[cfg(feature = "encryption")]
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Sensitive<T>(T);

#[cfg(feature = "encryption")]
impl<T> Sensitive<T> {
    /// Marks `value`.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for the places that need it.
    pub fn expose(&self) -> &T {
        &self.0
    }

    /// The value itself, unmarked.
    pub fn into_inner(self) -> T {
        self.0
    }
}

#[cfg(feature = "encryption")]
impl<T> fmt::Debug for Sensitive<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sensitive(..)")
    }
}

#[cfg(feature = "encryption")]
impl<T: Value, C: Codec> Storable<Encrypted<C>> for Sensitive<T> {
    type Form = T;

    fn into_form(self) -> T {
        self.0
    }

    fn from_form(form: T) -> Self {
        Self(form)
    }
}
