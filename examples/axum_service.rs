//! A web service whose endpoints are cached.
//!
//! ```text
//! CACHEKIT_REDIS_URL=redis://localhost:6379 cargo run -p cachekit-axum-example [ADDRESS]
//! ```
//! | request | what it does |
//! |---|---|
//! | `GET /users/{id}` | a user; the header `X-Cache` says whether it was computed (`miss`) or not (`hit`) |
//! | `GET /users/{id}/orders` | the orders of a user |
//! | `POST /users/{id}/invalidate` | forgets what is kept about a user, in every process |
//! | `GET /metrics` | what Prometheus scrapes: the metrics of the cache |
//! | `GET /health` | how the cache is; the service works without its backend, so the status is 200 in any case |

use std::env;
use std::error::Error;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use cachekit::backends::AnyBackend;
use cachekit::codec::Standard;
use cachekit::{Cache, CacheBuilder, ComputeError, DomainSettings, Outcome, TypedCache, TypedEntry, Value};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::signal;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct User {
    id: u64,
    name: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Order {
    item: String,
}

/// What every handler gets: handles, which are cheap to clone.
#[derive(Clone)]
struct App {
    cache: Cache<AnyBackend, Standard>,
    /// That there is no such user is kept, too.
    users: TypedCache<u64, Option<User>>,
    orders: TypedCache<u64, Vec<Order>>,
    metrics: PrometheusHandle,
}

impl App {
    fn new(metrics: PrometheusHandle) -> Result<Self, cachekit::Error> {
        let cache = CacheBuilder::from_env().namespace("service").ttl(Duration::from_secs(300)).build()?;
        for warning in cache.warnings() {
            eprintln!("warning: {warning}");
        }
        let brief = DomainSettings::new().ttl(Duration::from_secs(30));
        Ok(Self { users: cache.typed("users")?, orders: cache.typed_with("orders", brief)?, cache, metrics })
    }

    fn router(self) -> Router {
        Router::new()
            .route("/users/{id}", get(user))
            .route("/users/{id}/orders", get(orders))
            .route("/users/{id}/invalidate", post(invalidate))
            .route("/metrics", get(metrics))
            .route("/health", get(health))
            .with_state(self)
    }
}

/// What the service answers instead of a value.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("there is no user {0}")]
    NoUser(u64),
    #[error("the database failed: {0}")]
    Database(#[from] ComputeError<DatabaseError>),
    #[error("not every process may have forgotten it yet: {0}")]
    Cache(#[from] cachekit::Error),
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = match &self {
            Self::NoUser(_) => StatusCode::NOT_FOUND,
            Self::Database(ComputeError::TimedOut) => StatusCode::GATEWAY_TIMEOUT,
            Self::Database(_) => StatusCode::BAD_GATEWAY,
            Self::Cache(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        (status, self.to_string()).into_response()
    }
}

/// A value, and where it came from.
struct Cached<T> {
    value: T,
    is_hit: bool,
}

impl<T: Serialize> IntoResponse for Cached<T> {
    fn into_response(self) -> Response {
        ([("x-cache", if self.is_hit { "hit" } else { "miss" })], Json(self.value)).into_response()
    }
}

/// The value of an entry, by `load` if it has to be computed.
async fn cached<T: Value + Clone>(
    entry: TypedEntry<'_, u64, T, AnyBackend, Standard>,
    load: impl Future<Output = Result<T, DatabaseError>> + Send + 'static,
) -> Result<Cached<T>, Failure> {
    let fetched = entry.fetch(move || load).await?;
    // A request that joins the computation of another one costs the database nothing.
    Ok(Cached { is_hit: fetched.outcome() != Outcome::Computed, value: fetched.into_value() })
}

async fn user(State(app): State<App>, Path(id): Path<u64>) -> Result<Cached<User>, Failure> {
    let entry = app.users.entry(&id).tags([tag(id).as_str()]);
    let Cached { value, is_hit } = cached(entry, database::user(id)).await?;
    Ok(Cached { value: value.ok_or(Failure::NoUser(id))?, is_hit })
}

async fn orders(State(app): State<App>, Path(id): Path<u64>) -> Result<Cached<Vec<Order>>, Failure> {
    let entry = app.orders.entry(&id).tags([tag(id).as_str()]);
    cached(entry, database::orders(id)).await
}

async fn invalidate(State(app): State<App>, Path(id): Path<u64>) -> Result<StatusCode, Failure> {
    app.cache.invalidate_tag(&tag(id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Renders the numbers of this moment, and not of the last few seconds.
async fn metrics(State(app): State<App>) -> String {
    app.cache.record_metrics();
    app.metrics.render()
}

async fn health(State(app): State<App>) -> String {
    let health = app.cache.health().await;
    let backend = match health.backend {
        None => "up".to_owned(),
        Some(error) => format!("down: {error}"),
    };
    format!("backend {backend}, {} changes wait for it", health.waiting_changes)
}

/// The bounds of histograms of times: from a lookup in memory to a slow query.
const SECONDS: [f64; 12] = [1e-7, 1e-6, 1e-5, 1e-4, 5e-4, 1e-3, 5e-3, 0.025, 0.1, 0.5, 2.0, 10.0];

fn tag(user: u64) -> String {
    format!("user:{user}")
}

#[derive(Debug, thiserror::Error)]
#[error("connection lost")]
struct DatabaseError;

/// The slow part.
mod database {
    use super::{DatabaseError, Order, User};

    pub(super) async fn user(id: u64) -> Result<Option<User>, DatabaseError> {
        match id {
            0 => Err(DatabaseError),
            1..=99 => Ok(Some(User { id, name: format!("user {id}") })),
            _ => Ok(None),
        }
    }

    pub(super) async fn orders(user: u64) -> Result<Vec<Order>, DatabaseError> {
        Ok((0..user % 3).map(|number| Order { item: format!("item {number}") }).collect())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = env::args().nth(1).unwrap_or_else(|| "127.0.0.1:3000".to_owned());
    // Times as histograms, which the dashboard draws, instead of summaries.
    let recorder = PrometheusBuilder::new().set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?;
    let app = App::new(recorder.install_recorder()?)?;
    let cache = app.cache.clone();
    let listener = TcpListener::bind(address).await?;
    println!("listening on http://{}", listener.local_addr()?);
    axum::serve(listener, app.router()).with_graceful_shutdown(asked_to_end()).await?;
    // The last request is answered; what it left to be written is written now.
    cache.close(Duration::from_secs(10)).await?;
    println!("closed");
    Ok(())
}

/// Returns when the process is asked to end: by `SIGTERM`, or by Ctrl-C.
async fn asked_to_end() {
    #[cfg(unix)]
    let terminated = async {
        match signal::unix::signal(signal::unix::SignalKind::terminate()) {
            Ok(mut terminate) => drop(terminate.recv().await),
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<()>();
    tokio::select! {
        _ = signal::ctrl_c() => {}
        () = terminated => {}
    }
}
