//! A list of 50 products by one query, also where each product is asked for by itself.
//!
//! ```text
//! cargo run --example loader_batching
//! ```

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use cachekit::backends::NoBackend;
use cachekit::codec::{Checked, Postcard};
use cachekit::{CacheBuilder, ComputeError, Intent, Loaded, Loader, LoadingCache};
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Product {
    name: String,
}

/// A product, or that there is none, which is kept, too.
type Answer = Option<Product>;

/// How products are loaded: by a database that answers one query for many of them.
#[derive(Clone, Default)]
struct Products {
    queries: Arc<AtomicU32>,
}

impl Products {
    /// `SELECT id, name FROM products WHERE id = ANY($1)`
    async fn query(&self, ids: &[u64]) -> io::Result<Vec<(u64, Answer)>> {
        self.queries.fetch_add(1, Relaxed);
        tokio::time::sleep(Duration::from_millis(20)).await;
        let rows = ids.iter().filter(|id| **id <= 1_000);
        Ok(rows.map(|id| (*id, Some(Product { name: format!("product {id}") }))).collect())
    }
}

impl Loader for Products {
    type Key = u64;
    type Value = Answer;
    type Error = io::Error;

    async fn load(&self, id: &u64) -> io::Result<Answer> {
        Ok(self.query(&[*id]).await?.into_iter().next().and_then(|(_, product)| product))
    }

    async fn load_many(&self, ids: &[u64]) -> io::Result<Loaded<u64, Answer, io::Error>> {
        // What the query does not name does not exist.
        Ok(self.query(ids).await?.into_iter().collect::<Loaded<_, _, _>>().otherwise(None))
    }
}

type Catalog = LoadingCache<Products, NoBackend, Checked<Postcard>>;

/// A list: its keys are known, so they are asked for together.
async fn list(catalog: &Catalog, ids: impl Iterator<Item = u64>) -> Result<usize, ComputeError<io::Error>> {
    let products = catalog.get_many(ids).await;
    let found: Vec<Answer> = products.into_iter().collect::<Result<_, _>>()?;
    Ok(found.iter().flatten().count())
}

/// Widgets, requests, resolvers: each asks for its own product, and knows nothing of the others.
async fn widgets(catalog: &Catalog, ids: impl Iterator<Item = u64>) -> Result<usize, Box<dyn Error>> {
    let mut widgets = JoinSet::new();
    for id in ids {
        let catalog = catalog.clone();
        widgets.spawn(async move { catalog.get(&id).await });
    }
    let mut found = 0;
    while let Some(product) = widgets.join_next().await {
        found += usize::from(product??.is_some());
    }
    Ok(found)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let shop = CacheBuilder::new().intent(Intent::Production).namespace("shop").build()?;
    let products = Products::default();
    let catalog = shop.typed("products")?.with_loader(products.clone()).batch_window(Duration::from_millis(5));
    let queries = || products.queries.swap(0, Relaxed);

    println!("a list of {}: {} queries", list(&catalog, 1..=50).await?, queries());
    println!("the list again, of {}: {} queries", list(&catalog, 1..=50).await?, queries());
    println!("a list that overlaps, of {}: {} queries", list(&catalog, 26..=75).await?, queries());
    println!("{} widgets at once: {} queries", widgets(&catalog, 101..=150).await?, queries());
    println!("a list beyond the last product, of {}: {} queries", list(&catalog, 996..=1_045).await?, queries());
    println!("that list again, of {}: {} queries", list(&catalog, 996..=1_045).await?, queries());
    shop.close(Duration::from_secs(10)).await?;
    Ok(())
}
