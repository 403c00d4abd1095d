//! Rights: whether the user of the connection may do what the backend does.
//!
//! Each command is tried on a key that no cache uses. `ACL DRYRUN` would say the same, but few users of a cache may
//! ask for that.

use redis::{Cmd, cmd};

use super::Shared;
use super::request::SizeClass;
use crate::error::ErrorKind;
use crate::finding::{Finding, Severity};
use crate::key::Key;

/// A command, what is lost without it, and whether the cache goes on.
struct Need {
    command: Cmd,
    grant: &'static str,
    severity: Severity,
    follows: &'static str,
}

impl Shared {
    /// What the user may not do.
    pub(super) async fn missing_rights(&self, probe: &Key) -> Vec<Finding> {
        let mut found: Vec<Finding> = Vec::new();
        for need in needs(probe) {
            let tried = self.one(probe, SizeClass::Small, |_| need.command.clone()).await;
            let Err(error) = tried else { continue };
            let text = error.to_string();
            // A scripting command that is denied counts as one that leases can do without.
            if !matches!(error.kind(), ErrorKind::Denied | ErrorKind::Unsupported) {
                continue;
            }
            let names_command = text.contains("the command ") || text.contains("user run ");
            let odd = match names_command {
                true => refused(&need),
                false => Finding::error(
                    "the ACL does not let this user at keys that begin as those of this cache do",
                    "grant the keys in the ACL: ~<namespace>:* for each namespace, or ~*",
                )
                .follows("nothing is read or stored"),
            };
            if !found.contains(&odd) {
                found.push(odd);
            }
        }
        found
    }
}

fn refused(need: &Need) -> Finding {
    let name = need.grant.trim_start_matches('+').replace('|', " ").to_uppercase();
    let found = format!("the ACL does not let this user run {name}");
    let fix = format!("grant it: ACL SETUSER <user> {}", need.grant);
    let odd = if need.severity == Severity::Error { Finding::error(found, fix) } else { Finding::warning(found, fix) };
    odd.follows(need.follows)
}

/// All that the backend sends, in an order in which the last leave nothing behind.
fn needs(probe: &Key) -> Vec<Need> {
    let key = probe.as_str();
    let (lock, stream) = (format!("{key}:lock"), format!("{key}:bus"));
    let need = |command: &Cmd, grant, severity, follows| Need { command: command.clone(), grant, severity, follows };
    let reads = "nothing is read from Redis";
    let writes = "nothing is stored in Redis";
    let leases = "there are no leases, and several processes may compute a value at the same time";
    let bus = "processes do not hear from one another what to forget";
    let (error, warning) = (Severity::Error, Severity::Warning);
    vec![
        need(cmd("GET").arg(key), "+get", error, reads),
        need(cmd("MGET").arg(key), "+mget", error, reads),
        need(cmd("PTTL").arg(key), "+pttl", warning, "the age of entries from clocks that differ is not known"),
        need(cmd("STRLEN").arg(key), "+strlen", warning, "long values are not told from slow answers"),
        need(cmd("SET").arg(key).arg("").arg("PX").arg(1_000), "+set", error, writes),
        need(cmd("EVAL").arg("return 1").arg(1).arg(key), "+eval", error, leases),
        need(cmd("EVALSHA").arg("0".repeat(40)).arg(1).arg(key), "+evalsha", error, leases),
        need(cmd("XADD").arg(&stream).arg("*").arg("hello").arg(""), "+xadd", error, bus),
        need(cmd("XREAD").arg("STREAMS").arg(&stream).arg("0"), "+xread", error, bus),
        need(cmd("XRANGE").arg(&stream).arg("-").arg("+").arg("COUNT").arg(1), "+xrange", error, bus),
        need(
            cmd("XINFO").arg("STREAM").arg(&stream),
            "+xinfo|stream",
            warning,
            "each reconnect of the bus counts as a gap",
        ),
        need(cmd("PEXPIRE").arg(&stream).arg(1_000), "+pexpire", error, bus),
        need(cmd("ECHO").arg("cachekit"), "+echo", warning, "answers are not proven to belong to their questions"),
        need(cmd("DEL").arg(key).arg(&lock).arg(&stream), "+del", error, "nothing is forgotten in Redis"),
    ]
}
