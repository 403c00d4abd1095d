//! Nothing the library says holds a key, a value or the name of an entry.

use std::error::Error as _;
use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cachekit::backends::Memory;
use cachekit::codec::{Encrypted, Keyring, Postcard};
use cachekit::testing::{Chaos, Fault};
use cachekit::{CacheBuilder, Environment, Error, ErrorKind, Event, Intent, Observer, Operation, Sensitive, Tracing};
use serde::{Deserialize, Serialize};

use crate::intents::{heard, listen};
use harness::support::Broken;

const VALUE: &str = "hush-value";
const NAME: &str = "hush-name";
const TENANT: &str = "hush-tenant";

/// Everything that was said.
#[derive(Debug, Default)]
struct Said(Mutex<String>);

impl Said {
    fn debug(&self, what: &dyn Debug) {
        writeln!(self.0.lock().unwrap(), "{what:?}\n{what:#?}").unwrap();
    }

    fn error(&self, error: &Error) {
        self.debug(error);
        writeln!(self.0.lock().unwrap(), "{error}").unwrap();
        let mut source = error.source();
        while let Some(cause) = source {
            writeln!(self.0.lock().unwrap(), "{cause}\n{cause:?}").unwrap();
            source = cause.source();
        }
    }
}

impl Observer for Said {
    fn event(&self, event: &Event<'_>) {
        self.debug(event);
        match event {
            Event::Answered { key, .. } | Event::Unreadable { key, .. } => {
                writeln!(self.0.lock().unwrap(), "{key} {key:?}").unwrap();
            }
            Event::BackendFailed { error, .. } | Event::NotStored { error, .. } => self.error(error),
            _ => {}
        }
    }
}

/// A type that postcard writes and cannot read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
enum Loose {
    Text(String),
}

#[tokio::test]
async fn no_output_holds_a_key_a_value_or_a_name() {
    listen();
    let (said, master, previous) = (Arc::new(Said::default()), "c0ffee11".repeat(8), "badcafe2".repeat(8));
    for fail_closed in [false, true] {
        run(&said, &master, &previous, fail_closed).await;
    }
    let text = said.0.lock().unwrap().clone() + &heard();
    assert!(text.contains("Unauthentic") && text.contains("backend failed") && text.contains("answered"), "{text}");
    assert!(text.contains("NotStored") && text.contains("Warning"), "{text}");
    let bytes = |hex: &str| -> String {
        let pairs =
            hex.as_bytes()[..8].chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap());
        pairs.map(|byte| byte.to_string()).collect::<Vec<_>>().join(", ")
    };
    let one_a_line = |list: String| list.replace(", ", ",\n");
    let secrets = [VALUE, NAME, TENANT, "hush", &master[..8], &previous[..8], "104, 117, 115, 104"];
    for secret in secrets {
        assert!(!text.to_lowercase().contains(secret), "`{secret}` was said: {text}");
    }
    let flat: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for list in [bytes(&master), bytes(&previous)] {
        assert!(!flat.contains(&list) && !flat.contains(&one_a_line(list)), "{flat}");
    }
}

/// A value that stays larger than the largest one when it is compressed.
fn large() -> String {
    (0..2_000u32).map(|index| format!("{VALUE}{:08x}", index.wrapping_mul(0x9e37_79b9))).collect()
}

async fn run(said: &Arc<Said>, master: &str, previous: &str, fail_closed: bool) {
    let environment =
        Environment::from_vars([("CACHEKIT_MASTER_KEY", master), ("CACHEKIT_PREVIOUS_MASTER_KEYS", previous)]);
    let keyring = Keyring::from_environment(&environment).unwrap();
    said.debug(&environment);
    said.debug(&keyring);
    said.debug(&Encrypted::new(Postcard, keyring.clone()));
    let chaos = Chaos::new(Memory::new(4 << 20));
    let control = chaos.control();
    // A plain cache that was given keys warns.
    let plain = CacheBuilder::from_environment(environment.clone()).l1_only().observer(Arc::clone(said) as _);
    said.debug(&plain.build().unwrap());
    let builder = CacheBuilder::from_environment(environment)
        .intent(Intent::Secure)
        .keyring(keyring)
        .backend(chaos)
        .observer(Arc::clone(said) as _)
        .tracing(Tracing::Verbose)
        .fail_closed(fail_closed)
        .max_value_size(4_096)
        .namespace("quiet");
    said.debug(&builder);
    let cache = builder.build().unwrap();
    let tenant = cache.tenant(TENANT).unwrap();
    for cache in [&cache, &tenant] {
        said.debug(cache);
        said.debug(cache.policy());
        said.debug(&cache.entry(NAME).tags([NAME]));
        said.debug(&cache.entry(NAME).tags([NAME]).set(VALUE.to_owned()).await);
        for fault in
            [Fault::Refuse, Fault::FailAfter, Fault::Truncate(90), Fault::Flip(8 * 70), Fault::Flip(3), Fault::Lose]
        {
            control.inject(Operation::Get, fault.clone());
            let value = Sensitive::new(VALUE.to_owned());
            said.debug(&value);
            let entry = || cache.entry(NAME).skip_l1_read();
            said.debug(&entry().get_or_compute(move || async move { Ok::<_, Broken>(value) }).await.err());
            if let Err(error) = entry().get::<Sensitive<String>>().await {
                said.error(&error);
            }
            control.heal();
            control.inject(Operation::Set, fault);
            if let Err(error) = cache.set(NAME, VALUE.to_owned()).await {
                said.error(&error);
            }
            control.heal();
        }
        let refused = |error: Error, kind: ErrorKind| {
            assert_eq!(error.kind(), kind, "{error}");
            said.error(&error);
        };
        let (computed, explicit) = (large(), large());
        said.debug(&cache.get_or_compute((NAME, 1), move || async move { Ok::<_, Broken>(computed) }).await.err());
        refused(cache.set((NAME, 2), explicit).await.unwrap_err(), ErrorKind::TooLarge);
        refused(cache.set((NAME, 3), Loose::Text(VALUE.into())).await.unwrap_err(), ErrorKind::Encode);
        refused(cache.set(NAME.repeat(10_000), 1u32).await.unwrap_err(), ErrorKind::Key);
        said.error(&cache.tenant(&TENANT.repeat(100)).unwrap_err());
        let panics =
            cache.get_or_compute((NAME, 4), || async { panic!("a computation may panic") as Result<u32, Broken> });
        said.debug(&panics.await);
        let fails = cache.get_or_compute((NAME, 5), || async { Err::<u32, _>(Broken("down")) });
        said.debug(&fails.await);
        if let Err(error) = cache.invalidate_tag(NAME).await {
            said.error(&error);
        }
    }
    said.debug(&tenant.close(Duration::from_secs(10)).await);
    said.debug(&cache);
    said.debug(&cache.stats());
}
