//! The codec suite over the library's codecs, and over broken ones.

use cachekit::codec::{Checked, Compressed, Context, Json, MessagePack, Postcard};
use cachekit::testing::conformance::{CodecOptions, codec};
use cachekit::{Codec, Error, ErrorKind, Policy};
use serde::Serialize;
use serde::de::DeserializeOwned;

fn plain() -> CodecOptions {
    CodecOptions::new()
}

#[test]
fn base_codecs_keep_the_contract() {
    assert_eq!(codec(&Postcard, plain()).len(), 6);
    assert_eq!(codec(&MessagePack, plain()).len(), 6);
    assert_eq!(codec(&Json, plain()).len(), 6);
}

#[test]
fn compressed_keeps_the_contract() {
    assert_eq!(codec(&Compressed::new(Postcard), plain()).len(), 6);
    assert_eq!(codec(&Compressed::new(Json), plain()).len(), 6);
    assert_eq!(codec(&Compressed::new(Checked::new(MessagePack)), plain()).len(), 6);
}

#[test]
fn checked_keeps_the_contract_and_binds_its_context() {
    assert_eq!(codec(&Checked::new(Postcard), plain().binds_context()).len(), 8);
    assert_eq!(codec(&Checked::new(Compressed::new(MessagePack)), plain().binds_context()).len(), 8);
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Defect {
    None,
    ChangesText,
    ClearsTheBuffer,
    IgnoresTheRest,
    PanicsOnNothing,
    QuotesTheValue,
    KnowsNoLimit,
    BindsNothing,
    BindsOnlyTheContext,
}

const DEFECTS: &[(Defect, &str)] = &[
    (Defect::ChangesText, "`decode` of what `encode` wrote gives an equal value."),
    (Defect::ClearsTheBuffer, "`encode` appends to `out`, and leaves what was there."),
    (Defect::IgnoresTheRest, "`decode` reads all of `bytes`."),
    (Defect::PanicsOnNothing, "`decode` never panics, whatever the bytes."),
    (Defect::QuotesTheValue, "An error of `decode` does not tell the value."),
    (Defect::KnowsNoLimit, "`decode` builds no value larger than its context allows."),
    (Defect::BindsNothing, "A codec that binds its context refuses bytes written under another."),
    (Defect::BindsOnlyTheContext, "A codec that binds its context refuses changed bytes."),
];

#[test]
fn every_defect_is_found() {
    for (defect, sentence) in DEFECTS {
        let complaint = run(*defect).expect_err(&format!("{defect:?} was not found"));
        let expected = format!("codec `broken` breaks its contract: \"{sentence}\"");
        assert!(complaint.starts_with(&expected), "{defect:?} gave: {complaint}");
    }
}

#[test]
fn every_sentence_finds_a_defect() {
    let kept = run(Defect::None).unwrap();
    assert_eq!(kept.len(), 8);
    assert!(kept.iter().all(|sentence| DEFECTS.iter().any(|(_, found_by)| found_by == sentence)), "{kept:?}");
}

#[test]
fn a_confidential_codec_must_hide_the_value() {
    let run = || codec(&Glass, plain());
    let panic = std::thread::spawn(run).join().unwrap_err().downcast::<String>().unwrap();
    let expected = "codec `glass` breaks its contract: \"The bytes of a confidential codec hide the value.\"";
    assert!(panic.starts_with(expected), "{panic}");
}

fn run(defect: Defect) -> Result<Vec<&'static str>, String> {
    let suite = std::thread::spawn(move || codec(&Broken(defect), plain().binds_context()));
    suite.join().map_err(|panic| *panic.downcast::<String>().unwrap())
}

/// JSON and a checksum, with one defect.
#[derive(Debug, Clone, Copy)]
struct Broken(Defect);

impl Broken {
    fn sum(self, context: Context<'_>, body: &[u8]) -> [u8; 8] {
        let (key, header) = (context.key().as_bytes(), context.header());
        let lengths = [key.len() as u8, header.len() as u8];
        let parts: [&[u8]; 4] = match self.0 {
            Defect::BindsNothing => [&[], &[], &[], body],
            Defect::BindsOnlyTheContext => [&lengths, key, header, &[]],
            _ => [&lengths, key, header, body],
        };
        let fnv = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        parts.concat().iter().fold(0xcbf2_9ce4_8422_2325, fnv).to_be_bytes()
    }
}

impl Codec for Broken {
    const CONFIDENTIAL: bool = false;

    fn name(&self) -> String {
        "broken".into()
    }

    fn configure(&mut self, _: &Policy) -> Result<(), Error> {
        Ok(())
    }

    fn encode<T: Serialize>(&self, value: &T, context: Context<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        let mut body = serde_json::to_string(value).map_err(|_| Error::new(ErrorKind::Encode, "not JSON"))?;
        match self.0 {
            Defect::ChangesText => body = body.replace("plain", "plane"),
            Defect::ClearsTheBuffer => out.clear(),
            _ => {}
        }
        out.extend(self.sum(context, body.as_bytes()));
        out.extend(body.as_bytes());
        Ok(())
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8], context: Context<'_>) -> Result<T, Error> {
        let unauthentic = Error::new(ErrorKind::Unauthentic, "damaged");
        let (sum, mut body) = match bytes.split_first_chunk() {
            Some(parts) => parts,
            None if self.0 == Defect::PanicsOnNothing => panic!("at {}", bytes[7]),
            None => return Err(unauthentic),
        };
        if self.0 == Defect::IgnoresTheRest {
            let mut values = serde_json::Deserializer::from_slice(body).into_iter::<serde_json::Value>();
            let _ = values.next();
            body = &body[..values.byte_offset()];
        }
        if *sum != self.sum(context, body) {
            return Err(unauthentic);
        }
        match self.0 {
            Defect::QuotesTheValue => serde_json::from_slice(body)
                .map_err(|error| Error::with_source(ErrorKind::Decode, "not this type", error)),
            Defect::KnowsNoLimit => {
                serde_json::from_slice(body).map_err(|_| Error::new(ErrorKind::Decode, "not this type"))
            }
            _ => {
                let mut format = serde_json::Deserializer::from_slice(body);
                let value = context.read(body, &mut format)?;
                format.end().map(|()| value).map_err(|_| Error::new(ErrorKind::Decode, "more than a value"))
            }
        }
    }
}

/// Says that it hides what it does not.
#[derive(Debug, Clone, Copy)]
struct Glass;

impl Codec for Glass {
    const CONFIDENTIAL: bool = true;

    fn name(&self) -> String {
        "glass".into()
    }

    fn configure(&mut self, _: &Policy) -> Result<(), Error> {
        Ok(())
    }

    fn encode<T: Serialize>(&self, value: &T, context: Context<'_>, out: &mut Vec<u8>) -> Result<(), Error> {
        Broken(Defect::None).encode(value, context, out)
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8], context: Context<'_>) -> Result<T, Error> {
        Broken(Defect::None).decode(bytes, context)
    }
}
