//! CachekitIO without its feature: a type alone.

use std::time::Duration;

use bytes::Bytes;

use super::none::without_values;
use super::{Backend, Capabilities, Cursor, Lease, LeaseToken, Page};
use crate::bus::AnyBus;
use crate::error::Error;
use crate::finding::Finding;
use crate::key::Key;
use crate::ledger::{Forgotten, Order};

/// The backend type of [`intent::Io`](crate::intent::Io).
///
/// It has no values here: the feature `cachekitio` brings them, and `build` says so.
///
/// # Examples
/// ```
/// use cachekit::{CacheBuilder, ErrorKind, Intent};
/// let refused = CacheBuilder::new().intent(Intent::Io).build();
/// assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
/// ```
#[derive(Debug, Clone, Copy)]
pub enum CachekitIo {}

without_values!(CachekitIo);
