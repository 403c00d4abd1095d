//! Rules: what each command may be answered.

/// Types of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Types(u16);

impl Types {
    pub(super) const NONE: Self = Self(0);
    const STATUS: Self = Self(1);
    const NUMBER: Self = Self(1 << 1);
    const BULK: Self = Self(1 << 2);
    const ARRAY: Self = Self(1 << 3);
    const MAP: Self = Self(1 << 4);
    const NULL: Self = Self(1 << 5);
    const VERBATIM: Self = Self(1 << 6);
    const ERROR: Self = Self(1 << 7);
    /// What Redis sends and no command of this backend asks for: sets, doubles, booleans.
    const OTHER: Self = Self(1 << 8);
    /// A value, or that there is none.
    const VALUE: Self = Self::BULK.or(Self::NULL);
    /// What a script says of one entry.
    const DECISION: Self = Self::NUMBER.or(Self::BULK);
    const LIST: Self = Self::ARRAY.or(Self::MAP).or(Self::NULL);
    pub(super) const ANY: Self =
        Self::VALUE.or(Self::LIST).or(Self::STATUS).or(Self::NUMBER).or(Self::VERBATIM).or(Self::OTHER);

    const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The type that begins with this byte. Attributes, big numbers and streamed strings are none that is taken.
    pub(super) fn of(byte: u8) -> Self {
        match byte {
            b'+' => Self::STATUS,
            b':' => Self::NUMBER,
            b'$' => Self::BULK,
            b'*' => Self::ARRAY,
            b'%' => Self::MAP,
            b'_' => Self::NULL,
            b'=' => Self::VERBATIM,
            b'-' | b'!' => Self::ERROR,
            b'~' | b',' | b'#' => Self::OTHER,
            _ => Self::NONE,
        }
    }

    /// Whether this type is among these. An error may stand in place of any answer.
    pub(super) fn is_in(self, types: Self) -> bool {
        self.0 & (types.0 | Self::ERROR.0) != 0
    }
}

/// What an answer may be.
#[derive(Debug, PartialEq)]
pub(super) struct Rule {
    pub(super) types: Types,
    pub(super) parts: Parts,
    pub(super) most: Most,
}

/// What the parts of an answer may be.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Parts {
    /// So many, of these types.
    Each(u32, Types),
    /// One for each command of a transaction.
    Transaction(Vec<Types>),
    Any,
}

/// How much an answer may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Most {
    /// Entries: each as long as callers take, and all together not more than one such beside so many short ones.
    Entries(u32),
    /// So many bytes in all, of which so many in one string.
    Bytes { all: usize, each: usize },
}

impl Most {
    const SMALL: Self = Self::Bytes { all: 64 << 10, each: 64 << 10 };
    /// The table of a cluster's slots.
    const TABLE: Self = Self::Bytes { all: 1 << 20, each: 1 << 10 };

    /// Entries of streams: a thousand messages, and some of each stream.
    const fn messages(streams: usize) -> Self {
        Self::Bytes { all: (2 << 20) + (streams << 11), each: MESSAGE }
    }
}

/// The keys of a script about an entry: those of the entry, of its lock, and of the mark of who waits for that.
pub(in super::super) const KEYS: u32 = 3;

/// The longest message of a bus, in bytes.
const MESSAGE: usize = 1 << 10;

impl Rule {
    /// What the server says by itself of what was changed.
    pub(super) const PUSH: Self = Self::of(Types::NONE, Most::Bytes { all: 1 << 20, each: 1 << 10 });
    /// The answer to a command within a transaction, which is carried out later. Where a proxy has no transactions, it
    /// is carried out at once.
    pub(super) fn queued(types: Types) -> Self {
        Self::of(types.or(Types::STATUS), Most::SMALL)
    }

    pub(super) fn transaction(parts: Vec<Types>) -> Self {
        Self { types: Types::ARRAY.or(Types::NULL), parts: Parts::Transaction(parts), most: Most::SMALL }
    }

    /// Whether it is what streams hold, which any program may have appended.
    pub(super) fn is_of_streams(&self) -> bool {
        matches!(self.most, Most::Bytes { each: MESSAGE, .. }) && self.types == Types::LIST
    }

    /// It is the answer to a script about so many keys. Where those can be several entries, it may say something of each.
    pub(super) fn is_about(&mut self, keys: u32) {
        let entries = keys / KEYS;
        if keys.is_multiple_of(KEYS) && entries > 1 {
            let (types, parts) = (Types::DECISION.or(Types::ARRAY), Parts::Each(entries, Types::DECISION));
            *self = Self { types, parts, most: Most::Entries(entries) };
        }
    }

    const fn of(types: Types, most: Most) -> Self {
        Self { types, parts: Parts::Any, most }
    }

    /// What the command of this name is answered, which has so many arguments.
    pub(super) fn to(command: &[u8], arguments: usize) -> Self {
        let count = u32::try_from(arguments).unwrap_or(u32::MAX);
        match command {
            b"GET" => Self::of(Types::VALUE, Most::Entries(1)),
            b"MGET" => {
                Self { types: Types::ARRAY, parts: Parts::Each(count, Types::VALUE), most: Most::Entries(count) }
            }
            b"SET" => Self::of(Types::STATUS.or(Types::VALUE), Most::SMALL),
            b"MULTI" | b"AUTH" | b"SELECT" | b"ASKING" => Self::of(Types::STATUS, Most::SMALL),
            b"DEL" | b"UNLINK" | b"EXISTS" | b"PEXPIRE" | b"PTTL" | b"STRLEN" => Self::of(Types::NUMBER, Most::SMALL),
            // A lease is answered with the entry, if there is one.
            b"EVAL" | b"EVALSHA" => Self::of(Types::DECISION, Most::Entries(1)),
            b"XADD" | b"ECHO" => Self::of(Types::BULK, Most::SMALL),
            b"XREAD" | b"XRANGE" | b"XINFO" => Self::of(Types::LIST, Most::messages(arguments)),
            b"PING" => Self::of(Types::STATUS.or(Types::BULK), Most::SMALL),
            b"INFO" => Self::of(Types::BULK.or(Types::VERBATIM), Most::SMALL),
            b"HELLO" | b"ROLE" | b"SENTINEL" => Self::of(Types::LIST, Most::SMALL),
            b"SCAN" => Self::of(Types::ARRAY, Most::TABLE),
            b"CLUSTER" => Self::of(Types::ARRAY, Most::TABLE),
            _ => Self::of(Types::ANY, Most::SMALL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_may_replace_any_answer_and_a_push_may_replace_none() {
        for command in [&b"GET"[..], b"MGET", b"SET", b"DEL", b"XREAD", b"PING", b"CLIENT", b"CLUSTER"] {
            let rule = Rule::to(command, 1);
            assert!(Types::of(b'-').is_in(rule.types) && Types::of(b'!').is_in(rule.types));
            assert!(b">|(;?.\0".iter().all(|byte| !Types::of(*byte).is_in(rule.types)));
        }
    }

    #[test]
    fn no_two_kinds_of_commands_share_an_answer() {
        let fits = |command: &[u8], byte| Types::of(byte).is_in(Rule::to(command, 1).types);
        for (command, taken) in [(&b"GET"[..], b"$_"), (b"DEL", b"::"), (b"MGET", b"**"), (b"MULTI", b"++")] {
            assert!(taken.iter().all(|byte| fits(command, *byte)));
            assert!(b"+:$*%_".iter().filter(|byte| !taken.contains(byte)).all(|byte| !fits(command, *byte)));
        }
    }
}
