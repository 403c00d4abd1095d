//! Three domains of one cache over one Redis, and tags that reach across them.
//!
//! ```text
//! CACHEKIT_REDIS_URL=redis://localhost:6379 cargo run --example typed_domains
//! ```
//! Users, orders and prices have keys of their own, types of their own and, where they need them, settings of their own.
//! They share everything else: the memory budget, the connections, the circuit breaker, the bus. Run it twice: the second
//! process finds in Redis what the first has stored.

use std::error::Error;
use std::io;
use std::time::Duration;

use cachekit::backends::AnyBackend;
use cachekit::codec::Standard;
use cachekit::{Cache, CacheBuilder, ComputeError, DomainSettings, TypedCache};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Serialize, Deserialize)]
struct User {
    name: String,
    city: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    item: String,
}

/// What a program hands around: one field a domain.
#[derive(Clone)]
struct Shop {
    cache: Cache<AnyBackend, Standard>,
    users: TypedCache<u64, User>,
    orders: TypedCache<u64, Vec<Order>>,
    prices: TypedCache<String, u32>,
}

impl Shop {
    fn open() -> Result<Self, cachekit::Error> {
        let cache = CacheBuilder::from_env().namespace("shop").ttl(Duration::from_secs(3_600)).build()?;
        for warning in cache.warnings() {
            eprintln!("warning: {warning}");
        }
        let brief = DomainSettings::new().ttl(Duration::from_secs(60));
        Ok(Self {
            users: cache.typed("users")?,
            orders: cache.typed("orders")?,
            prices: cache.typed_with("prices", brief)?,
            cache,
        })
    }

    async fn user(&self, id: u64) -> Result<User, ComputeError<io::Error>> {
        let entry = self.users.entry(&id).tags([tag(id).as_str()]);
        entry.get_or_compute(move || async move { database::user(id).await }).await
    }

    async fn orders(&self, user: u64) -> Result<Vec<Order>, ComputeError<io::Error>> {
        let entry = self.orders.entry(&user).tags([tag(user).as_str()]);
        entry.get_or_compute(move || async move { database::orders(user).await }).await
    }

    async fn price(&self, item: &str) -> Result<u32, ComputeError<io::Error>> {
        let name = item.to_owned();
        self.prices.get_or_compute(item, move || async move { database::price(&name).await }).await
    }

    /// Forgets all that concerns a user, in every domain and in every process.
    async fn forget_user(&self, id: u64) -> Result<(), cachekit::Error> {
        self.cache.invalidate_tag(&tag(id)).await
    }

    async fn page(&self, user: u64) -> Result<String, ComputeError<io::Error>> {
        let User { name, city } = self.user(user).await?;
        let mut sum = 0;
        for order in self.orders(user).await? {
            sum += self.price(&order.item).await?;
        }
        Ok(format!("{name} of {city} has ordered for {sum}"))
    }
}

fn tag(user: u64) -> String {
    format!("user:{user}")
}

/// The slow part. It says what it is asked.
mod database {
    use super::{Order, User, io};

    pub(super) async fn user(id: u64) -> io::Result<User> {
        println!("  query: user {id}");
        Ok(User { name: "Ada".to_owned(), city: "London".to_owned() })
    }

    pub(super) async fn orders(user: u64) -> io::Result<Vec<Order>> {
        println!("  query: orders of user {user}");
        Ok(vec![Order { item: "lamp".to_owned() }, Order { item: "desk".to_owned() }])
    }

    pub(super) async fn price(item: &str) -> io::Result<u32> {
        println!("  query: price of the {item}");
        Ok(if item == "lamp" { 40 } else { 160 })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let shop = Shop::open()?;
    println!("first visit");
    println!("{}", shop.page(42).await?);
    println!("second visit");
    println!("{}", shop.page(42).await?);

    println!("the user moves: the tag forgets the user and the orders, not the prices");
    shop.forget_user(42).await?;
    println!("{}", shop.page(42).await?);

    println!("new prices: the domain is forgotten as a whole, and nothing else");
    shop.prices.invalidate_all().await?;
    println!("{}", shop.page(42).await?);

    for (name, stats) in [("users", shop.users.cache().stats()), ("prices", shop.prices.cache().stats())] {
        println!("{name}: {} computed, {} from memory", stats.computed, stats.l1_hits);
    }
    shop.cache.close(Duration::from_secs(10)).await?;
    Ok(())
}
