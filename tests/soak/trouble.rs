//! Trouble: what befalls the server.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::servers::{Server, wait_until};

const MEMORY: &str = "16777216";
/// A value that alone is more than the server may keep.
const TOO_MUCH: &str = "20000000";

/// The server, and what happened to it so far.
pub(crate) struct Trouble {
    server: Server,
    rng: Rng,
    pub(crate) made: BTreeMap<&'static str, u64>,
}

impl Trouble {
    pub(crate) fn new(seed: u64) -> Self {
        let limits = ["--maxmemory", MEMORY, "--maxmemory-policy", "noeviction"];
        let server = Server::setup().args(limits).start();
        Self { server, rng: Rng::with_seed(seed), made: BTreeMap::new() }
    }

    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// Makes trouble until shortly before `end`. The server is well afterwards.
    pub(crate) fn make(mut self, end: Instant) -> Self {
        loop {
            let calm = self.some(500..2_500);
            if Instant::now() + calm + Duration::from_secs(2) > end {
                return self;
            }
            sleep(calm);
            let name = match self.rng.u8(..5) {
                0 => self.stop(),
                1 => self.kill(),
                2 => self.cut(),
                3 => self.hold(),
                _ => self.fill(),
            };
            *self.made.entry(name).or_default() += 1;
        }
    }

    fn stop(&mut self) -> &'static str {
        self.server.pause();
        sleep(self.some(100..1_500));
        self.server.resume();
        "stopped"
    }

    fn kill(&mut self) -> &'static str {
        self.server.kill();
        sleep(self.some(0..1_500));
        self.server.restart();
        "killed"
    }

    fn cut(&mut self) -> &'static str {
        self.server.cli(&["CLIENT", "KILL", "TYPE", "normal"]);
        "cut off"
    }

    fn hold(&mut self) -> &'static str {
        let (time, what) = (self.some(50..1_000), if self.rng.bool() { "ALL" } else { "WRITE" });
        self.server.cli(&["CLIENT", "PAUSE", &time.as_millis().to_string(), what]);
        sleep(time);
        "held up"
    }

    fn fill(&mut self) -> &'static str {
        self.server.cli(&["SETRANGE", "filler", TOO_MUCH, "x"]);
        wait_until("the server is full", || self.server.says(&["SET", "more", "x"], "OOM"));
        sleep(self.some(100..1_500));
        self.server.cli(&["UNLINK", "filler"]);
        wait_until("the server has room", || self.server.says(&["SET", "more", "x"], "OK"));
        "filled"
    }

    fn some(&mut self, millis: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.u64(millis))
    }
}
