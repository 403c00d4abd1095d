//! Compression: when it happens, and what it refuses to undo.

use cachekit::ErrorKind;
use cachekit::codec::{Checked, Compressed, Json, Postcard};

use super::{context, decode, encode, kind};

fn text() -> String {
    (0..2000u32).map(|n| format!("{{\"id\":{n},\"name\":\"user {}\"}}", n.wrapping_mul(2_654_435_761) % 977)).collect()
}

/// Bytes without any pattern.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    (0..len)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .collect()
}

#[test]
fn the_level_decides_the_size() {
    let size = |level| encode(&Compressed::new(Json).level(level), &text()).len();
    let plain = encode(&Json, &text()).len();
    assert!(size(9) <= size(6) && size(6) < size(1) && size(1) < plain / 2, "{} {} {}", size(9), size(6), size(1));
    assert_eq!(encode(&Compressed::new(Json), &text()).len(), size(6), "6 is the default");
}

#[test]
fn small_values_stay_plain_up_to_the_threshold() {
    let plain = |codec: &Compressed<Postcard>, len| encode(codec, &vec![7u8; len])[0] == 0;
    let codec = Compressed::new(Postcard);
    // Two bytes are the length.
    assert!(plain(&codec, Compressed::<Postcard>::THRESHOLD - 2));
    assert!(!plain(&codec, Compressed::<Postcard>::THRESHOLD - 1));
    assert!(plain(&codec.threshold(100_000), 50_000));
    assert!(!plain(&codec.threshold(64), 100));
}

#[test]
fn disabled_writes_plain_and_still_reads_both() {
    let (on, off) = (Compressed::new(Postcard), Compressed::new(Postcard).enabled(false));
    let written = encode(&off, &text());
    assert_eq!(written[1..], encode(&Postcard, &text()));
    assert_eq!(decode::<String>(&off, &encode(&on, &text())).unwrap(), text());
    assert_eq!(decode::<String>(&on, &written).unwrap(), text());
}

#[test]
fn what_does_not_shrink_stays_plain() {
    let codec = Compressed::new(Postcard);
    let bytes = encode(&codec, &noise(10_000));
    assert_eq!(bytes.len(), 1 + 2 + 10_000);
    assert_eq!(decode::<Vec<u8>>(&codec, &bytes).unwrap(), noise(10_000));
    for len in 0..40 {
        let bytes = encode(&codec.threshold(0), &noise(len));
        assert!(bytes.len() <= len + 2, "never more than one byte is added");
    }
}

#[test]
fn what_shrinks_too_much_stays_plain_and_reads() {
    let codec = Compressed::new(Postcard);
    let zeros = "\0".repeat(4 << 20);
    assert_eq!(decode::<String>(&codec, &encode(&codec, &zeros)).unwrap(), zeros);
    assert_eq!(decode::<String>(&codec.level(9), &encode(&codec.level(9), &zeros)).unwrap(), zeros);
}

#[test]
fn the_bytes_do_not_depend_on_what_ran_before() {
    let codec = Checked::new(Compressed::new(Postcard));
    let first = encode(&codec, &text());
    let _ = encode(&codec, &"other ".repeat(50_000));
    let _ = encode(&Compressed::new(Postcard).level(1), &text());
    let _ = encode(&codec, &noise(100_000));
    let _ = decode::<String>(&Compressed::new(Postcard), &[1, 0, 0, 1, 0, 0x78, 0x9C, 3]);
    assert_eq!(encode(&codec, &text()), first);
    assert_eq!(std::thread::spawn(move || encode(&codec, &text())).join().unwrap(), first);
}

/// A compressed entry with another claimed length.
fn claiming(bytes: &[u8], length: u32) -> Vec<u8> {
    [&bytes[..1], &length.to_be_bytes(), &bytes[5..]].concat()
}

#[test]
fn bombs_and_lies_are_refused() {
    let codec = Compressed::new(Postcard);
    let good = encode(&codec, &text());
    assert_eq!(good[0], 1);
    let length = u32::from_be_bytes(good[1..5].try_into().unwrap());
    assert_eq!(decode::<String>(&codec, &claiming(&good, length)).unwrap(), text());
    let limit = u32::try_from(Compressed::<Postcard>::MAX_PLAIN).unwrap();
    let ratio = u32::try_from((good.len() - 5) * Compressed::<Postcard>::MAX_RATIO).unwrap();
    let most = u32::try_from(context().max_value_size()).unwrap();
    for claim in [0, 1, length - 1, length + 1, length * 2, ratio, ratio + 1, most] {
        assert_eq!(kind(decode::<String>(&codec, &claiming(&good, claim))), ErrorKind::Decode, "claims {claim}");
    }
    for claim in [most + 1, limit, limit + 1, u32::MAX] {
        assert_eq!(kind(decode::<String>(&codec, &claiming(&good, claim))), ErrorKind::TooLarge, "claims {claim}");
    }
    let error = decode::<String>(&codec, &claiming(&good, ratio + 1)).unwrap_err();
    assert!(error.to_string().contains("larger than compression allows"));
    assert_eq!(
        kind(decode::<String>(&codec, &[&good[..], b"x"].concat())),
        ErrorKind::Decode,
        "bytes after the stream"
    );
    assert_eq!(kind(decode::<String>(&codec, &[2, 0, 0])), ErrorKind::Decode, "an unknown way to compress");
    assert_eq!(kind(decode::<String>(&codec, &[])), ErrorKind::Decode);
}

#[test]
fn a_claim_of_64_mib_of_zeros_is_refused_before_it_is_inflated() {
    // 64 MiB of zeros are 65 KiB of zlib: more than 1,000 to one.
    let zeros = vec![0u8; 64 << 20];
    let mut state = flate2::Compress::new(flate2::Compression::new(9), true);
    let mut stream = Vec::with_capacity(1 << 20);
    state.compress_vec(&zeros, &mut stream, flate2::FlushCompress::Finish).unwrap();
    let bomb = [&[1][..], &(64u32 << 20).to_be_bytes(), &stream].concat();
    let info = allocation_counter::measure(|| {
        assert_eq!(kind(decode::<Vec<u8>>(&Compressed::new(Postcard), &bomb)), ErrorKind::Decode);
    });
    assert!(info.bytes_max < 64 << 10, "{} bytes", info.bytes_max);
    let modest = [&[1][..], &1000u32.to_be_bytes(), &stream].concat();
    let info = allocation_counter::measure(|| {
        assert_eq!(kind(decode::<Vec<u8>>(&Compressed::new(Postcard), &modest)), ErrorKind::Decode);
    });
    assert!(info.bytes_max < 64 << 10, "what is inflated is bounded by the claim: {} bytes", info.bytes_max);
}
