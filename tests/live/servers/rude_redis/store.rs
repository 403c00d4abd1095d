//! What the server keeps, and what it would answer if it were honest.

use std::collections::BTreeMap;

type Bytes = Vec<u8>;

#[derive(Debug, Default)]
pub(super) struct Store {
    values: BTreeMap<Bytes, Bytes>,
    streams: BTreeMap<Bytes, Vec<(u64, Bytes, Bytes)>>,
}

pub(super) fn bulk(bytes: &[u8]) -> Bytes {
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

fn list(parts: &[Bytes]) -> Bytes {
    [format!("*{}\r\n", parts.len()).into_bytes(), parts.concat()].concat()
}

fn number(number: usize) -> Bytes {
    format!(":{number}\r\n").into_bytes()
}

impl Store {
    pub(super) fn answer(&mut self, command: &[Bytes], resp3: bool, port: u16) -> Bytes {
        let nil = if resp3 { &b"_\r\n"[..] } else { b"$-1\r\n" };
        let (name, arguments) = command.split_first().unwrap();
        match &name.to_ascii_uppercase()[..] {
            b"GET" => self.values.get(&arguments[0]).map_or(nil.to_vec(), |value| bulk(value)),
            b"MGET" => {
                let values = arguments.iter().map(|key| self.values.get(key).map_or(nil.to_vec(), |value| bulk(value)));
                list(&values.collect::<Vec<_>>())
            }
            b"SET" if arguments.iter().any(|word| word == b"NX") && self.values.contains_key(&arguments[0]) => {
                nil.to_vec()
            }
            b"SET" => {
                self.values.insert(arguments[0].clone(), arguments[1].clone());
                b"+OK\r\n".to_vec()
            }
            b"DEL" | b"UNLINK" => number(arguments.iter().filter(|key| self.values.remove(*key).is_some()).count()),
            b"EXISTS" => number(arguments.iter().filter(|key| self.values.contains_key(*key)).count()),
            b"STRLEN" => number(self.values.get(&arguments[0]).map_or(0, Vec::len)),
            b"PTTL" | b"PEXPIRE" => number(60_000),
            b"EVAL" | b"EVALSHA" => self.script(arguments),
            b"PING" => b"+PONG\r\n".to_vec(),
            b"ECHO" => bulk(&arguments[0]),
            b"INFO" => bulk(b"run_id:0123456789\r\n"),
            b"XADD" => self.append(arguments),
            b"XREAD" => self.read(arguments, resp3),
            b"XRANGE" => self.range(arguments),
            b"ROLE" => list(&[bulk(b"master"), number(0), list(&[])]),
            b"SENTINEL" => list(&[bulk(b"127.0.0.1"), bulk(port.to_string().as_bytes())]),
            b"CLUSTER" => {
                let node = list(&[bulk(b"127.0.0.1"), number(port.into()), bulk(b"id")]);
                list(&[list(&[number(0), number(16_383), node])])
            }
            _ => b"+OK\r\n".to_vec(),
        }
    }

    /// Those that fill store: the value is the third argument behind the keys. Orders to forget change the head. One about
    /// several entries names those first, and their locks and marks behind them all.
    fn script(&mut self, arguments: &[Bytes]) -> Bytes {
        let keys = String::from_utf8_lossy(&arguments[1]).parse::<usize>().unwrap();
        if let [lineage, kind, ..] = &arguments[2 + keys..]
            && [&b"nothing"[..], b"tags", b"everything", b"expiry"].contains(&&kind[..])
        {
            return self.forget(&arguments[2], lineage, kind != b"nothing");
        }
        let entries = keys / 3;
        if keys % 3 == 0 && entries > 1 {
            let behind = &arguments[2 + keys..];
            for (key, given) in arguments[2..].iter().zip(behind.chunks(behind.len() / entries)) {
                if let [_, _, value, _] = given {
                    self.store(key, value);
                }
            }
            return list(&vec![number(1); entries]);
        }
        match &arguments[2 + keys..] {
            [_, _, value, _] => self.store(&arguments[2], value),
            // Not to keep a lease, which a token is named for.
            [value, _] if value.len() != 32 => self.store(&arguments[2], value),
            _ => {}
        }
        number(1)
    }

    /// Forgets everything, whatever the order is about.
    fn forget(&mut self, key: &Bytes, lineage: &[u8], forgets: bool) -> Bytes {
        let anew = || [&[0xC1, 3, 1][..], lineage, &[0; 544]].concat();
        let head = self.values.entry(key.clone()).or_insert_with(anew);
        if forgets {
            let time = u64::from_be_bytes(head[11..19].try_into().unwrap()) + 1;
            head[11..19].copy_from_slice(&time.to_be_bytes());
            head[19..27].copy_from_slice(&time.to_be_bytes());
        }
        bulk(&[&head[..], b"0"].concat())
    }

    pub(super) fn store(&mut self, key: &[u8], value: &[u8]) {
        self.values.insert(key.to_vec(), value.to_vec());
    }

    /// Some value, another one at each turn.
    pub(super) fn of_another(&self, turn: usize) -> Bytes {
        let count = self.values.len().max(1);
        self.values.values().nth(turn * 7 % count).map_or(b"stray".to_vec(), Clone::clone)
    }

    fn append(&mut self, arguments: &[Bytes]) -> Bytes {
        let [name, .., field, value] = arguments else { return b"-ERR syntax\r\n".to_vec() };
        let entries = self.streams.entry(name.clone()).or_default();
        let id = entries.last().map_or(1, |(id, ..)| id + 1);
        entries.push((id, field.clone(), value.clone()));
        bulk(format!("{id}-0").as_bytes())
    }

    fn read(&self, arguments: &[Bytes], resp3: bool) -> Bytes {
        let begin = arguments.iter().position(|word| word == b"STREAMS").unwrap() + 1;
        let most = if arguments[1] == b"1" { 1 } else { usize::MAX };
        let (names, ids) = arguments[begin..].split_at((arguments.len() - begin) / 2);
        let mut parts = Vec::new();
        for (name, id) in names.iter().zip(ids) {
            let listed = self.behind(name, id, most);
            if !listed.is_empty() {
                parts.push((bulk(name), list(&listed)));
            }
        }
        match (parts.is_empty(), resp3) {
            (true, true) => b"_\r\n".to_vec(),
            (true, false) => b"*-1\r\n".to_vec(),
            (false, true) => {
                let pairs = parts.iter().flat_map(|(name, listed)| [name.clone(), listed.clone()]);
                [format!("%{}\r\n", parts.len()).into_bytes(), pairs.collect::<Vec<_>>().concat()].concat()
            }
            (false, false) => list(&parts.into_iter().map(|(name, listed)| list(&[name, listed])).collect::<Vec<_>>()),
        }
    }

    fn behind(&self, name: &Bytes, id: &[u8], most: usize) -> Vec<Bytes> {
        let after = millis(id);
        let entries = self.streams.get(name).into_iter().flatten().filter(|(id, ..)| *id > after);
        entries.take(most).map(entry).collect()
    }

    fn range(&self, arguments: &[Bytes]) -> Bytes {
        let at = millis(&arguments[1]);
        let entries = self.streams.get(&arguments[0]).into_iter().flatten().filter(|(id, ..)| *id == at);
        list(&entries.map(entry).collect::<Vec<_>>())
    }
}

fn entry((id, field, value): &(u64, Bytes, Bytes)) -> Bytes {
    list(&[bulk(format!("{id}-0").as_bytes()), list(&[bulk(field), bulk(value)])])
}

/// The first part of an id. One that stands before the first of its millisecond is of the one before.
fn millis(id: &[u8]) -> u64 {
    let text = String::from_utf8_lossy(id);
    text.split('-').next().and_then(|millis| millis.parse().ok()).unwrap_or(0)
}
