//! stub
use super::{Codec, Context};
use crate::config::Policy;
use crate::error::{Error, ErrorKind};
use serde::{Serialize, de::DeserializeOwned};
/// stub
#[derive(Debug, Clone, Copy, Default)]
pub struct Json;
impl Codec for Json {
    const CONFIDENTIAL: bool = false;
    fn name(&self) -> String {
        "json".into()
    }
    fn configure(&mut self, _: &Policy) -> Result<(), Error> {
        Ok(())
    }
    fn encode<T: Serialize>(&self, value: &T, _: Context<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        out.extend(serde_json::to_vec(value).map_err(|e| Error::with_source(ErrorKind::Encode, "x", e))?);
        Ok(())
    }
    fn decode<T: DeserializeOwned>(&self, bytes: &[u8], _: Context<'_>) -> Result<T, Error> {
        serde_json::from_slice(bytes).map_err(|e| Error::with_source(ErrorKind::Decode, "x", e))
    }
}
