//! CachekitIO: the type of its backend.

use std::time::Duration;

use bytes::Bytes;

use super::{Backend, Capabilities, Lease, LeaseToken};
use crate::error::Error;
use crate::key::Key;

/// The backend type of [`intent::Io`](crate::intent::Io).
///
/// This version cannot connect to the service: the type has no values, and `build` says so.
#[derive(Debug, Clone, Copy)]
pub enum CachekitIo {}

#[deny(clippy::missing_trait_methods)]
impl Backend for CachekitIo {
    fn capabilities(&self) -> Capabilities {
        match *self {}
    }
    async fn get(&self, _: &Key) -> Result<Option<Bytes>, Error> {
        match *self {}
    }
    async fn set(&self, _: &Key, _: Bytes, _: Duration) -> Result<(), Error> {
        match *self {}
    }
    async fn remove(&self, _: &Key) -> Result<(), Error> {
        match *self {}
    }
    async fn lease(&self, _: &Key, _: Duration) -> Result<Lease, Error> {
        match *self {}
    }
    async fn fill(&self, _: &Key, _: Bytes, _: Duration, _: LeaseToken) -> Result<bool, Error> {
        match *self {}
    }
    async fn release(&self, _: &Key, _: LeaseToken) -> Result<(), Error> {
        match *self {}
    }
    async fn ping(&self) -> Result<(), Error> {
        match *self {}
    }
}
