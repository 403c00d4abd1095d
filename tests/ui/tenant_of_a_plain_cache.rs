//! Only caches that encrypt have tenants.

use cachekit::{CacheBuilder, Intent};

fn main() {
    let plain = CacheBuilder::new().intent(Intent::Production).build().unwrap();
    let _ = plain.tenant("acme");
}
