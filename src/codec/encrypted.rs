//! Encryption: the type of an encrypting codec.

use std::convert::Infallible;
use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Codec, Context};
use crate::config::Policy;
use crate::error::Error;

/// A codec that encrypts what `C` writes; the codec of [`intent::Secure`](crate::intent::Secure).
///
/// A function that takes a `Cache<B, Encrypted<C>>` refuses every other cache. This version has no keys to encrypt
/// with, so the type has no values, and `build` says so.
///
/// # Examples
/// ```
/// use cachekit::codec::Encrypted;
/// use cachekit::{Backend, Cache, CacheBuilder, Codec, ErrorKind, Intent};
/// fn charge<B: Backend, C: Codec>(cards: &Cache<B, Encrypted<C>>) {
///     // Whatever cards holds, the backend and L1 see only ciphertext.
/// }
/// match CacheBuilder::new().intent(Intent::Secure).namespace("cards").build() {
///     Ok(cards) => charge(&cards),
///     Err(error) => assert_eq!(error.kind(), ErrorKind::Unsupported),
/// }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Encrypted<C> {
    never: Infallible,
    inner: PhantomData<C>,
}

#[deny(clippy::missing_trait_methods)]
impl<C: Codec> Codec for Encrypted<C> {
    const CONFIDENTIAL: bool = true;

    fn name(&self) -> String {
        match self.never {}
    }

    fn configure(&mut self, _: &Policy) -> Result<(), Error> {
        match self.never {}
    }

    fn encode<T: Serialize>(&self, _: &T, _: Context<'_>, _: &mut Vec<u8>) -> Result<(), Error> {
        match self.never {}
    }

    fn decode<T: DeserializeOwned>(&self, _: &[u8], _: Context<'_>) -> Result<T, Error> {
        match self.never {}
    }
}
