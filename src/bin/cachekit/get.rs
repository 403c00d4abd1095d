//! Prints one entry.

use std::process::ExitCode;

use cachekit::codec::Keyring;
use cachekit::{Environment, Plain, Stored, Unreadable};
use serde_json::{Value, json};

use super::args::{Get, Scope};
use super::duration::short;
use super::failure::Failure;
use super::output::{FAINT, Out, printable, size, styled};
use super::{connect, sample};

pub(super) async fn run(
    mut out: Out,
    environment: Environment,
    scope: &Scope,
    options: &Get,
) -> Result<ExitCode, Failure> {
    let keyring = Keyring::from_environment(&environment).ok();
    let cache = connect::cache(environment, scope)?;
    let Some(entry) = cache.stored(connect::Parts(&options.key)).await? else {
        let place = scope.domain.as_ref().map(|domain| format!(", domain {domain}")).unwrap_or_default();
        return Err(Failure::Refused(format!("there is no such key in namespace {}{place}", scope.namespace)));
    };
    if options.raw {
        out.bytes(entry.bytes())?;
        return Ok(ExitCode::SUCCESS);
    }
    let opened = open(&entry, keyring.as_ref());
    if out.json {
        out.json(&document(&entry, &options.key, &opened))?;
    } else {
        text(&mut out, &entry, &opened)?;
    }
    Ok(if opened.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The value, or why it cannot be shown.
pub(super) fn open(entry: &Stored, keyring: Option<&Keyring>) -> Result<Plain, &'static str> {
    let opened = match keyring {
        Some(keyring) => entry.open_with(keyring),
        None if entry.is_encrypted() => return Err("it is encrypted, and CACHEKIT_MASTER_KEY is not set"),
        None => entry.open(),
    };
    opened.map_err(|reason| why(reason, entry))
}

/// A reason in words.
pub(super) fn why(reason: Unreadable, entry: &Stored) -> &'static str {
    match reason {
        Unreadable::Foreign => "it was not stored by this version of cachekit",
        Unreadable::Stack => "its codecs are not those of this library",
        Unreadable::Unauthentic if entry.is_encrypted() => {
            "none of the keys set opens it: it is of another key or tenant, or was changed"
        }
        Unreadable::Unauthentic => "its checksum does not match: it is damaged, or of another key",
        Unreadable::TooLarge => "it is larger than CACHEKIT_MAX_VALUE_SIZE",
        Unreadable::Torn => "parts of it are missing",
        _ => "its bytes are not what its codec writes",
    }
}

fn document(entry: &Stored, key: &str, opened: &Result<Plain, &'static str>) -> Value {
    let mut document = json!({
        "key": key,
        "age": sample::state(entry),
        "remaining_seconds": entry.remaining().as_secs_f64(),
        "size": entry.bytes().len(),
        "stack": entry.stack(),
    });
    match opened {
        Ok(Plain::Text(text)) => document["value"] = serde_json::from_str(text).unwrap_or_default(),
        Ok(Plain::Bytes(bytes)) => document["hex"] = hex(bytes).into(),
        Ok(_) => {}
        Err(reason) => document["unreadable"] = (*reason).into(),
    }
    document
}

fn text(out: &mut Out, entry: &Stored, opened: &Result<Plain, &'static str>) -> Result<(), Failure> {
    let stack = entry.stack().unwrap_or_else(|| "unknown codecs".to_owned());
    let about =
        format!("{}, {} left, {}, {stack}", sample::state(entry), short(entry.remaining()), size(entry.bytes().len()));
    // The value alone is data.
    anstream::eprintln!("{}", styled(FAINT, about));
    match opened {
        Ok(Plain::Text(text)) => {
            let value: Value = serde_json::from_str(text)?;
            out.line(serde_json::to_string_pretty(&value)?)?;
        }
        Ok(Plain::Bytes(bytes)) => {
            let why = "postcard writes neither names nor kinds, so without the type these are bytes";
            anstream::eprintln!("{}", styled(FAINT, format!("{} bytes: {why}", bytes.len())));
            bytes.chunks(32).try_for_each(|bytes| out.line(hex(bytes)))?;
        }
        Ok(_) => {}
        Err(reason) => return Err(Failure::Refused(printable(&format!("the value cannot be shown: {reason}")))),
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
