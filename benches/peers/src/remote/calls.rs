//! Calls that read a value or compute it, by each candidate: what a program does where a value is dear.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cachekit::backends::Redis;
use cachekit::intent::Preset;
use cachekit::{CacheBuilder, Intent};
use peer::CacheKit;
use redis::aio::ConnectionManager;
use redis::{AsyncCommands, Client};
use tokio::time::sleep;

use crate::Failure;
use crate::load::Page;

/// Asks for the value of a key by number; says whether this call computed it.
pub(crate) type Call = Arc<dyn Fn(usize) -> Pin<Box<dyn Future<Output = Result<bool, Failure>> + Send>> + Send + Sync>;

pub(crate) const CALLERS: [&str; 4] = ["cachekit Production", "cachekit Minimal", "raw redis", "cachekit-rs"];
const TTL: Duration = Duration::from_secs(600);
const SIZE: usize = 200;

/// A client of its own for a candidate. A computation takes so long; `l1` is for those who have one.
pub(crate) async fn connect(name: &str, url: &str, compute: Duration, l1: bool) -> Result<Call, Failure> {
    match name {
        "cachekit Production" => ours(url, Intent::Production, compute, l1),
        "cachekit Minimal" => ours(url, Intent::Minimal, compute, l1),
        "raw redis" => raw(url, compute).await,
        _ => official(url, compute).await,
    }
}

async fn value(id: usize, compute: Duration) -> Page {
    if !compute.is_zero() {
        sleep(compute).await;
    }
    Page::new(id as u64, SIZE)
}

fn ours<P: Preset>(url: &str, intent: P, compute: Duration, l1: bool) -> Result<Call, Failure> {
    let builder = CacheBuilder::new().namespace("calls").ttl(TTL).l1_enabled(l1);
    let cache = builder.backend(Redis::from_url(url)?).intent(intent).build()?;
    Ok(Arc::new(move |id| {
        let (cache, computed) = (cache.clone(), Arc::new(AtomicBool::new(false)));
        Box::pin(async move {
            let noted = Arc::clone(&computed);
            let compute = move || async move {
                noted.store(true, Ordering::Relaxed);
                Ok::<_, Infallible>(value(id, compute).await)
            };
            let _: Page = cache.get_or_compute(format!("key:{id}"), compute).await?;
            Ok(computed.load(Ordering::Relaxed))
        })
    }))
}

/// By hand: a connection that reconnects; whatever fails there does not fail the call.
async fn raw(url: &str, compute: Duration) -> Result<Call, Failure> {
    let connection = ConnectionManager::new(Client::open(url)?).await?;
    Ok(Arc::new(move |id| {
        let mut connection = connection.clone();
        Box::pin(async move {
            let name = format!("raw:{id}");
            if let Ok(Some(bytes)) = connection.get::<_, Option<Vec<u8>>>(&name).await {
                postcard::from_bytes::<Page>(&bytes)?;
                return Ok(false);
            }
            let bytes = postcard::to_stdvec(&value(id, compute).await)?;
            let _: Result<(), _> = connection.set_ex(&name, bytes, TTL.as_secs()).await;
            Ok(true)
        })
    }))
}

/// In the steps that its manual names, without its memory; whatever fails there does not fail the call.
async fn official(url: &str, compute: Duration) -> Result<Call, Failure> {
    let cache = CacheKit::production(url).await?.namespace("official").no_l1().default_ttl(TTL).build()?;
    let cache = Arc::new(cache);
    Ok(Arc::new(move |id| {
        let cache = Arc::clone(&cache);
        Box::pin(async move {
            let name = format!("key:{id}");
            if let Ok(Some(_)) = cache.get::<Page>(&name).await {
                return Ok(false);
            }
            let mut flight = cache.single_flight(&name).await;
            while flight.wait_for_fill().await {
                if let Ok(Some(_)) = cache.get::<Page>(&name).await {
                    flight.release().await;
                    return Ok(false);
                }
            }
            let _ = cache.set(&name, &value(id, compute).await).await;
            flight.release().await;
            Ok(true)
        })
    }))
}
