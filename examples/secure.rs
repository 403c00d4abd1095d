//! Encryption: tenants, and a rotation of keys without downtime.
//!
//! Run it with `cargo run --example secure`. The keys are made on the spot; a program takes them from
//! `CACHEKIT_MASTER_KEY` and `CACHEKIT_PREVIOUS_MASTER_KEYS`, which `CacheBuilder::from_env` reads.

use std::error::Error;
use std::io;
use std::time::Duration;

use cachekit::backends::Memory;
use cachekit::codec::{Encrypted, Keyring, Postcard};
use cachekit::{Backend, Cache, CacheBuilder, Codec, Intent, Key, Sensitive};

/// Takes no cache but one that encrypts: anything else does not compile.
async fn card_of<B: Backend, C: Codec>(cards: &Cache<B, Encrypted<C>>, user: u64) -> Result<String, Box<dyn Error>> {
    let load = move || async move {
        println!("  (computed)");
        Ok::<_, io::Error>(Sensitive::new(format!("card of user {user}")))
    };
    let card: Sensitive<String> = cards.get_or_compute(user, load).await?;
    Ok(card.into_inner())
}

/// A process with these keys, over a backend that all processes share.
fn process(backend: &Memory, keys: &Keyring) -> Result<Cache<Memory, Encrypted<Postcard>>, cachekit::Error> {
    let cards = CacheBuilder::new()
        .intent(Intent::Secure)
        .keyring(keys.clone())
        .backend(backend.clone())
        .namespace("cards")
        .ttl(Duration::from_secs(300))
        .build()?;
    for warning in cards.warnings() {
        eprintln!("warning: {warning}");
    }
    Ok(cards)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let backend = Memory::new(16 << 20);
    let (old, new) = (random_key(), random_key());

    println!("the old key alone: {}", Keyring::from_hex(&old)?.fingerprint());
    let before = process(&backend, &Keyring::from_hex(&old)?)?;
    println!("  {}", card_of(&before, 42).await?);
    before.close(Duration::from_secs(5)).await?;
    let entry = backend.get(&Key::new("cards", 42)?).await?.unwrap_or_default();
    println!("  the backend has {} bytes of ciphertext", entry.len());

    println!("first every process learns the new key, as one that only opens");
    let prepared = Keyring::from_hex(&old)?.previous_hex(&new)?;
    println!("  {}", card_of(&process(&backend, &prepared)?, 42).await?);

    println!("then it becomes the current one: old entries are read, and sealed anew when they are stored next");
    let rotated = process(&backend, &Keyring::from_hex(&new)?.previous_hex(&old)?)?;
    println!("  {}", card_of(&rotated, 42).await?);
    rotated.set(42, Sensitive::new("card of user 42, stored again".to_owned())).await?;
    println!("  a process of the step before: {}", card_of(&process(&backend, &prepared)?, 42).await?);

    println!("when the last old entry has expired, the old key goes");
    let after = process(&backend, &Keyring::from_hex(&new)?)?;
    println!("  {}", card_of(&after, 42).await?);

    println!("tenants have keys of their own");
    let (acme, globex) = (after.tenant("acme")?, after.tenant("globex")?);
    println!("  acme: {}", card_of(&acme, 42).await?);
    println!("  globex has {:?}", globex.get::<Sensitive<String>>(42).await?);
    Ok(())
}

/// For the example only: a real key comes from `openssl rand -hex 32`.
fn random_key() -> String {
    (0..32).map(|_| format!("{:02x}", fastrand::u8(..))).collect()
}
