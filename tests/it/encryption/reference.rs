//! A second implementation, written from the format's description alone.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use cachekit::codec::{Compressed, Encrypted, Json, Keyring, MessagePack, Postcard};
use cachekit::testing::conformance::{CodecOptions, codec};
use cachekit::{CacheBuilder, Intent};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};

use super::{Spy, keyring, secure};

/// Bytes in front of the codec's output of an entry without tags.
const HEADER: usize = 86;

fn derived(master: &[u8], domain: &str, tenant: &str) -> [u8; 32] {
    let mut salt = b"cachekit_v1_".to_vec();
    salt.push(u8::try_from(domain.len()).unwrap());
    salt.extend(domain.as_bytes());
    salt.extend(u16::try_from(tenant.len()).unwrap().to_be_bytes());
    salt.extend(tenant.as_bytes());
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(Some(&salt), master).expand(domain.as_bytes(), &mut key).unwrap();
    key
}

fn fingerprint(key: &[u8; 32]) -> Vec<u8> {
    Sha256::digest([b"key_fingerprint_v1", &key[..]].concat())[..16].to_vec()
}

fn associated(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![3];
    for part in parts {
        out.extend(u32::try_from(part.len()).unwrap().to_be_bytes());
        out.extend(*part);
    }
    out
}

/// Decrypts an entry. Returns its header, too.
fn opened(entry: &[u8], master: &[u8], tenant: &str, key: &str, format: &str, compressed: &str) -> (Vec<u8>, Vec<u8>) {
    let (header, body) = entry.split_at(HEADER);
    let (id, sealed) = body.split_at(4);
    let (nonce, sealed) = sealed.split_at(12);
    let secret = derived(master, "encryption", tenant);
    assert_eq!(id, &fingerprint(&secret)[..4]);
    let parts = [tenant.as_bytes(), key.as_bytes(), format.as_bytes(), compressed.as_bytes(), header, id];
    let payload = Payload { msg: sealed, aad: &associated(&parts) };
    let plain = Aes256Gcm::new_from_slice(&secret).unwrap().decrypt(Nonce::from_slice(nonce), payload).unwrap();
    (header.to_vec(), plain)
}

#[test]
fn the_reference_knows_the_vectors_of_the_python_library() {
    let key = derived(&[0xaa; 32], "encryption", "default");
    assert_eq!(key[..4], [0xd0, 0xdf, 0x91, 0x58]);
    assert_eq!(key[28..], [0xce, 0x05, 0x6f, 0xcf]);
    assert_eq!(fingerprint(&key)[..4], [0x77, 0x1e, 0x9e, 0xfb]);
    assert_eq!(keyring(0xaa).fingerprint(), "771e9efb32bb765d594b70713c8f47e0");
}

#[tokio::test]
async fn the_reference_decrypts_what_is_stored() {
    let spy = Spy::new();
    let cache = secure(&spy, keyring(0xaa));
    for (cache, tenant, name) in [
        (cache.clone(), "default", "users:42"),
        (cache.tenant("acme corp").unwrap(), "acme corp", "users:@acme%20corp:42"),
        (cache.tenant("default").unwrap(), "default", "users:@default:42"),
    ] {
        cache.set("42", "ada".to_owned()).await.unwrap();
        let (key, entry) = spy.last();
        assert_eq!((key.as_str(), entry.len()), (name, HEADER + 4 + 12 + 4 + 16));
        assert_eq!(opened(&entry, &[0xaa; 32], tenant, name, "postcard", "False").1, b"\x03ada");
    }
}

/// Any master key from 32 bytes on, any codec inside.
#[tokio::test]
async fn longer_keys_and_other_stacks_are_the_same_format() {
    let (spy, master) = (Spy::new(), [0x5c; 47]);
    let codec = Encrypted::new(Compressed::new(MessagePack), Keyring::from_bytes(&master).unwrap());
    let cache = CacheBuilder::new().intent(Intent::Test).codec(codec).backend(spy.clone()).namespace("users");
    cache.build().unwrap().set("42", "ada".to_owned()).await.unwrap();
    let (key, entry) = spy.last();
    let (_, plain) = opened(&entry, &master, "default", &key, "compressed(messagepack)", "True");
    assert_eq!(plain, b"\0\xa3ada");
}

#[tokio::test]
async fn what_the_reference_encrypts_is_read() {
    let spy = Spy::new();
    let cache = secure(&spy, keyring(0xaa));
    cache.set("42", "ada".to_owned()).await.unwrap();
    let (header, _) = opened(&spy.last().1, &[0xaa; 32], "default", "users:42", "postcard", "False");
    let secret = derived(&[0xaa; 32], "encryption", "default");
    let id = &fingerprint(&secret)[..4];
    let aad = associated(&[b"default", b"users:42", b"postcard", b"False", &header, id]);
    let payload = Payload { msg: b"\x05grace", aad: &aad };
    let sealed = Aes256Gcm::new_from_slice(&secret).unwrap().encrypt(Nonce::from_slice(&[9; 12]), payload).unwrap();
    spy.answer([&header, id, &[9; 12], &sealed].concat());
    assert_eq!(cache.entry("42").skip_l1_read().get::<String>().await.unwrap().as_deref(), Some("grace"));
}

#[test]
fn encrypted_keeps_the_contract_of_codecs() {
    let binding = || CodecOptions::new().binds_context();
    assert_eq!(codec(&Encrypted::new(Postcard, keyring(1)), binding()).len(), 9);
    assert_eq!(codec(&Encrypted::new(Json, keyring(1)), binding()).len(), 9);
    assert_eq!(codec(&Encrypted::new(Compressed::new(MessagePack), keyring(1)), binding()).len(), 9);
}
