//! stub
use super::{Codec, Context};
#[derive(Debug, Default)]
pub(crate) struct Verified;
impl Verified {
    pub(crate) fn check<T, C: Codec>(&self, _: &C, _: &[u8], _: Context<'_>) -> Result<(), crate::error::Error> {
        Ok(())
    }
}
