//! A server of one's own.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::Client;
use tokio::time::{Instant, sleep};

use crate::way::Failure;

/// A server on a free port of this host that stores nothing on disk. Dropping it ends it.
pub(crate) struct Server {
    process: Child,
    port: u16,
}

/// How long a server may take to accept connections.
const PATIENCE: Duration = Duration::from_secs(5);

impl Server {
    /// Starts `program` and waits until it answers.
    pub(crate) async fn start(program: &Path) -> Result<Self, Failure> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let process = Command::new(program)
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| format!("{} does not start: {error}; name another by --server", program.display()))?;
        let server = Self { process, port };
        server.answers().await?;
        Ok(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }

    pub(crate) fn client(&self) -> Result<Client, Failure> {
        Ok(Client::open(self.url())?)
    }

    async fn answers(&self) -> Result<(), Failure> {
        let (client, until) = (self.client()?, Instant::now() + PATIENCE);
        loop {
            match client.get_multiplexed_async_connection().await {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > until => return Err(error.into()),
                Err(_) => sleep(Duration::from_millis(5)).await,
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It holds nothing that is worth saving, and may be gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
