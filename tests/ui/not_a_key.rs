//! Floats, nested tuples and tuples of more than six parts name nothing.

use cachekit::{Error, Key, KeyWriter};

struct Price(f64);

impl cachekit::IntoKey for Price {
    fn write_key(&self, key: &mut KeyWriter<'_>) {
        key.part(&self.0);
    }
}

fn main() -> Result<(), Error> {
    Key::new("prices", 1.5)?;
    Key::new("prices", ("eu", ("de", 42)))?;
    Key::new("prices", ("eu", 1.5))?;
    Key::new("prices", (1, 2, 3, 4, 5, 6, 7))?;
    Ok(())
}
