//! Spans of a cache in a trace, exported by OTLP.
//!
//! ```text
//! OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 cargo run -p cachekit-otlp-example
//! ```
//! Any OpenTelemetry collector takes them, Jaeger among these. Two requests ask for one user at once: the trace of the
//! first has the flight, the computation and each operation of the backend, that of the second a link to the flight. A
//! third finds the user in memory, for which there is no span.

use std::error::Error;
use std::time::Duration;

use cachekit::backends::Memory;
use cachekit::{Cache, Codec, Intent};
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Instrument, info_span};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, filter};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let traces = exported_traces().await?;
    let backend = Memory::new(64 << 20);
    let users = cachekit::CacheBuilder::new().intent(Intent::Production).namespace("users").backend(backend).build()?;
    let (first, second) = tokio::join!(request(&users, 42), request(&users, 42));
    println!("{} and {}", first?, second?);
    println!("{}", request(&users, 42).await?);
    users.close(Duration::from_secs(5)).await?;
    // The exporter waits for the network on this thread.
    tokio::task::spawn_blocking(move || traces.shutdown()).await??;
    Ok(())
}

/// Hands spans on to the collector that `OTEL_EXPORTER_OTLP_ENDPOINT` names, those of the cache included.
async fn exported_traces() -> Result<SdkTracerProvider, Box<dyn Error>> {
    let exporter = || SpanExporter::builder().with_http().with_protocol(Protocol::HttpJson).build();
    // Its client may not be made on a thread of the runtime.
    let exporter = tokio::task::spawn_blocking(exporter).await??;
    let service = Resource::builder().with_service_name("users").build();
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(service).build();
    // The spans of the cache are of level DEBUG.
    let chosen =
        filter::Targets::new().with_target("cachekit", tracing::Level::DEBUG).with_default(tracing::Level::INFO);
    let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("users"));
    tracing_subscriber::registry().with(layer.with_filter(chosen)).init();
    Ok(provider)
}

/// A request, with a span of its own.
async fn request(users: &Cache<Memory, impl Codec>, id: u64) -> Result<String, Box<dyn Error>> {
    let load = || async {
        // A slow query.
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok::<_, std::io::Error>("Ada".to_owned())
    };
    Ok(users.get_or_compute(id, load).instrument(info_span!("request", id)).await?)
}
