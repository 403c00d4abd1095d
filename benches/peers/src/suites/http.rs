//! HTTPS: whole caches without L1 over the API, beside the bare client.

use std::sync::Arc;
use std::time::Duration;

use cachekit::backends::{AnyBackend, CachekitIo};
use cachekit::{CachekitIoSettings, Intent};
use ureq::Agent;
use ureq::tls::{Certificate, RootCerts, TlsConfig};

use super::redis::workers;
use crate::Failure;
use crate::arguments::Arguments;
use crate::remote::way::{Operation, Pages, check};
use crate::remote::{Contender, Load, beside, metrics, ours};
use crate::report::Report;
use crate::rounds::Candidate;
use crate::servers::https::Https;
use crate::threads::{self, Blocking};

const ABOUT: &str = "An HTTPS server of the bench on loopback that answers at once, or after 1 ms, which stands for the way to \
    it. It shares the processors with its clients, and its work is in the processor's time. The bare client is `ureq`: a \
    thread for each task, up to 10; ours has up to 10 connections as well, L1 off, values of 200 bytes.";
const TURN: Duration = Duration::from_millis(500);
const CONNECTIONS: usize = 10;

pub(super) fn run(arguments: &Arguments) -> Result<Report, Failure> {
    let (runtime, keys, size) = (workers()?, 200, 200);
    let mut cases = Vec::new();
    for delay in [0, 1] {
        let server = Https::start(Duration::from_millis(delay))?;
        let all = runtime.block_on(contenders(&server, keys, size))?;
        let bare = Bare { agent: agent(&server)?, url: server.url(), pages: Pages::new("bare", keys, size) };
        (0..keys).try_for_each(|id| bare.set(id))?;
        for (name, operation) in [("GET", Operation::Get), ("PUT", Operation::Set)] {
            for tasks in [1, 64] {
                let load = Load { operation, tasks, keys, time: arguments.turn(TURN) };
                let threads = Load { tasks: tasks.min(CONNECTIONS), ..load };
                let bare = Candidate::new("bare ureq", || threads::drive(&bare, threads));
                cases.push(beside(&runtime, &all, bare, &format!("{name}, {delay} ms"), load, arguments.rounds)?);
            }
        }
    }
    let remarks = Vec::new();
    Ok(Report { suite: "http", about: ABOUT, metrics: metrics(), references: vec!["bare"], cases, remarks })
}

async fn contenders(server: &Https, keys: usize, size: usize) -> Result<Vec<Contender>, Failure> {
    let directory = tempfile::tempdir()?;
    let bundle = directory.path().join("authority.pem");
    std::fs::write(&bundle, &server.authority)?;
    let backend = || {
        let mut settings = CachekitIoSettings::new("key")?;
        settings.url = server.url().parse()?;
        (settings.allow_custom_host, settings.pool_size) = (true, CONNECTIONS);
        settings.ca_bundle = Some(bundle.clone());
        Ok::<_, Failure>(AnyBackend::new(CachekitIo::new(settings)?))
    };
    let production = ours::builder(backend()?, Intent::Production).build()?;
    let minimal = ours::builder(backend()?, Intent::Minimal).namespace("minimal").build()?;
    ours::both(production, minimal, keys, size).await
}

fn agent(server: &Https) -> Result<Agent, Failure> {
    let certificate = Certificate::from_pem(server.authority.as_bytes())?;
    let tls = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&[certificate]));
    let tls = tls.unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let config = Agent::config_builder().https_only(true).proxy(None).tls_config(tls.build());
    let config = config.max_idle_connections_per_host(CONNECTIONS).max_idle_connections(CONNECTIONS);
    Ok(config.build().new_agent())
}

struct Bare {
    agent: Agent,
    url: String,
    pages: Pages,
}

impl Bare {
    fn at(&self, id: usize) -> String {
        format!("{}/{}", self.url, self.pages.name(id))
    }
}

impl Blocking for Bare {
    fn get(&self, id: usize) -> Result<(), Failure> {
        check(&self.agent.get(self.at(id)).call()?.body_mut().read_to_vec()?, id)
    }

    fn set(&self, id: usize) -> Result<(), Failure> {
        let mut answer = self.agent.put(self.at(id)).send(&postcard::to_stdvec(self.pages.page(id))?[..])?;
        answer.body_mut().read_to_vec()?;
        Ok(())
    }
}
