//! Bytes that nest too deep or claim too much.

use std::collections::HashMap;

use cachekit::codec::{Checked, Compressed, Json, MessagePack, Postcard};
use cachekit::{Codec, ErrorKind};
use serde::{Deserialize, Serialize};

use super::{Untagged, context, decode, encode, for_each_codec, kind};

#[derive(Debug, Serialize, Deserialize)]
struct List {
    value: u32,
    next: Option<Box<List>>,
}

fn list(nodes: u32) -> List {
    (1..nodes).fold(List { value: 0, next: None }, |next, value| List { value, next: Some(Box::new(next)) })
}

#[test]
fn deep_nesting_is_an_error_not_a_stack_overflow() {
    for_each_codec!(|codec| {
        decode::<List>(&codec, &encode(&codec, &list(100))).unwrap();
        assert_eq!(kind(decode::<List>(&codec, &encode(&codec, &list(150)))), ErrorKind::Decode);
    });
    // value 0, then Some, over and over.
    let deep = [0, 1].repeat(1_000_000);
    let error = decode::<List>(&Postcard, &deep).unwrap_err();
    assert_eq!(error.to_string(), "the bytes nest more than 256 levels deep");
    assert_eq!(kind(decode::<serde_json::Value>(&Json, "[".repeat(1_000_000).as_bytes())), ErrorKind::Decode);
    assert_eq!(kind(decode::<serde_json::Value>(&MessagePack, &[0x91].repeat(1_000_000))), ErrorKind::Decode);
    #[derive(Debug, Deserialize)]
    struct Wrap(#[allow(dead_code, reason = "only read into")] Option<Box<Wrap>>);
    assert_eq!(kind(decode::<Wrap>(&Postcard, &[1].repeat(1_000_000))), ErrorKind::Decode);
    assert_eq!(kind(decode::<Wrap>(&MessagePack, &[7])), ErrorKind::Decode, "an option costs no byte here");
    assert_eq!(kind(decode::<Wrap>(&Json, b"7")), ErrorKind::Decode);
    // Untagged enums keep a copy of what they read: in debug builds that takes a lot of stack.
    assert_eq!(kind(decode::<Untagged>(&MessagePack, &[0x91].repeat(1_000_000))), ErrorKind::Decode);
}

/// A level of this takes tens of kilobytes of stack in a debug build.
#[derive(Debug, Serialize, Deserialize)]
struct Fat {
    numbers: [[u64; 32]; 4],
    name: String,
    inside: Vec<Fat>,
}

#[test]
fn deep_nesting_of_large_structs_does_not_overflow_the_stack() {
    let node = [&[0; 32 * 4][..], &[0, 1]].concat();
    assert_eq!(kind(decode::<Fat>(&Postcard, &node.repeat(1000))), ErrorKind::Decode);
    let flat = Fat { numbers: [[1; 32]; 4], name: "x".into(), inside: Vec::new() };
    decode::<Fat>(&Postcard, &encode(&Postcard, &flat)).unwrap();
}

#[test]
fn claimed_lengths_are_not_believed() {
    let huge = encode(&Postcard, &u64::MAX);
    for claim in [encode(&Postcard, &(1u64 << 30)), huge] {
        assert_eq!(kind(decode::<Vec<()>>(&Postcard, &claim)), ErrorKind::Decode);
        assert_eq!(kind(decode::<Vec<[(); 4]>>(&Postcard, &claim)), ErrorKind::Decode);
        assert_eq!(kind(decode::<HashMap<(), ()>>(&Postcard, &claim)), ErrorKind::Decode);
        assert_eq!(kind(decode::<Vec<u8>>(&Postcard, &claim)), ErrorKind::Decode);
        assert_eq!(kind(decode::<String>(&Postcard, &claim)), ErrorKind::Decode);
        assert_eq!(kind(decode::<Vec<[u64; 32]>>(&Postcard, &claim)), ErrorKind::Decode);
        assert_eq!(kind(decode::<HashMap<u64, [u64; 32]>>(&Postcard, &claim)), ErrorKind::Decode);
    }
    assert_eq!(decode::<Vec<()>>(&Postcard, &encode(&Postcard, &vec![(); 65_536])).unwrap().len(), 65_536);
    assert_eq!(kind(decode::<Vec<()>>(&Postcard, &encode(&Postcard, &65_540u32))), ErrorKind::Decode);
    let refused = Postcard.encode(&vec![(); 65_540], context(), &mut Vec::new()).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Encode, "what would not be read is not written");
    // Arrays, maps, strings and binaries that claim four billion elements.
    for marker in [0xDD, 0xDF, 0xDB, 0xC6] {
        let claim = [marker, 0xFF, 0xFF, 0xFF, 0xFF];
        assert_eq!(kind(decode::<Vec<u64>>(&MessagePack, &claim)), ErrorKind::Decode);
        assert_eq!(kind(decode::<Vec<()>>(&MessagePack, &claim)), ErrorKind::Decode);
        assert_eq!(kind(decode::<HashMap<String, [u64; 32]>>(&MessagePack, &claim)), ErrorKind::Decode);
        assert_eq!(kind(decode::<String>(&MessagePack, &claim)), ErrorKind::Decode);
        assert_eq!(kind(decode::<serde_json::Value>(&MessagePack, &claim)), ErrorKind::Decode);
    }
}

#[test]
fn claimed_lengths_do_not_allocate() {
    // Serde reserves a megabyte for a claimed length, unless it is told that there is no such length.
    let most = |work: &dyn Fn()| allocation_counter::measure(work).bytes_max;
    let claim = [encode(&Postcard, &(1u64 << 40)), vec![0; 100]].concat();
    assert!(most(&|| drop(decode::<Vec<[u64; 32]>>(&Postcard, &claim))) < 64 << 10);
    assert!(most(&|| drop(decode::<HashMap<u64, Vec<u64>>>(&Postcard, &claim))) < 64 << 10);
    let claim = [0xDD, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0];
    assert!(most(&|| drop(decode::<Vec<[u64; 32]>>(&MessagePack, &claim))) < 64 << 10);
    // One byte plain for each byte of stream is what these damaged streams give before they end.
    let stream = encode(&Compressed::new(Postcard), &"x".repeat(100_000));
    let mut bomb = stream[..stream.len() / 2].to_vec();
    bomb[1..5].copy_from_slice(&(40_000u32).to_be_bytes());
    assert!(most(&|| drop(decode::<String>(&Compressed::new(Postcard), &bomb))) < 1 << 20);
}
