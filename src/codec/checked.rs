//! stub
use super::{Codec, Context};
use crate::config::Policy;
use crate::error::Error;
use serde::{Serialize, de::DeserializeOwned};
/// stub
#[derive(Debug, Clone, Copy, Default)]
pub struct Checked<C>(C);
impl<C: Codec> Checked<C> {
    /// stub
    pub fn new(inner: C) -> Self {
        Self(inner)
    }
}
impl<C: Codec> Codec for Checked<C> {
    const CONFIDENTIAL: bool = C::CONFIDENTIAL;
    fn name(&self) -> String {
        format!("checked({})", self.0.name())
    }
    fn configure(&mut self, policy: &Policy) -> Result<(), Error> {
        self.0.configure(policy)
    }
    fn encode<T: Serialize>(&self, value: &T, context: Context<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        self.0.encode(value, context, out)
    }
    fn decode<T: DeserializeOwned>(&self, bytes: &[u8], context: Context<'_>) -> Result<T, Error> {
        self.0.decode(bytes, context)
    }
}
