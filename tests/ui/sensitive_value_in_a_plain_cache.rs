//! A sensitive value goes into no cache that does not encrypt.

use cachekit::{CacheBuilder, Intent, Sensitive};

fn main() {
    let plain = CacheBuilder::new().intent(Intent::Production).build().unwrap();
    let _ = plain.set("card", Sensitive::new("4111".to_owned()));
    let _ = plain.get::<Sensitive<String>>("card");
    let _ = plain.get_or_compute("card", || async { Ok::<_, std::io::Error>(Sensitive::new("4111".to_owned())) });
}
