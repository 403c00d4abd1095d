//! Several processes over one server: this test binary, started again.
//!
//! Parent and child talk in lines: requests on stdin, answers on stderr, which the test harness leaves alone.

use std::env;
use std::io::{BufRead, BufReader, Write, stderr, stdin};
use std::process::{Child as Process, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use cachekit::{CacheBuilder, Intent};
use tokio::sync::watch;

use super::support::{at_once, patient};
use crate::servers::{PATIENCE, Server, wait_until};

const URL: &str = "CACHEKIT_TEST_REDIS_URL";
const TEST: &str = "redis::processes::plays_its_role";
const CALLERS: usize = 500;

/// Killed when dropped.
struct Child(Process);

impl Child {
    fn start(url: &str, answers: Sender<String>) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args([TEST, "--exact"]).env(URL, url);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stderr.take().unwrap()).lines();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| answers.send(line)));
        Self(process)
    }

    fn tell(&self, request: &str) {
        writeln!(self.0.stdin.as_ref().unwrap(), "{request}").unwrap();
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn expect(answers: &Receiver<String>, expected: &str) {
    assert_eq!(answers.recv_timeout(PATIENCE).as_deref(), Ok(expected));
}

#[test]
fn two_processes_that_miss_one_key_compute_it_once() {
    let server = Server::start();
    let (sender, answers) = channel();
    let children: Vec<_> = (0..2).map(|_| Child::start(&server.url(), sender.clone())).collect();
    children.iter().for_each(|_| expect(&answers, "ready"));
    children.iter().for_each(|child| child.tell("go"));
    expect(&answers, "computing");
    // Both have asked for the lease, and one has got it.
    wait_until("both ask for the lease", || server.calls("set") >= 2);
    children.iter().for_each(|child| child.tell("finish"));
    children.iter().for_each(|_| expect(&answers, "500 answers, 1 value"));
    drop(children);
    drop(sender);
    assert_eq!(answers.iter().count(), 0, "nobody else computed");
}

/// Does nothing unless started by the test above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plays_its_role() {
    let Ok(url) = env::var(URL) else { return };
    let cache =
        CacheBuilder::new().intent(Intent::Production).namespace("users").backend(patient(&url)).build().unwrap();
    cache.ping().await.unwrap();
    let heard = listen();
    say("ready");
    wait_for(&heard, 1).await;
    let ask = |_| {
        let (cache, heard) = (cache.clone(), heard.clone());
        async move {
            let compute = || async move {
                say("computing");
                wait_for(&heard, 2).await;
                Ok::<_, std::io::Error>(format!("computed by {}", std::process::id()))
            };
            cache.get_or_compute("missing", compute).await.unwrap()
        }
    };
    let mut values = at_once(CALLERS, ask).await;
    let count = values.len();
    values.dedup();
    // The answers do not wait for the write, which the others wait for.
    cache.close(PATIENCE).await.unwrap();
    say(&format!("{count} answers, {} value", values.len()));
}

/// Counts the lines of stdin.
fn listen() -> watch::Receiver<usize> {
    let (lines, heard) = watch::channel(0);
    thread::spawn(move || stdin().lines().for_each(|_| lines.send_modify(|count| *count += 1)));
    heard
}

async fn wait_for(heard: &watch::Receiver<usize>, count: usize) {
    heard.clone().wait_for(|lines| *lines >= count).await.unwrap();
}

fn say(answer: &str) {
    stderr().write_all(format!("{answer}\n").as_bytes()).unwrap();
}
