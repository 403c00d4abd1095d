//! Commands about what a program has stored.

use std::process::Stdio;
use std::time::Duration;

use cachekit::codec::Confidential;
use cachekit::{Cache, CacheBuilder, Intent};
use serde_json::json;

use super::{bytes_of, cachekit, command, program};
use crate::servers::{Memcached, Server, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_listed_read_and_counted() {
    let server = Server::start();
    let url = server.url();
    let vars = [("CACHEKIT_REDIS_URL", url.as_str())];
    let users = program(&server);
    users.set(("eu", 42), json!({ "name": "Ada", "age": 36 })).await.unwrap();
    users.domain("orders").unwrap().entry(7).ttl(Duration::from_secs(600)).set("seven".to_owned()).await.unwrap();
    users.set("old", 1).await.unwrap();
    users.expire("old").await.unwrap();

    let keys = cachekit(&["keys", "-n", "users", "--json"], &vars).json();
    let mut rows: Vec<_> = keys["entries"].as_array().unwrap().clone();
    rows.sort_by_key(|row| row["key"].as_str().unwrap().to_owned());
    let column = |name: &str| rows.iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("key"), ["+orders:7", "eu/42", "old"]);
    assert_eq!(column("state"), ["fresh", "fresh", "expired"]);
    assert_eq!(column("stack"), ["checked(json)"; 3]);
    assert_eq!(keys["complete"], true);
    let left = rows[0]["remaining_seconds"].as_f64().unwrap();
    assert!((500.0..=600.0).contains(&left), "{left}");
    let empty = cachekit(&["keys", "-n", "nobody"], &vars);
    assert!(empty.out.starts_with("0 entries") && empty.err.contains("-n names a namespace"), "{empty:?}");
    let listed = cachekit(&["inspect", "-n", "users", "+orders:7"], &vars);
    assert!(listed.out.contains("a call computes: new") && listed.err.contains("say: -d orders 7"), "{listed:?}");
    let domain = cachekit(&["keys", "-n", "users", "-d", "orders"], &vars);
    assert!(
        domain.out.contains("7  ") && domain.out.contains("1 entries") && !domain.out.contains("eu/42"),
        "{domain:?}"
    );
    let one = cachekit(&["keys", "-n", "users", "--limit", "1", "--json"], &vars).json();
    assert_eq!((one["entries"].as_array().unwrap().len(), &one["complete"]), (1, &false.into()));

    let got = cachekit(&["get", "-n", "users", "eu/42"], &vars);
    assert_eq!((got.code, got.out.as_str()), (0, "{\n  \"age\": 36,\n  \"name\": \"Ada\"\n}\n"));
    assert!(got.err.contains("fresh") && got.err.contains("checked(json)"), "{got:?}");
    let got = cachekit(&["get", "-n", "users", "-d", "orders", "7", "--json"], &vars).json();
    assert_eq!(got["value"], "seven");
    let absent = cachekit(&["get", "-n", "users", "nobody"], &vars);
    assert!(
        absent.code == 1 && absent.out.is_empty() && absent.err.contains("no such key in namespace users"),
        "{absent:?}"
    );

    let stats = cachekit(&["stats", "-n", "users", "--json"], &vars).json();
    assert_eq!(stats["entries"], 3);
    assert_eq!(stats["ages"], json!({ "fresh": 2, "expired": 1 }));
    assert_eq!(stats["stacks"], json!({ "checked(json)": 3 }));
    let text = cachekit(&["stats", "-n", "users"], &vars);
    text.says(&["entries   3", "fresh 2 (66.7 %)"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_without_names_are_shown_as_bytes() {
    let server = Server::start();
    let url = server.url();
    let vars = [("CACHEKIT_REDIS_URL", url.as_str())];
    let users = CacheBuilder::from_vars(vars).namespace("users").build().unwrap();
    users.set(1, "abc".to_owned()).await.unwrap();
    let got = cachekit(&["get", "-n", "users", "1"], &vars);
    assert_eq!((got.code, got.out.as_str()), (0, "03616263\n"));
    assert!(got.err.contains("without the type"), "{got:?}");
    let raw = command(&["get", "-n", "users", "1", "--raw"], &vars).output().unwrap();
    assert_eq!(raw.stdout, bytes_of(&server, "users:1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_is_explained_whatever_its_codecs() {
    let server = Server::start();
    let (url, key) = (server.url(), "ab".repeat(32));
    let vars = [("CACHEKIT_REDIS_URL", url.as_str()), ("CACHEKIT_MASTER_KEY", key.as_str())];
    let users = program(&server);
    users.entry(("eu", 1)).tags(["eu"]).ttl(Duration::from_secs(600)).set(1).await.unwrap();
    let cards = CacheBuilder::from_vars(vars).intent(Intent::Secure).namespace("users").build().unwrap();
    cards.set("card", 7).await.unwrap();
    let inspect = |key: &str| cachekit(&["inspect", "-n", "users", key, "--json"], &vars).json();
    for (key, stack) in [("eu/1", "checked(json)"), ("card", "encrypted(compressed(postcard))")] {
        let why = inspect(key);
        assert_eq!((&why["stack"], &why["answered"]), (&stack.into(), &true.into()), "{why}");
        assert_eq!(why["backend"]["state"], "fresh", "{why}");
        assert!(
            why["header_size"].as_u64().unwrap() >= 86 && why["size"].as_u64() > why["header_size"].as_u64(),
            "{why}"
        );
    }
    let tagged = inspect("eu/1");
    assert_eq!(tagged["backend"]["tags"], json!([format!("{:016x}", cachekit::Told::tag("eu"))]));
    let left = tagged["backend"]["remaining_seconds"].as_f64().unwrap();
    assert!((500.0..=600.0).contains(&left), "{left}");
    let text = cachekit(&["inspect", "-n", "users", "eu/1"], &vars);
    text.says(&["users:eu/1", "checked(json)", "94 B header", "a call is answered (L2Hit)"]);
    users.invalidate_tag("eu").await.unwrap();
    let forgotten = cachekit(&["inspect", "-n", "users", "eu/1"], &vars);
    forgotten.says(&["a call computes: ", "tag"]);
    assert_eq!(inspect("nobody")["answered"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_are_verified_with_the_keys_that_are_set() {
    let server = Server::start();
    let (url, key, other) = (server.url(), "ab".repeat(32), "cd".repeat(32));
    let vars = [("CACHEKIT_REDIS_URL", url.as_str()), ("CACHEKIT_MASTER_KEY", key.as_str())];
    let cards: Cache<_, Confidential> =
        CacheBuilder::from_vars(vars).intent(Intent::Secure).namespace("users").build().unwrap();
    for card in 0..3 {
        cards.set(card, format!("card {card}")).await.unwrap();
    }
    let good = cachekit(&["verify", "-n", "users"], &vars);
    assert_eq!(good.code, 0, "{good:?}");
    good.says(&["3 of 3 entries can be read"]);
    let bytes = bytes_of(&server, "users:1");
    server.call(&[&b"SET"[..], b"users:copy", &bytes]);
    for (vars, reason, readable) in [
        (vec![vars[0], vars[1]], "none of the keys set opens it", 3),
        (vec![vars[0], ("CACHEKIT_MASTER_KEY", other.as_str())], "none of the keys set opens it", 0),
        (vec![vars[0]], "CACHEKIT_MASTER_KEY is not set", 0),
    ] {
        let bad = cachekit(&["verify", "-n", "users", "--json"], &vars);
        assert_eq!(bad.code, 1, "{bad:?}");
        let json = bad.json();
        assert_eq!((&json["entries"], &json["readable"]), (&4.into(), &readable.into()), "{json}");
        let reasons = json["reasons"].as_object().unwrap();
        let (told, count) = reasons.iter().next().unwrap();
        assert!(reasons.len() == 1 && told.contains(reason) && *count == 4 - readable, "{json}");
    }
    let wrong = cachekit(&["get", "-n", "users", "1"], &[vars[0]]);
    assert!(wrong.code == 1 && wrong.err.contains("CACHEKIT_MASTER_KEY is not set"), "{wrong:?}");
    let right = cachekit(&["get", "-n", "users", "1"], &vars);
    assert_eq!((right.code, right.out.as_str()), (0, "06636172642031\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_invalidated_leaves_the_program() {
    let server = Server::start();
    let url = server.url();
    let vars = [("CACHEKIT_REDIS_URL", url.as_str())];
    let users = program(&server);
    let orders = users.domain("orders").unwrap();
    let fill = async || {
        users.set(("eu", 1), 1).await.unwrap();
        users.entry(2).tags(["eu"]).set(2).await.unwrap();
        users.set(3, 3).await.unwrap();
        orders.set(4, 4).await.unwrap();
    };
    let there = async || {
        let mut there = Vec::new();
        there.extend(users.get::<i32>(("eu", 1)).await.unwrap());
        there.extend(users.get::<i32>(2).await.unwrap());
        there.extend(users.get::<i32>(3).await.unwrap());
        there.extend(orders.get::<i32>(4).await.unwrap());
        there
    };
    for (args, left) in [
        (&["invalidate", "-n", "users", "eu/1", "3"][..], &[2, 4][..]),
        (&["invalidate", "-n", "users", "--tag", "eu"], &[1, 3, 4]),
        (&["invalidate", "-n", "users", "-d", "orders", "--yes"], &[1, 2, 3]),
        (&["invalidate", "-n", "users", "--all", "--yes"], &[]),
        (&["invalidate", "-n", "others", "--all", "--yes"], &[1, 2, 3, 4]),
    ] {
        fill().await;
        assert_eq!(there().await, [1, 2, 3, 4]);
        let ran = cachekit(args, &vars);
        assert!(ran.code == 0 && ran.out.starts_with("forgotten: "), "{ran:?}");
        crate::servers::eventually("the program hears of it", async || there().await == left).await;
    }
    let asked = cachekit(&["invalidate", "-n", "users", "--all"], &vars);
    assert!(asked.code == 1 && asked.err.contains("--yes"), "{asked:?}");
    assert_eq!(there().await, [1, 2, 3, 4], "nobody said yes");
    assert!(cachekit(&["invalidate", "-n", "users"], &vars).err.contains("say what to forget"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_processes_tell_one_another_is_shown() {
    let server = Server::start();
    let url = server.url();
    let users = program(&server);
    let mut watch =
        command(&["watch", "-n", "users", "--for", "60s", "--json", "--tag", "us"], &[("CACHEKIT_REDIS_URL", &url)]);
    let mut child = watch.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (send, lines) = std::sync::mpsc::channel();
    let stdout = child.stdout.take().unwrap();
    std::thread::spawn(move || {
        for line in std::io::BufRead::lines(std::io::BufReader::new(stdout)).map_while(Result::ok) {
            let _ = send.send(serde_json::from_str::<serde_json::Value>(&line).unwrap());
        }
    });
    // It may not listen yet.
    let mut first = None;
    wait_until("the first change is heard", || {
        let invalidated =
            tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(users.invalidate(("eu", 1))));
        invalidated.unwrap();
        first = lines.recv_timeout(Duration::from_millis(100)).ok();
        first.is_some()
    });
    let first = first.unwrap();
    assert_eq!((&first["what"], &first["about"]), (&"changed".into(), &"eu/1".into()));
    assert_eq!(first["source"].as_str().unwrap().len(), 16);
    users.invalidate_tag("eu").await.unwrap();
    let tag = format!("#{:016x}", cachekit::Told::tag("eu"));
    loop {
        let heard = lines.recv_timeout(crate::servers::PATIENCE).unwrap();
        if heard["what"] == "tags" {
            assert_eq!(heard["about"], tag);
            break;
        }
    }
    users.invalidate_tag("us").await.unwrap();
    loop {
        let heard = lines.recv_timeout(crate::servers::PATIENCE).unwrap();
        if heard["what"] == "tags" {
            assert_eq!(heard["about"], "us", "it was named");
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let short = cachekit(&["watch", "-n", "users", "--for", "100ms"], &[("CACHEKIT_REDIS_URL", &url)]);
    assert_eq!((short.code, short.out.as_str()), (0, ""));
}

#[test]
fn a_bench_measures_and_cleans_up() {
    let server = Server::start();
    let url = server.url();
    let vars = [("CACHEKIT_REDIS_URL", url.as_str())];
    let json = cachekit(&["bench", "--for", "200ms", "--concurrency", "4", "--json"], &vars).json();
    for verb in ["set", "get"] {
        assert!(json[verb]["per_second"].as_f64().unwrap() > 0.0, "{json}");
        assert!(json[verb]["latency"]["p99_ms"].as_f64() >= json[verb]["latency"]["p50_ms"].as_f64(), "{json}");
    }
    let text = cachekit(&["bench", "--for", "200ms"], &vars);
    text.says(&["values of 1.0 KiB, 16 at once", "a second; p50", "█"]);
    assert_eq!(server.cli(&["DBSIZE"]), "0", "nothing is left behind");
}

#[test]
fn what_a_backend_cannot_do_is_an_error_and_no_log() {
    let memcached = Memcached::start();
    let servers = format!("[\"{}\"]", memcached.address());
    let vars = [("CACHEKIT_MEMCACHED_SERVERS", servers.as_str()), ("LOG_LEVEL", "off")];
    for command in ["keys", "stats", "verify", "watch"] {
        let ran = cachekit(&[command], &vars);
        assert!(ran.code == 1 && ran.out.is_empty(), "{ran:?}");
        assert!(ran.err.starts_with("error: the ") && ran.err.contains("Redis"), "{ran:?}");
    }
    let odd = ("CACHE_REDIS_URL", "redis://h");
    let chatty = cachekit(&["keys"], &[vars[0], ("LOG_LEVEL", "warn"), odd]);
    assert!(chatty.err.contains("WARN") && chatty.err.contains("CACHE_REDIS_URL is ignored"), "{chatty:?}");
    assert!(!cachekit(&["keys"], &[vars[0], vars[1], odd]).err.contains("CACHE_REDIS_URL"));
}
