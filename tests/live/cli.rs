//! The command `cachekit`, as a user runs it.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use cachekit::backends::AnyBackend;
use cachekit::codec::{Checked, Json};
use cachekit::{Cache, CacheBuilder};

use super::servers::{Reply, Server};

mod doctor;
mod entries;
mod plain;
mod skewed;

/// Where it is, once it is built.
static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--all-features", "--package", "cachekit-typed", "--bin", "cachekit"]);
    let output = cargo.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    std::env::current_exe().unwrap().ancestors().nth(2).unwrap().join("cachekit")
});

/// What a command has printed.
#[derive(Debug)]
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    /// Its output as JSON.
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Checks that each of these words is printed.
    fn says(&self, words: &[&str]) -> &Self {
        for word in words {
            assert!(self.out.contains(word), "{word} is missing in {self:#?}");
        }
        self
    }
}

/// A command in an environment of these variables alone.
fn command(args: &[&str], vars: &[(&str, &str)]) -> Command {
    let mut command = Command::new(&*BUILT);
    command.args(args).env_clear().envs(vars.iter().copied()).stdin(Stdio::null());
    command
}

fn cachekit(args: &[&str], vars: &[(&str, &str)]) -> Ran {
    let output = command(args, vars).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let ran = Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) };
    assert!(!ran.err.contains("panicked"), "{ran:#?}");
    ran
}

/// A cache of JSON, as a program has it.
fn program(server: &Server) -> Cache<AnyBackend, Checked<Json>> {
    let builder = CacheBuilder::from_vars([("CACHEKIT_REDIS_URL", server.url())]).codec(Json);
    builder.namespace("users").build().unwrap()
}

/// What the server has under a name.
fn bytes_of(server: &Server, name: &str) -> Vec<u8> {
    match server.call(&["GET", name]) {
        Reply::Text(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}
