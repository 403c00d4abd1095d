//! A typed cache takes no key and no value of another type, nor a loader of other types.

use cachekit::{CacheBuilder, Loader};

struct Names;

impl Loader for Names {
    type Key = String;
    type Value = String;
    type Error = std::io::Error;

    async fn load(&self, key: &String) -> Result<String, std::io::Error> {
        Ok(key.clone())
    }
}

async fn misuse() -> Result<(), cachekit::Error> {
    let shop = CacheBuilder::new().build()?;
    let names = shop.typed::<u64, String>("names")?;
    names.get("42").await?;
    names.set(&42, 7u32).await?;
    let _: Option<u32> = names.get(&42).await?;
    names.entry(&42).set(7u32).await?;
    names.with_loader(Names);
    Ok(())
}

fn main() {
    drop(misuse());
}
