//! The processes, their servers, and what befalls them.

use std::fs;
use std::sync::mpsc::{Receiver, Sender};
use std::thread::sleep;
use std::time::Duration;

use super::super::child::Child;
use super::PROCESSES;
use super::actor::{LOG, MODULE, NUMBER, TRUTH, URL};
use crate::servers::{Mood, Proxy, Server};

pub(super) struct Group {
    server: Server,
    truth: Server,
    /// Each process has its own way to the server.
    ways: Vec<Proxy>,
    children: Vec<Option<Child>>,
    started: usize,
    logs: tempfile::TempDir,
    sender: Sender<String>,
}

impl Group {
    pub(super) fn start(sender: Sender<String>) -> Self {
        let server = Server::start();
        let ways = (0..PROCESSES).map(|_| Proxy::of(server.port())).collect();
        let (truth, logs) = (Server::start(), tempfile::tempdir().unwrap());
        let children = (0..PROCESSES).map(|_| None).collect();
        let mut group = Self { server, truth, ways, children, started: 0, logs, sender };
        (0..PROCESSES).for_each(|number| group.start_one(number));
        group
    }

    fn start_one(&mut self, number: usize) {
        self.started += 1;
        let log = self.logs.path().join(self.started.to_string());
        let variables = [
            (URL, self.ways[number].url()),
            (TRUTH, self.truth.url()),
            (LOG, log.to_str().unwrap().to_owned()),
            (NUMBER, number.to_string()),
        ];
        self.children[number] = Some(Child::start(MODULE, &variables, self.sender.clone()));
    }

    pub(super) fn make_trouble(&mut self) {
        for round in 0..PROCESSES {
            sleep(Duration::from_millis(900));
            self.kill_readers();
            sleep(Duration::from_millis(300));
            self.cut_off(round);
            self.kill((round + 1) % PROCESSES);
            sleep(Duration::from_millis(300));
            self.server.pause();
            sleep(Duration::from_millis(1_300));
            self.server.resume();
        }
    }

    /// Ends every connection that waits for messages.
    fn kill_readers(&self) {
        for client in self.server.cli(&["CLIENT", "LIST"]).lines().filter(|client| client.contains("cmd=xread")) {
            let id = client.split(' ').find_map(|field| field.strip_prefix("id=")).unwrap();
            self.server.cli(&["CLIENT", "KILL", "ID", id]);
        }
    }

    /// Keeps one process from the server for longer than the bound, while the others go on.
    fn cut_off(&self, number: usize) {
        self.ways[number].set(Mood::Closed);
        self.ways[number].cut();
        sleep(Duration::from_millis(2_500));
        self.ways[number].set(Mood::Open);
    }

    fn kill(&mut self, number: usize) {
        self.children[number].take().unwrap().kill();
        self.start_one(number);
    }

    /// Lets all processes end what they are at, and returns what they wrote down.
    pub(super) fn end(mut self, answers: &Receiver<String>) -> Vec<String> {
        for child in self.children.iter_mut().flatten() {
            child.end();
        }
        for _ in 0..PROCESSES {
            while answers.recv_timeout(Duration::from_secs(60)).expect("each process ends") != "done" {}
        }
        let read = |number: usize| fs::read_to_string(self.logs.path().join(number.to_string()));
        // One that was killed early has not begun.
        (1..=self.started).filter_map(|number| read(number).ok()).collect()
    }
}
