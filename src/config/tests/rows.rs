//! The tables as data: what they say is what is parsed.

use super::super::rows::VariableRow;
use super::super::settings::Settings;
use super::{environment, faulty};
use crate::config::Environment;

/// The bounds of a row that names some.
fn bounds(row: &VariableRow) -> Option<[&str; 2]> {
    let (before, after) = row.values.split_once("..=")?;
    Some([before.rsplit(' ').next()?, after.split(' ').next()?])
}

#[test]
fn every_row_says_what_it_is_for_and_what_it_takes() {
    for row in Environment::table() {
        assert!(row.doc.ends_with('.') && !row.values.is_empty() && !row.default.is_empty(), "{row:?}");
        assert!(!row.doc.contains("](") && !row.doc.contains("[`"), "a link in {row:?}");
    }
    for row in Settings::table() {
        assert!(row.doc.ends_with('.') && !row.default.is_empty(), "{row:?}");
        assert!(!row.doc.contains("](") && !row.doc.contains("[`"), "a link in {row:?}");
    }
}

#[test]
fn documented_bounds_are_those_that_hold() {
    let rows = Environment::table();
    let bounded: Vec<_> = rows.iter().filter_map(|row| Some((row.name, bounds(row)?))).collect();
    assert!(bounded.len() >= 11, "{bounded:?}");
    for (name, [low, high]) in bounded {
        let takes = |text: &str| faulty(&environment(&[(name, text)])).is_empty();
        assert!(takes(low) && takes(high), "{name} takes {low} and {high}");
        let (low, high): (f64, f64) = (low.parse().unwrap(), high.parse().unwrap());
        let step = if low.fract() == 0.0 { 1.0 } else { 0.01 };
        assert!(!takes(&(low - step).to_string()) && !takes(&(high + step).to_string()), "{name} takes no more");
    }
}

#[test]
fn documented_defaults_are_what_holds_without_the_variable() {
    let shown = |environment: &Environment| {
        let Environment { redis, memcached, file, cachekitio, log_level, ca_bundle, .. } = environment;
        let url = redis.url.expose();
        format!("{redis:?} {url} {memcached:?} {file:?} {cachekitio:?} {log_level} {ca_bundle:?}")
    };
    let unset = shown(&environment(&[]));
    let is_value = |row: &&VariableRow| row.setting.is_none() && row.default != "none" && !row.default.contains('`');
    let rows = Environment::table();
    let rows: Vec<_> = rows.iter().filter(is_value).collect();
    assert!(rows.len() >= 15, "{rows:?}");
    for row in rows {
        let set = environment(&[(row.name, &row.default)]);
        assert_eq!((faulty(&set), shown(&set)), (vec![], unset.clone()), "{}", row.name);
    }
}

#[test]
fn secrets_are_marked() {
    let rows = Environment::table();
    let secret: Vec<&str> = rows.iter().filter(|row| row.is_secret).map(|row| row.name).collect();
    let expected =
        ["CACHEKIT_REDIS_URL", "REDIS_URL", "CACHEKIT_MASTER_KEY", "CACHEKIT_PREVIOUS_MASTER_KEYS", "CACHEKIT_API_KEY"];
    assert_eq!(secret, expected);
}
