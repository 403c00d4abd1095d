//! The HTTPS backend against bare client threads.
//!
//! As many threads as the backend has, each with a request of its own under way all the time, against tasks that share
//! the backend. The service answers 200 bytes after a delay that stands for the way to it: without any, what is
//! compared is how dear it is to wake a task on another core. `cargo bench -p cachekit-benches --bench https`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use cachekit::backends::CachekitIo;
use cachekit::{Backend, CachekitIoSettings, Key};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokio::runtime::{Builder, Runtime};
use ureq::Agent;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

const THREADS: usize = 10;
const ROUNDS: usize = 7;
const ROUND: Duration = Duration::from_millis(500);
const DELAYS: [u64; 4] = [0, 100, 300, 1_000];

fn main() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_time().build().expect("a runtime starts");
    println!(
        "{:>9} {:>10} {:>10} {:>7} {:>10} {:>7}",
        "delay us", "bare op/s", "64 tasks", "ratio", "256 tasks", "ratio"
    );
    for delay in DELAYS {
        let service = Service::start(Duration::from_micros(delay));
        let (agent, io) = (service.agent(), service.backend());
        let url = format!("{}/v1/cache/users:1", service.url);
        let mut all = [const { Vec::new() }; 3];
        for round in 0..=ROUNDS {
            let speeds = [bare(&agent, &url), ours(&runtime, &io, 64), ours(&runtime, &io, 256)];
            // The first round connects.
            if round > 0 {
                all.iter_mut().zip(speeds).for_each(|(all, speed)| all.push(speed));
            }
        }
        let [few, many] = [1, 2].map(|tasks| median(all[tasks].iter().zip(&all[0]).map(|(ours, bare)| ours / bare)));
        let [bare, fewer, more] = all.map(|speeds| median(speeds.into_iter()));
        println!("{delay:>9} {bare:>10.0} {fewer:>10.0} {few:>7.2} {more:>10.0} {many:>7.2}");
    }
}

/// Requests a second of threads that do nothing else.
fn bare(agent: &Agent, url: &str) -> f64 {
    let (ended, count) = (AtomicBool::new(false), AtomicU64::new(0));
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while !ended.load(Relaxed) {
                    let mut answer = agent.get(url).header("authorization", "Bearer key").call().expect("an answer");
                    let body = answer.body_mut().with_config().limit(25_000_000).read_to_vec().expect("a body");
                    assert_eq!(body.len(), 200);
                    count.fetch_add(1, Relaxed);
                }
            });
        }
        std::thread::sleep(ROUND);
        ended.store(true, Relaxed);
    });
    count.into_inner() as f64 / start.elapsed().as_secs_f64()
}

/// Reads a second of so many tasks.
fn ours(runtime: &Runtime, io: &CachekitIo, tasks: usize) -> f64 {
    let (ended, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let start = Instant::now();
    let task = |id: usize| {
        let (io, ended, count) = (io.clone(), Arc::clone(&ended), Arc::clone(&count));
        runtime.spawn(async move {
            let key = Key::new("users", id).expect("a key");
            while !ended.load(Relaxed) {
                assert_eq!(io.get(&key).await.expect("an answer").expect("a value").len(), 200);
                count.fetch_add(1, Relaxed);
            }
        })
    };
    let all: Vec<_> = (0..tasks).map(task).collect();
    std::thread::sleep(ROUND);
    ended.store(true, Relaxed);
    runtime.block_on(async {
        for task in all {
            task.await.expect("no task panics");
        }
    });
    count.load(Relaxed) as f64 / start.elapsed().as_secs_f64()
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// An HTTPS server of this process that knows one answer.
struct Service {
    address: SocketAddr,
    url: String,
    authority: String,
    /// Where the certificate is, for those who read it from a file.
    bundle: std::path::PathBuf,
}

/// Looks nothing up: with a timeout, the client's own resolver starts a thread for each request.
#[derive(Debug)]
struct Fixed(SocketAddr);

impl Resolver for Fixed {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let mut all = self.empty();
        all.push(self.0);
        Ok(all)
    }
}

impl Service {
    fn start(delay: Duration) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".into()]).expect("a certificate");
        let (authority, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let chain = vec![CertificateDer::from_pem_slice(authority.as_bytes()).expect("a certificate")];
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.expect("versions").with_no_client_auth().with_single_cert(chain, key);
        let config = Arc::new(config.expect("a certificate with its key"));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address: SocketAddr = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let config = Arc::clone(&config);
                std::thread::spawn(move || serve(client, config, delay));
            }
        });
        let bundle = std::env::temp_dir().join(format!("cachekit-https-{}-{}.pem", std::process::id(), address.port()));
        std::fs::write(&bundle, &authority).expect("a temporary file");
        Self { address, url: format!("https://{address}"), authority, bundle }
    }

    fn agent(&self) -> Agent {
        let certificate = Certificate::from_pem(self.authority.as_bytes()).expect("a certificate");
        let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[certificate]));
        let tls = tls.unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let config = Agent::config_builder().https_only(true).proxy(None).max_redirects(0);
        let config = config.timeout_global(Some(Duration::from_secs(5))).max_idle_connections_per_host(THREADS);
        let config = config.max_idle_connections(THREADS).tls_config(tls.build()).build();
        Agent::with_parts(config, DefaultConnector::new(), Fixed(self.address))
    }

    fn backend(&self) -> CachekitIo {
        let mut settings = CachekitIoSettings::new("key").expect("an API key");
        settings.url = self.url.parse().expect("a URL");
        (settings.allow_custom_host, settings.pool_size) = (true, THREADS);
        settings.ca_bundle = Some(self.bundle.clone());
        CachekitIo::new(settings).expect("settings that can be used")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.bundle);
    }
}

/// Answers every request on a connection until it is closed.
fn serve(client: TcpStream, config: Arc<ServerConfig>, delay: Duration) {
    let Ok(connection) = ServerConnection::new(config) else { return };
    let _ = client.set_nodelay(true);
    let mut tls = StreamOwned::new(connection, client);
    let body = "v".repeat(200);
    let answer = format!("HTTP/1.1 200 OK\r\nX-CacheKit-Freshness: fresh\r\nContent-Length: 200\r\n\r\n{body}");
    let (mut request, mut buffer) = (Vec::new(), [0; 4096]);
    while let Ok(length @ 1..) = tls.read(&mut buffer) {
        request.extend_from_slice(&buffer[..length]);
        if request.ends_with(b"\r\n\r\n") {
            request.clear();
            if !delay.is_zero() {
                std::thread::sleep(delay);
            }
            if tls.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }
}
