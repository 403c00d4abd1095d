//! What the service answers to each request.
//!
//! The checks have an order: first the API key, then what its class must send, the path, the method, the key's write
//! space, and at last what the operation itself asks for.

use std::time::Duration;

use serde_json::{Value, json};

use super::answer::Answer;
use super::path::{self, Route, Unroutable};
use super::request::Request;
use super::store::{Class, MAX_TTL, Renewed, Store};

/// The largest value, in bytes.
const MAX_VALUE: usize = 25_000_000;

/// Does what `request` asks for. Whoever stores an answer would give it to other tenants, so none may be stored.
pub(super) fn answer(store: &mut Store, request: &Request) -> Answer {
    let answer = decide(store, request).unwrap_or_else(|refusal| refusal);
    answer.with("Cache-Control", "no-store").with("Vary", "Authorization")
}

fn decide(store: &mut Store, request: &Request) -> Result<Answer, Answer> {
    if request.method == "OPTIONS" {
        return Ok(Answer::new(204, "text/plain", ""));
    }
    let class = authenticate(store, request)?;
    let route = path::route(request.path()).map_err(|reason| match reason {
        Unroutable::Unknown => Answer::error(404, "no such path"),
        Unroutable::Key => Answer::error(400, "the key is malformed"),
    })?;
    let allowed = allowed(&route);
    if !allowed.split(", ").any(|method| method == request.method) {
        return Err(Answer::error(405, "no such method here").with("Allow", allowed));
    }
    let may_change = |key: &str| match class.may_change(key) {
        true => Ok(()),
        false => Err(Answer::error(403, "this API key may not change such keys")),
    };
    match (request.method.as_str(), &route) {
        (_, Route::Health) => Ok(health(store)),
        ("GET", Route::Entry(key)) => Ok(get(store, key)),
        ("HEAD", Route::Entry(key)) => Ok(get(store, key).without("X-CacheKit-Fresh-For")),
        ("GET", Route::Ttl(key)) => Ok(ttl(store, key)),
        ("PUT", Route::Entry(key)) => may_change(key).and_then(|()| put(store, key, request)),
        ("DELETE", Route::Entry(key)) => may_change(key).map(|()| delete(store, key)),
        ("PATCH", Route::Ttl(key)) => may_change(key).and_then(|()| renew(store, key, request)),
        ("POST", Route::Lock(key)) => may_change(key).and_then(|()| lock(store, key, request)),
        (_, Route::Lock(key)) => may_change(key).and_then(|()| unlock(store, key, request)),
        (method, route) => unreachable!("{method} is not among the methods of {route:?}"),
    }
}

fn authenticate(store: &Store, request: &Request) -> Result<Class, Answer> {
    let api_key = request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    let Some(class) = api_key.and_then(|key| store.class_of(key)) else {
        return Err(Answer::error(401, "no such API key"));
    };
    let status = request.header("x-cachekit-l1-status");
    match status {
        Some("hit" | "miss" | "disabled") => Ok(class),
        None if class != Class::Sdk => Ok(class),
        _ => Err(Answer::error(400, "X-CacheKit-L1-Status must be hit, miss or disabled")),
    }
}

fn allowed(route: &Route) -> &'static str {
    match route {
        Route::Health => "GET",
        Route::Entry(_) => "GET, HEAD, PUT, DELETE",
        Route::Ttl(_) => "GET, PATCH",
        Route::Lock(_) => "POST, DELETE",
    }
}

/// The deployed service told a version once, and tells counts now.
fn health(store: &Store) -> Answer {
    let (entries, locks) = (store.entries(), store.locks());
    let state = json!({"status": "ok", "version": "1.0.0", "cache_entries": entries, "active_locks": locks});
    Answer::json(200, &state)
}

fn get(store: &Store, key: &str) -> Answer {
    let Some(found) = store.get(key) else { return absent() };
    let freshness = if found.is_fresh { "fresh" } else { "stale" };
    let answer = Answer::new(200, "application/octet-stream", found.value).with("X-CacheKit-Freshness", freshness);
    match found.fresh_for {
        Some(seconds) => answer.with("X-CacheKit-Fresh-For", seconds),
        None => answer,
    }
}

fn put(store: &mut Store, key: &str, request: &Request) -> Result<Answer, Answer> {
    if request.header("content-type") != Some("application/octet-stream") {
        return Err(Answer::error(400, "Content-Type must be application/octet-stream"));
    }
    // The old name still counts where the new one is absent.
    let ttl = seconds(request, "x-cachekit-ttl", 1..=MAX_TTL)?;
    let ttl = ttl.map_or_else(|| seconds(request, "x-ttl", 1..=MAX_TTL), |ttl| Ok(Some(ttl)))?;
    let stale = seconds(request, "x-cachekit-stale-ttl", 0..=MAX_TTL - 1)?;
    if stale.is_some() && ttl.is_none() {
        return Err(Answer::error(400, "X-CacheKit-Stale-TTL needs a TTL"));
    }
    let stale = stale.unwrap_or(0);
    if ttl.unwrap_or(0) + stale > MAX_TTL {
        return Err(Answer::error(400, "the TTLs are above 30 days together"));
    }
    if request.length > MAX_VALUE {
        return Err(Answer::error(413, "the value is above 25 MB"));
    }
    store.put(key, request.body.clone(), ttl, stale);
    Ok(done())
}

/// A header's whole number of seconds.
fn seconds(request: &Request, name: &str, range: std::ops::RangeInclusive<u64>) -> Result<Option<u64>, Answer> {
    if !request.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)) {
        return Ok(None);
    }
    let digits = request.header(name).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let number = digits.and_then(|text| text.parse().ok()).filter(|number| range.contains(number));
    let refusal = || Answer::error(400, &format!("{name} is not in {range:?}"));
    number.map(Some).ok_or_else(refusal)
}

fn delete(store: &mut Store, key: &str) -> Answer {
    store.delete(key);
    done()
}

fn ttl(store: &Store, key: &str) -> Answer {
    store.ttl(key).map_or_else(absent, |ttl| Answer::json(200, &json!({ "ttl": ttl })))
}

fn renew(store: &mut Store, key: &str, request: &Request) -> Result<Answer, Answer> {
    let ttl = number(request, "ttl")?;
    if !(1..=MAX_TTL).contains(&ttl) {
        return Err(Answer::error(400, "ttl is not in 1..=2592000"));
    }
    match store.renew(key, ttl) {
        Renewed::Done => Ok(done()),
        Renewed::IsStale => Err(Answer::error(409, "the entry is stale: PUT it anew")),
        Renewed::TooLong => Err(Answer::error(400, "with its stale time the entry would live above 30 days")),
    }
}

fn lock(store: &mut Store, key: &str, request: &Request) -> Result<Answer, Answer> {
    let hold = number(request, "timeout_ms")?;
    if hold == 0 {
        return Err(Answer::error(400, "timeout_ms must be positive"));
    }
    let id = store.lock(key, Duration::from_millis(hold));
    Ok(Answer::json(200, &json!({ "lock_id": id })))
}

fn unlock(store: &mut Store, key: &str, request: &Request) -> Result<Answer, Answer> {
    let id = request.header("x-cachekit-lock-id").filter(|id| !id.is_empty());
    // The old place of the id.
    let Some(id) = id.or_else(|| request.query("lock_id")) else {
        return Err(Answer::error(400, "X-CacheKit-Lock-Id is missing"));
    };
    store.unlock(key, id);
    Ok(done())
}

/// A whole number in the JSON of a body.
fn number(request: &Request, name: &str) -> Result<u64, Answer> {
    let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let refusal = || Answer::error(400, &format!("{name} must be a whole number"));
    body.get(name).and_then(Value::as_u64).ok_or_else(refusal)
}

fn done() -> Answer {
    Answer::json(200, &json!({ "success": true }))
}

fn absent() -> Answer {
    Answer::error(404, "no such key")
}
