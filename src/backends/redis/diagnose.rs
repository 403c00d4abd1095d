//! What a server says of itself, and what follows for a cache.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use redis::Value;

use super::Shared;
use super::entries::text;
use super::request::{Single, SizeClass};
use crate::finding::Finding;
use crate::key::Key;

/// Clocks that differ by more are told of.
const SKEWED: Duration = Duration::from_secs(1);
/// Clocks that differ by more date entries so that other processes end them early, or late.
const WRONG: Duration = Duration::from_secs(10);
/// The oldest server that has all commands.
const OLDEST: (u32, u32) = (6, 2);

impl Shared {
    pub(super) async fn diagnose(&self, probe: &Key) -> Vec<Finding> {
        if let Err(error) = self.router.ping().await {
            let follows = "nothing is read from Redis or stored there, and L1 goes on alone";
            return vec![Finding::of_error(&error).follows(follows)];
        }
        let info = self.info(probe).await;
        let mut found = vec![identity(self.router.place(), &info)];
        found.extend(version(&info));
        found.extend(memory(&info));
        found.extend(replication(&info));
        if self.router.is_single_node() && word(&info, "redis_mode") == "cluster" {
            let fix = "write redis-cluster:// in the URL, or rediss-cluster:// for TLS";
            let odd = Finding::error("this server is a node of a cluster, and the URL names one server", fix);
            found.push(odd.follows("keys of other nodes are refused"));
        }
        found.extend(persistence(&info));
        found.extend(self.skew(probe).await);
        found.extend(self.missing_rights(probe).await);
        found
    }

    /// What `INFO` says, by name; nothing where the server does not let this user ask.
    async fn info(&self, probe: &Key) -> HashMap<String, String> {
        let asked = self.one(probe, SizeClass::Small, |_| look(redis::cmd("INFO"))).await;
        let text = asked.ok().and_then(text).unwrap_or_default();
        let fields = text.lines().filter_map(|line| line.split_once(':'));
        fields.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
    }

    /// By how much the clock of the server is ahead of this process's, or behind.
    async fn skew(&self, probe: &Key) -> Option<Finding> {
        let before = wall();
        let answer = self.one(probe, SizeClass::Small, |_| look(redis::cmd("TIME"))).await.ok()?;
        let after = wall();
        let Value::Array(parts) = answer else { return None };
        let mut numbers = parts.into_iter().map(|part| text(part)?.parse::<u64>().ok());
        let there = Duration::from_secs(numbers.next()??) + Duration::from_micros(numbers.next()??);
        skew(there, before, after)
    }
}

/// A command whose refusal is as good as no answer.
fn look(command: redis::Cmd) -> Single {
    Single::look(command, |_| true)
}

fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The server read its clock between both moments of this process.
fn skew(there: Duration, before: Duration, after: Duration) -> Option<Finding> {
    let (by, way) = match there > after {
        true => (there - after, "ahead of"),
        false => (before.saturating_sub(there), "behind"),
    };
    if by <= SKEWED {
        return None;
    }
    let found = format!("the clock of the server is {:.1} s {way} that of this machine", by.as_secs_f64());
    let fix = "let both machines keep their clocks by NTP (chrony, systemd-timesyncd)";
    Some(if by > WRONG {
        Finding::error(found, fix)
            .follows("processes whose clocks differ so end entries of one another too early or too late")
    } else {
        Finding::warning(found, fix).follows("each entry of a clock that differs costs two more round trips to read")
    })
}

/// A word that the server says of itself. What is no plain word is not shown: its bytes may be anything.
fn word<'a>(info: &'a HashMap<String, String>, name: &str) -> &'a str {
    let is_plain = |text: &&str| {
        text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
    };
    info.get(name).map(String::as_str).filter(is_plain).unwrap_or("?")
}

fn number(info: &HashMap<String, String>, name: &str) -> Option<u64> {
    info.get(name)?.parse().ok()
}

fn identity(place: &str, info: &HashMap<String, String>) -> Finding {
    if info.is_empty() {
        return Finding::note(format!(
            "Redis at {place} answers, and its ACL lets this user not ask what it is (+info)"
        ));
    }
    let (version, mode, role) = (word(info, "redis_version"), word(info, "redis_mode"), word(info, "role"));
    let used = number(info, "used_memory").unwrap_or(0) >> 20;
    let room = match number(info, "maxmemory") {
        None | Some(0) => "no maxmemory".to_owned(),
        Some(most) => format!("maxmemory {} MiB, {}", most >> 20, word(info, "maxmemory_policy")),
    };
    Finding::note(format!("Redis {version} at {place}, {mode}, {role}: {used} MiB in use, {room}"))
}

fn version(info: &HashMap<String, String>) -> Option<Finding> {
    let text = info.get("redis_version")?;
    let mut numbers = text.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next()?, numbers.next().unwrap_or(0));
    (version < OLDEST).then(|| {
        let found = format!("Redis {} is too old", word(info, "redis_version"));
        Finding::error(found, "use Redis 6.2 or newer").follows("some commands of the cache are not known there")
    })
}

fn memory(info: &HashMap<String, String>) -> Option<Finding> {
    let most = number(info, "maxmemory").filter(|most| *most > 0)?;
    let used = number(info, "used_memory").unwrap_or(0);
    if word(info, "maxmemory_policy") == "noeviction" {
        let found = format!("maxmemory is {} MiB and maxmemory-policy is noeviction", most >> 20);
        let fix = "set maxmemory-policy to volatile-ttl: CONFIG SET maxmemory-policy volatile-ttl";
        return Some(
            Finding::warning(found, fix).follows("once the memory is full, every write fails and nothing is stored"),
        );
    }
    if is_by_use(word(info, "maxmemory_policy")) {
        let found = format!("maxmemory-policy is {}", word(info, "maxmemory_policy"));
        let fix = "set it to volatile-ttl, which evicts what ends first: CONFIG SET maxmemory-policy volatile-ttl";
        let follows =
            "what notes invalidations by tag is read seldom, so it is evicted, and the next one voids all entries";
        return Some(Finding::warning(found, fix).follows(follows));
    }
    let evicted = number(info, "evicted_keys").filter(|evicted| *evicted > 0)?;
    (used >= most / 100 * 95).then(|| {
        let found = format!("the memory is full, and {evicted} keys were evicted");
        Finding::warning(found, "raise maxmemory, or shorten TTLs").follows("entries go before their time")
    })
}

/// Whether a full server evicts what is read seldom, or anything.
fn is_by_use(policy: &str) -> bool {
    ["lru", "lfu", "random"].iter().any(|kind| policy.ends_with(kind))
}

fn replication(info: &HashMap<String, String>) -> Option<Finding> {
    if word(info, "role") != "slave" {
        return None;
    }
    let reads_only = word(info, "slave_read_only") == "1";
    let fix = "name the master in the URL, or the sentinels (redis-sentinel://)";
    Some(if reads_only {
        Finding::error("this server is a replica that takes no writes", fix)
            .follows("nothing is stored, and every miss computes")
    } else {
        Finding::error("this server is a replica", fix)
            .follows("what is written to it is lost with the next synchronization")
    })
}

fn persistence(info: &HashMap<String, String>) -> Vec<Finding> {
    let failed = |name: &str| word(info, name) == "err";
    let mut found = Vec::new();
    if failed("rdb_last_bgsave_status") || failed("aof_last_write_status") {
        let odd = Finding::warning("the server could not save its data", "see its log and its disk");
        found.push(odd.follows("it may refuse writes (MISCONF)"));
    }
    if word(info, "aof_enabled") == "1" {
        found.push(Finding::note("the server writes an append-only file, which a cache does not need"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Severity;

    fn info(fields: &[(&str, &str)]) -> HashMap<String, String> {
        fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn clocks_are_compared_with_both_ends_of_the_question() {
        let at = Duration::from_millis;
        let severity = |there| skew(at(there), at(100_000), at(100_500)).map(|finding| finding.severity);
        for (there, expected) in [
            (100_000, None),
            (101_500, None),
            (101_501, Some(Severity::Warning)),
            (99_000, None),
            (98_999, Some(Severity::Warning)),
            (110_501, Some(Severity::Error)),
            (89_999, Some(Severity::Error)),
        ] {
            assert_eq!(severity(there), expected, "{there}");
        }
        let told = skew(at(400_500), at(100_000), at(100_500)).unwrap();
        assert!(told.found.contains("300.0 s ahead of"), "{told}");
    }

    #[test]
    fn what_a_server_calls_itself_is_shown_if_it_is_a_plain_word() {
        let odd = info(&[("redis_version", "7.0\u{1b}[31m"), ("role", "master"), ("redis_mode", "standalone")]);
        let told = identity("h:1", &odd).found;
        assert!(told.starts_with("Redis ? at h:1, standalone, master"), "{told}");
    }

    #[test]
    fn old_servers_replicas_and_failed_saves_are_told_of() {
        let old = version(&info(&[("redis_version", "6.0.16")])).unwrap();
        assert_eq!((old.severity, &*old.fix), (Severity::Error, "use Redis 6.2 or newer"));
        assert_eq!(version(&info(&[("redis_version", "6.2.0")])), None);
        assert_eq!(version(&info(&[("redis_version", "10.0.0")])), None);
        let replica = replication(&info(&[("role", "slave"), ("slave_read_only", "1")])).unwrap();
        assert!(replica.severity == Severity::Error && replica.fix.contains("master"), "{replica}");
        assert_eq!(persistence(&info(&[("rdb_last_bgsave_status", "err")]))[0].severity, Severity::Warning);
        assert_eq!(persistence(&info(&[("rdb_last_bgsave_status", "ok")])), []);
    }

    #[test]
    fn full_memory_with_evictions_is_told_of() {
        let full = [("maxmemory", "1000"), ("used_memory", "990"), ("maxmemory_policy", "volatile-ttl")];
        assert_eq!(memory(&info(&full)), None, "nothing was evicted");
        assert!(memory(&info(&[&full[..], &[("evicted_keys", "7")]].concat())).unwrap().found.contains("7 keys"));
        assert_eq!(memory(&info(&[("maxmemory", "0"), ("maxmemory_policy", "noeviction")])), None);
        for policy in ["allkeys-lru", "volatile-lfu", "allkeys-random"] {
            let found = memory(&info(&[("maxmemory", "1000"), ("maxmemory_policy", policy)])).unwrap();
            assert!(found.fix.contains("volatile-ttl") && found.follows.contains("voids all entries"), "{found}");
        }
    }
}
