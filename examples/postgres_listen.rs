//! Prices of a Postgres, cached, and forgotten when any program commits a change of them.
//!
//! ```text
//! DATABASE_URL="host=localhost user=postgres" CACHEKIT_REDIS_URL=redis://localhost:6379 cargo run -p cachekit-postgres-example
//! ```
//! A trigger notifies with the number of each product that is changed. Postgres delivers that when the transaction commits, and
//! not at all if it is rolled back, so a price is forgotten once everybody can read the new one. One process that listens is
//! enough: the others hear of it by the bus of the cache.

use std::env;
use std::error::Error;
use std::future::poll_fn;
use std::time::Duration;

use cachekit::{CacheBuilder, ComputeError, Fetched, TypedCache};
use tokio::sync::{mpsc, oneshot};
use tokio_postgres::{AsyncMessage, Client, NoTls};

const TABLE: &str = "
    DROP TABLE IF EXISTS product;
    CREATE TABLE product (id bigint PRIMARY KEY, cents bigint NOT NULL);
    INSERT INTO product VALUES (1, 100), (2, 250);

    CREATE OR REPLACE FUNCTION tell_product() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_notify('product', COALESCE(NEW.id, OLD.id)::text);
        RETURN NULL;
    END $$;
    CREATE TRIGGER tell_product AFTER INSERT OR UPDATE OR DELETE ON product FOR EACH ROW EXECUTE FUNCTION tell_product();";

/// That there is no such product is kept, too.
type Prices = TypedCache<i64, Option<i64>>;

/// How long to wait before Postgres is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Forgets what Postgres says has changed, for as long as the program runs. Tells of the first time that it listens.
async fn follow(database: String, prices: Prices, listens: oneshot::Sender<()>) {
    let mut listens = Some(listens);
    loop {
        if let Err(error) = listen(&database, &prices, &mut listens).await {
            eprintln!("Postgres is not heard: {error}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Listens until the connection ends.
async fn listen(
    database: &str,
    prices: &Prices,
    listens: &mut Option<oneshot::Sender<()>>,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (client, mut connection) = tokio_postgres::connect(database, NoTls).await?;
    let (send, mut changed) = mpsc::channel(1_024);
    let reader = tokio::spawn(async move {
        while let Some(message) = poll_fn(|context| connection.poll_message(context)).await.transpose()? {
            if let AsyncMessage::Notification(notification) = message
                && send.send(notification.payload().parse()).await.is_err()
            {
                break;
            }
        }
        Ok::<(), tokio_postgres::Error>(())
    });
    client.batch_execute("LISTEN product").await?;
    // Postgres tells of no change that was made before this connection listened.
    prices.invalidate_all().await?;
    listens.take().map(|listens| listens.send(()));
    while let Some(id) = changed.recv().await {
        let id: i64 = id?;
        // On an error this process has forgotten the price, and the cache tells the backend again until it listens.
        if let Err(error) = prices.invalidate(&id).await {
            eprintln!("not every process may have forgotten the price of {id} yet: {error}");
        }
    }
    Ok(reader.await??)
}

/// The slow part.
async fn load(database: String, id: i64) -> Result<Option<i64>, tokio_postgres::Error> {
    // A service takes a connection of its pool.
    let client = connect(&database).await?;
    let row = client.query_opt("SELECT cents FROM product WHERE id = $1", &[&id]).await?;
    Ok(row.map(|row| row.get(0)))
}

async fn connect(database: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(database, NoTls).await?;
    // It ends with the client.
    tokio::spawn(connection);
    Ok(client)
}

async fn price(
    prices: &Prices,
    database: &str,
    id: i64,
) -> Result<Fetched<Option<i64>>, ComputeError<tokio_postgres::Error>> {
    let database = database.to_owned();
    prices.fetch(&id, move || load(database, id)).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let database = env::var("DATABASE_URL").unwrap_or_else(|_| "host=localhost user=postgres".to_owned());
    let mut other_program = connect(&database).await?;
    other_program.batch_execute(TABLE).await?;

    let cache = CacheBuilder::from_env().namespace("shop").ttl(Duration::from_secs(3_600)).build()?;
    let prices: Prices = cache.typed("prices")?;
    let (send, listens) = oneshot::channel();
    let follower = tokio::spawn(follow(database.clone(), prices.clone(), send));
    listens.await?;

    let show = async |what: &str| {
        let price = price(&prices, &database, 1).await?;
        println!("{what}: {:?} {:?}", price.outcome(), price.value());
        Ok::<(), ComputeError<tokio_postgres::Error>>(())
    };
    show("first").await?;
    show("again").await?;

    let transaction = other_program.transaction().await?;
    transaction.execute("UPDATE product SET cents = 120 WHERE id = 1", &[]).await?;
    show("while another program changes it").await?;
    transaction.rollback().await?;
    show("rolled back").await?;

    other_program.execute("UPDATE product SET cents = 130 WHERE id = 1", &[]).await?;
    let forgotten = async {
        while prices.get(&1).await?.is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok::<(), cachekit::Error>(())
    };
    tokio::time::timeout(Duration::from_secs(30), forgotten).await??;
    show("committed").await?;

    follower.abort();
    cache.close(Duration::from_secs(10)).await?;
    Ok(())
}
