//! The table: which node serves which slot.
//!
//! A cluster divides keys into 16,384 slots by a checksum, and each of its nodes can tell who serves which.

use redis::{Cmd, Value};

use crate::config::Host;

/// Slots in a row that one node serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: u16,
    pub(super) last: u16,
    pub(super) node: Host,
}

/// The last slot of every cluster.
const LAST: u16 = 16_383;

/// The question for the table.
pub(super) fn question() -> Cmd {
    let mut command = redis::cmd("CLUSTER");
    command.arg("SLOTS");
    command
}

/// The table in an answer of the node `asked`, in the order of the slots; `None` if the answer holds none.
pub(super) fn read(answer: &Value, asked: &Host) -> Option<Vec<Range>> {
    let Value::Array(rows) = answer else { return None };
    let mut ranges: Vec<Range> = rows.iter().filter_map(|row| range(row, asked)).collect();
    ranges.sort_by_key(|range| range.first);
    (!ranges.is_empty()).then_some(ranges)
}

/// A row: the first slot, the last one, the master, its replicas.
fn range(row: &Value, asked: &Host) -> Option<Range> {
    let Value::Array(row) = row else { return None };
    let [Value::Int(first), Value::Int(last), Value::Array(node), ..] = row.as_slice() else { return None };
    let [name, Value::Int(port), ..] = node.as_slice() else { return None };
    let slot = |number: &i64| u16::try_from(*number).ok().filter(|&slot| slot <= LAST);
    let (first, last) = (slot(first)?, slot(last)?);
    let name = match name {
        Value::BulkString(bytes) => std::str::from_utf8(bytes).ok()?,
        Value::SimpleString(text) => text,
        Value::Nil => "",
        _ => return None,
    };
    let node = host(name, u16::try_from(*port).ok()?, asked)?;
    (first <= last).then_some(Range { first, last, node })
}

/// The node that `MOVED` or `ASK` of the node `asked` names as `host:port`; an IPv6 address has no brackets there.
pub(super) fn destination(address: &str, asked: &Host) -> Option<Host> {
    let (name, port) = address.rsplit_once(':')?;
    host(name, port.parse().ok()?, asked)
}

/// A node that does not know its own name is meant by the name it was asked under.
fn host(name: &str, port: u16, asked: &Host) -> Option<Host> {
    let name = if matches!(name, "" | "?") { &asked.name } else { name };
    (port > 0).then(|| Host { name: name.into(), port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Host {
        Host { name: "seed".into(), port: 7000 }
    }

    fn row(first: i64, last: i64, name: Value, port: i64) -> Value {
        let node = Value::Array(vec![name, Value::Int(port), Value::BulkString(b"id".to_vec())]);
        Value::Array(vec![Value::Int(first), Value::Int(last), node.clone(), node])
    }

    fn text(name: &str) -> Value {
        Value::BulkString(name.as_bytes().to_vec())
    }

    #[test]
    fn a_table_is_read_in_the_order_of_its_slots() {
        let answer = Value::Array(vec![
            row(5_461, 16_383, text("10.0.0.2"), 7_001),
            row(0, 5_460, Value::Nil, 7_000),
            row(7, 7, text("?"), 7_002),
        ]);
        let ranges = read(&answer, &asked()).unwrap();
        let shown: Vec<_> = ranges.iter().map(|range| (range.first, range.last, range.node.to_string())).collect();
        let expected = [(0, 5_460, "seed:7000"), (7, 7, "seed:7002"), (5_461, 16_383, "10.0.0.2:7001")];
        assert_eq!(shown, expected.map(|(first, last, node)| (first, last, node.to_owned())));
    }

    #[test]
    fn what_is_no_table_is_not_read() {
        for answer in [
            Value::Nil,
            Value::Okay,
            Value::Array(vec![]),
            Value::Array(vec![Value::Int(1)]),
            Value::Array(vec![Value::Array(vec![Value::Int(0), Value::Int(1)])]),
            Value::Array(vec![row(0, 16_384, text("a"), 1)]),
            Value::Array(vec![row(-1, 5, text("a"), 1)]),
            Value::Array(vec![row(6, 5, text("a"), 1)]),
            Value::Array(vec![row(0, 5, text("a"), 0)]),
            Value::Array(vec![row(0, 5, text("a"), 65_536)]),
            Value::Array(vec![row(0, 5, Value::Int(1), 1)]),
            Value::Array(vec![row(0, 5, Value::BulkString(vec![0xff]), 1)]),
        ] {
            assert_eq!(read(&answer, &asked()), None, "{answer:?}");
        }
    }

    #[test]
    fn destinations_are_read_with_and_without_a_name() {
        let shown = |address| destination(address, &asked()).map(|host| host.to_string());
        assert_eq!(shown("10.0.0.1:7001").as_deref(), Some("10.0.0.1:7001"));
        assert_eq!(shown("::1:7001").as_deref(), Some("[::1]:7001"));
        assert_eq!(shown(":7001").as_deref(), Some("seed:7001"));
        assert_eq!([shown("7001"), shown("a:0"), shown("a:b"), shown("")], [None, None, None, None]);
    }
}
