//! What users read of each refusal.

use super::*;

#[test]
fn codes_have_kinds_and_no_word_of_the_server_is_told() {
    for (code, kind) in [
        ("WRONGPASS", ErrorKind::Denied),
        ("NOAUTH", ErrorKind::Denied),
        ("NOPERM", ErrorKind::Denied),
        ("LOADING", ErrorKind::Unavailable),
        ("READONLY", ErrorKind::ReadOnly),
        ("MISCONF", ErrorKind::ReadOnly),
        ("NOREPLICAS", ErrorKind::ReadOnly),
        ("ERR Error running script (call to f_1): @user_script:1: -OOM command", ErrorKind::ReadOnly),
        ("ERR The user executing the script can't run this command or subcommand script: 1f", ErrorKind::Denied),
        ("EXECABORT Transaction discarded because of: OOM command not allowed", ErrorKind::ReadOnly),
        ("EXECABORT Transaction discarded because of: READONLY You can't write", ErrorKind::ReadOnly),
        ("EXECABORT Transaction discarded because of: LOADING Redis is loading", ErrorKind::Unavailable),
        ("EXECABORT Transaction discarded because of previous errors.", ErrorKind::Backend),
        ("MASTERDOWN", ErrorKind::Unavailable),
        ("CLUSTERDOWN", ErrorKind::Unavailable),
        ("TRYAGAIN", ErrorKind::Unavailable),
        ("BUSY", ErrorKind::Unavailable),
        ("OOM", ErrorKind::ReadOnly),
        ("WRONGTYPE", ErrorKind::Backend),
        ("ERR", ErrorKind::Backend),
        ("SOMETHING", ErrorKind::Backend),
        ("ERR Protocol error: invalid bulk length", ErrorKind::TooLarge),
        ("ERR max request size exceeded. Limit: 1048576 bytes, Actual: 3145800 bytes", ErrorKind::TooLarge),
    ] {
        let error = of_command(&refused(&format!("{code} user ada may not GET users:42")), "h:1");
        assert_eq!(error.kind(), kind, "{code}");
        let told = format!("{error} {error:?}");
        assert!(told.contains("h:1") && !told.contains("ada") && !told.contains("users:42"), "{told}");
    }
}

#[test]
fn a_replica_is_known_by_whatever_it_refuses() {
    for answer in [
        "READONLY You can't write against a read only replica.",
        "EXECABORT Transaction discarded because of: READONLY You can't write against a read only replica.",
        "ERR Error running script (call to f_1): @user_script:1: -READONLY You can't write against a read only replica.",
    ] {
        assert!(is_of_replica(&refused(answer)), "{answer}");
    }
    assert!(!is_of_replica(&refused("EXECABORT Transaction discarded because of: OOM command not allowed")));
}

#[test]
fn what_select_is_refused_for_is_told_apart() {
    for (answer, kind, word) in [
        ("ERR DB index is out of range", ErrorKind::Backend, "database"),
        ("ERR Authentication required.", ErrorKind::Denied, "password"),
        ("ERR this user has no permissions to run the 'select' command", ErrorKind::Denied, "ACL"),
        ("ERR max number of clients reached", ErrorKind::Unavailable, "maxclients"),
    ] {
        let error = of_connect(&refused(answer), "h:1");
        assert_eq!(error.kind(), kind, "{answer}");
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn what_the_system_says_of_a_connect_is_kept_as_the_source() {
    let refused = RedisError::from(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
    let error = of_connect(&refused, "h:1");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("nothing listens there"), "{error}");
    assert!(std::error::Error::source(&error).is_some());
}

#[cfg(feature = "redis-cluster")]
mod clusters {
    use super::super::{Detour, refused};
    use super::*;

    fn told(answer: &str) -> Error {
        of_command(&refused(answer), "h:1")
    }

    #[test]
    fn slot_redirect_is_a_temporary_error_that_knows_the_detour() {
        for (answer, detour) in [
            ("MOVED 7 10.0.0.1:7001", Detour::Moved("10.0.0.1:7001".to_owned())),
            ("ASK 7 :7001", Detour::Ask(":7001".to_owned())),
            ("TRYAGAIN Multiple keys request during rehashing of slot", Detour::Wait),
        ] {
            let error = told(answer);
            assert!(error.is_temporary(), "{error:?}");
            assert_eq!(Detour::of(&error), Some(&detour));
        }
        for answer in ["MOVED", "MOVED x", "CLUSTERDOWN The cluster is down", "ERR unknown command", "OOM x"] {
            assert_eq!(Detour::of(&told(answer)), None, "{answer}");
        }
    }

    #[test]
    fn a_url_of_the_wrong_kind_is_told_the_right_one() {
        assert!(told("CROSSSLOT Keys in request don't hash to the same slot").to_string().contains("redis-cluster://"));
        let single = told("ERR This instance has cluster support disabled");
        assert!(single.to_string().contains("is no node of a cluster"), "{single}");
        assert!(!single.is_temporary());
    }
}
