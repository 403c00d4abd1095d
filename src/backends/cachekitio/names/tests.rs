//! Look-ups of every kind, without a network.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc;

use super::*;
use crate::error::ErrorKind;

const PATIENCE: Duration = Duration::from_secs(30);

fn sockets(ips: &[&str]) -> Vec<SocketAddr> {
    ips.iter().map(|ip| SocketAddr::new(ip.parse().expect(ip), 443)).collect()
}

/// A name whose look-ups give one list after the other, and then the last again and again.
fn names(private: bool, lists: &'static [&'static [&'static str]]) -> (Names, Arc<AtomicUsize>) {
    let count = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&count);
    let names = Names::with("h", 443, private, move |_, _| {
        let index = counted.fetch_add(1, SeqCst).min(lists.len() - 1);
        Ok(sockets(lists[index]))
    });
    (names, count)
}

fn found(names: &Names) -> Result<Vec<SocketAddr>, Error> {
    Ok(names.addresses(PATIENCE).expect("the look-up ends")?.to_vec())
}

/// Refused to all but those who allow custom hosts, and to these too where `true`.
const REFUSED: &[(&str, bool)] = &[
    ("0.0.0.0", true),
    ("0.1.2.3", false),
    ("10.0.0.1", false),
    ("10.255.255.255", false),
    ("100.64.0.1", false),
    ("100.127.255.255", false),
    ("100.100.100.200", true),
    ("127.0.0.1", false),
    ("127.255.255.254", false),
    ("168.63.129.16", true),
    ("169.254.0.1", true),
    ("169.254.169.254", true),
    ("172.16.0.1", false),
    ("172.31.255.255", false),
    ("192.0.0.8", false),
    ("192.0.0.192", true),
    ("192.0.2.1", false),
    ("192.88.99.1", false),
    ("192.168.1.1", false),
    ("198.18.0.1", false),
    ("198.19.255.255", false),
    ("198.51.100.7", false),
    ("203.0.113.9", false),
    ("224.0.0.1", true),
    ("239.255.255.250", true),
    ("240.0.0.1", false),
    ("255.255.255.255", false),
    ("::", true),
    ("::1", false),
    ("::7f00:1", false),
    ("::8.8.8.8", false),
    ("::ffff:127.0.0.1", false),
    ("::ffff:10.0.0.1", false),
    ("::ffff:169.254.169.254", true),
    ("::ffff:0:127.0.0.1", false),
    ("::ffff:0:169.254.169.254", true),
    ("64:ff9b::127.0.0.1", false),
    ("64:ff9b::192.168.0.1", false),
    ("64:ff9b::169.254.169.254", true),
    ("64:ff9b:1::1", false),
    ("64:ff9b:1::169.254.169.254", true),
    ("100::1", false),
    ("2001::1", false),
    ("2001:0:a9fe:a9fe::1", true),
    ("2001:0:808:808::5601:5601", true),
    ("2001:2::1", false),
    ("2001:10::1", false),
    ("2001:20::1", false),
    ("2001:db8::1", false),
    ("2002:7f00:1::1", false),
    ("2002:a00:1::1", false),
    ("2002:a9fe:a9fe::1", true),
    ("3fff::1", false),
    ("4000::1", false),
    ("2600::5efe:10.0.0.1", false),
    ("2600::5efe:169.254.169.254", true),
    ("fc00::1", false),
    ("fd00::1", false),
    ("fd00:ec2::254", true),
    ("fd20:ce::254", true),
    ("fe80::1", true),
    ("fe80::1234:5678", true),
    ("febf::1", true),
    ("fec0::1", false),
    ("ff02::1", true),
];

const PUBLIC: &[&str] = &[
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "100.128.0.1",
    "104.16.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "198.17.255.255",
    "223.255.255.255",
    "2606:4700::1111",
    "2a00:1450:4001::200e",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
];

#[test]
fn every_kind_of_address_is_told_apart() {
    let admits = |private, ip: &str| Names::new("h", 1, private).0.admits(ip.parse().expect(ip));
    for (ip, always) in REFUSED {
        assert!(!admits(false, ip), "{ip} is not public");
        assert_eq!(!admits(true, ip), *always, "{ip} with custom hosts");
    }
    for ip in PUBLIC {
        assert!(admits(false, ip) && admits(true, ip), "{ip} is public");
    }
}

#[test]
fn a_name_that_leads_nowhere_else_is_refused_and_told_why() {
    let (inside, _) = names(false, &[&["127.0.0.1", "10.0.0.1"]]);
    let refusal = found(&inside).unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::Backend);
    assert!(refusal.to_string().contains("CACHEKIT_ALLOW_CUSTOM_HOST"), "{refusal}");
    let (metadata, _) = names(true, &[&["169.254.169.254"]]);
    let refusal = found(&metadata).unwrap_err().to_string();
    assert!(refusal.contains("link-local or metadata"), "{refusal}");
    let (nothing, _) = names(true, &[&[]]);
    assert_eq!(found(&nothing).unwrap_err().kind(), ErrorKind::Unavailable);
}

#[test]
fn of_several_addresses_those_that_are_refused_are_dropped() {
    let (mixed, _) = names(false, &[&["127.0.0.1", "8.8.8.8", "::1", "1.1.1.1"]]);
    assert_eq!(found(&mixed).unwrap(), sockets(&["8.8.8.8", "1.1.1.1"]));
    let many = Names::with("h", 443, false, |_, _| {
        Ok((1..=200).map(|last| (Ipv4Addr::new(8, 8, 8, last), 443).into()).collect())
    });
    assert_eq!(found(&many).unwrap().len(), MOST);
}

/// A name that is public when it is checked and private when it is used is the classic way in.
#[test]
fn each_look_up_is_checked_and_nothing_else_is_connected_to() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let (turning, count) = names(false, &[&["8.8.8.8"], &["127.0.0.1"]]);
    assert_eq!(found(&turning).unwrap(), sockets(&["8.8.8.8"]));
    assert_eq!(found(&turning).unwrap(), sockets(&["8.8.8.8"]), "what was checked holds for a while");
    assert_eq!(count.load(SeqCst), 1);
    turning.forget();
    assert_eq!(found(&turning).unwrap_err().kind(), ErrorKind::Backend);

    let agent = ureq::Agent::with_parts(
        ureq::Agent::config_builder().proxy(None).build(),
        ureq::unversioned::transport::DefaultConnector::new(),
        turning.clone(),
    );
    let port = listener.local_addr().unwrap().port();
    let refusal = agent.get(format!("http://localhost:{port}/")).call().unwrap_err();
    assert!(matches!(refusal, ureq::Error::Other(_)), "{refusal}");
    assert!(listener.accept().is_err(), "somebody connected");
}

#[test]
fn a_failed_look_up_is_told_and_tried_again() {
    let count = AtomicUsize::new(0);
    let names = Names::with("h", 443, false, move |_, _| match count.fetch_add(1, SeqCst) {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => Ok(sockets(&["8.8.8.8"])),
    });
    let failure = found(&names).unwrap_err();
    assert!(failure.is_temporary() && failure.to_string().contains("h has no address"), "{failure}");
    assert_eq!(found(&names).unwrap(), sockets(&["8.8.8.8"]));
}

#[test]
fn hung_dns_lookup_delays_callers_to_the_limit_and_runs_once() {
    let (release, gate) = mpsc::channel::<()>();
    let (count, gate) = (Arc::<AtomicUsize>::default(), Mutex::new(gate));
    let counted = Arc::clone(&count);
    let names = Names::with("h", 443, false, move |_, _| {
        counted.fetch_add(1, SeqCst);
        let _ = gate.lock().unwrap().recv();
        Ok(sockets(&["8.8.8.8"]))
    });
    let limit = Duration::from_millis(50);
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert!(names.addresses(limit).is_none()));
        }
    });
    assert!(start.elapsed() >= limit && start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    assert_eq!(count.load(SeqCst), 1, "look-ups do not pile up");
    release.send(()).unwrap();
    assert_eq!(found(&names).unwrap(), sockets(&["8.8.8.8"]));
    assert_eq!(count.load(SeqCst), 1);
}

#[test]
fn system_resolver_takes_names_and_bracketed_ipv6_addresses() {
    assert!(found(&Names::new("localhost", 7, true)).unwrap().iter().all(|address| address.port() == 7));
    assert_eq!(found(&Names::new("[::1]", 8, true)).unwrap(), vec!["[::1]:8".parse().unwrap()]);
    assert_eq!(found(&Names::new("localhost", 7, false)).unwrap_err().kind(), ErrorKind::Backend);
}
