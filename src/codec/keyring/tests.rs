//! Derivation against the Python library, and what keyrings keep.

use std::sync::{Arc, Mutex};

use super::{DataKey, Domain, Keyring, derive};
use crate::builder::CacheBuilder;
use crate::codec::aad::Binding;
use crate::event::{Event, Observer};
use crate::intent::Secure;
use crate::key::Tenant;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn tenant(id: &str) -> Tenant {
    Tenant::new(id).unwrap()
}

const UUID: &str = "00000000-0000-4000-8000-000000000001";

#[test]
fn keys_are_derived_as_the_python_library_does() {
    let master = [0xaa; 32];
    let key = |id| hex(&derive(&master, Domain::Encryption, &tenant(id))[..]);
    assert_eq!(key("default"), "d0df9158ea330df365d7268b7800bad21ec4c7203f6fc1c9e031c48dce056fcf");
    assert!(key(UUID).starts_with("a0b95fd1356fe26d"));
    assert_eq!(tenant("default"), Tenant::default());
    let keyring = Keyring::from_bytes(&master).unwrap();
    assert_eq!(keyring.fingerprint(), "771e9efb32bb765d594b70713c8f47e0");
    assert_eq!(hex(&keyring.tenant(&tenant("default")).current.id), "771e9efb");
    assert_eq!(hex(&keyring.tenant(&tenant(UUID)).current.id), "9d89e9d8");
    assert_eq!(super::data::fingerprint_of(&master, &tenant(UUID)), "9d89e9d8486e21ceae7e0ab1b74318d3");
}

#[test]
fn purposes_have_keys_of_their_own() {
    let (master, tenant) = ([0xaa; 32], Tenant::default());
    assert_ne!(derive(&master, Domain::Encryption, &tenant), derive(&master, Domain::CacheKeys, &tenant));
}

#[test]
fn associated_data_is_that_of_the_python_library() {
    let mut out = b"what was there".to_vec();
    Binding::new("default", "msgpack", true).write(&mut out, "ns:users:k", &[b"msgpack"]);
    let expected = "03\
        0000000764656661756c74\
        0000000a6e733a75736572733a6b\
        000000076d73677061636b\
        0000000454727565\
        000000076d73677061636b";
    assert_eq!(hex(&out), expected);
    // Interop entries have four parts.
    Binding::new("default", "msgpack", false).write(&mut out, "ns:users:k", &[]);
    assert_eq!(hex(&out), expected.replace("0000000454727565000000076d73677061636b", "0000000546616c7365"));
}

#[test]
fn no_byte_moves_between_the_parts_of_associated_data() {
    let written = |tenant, key, format, further: &[&[u8]]| {
        let mut out = Vec::new();
        Binding::new(tenant, format, false).write(&mut out, key, further);
        out
    };
    let all = [
        written("a", "bc", "d", &[b"e"]),
        written("ab", "c", "d", &[b"e"]),
        written("a", "b", "cd", &[b"e"]),
        written("a", "bc", "de", &[b""]),
        written("a", "bc", "de", &[]),
        written("a", "bc", "d", &[b"", b"e"]),
        written("a", "bc", "d", &[b"e", b""]),
    ];
    for (index, one) in all.iter().enumerate() {
        assert!(all[..index].iter().all(|other| other != one), "{index}");
    }
}

#[test]
fn the_keys_of_256_tenants_are_kept() {
    let keyring = Keyring::from_bytes(&[1; 32]).unwrap();
    let first = keyring.tenant(&tenant("0"));
    for id in 1..256 {
        keyring.tenant(&tenant(&id.to_string()));
    }
    assert!(Arc::ptr_eq(&first, &keyring.tenant(&tenant("0"))), "used again, so that 1 is the oldest now");
    let second = keyring.tenant(&tenant("1"));
    keyring.tenant(&tenant("256"));
    keyring.tenant(&tenant("257"));
    assert!(Arc::ptr_eq(&first, &keyring.tenant(&tenant("0"))));
    assert!(Arc::ptr_eq(&second, &keyring.tenant(&tenant("1"))));
    assert_eq!(keyring.0.tenants.lock().unwrap().len(), 256);
}

#[derive(Debug, Default)]
struct Warnings(Mutex<Vec<String>>);

impl Observer for Warnings {
    fn event(&self, event: &Event<'_>) {
        if let Event::Warning { message, .. } = event {
            self.0.lock().unwrap().push((*message).to_owned());
        }
    }
}

/// The count is the key's, not the keyring's, and the cache tells of it long before it matters.
#[tokio::test]
async fn a_key_that_sealed_often_is_told_of() {
    let (warnings, key) = (Arc::new(Warnings::default()), [0x17; 32]);
    let keyring = || Keyring::from_bytes(&key).unwrap();
    let cache =
        CacheBuilder::new().intent(Secure).keyring(keyring()).observer(Arc::clone(&warnings) as _).build().unwrap();
    cache.set("before", 1u32).await.unwrap();
    assert_eq!(*warnings.0.lock().unwrap(), Vec::<String>::new());
    keyring().tenant(&Tenant::default()).current.pretend(DataKey::WORN - 2);
    cache.set("the last but one", 1u32).await.unwrap();
    assert_eq!(*warnings.0.lock().unwrap(), Vec::<String>::new());
    cache.set("the one", 1u32).await.unwrap();
    cache.set("after", 1u32).await.unwrap();
    let told = warnings.0.lock().unwrap().clone();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("268435456") && told[0].contains("rotate") && !told[0].contains("  "), "{told:?}");
    assert_eq!(cache.stats().warnings, 1);
    const { assert!(DataKey::WORN <= 1 << 30, "long before 2^32") };
    cache.tenant("another").unwrap().set("key", 1u32).await.unwrap();
    assert_eq!(warnings.0.lock().unwrap().len(), 1, "a tenant's key is another");
}
