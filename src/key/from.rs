//! Reading keys back from their text.

use std::str::FromStr;

use super::{IntoKey, KeyPart};

/// A key that can be read back from its parts: a [`KeyPart`] that can be parsed from what it writes, or a tuple of two to
/// six of these.
///
/// [`LoadingCache::warm_up`](crate::LoadingCache::warm_up) needs it to load entries of which only the names are left.
/// Integers, `bool`, `char`, `String` and IP addresses are such keys. A type of your own is one once it implements
/// [`FromStr`] beside [`KeyPart`].
///
/// # Examples
/// ```
/// use std::str::FromStr;
/// use cachekit::{FromKey, KeyPart, PartWriter};
///
/// #[derive(Debug, PartialEq)]
/// struct UserId(u64);
///
/// impl KeyPart for UserId {
///     fn write_part(&self, part: &mut PartWriter<'_>) {
///         self.0.write_part(part);
///     }
/// }
///
/// impl FromStr for UserId {
///     type Err = std::num::ParseIntError;
///
///     fn from_str(text: &str) -> Result<Self, Self::Err> {
///         text.parse().map(UserId)
///     }
/// }
///
/// assert_eq!(UserId::from_parts(&["7"]), Some(UserId(7)));
/// assert_eq!(<(String, UserId)>::from_parts(&["eu", "7"]), Some(("eu".to_owned(), UserId(7))));
/// assert_eq!(UserId::from_parts(&["eu", "7"]), None);
/// ```
pub trait FromKey: IntoKey + Sized {
    /// The key that writes these parts. `None` if there is none.
    fn from_parts(parts: &[&str]) -> Option<Self>;
}

impl<P: KeyPart + FromStr> FromKey for P {
    fn from_parts(parts: &[&str]) -> Option<Self> {
        let [part] = parts else { return None };
        part.parse().ok()
    }
}

macro_rules! tuples_from_keys {
    ($(($($name:ident $part:ident)*))*) => {$(
        impl<$($name: KeyPart + FromStr),*> FromKey for ($($name,)*) {
            fn from_parts(parts: &[&str]) -> Option<Self> {
                let [$($part),*] = parts else { return None };
                Some(($($part.parse().ok()?,)*))
            }
        }
    )*};
}
tuples_from_keys! {
    (A a B b)
    (A a B b C c)
    (A a B b C c D d)
    (A a B b C c D d E e)
    (A a B b C c D d E e F f)
}

/// The key of this text, which is escaped and has neither namespace nor domain.
pub(crate) fn from_text<K: FromKey>(text: &str) -> Option<K> {
    let parts: Vec<String> = text.split('/').map(unescape).collect::<Option<_>>()?;
    K::from_parts(&parts.iter().map(String::as_str).collect::<Vec<_>>())
}

fn unescape(part: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(part.len()), part.as_bytes());
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |byte: &u8| char::from(*byte).to_digit(16);
                bytes.push((digit(high)? * 16 + digit(low)?) as u8);
                after
            }
            (b'%', _) => return None,
            (plain, after) => {
                bytes.push(*plain);
                after
            }
        };
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::key::Key;

    fn back<K: FromKey>(key: K) -> Option<K> {
        let text = Key::new("n", key).unwrap();
        from_text(text.as_str().split_once(':')?.1)
    }

    #[test]
    fn keys_are_read_back_from_what_they_write() {
        assert_eq!(back(-42i64), Some(-42));
        assert_eq!(back("grüße: 100 %/~#+@".to_owned()), Some("grüße: 100 %/~#+@".to_owned()));
        assert_eq!(back('é'), Some('é'));
        let ip: IpAddr = "::1".parse().unwrap();
        assert_eq!(back((ip, true, String::new(), 7u8)), Some((ip, true, String::new(), 7)));
        assert_eq!(back("x".repeat(300)).map(|text| text.len() == 300), Some(false), "a shortened key is another one");
    }

    #[test]
    fn other_texts_give_no_key() {
        assert_eq!(from_text::<u64>("seven"), None);
        assert_eq!(from_text::<u64>("1/2"), None);
        assert_eq!(from_text::<(u64, u64)>("1"), None);
        for bad in ["%", "%4", "%zz", "%FF"] {
            assert_eq!(from_text::<String>(bad), None, "{bad}");
        }
    }
}
