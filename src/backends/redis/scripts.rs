//! Scripts: what the server must decide and do in one step.
//!
//! The first key is the entry's, or the stream's; the second is its lock's, the third the mark of those who wait for the
//! lock. All are on one server. Each may be carried out twice without
//! harm, because an answer can be lost with its connection. What is under a key may be of another type, which is as good
//! as nothing: hence `pcall`. Long values stay out of scripts: they would be copied there.

use std::sync::OnceLock;

use redis::{Arg, Cmd, RedisWrite};

use super::protocol;
use super::request::{Attempt, Kind};

/// A script, called by its hash where the server knows it.
pub(super) struct Script {
    code: &'static str,
    hash: OnceLock<String>,
}

/// The code of [`LEASE`], which [`LEASES`] has, too.
macro_rules! lease {
    () => {
        "local seen, there = tonumber(ARGV[4]), false \
     if seen < 0 or redis.pcall('STRLEN', KEYS[1]) ~= seen or redis.pcall('GETRANGE', KEYS[1], 0, #ARGV[5] - 1) ~= ARGV[5] \
     then there = redis.pcall('GET', KEYS[1]) end \
     if type(there) == 'string' then \
     if redis.pcall('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end return there end \
     if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end \
     local held, longest = redis.pcall('GET', KEYS[2]), 2 * ARGV[2] if held == ARGV[1] then return 1 end \
     if type(held) == 'string' and #held == 32 and not string.find(held, '[^0-9a-f]') then longest = tonumber(ARGV[3]) end \
     local left = redis.call('PTTL', KEYS[2]) if left >= 0 and left <= longest then redis.pcall('SET', KEYS[3], '', 'PX', ARGV[2]) return 0 end \
     redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2]) return 1"
    };
}

/// Answers with the value that is there, if it is another than was seen. Otherwise takes the lease, also one that the
/// token has already, and one of no living holder: its lock would last for ever, or longer than any does, or longer
/// than two holds while it is no token. Arguments: token, milliseconds, the milliseconds of the longest, the length of
/// what was seen or -1, the beginning of what was seen. Only a value that is the answer is copied as a whole. Who is
/// refused the lease leaves a mark that lasts for a hold, so that the holder hears of it.
pub(super) static LEASE: Script = Script::new(lease!());

/// Keeps the lease, if the token holds it. Arguments: token, milliseconds.
pub(super) static RENEW: Script = Script::new(
    "if redis.pcall('GET', KEYS[2]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[2], ARGV[2]) end return 0",
);

/// Stores a value and ends the lease, if the token holds it. Arguments: token, 1 for another attempt, value,
/// milliseconds. In another attempt, a value that is there byte for byte is the one that the first stored. Answers 0 if
/// it was not stored, 2 if others wait for it.
pub(super) static FILL: Script = Script::new(
    "if redis.pcall('GET', KEYS[2]) == ARGV[1] then \
     redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4]) return redis.call('DEL', KEYS[2], KEYS[3]) end \
     if ARGV[2] == '1' and redis.pcall('GET', KEYS[1]) == ARGV[3] then return 1 end return 0",
);

/// Like [`FILL`], of the value that is under the fourth key, which is used up. Arguments: token, 1 for another attempt.
pub(super) static MOVE: Script = Script::new(
    "if redis.pcall('GET', KEYS[2]) == ARGV[1] then \
     redis.call('RENAME', KEYS[4], KEYS[1]) return redis.call('DEL', KEYS[2], KEYS[3]) end \
     local there = ARGV[2] == '1' and redis.pcall('GET', KEYS[1]) == redis.pcall('GET', KEYS[4]) \
     redis.call('DEL', KEYS[4]) if there then return 1 end return 0",
);

/// Stores a value and ends the lease. Arguments: value, milliseconds.
pub(super) static STORE: Script =
    Script::new("redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2]) redis.call('DEL', KEYS[2]) return 1");

/// Ends the lease, if the token holds it. Argument: token. Answers 2 if others wait for it.
pub(super) static RELEASE: Script = Script::new(
    "if redis.pcall('GET', KEYS[2]) == ARGV[1] then return redis.call('DEL', KEYS[2], KEYS[3]) end return 0",
);

/// Like [`LEASE`] for each of several entries of which nothing was seen. Keys: the entries, their locks, the marks. The
/// first three arguments of each. Where neither a value nor a lock is there, it takes one command more for an entry.
static LEASES: Script = Script::new(concat!(
    "local keys, n, answers = KEYS, #KEYS / 3, {} local args = ARGV \
     local function one(KEYS, ARGV) ",
    lease!(),
    " end \
     local there = redis.call('MGET', unpack(keys, 1, 2 * n)) \
     for i = 1, n do \
     local token, hold, longest = unpack(args, 3 * i - 2, 3 * i) \
     local value, lock, answer = there[i], there[n + i] \
     if value and lock ~= token then answer = value end \
     if not value and not lock then \
     local set = redis.pcall('SET', keys[n + i], token, 'NX', 'PX', hold) \
     if set then answer = set.err and set or 1 end end \
     if not answer then \
     local ran, said = pcall(one, {keys[i], keys[n + i], keys[2 * n + i]}, {token, hold, longest, '-1', ''}) \
     if not ran and type(said) ~= 'table' then said = {err = 'ERR ' .. said} end \
     answer = said end \
     answers[i] = answer end return answers",
));

/// Ends the leases of several entries that `$decide` says, and answers each as [`FILL`] does. Keys: the entries, their
/// locks, the marks.
macro_rules! ending {
    ($decide:literal) => {
        concat!(
            "local n, answers, ended = #KEYS / 3, {}, {} \
             local beside = redis.call('MGET', unpack(KEYS, n + 1)) \
             local function finish(i) \
             ended[#ended + 1] = KEYS[n + i] ended[#ended + 1] = KEYS[2 * n + i] \
             return beside[n + i] and 2 or 1 end \
             for i = 1, n do ",
            $decide,
            " end if #ended > 0 then redis.call('DEL', unpack(ended)) end return answers"
        )
    };
}

/// Like [`FILL`] for each of several entries, with its arguments. One that is not stored keeps its lease.
static FILLS: Script = Script::new(ending!(
    "local token, again, value, life = unpack(ARGV, 4 * i - 3, 4 * i) \
     if beside[i] == token then \
     local set = redis.pcall('SET', KEYS[i], value, 'PX', life) \
     answers[i] = set.err and set or finish(i) \
     else answers[i] = again == '1' and redis.pcall('GET', KEYS[i]) == value and 1 or 0 end"
));

/// Like [`RELEASE`] for each of several entries, with its argument.
static RELEASES: Script = Script::new(ending!("answers[i] = beside[i] == ARGV[i] and finish(i) or 0"));

/// Removes what is under a stream's name if a mark cannot be added to it.
pub(super) static REMOVE_SPOILED: Script = Script::new(
    "if type(redis.pcall('XADD', KEYS[1], '*', 'hello', '')) ~= 'table' then return 0 end \
     return redis.call('DEL', KEYS[1])",
);

/// Carries out an order to forget. The bytes of heads and records are those of [`crate::ledger`].
///
/// Keys: the head, each record that the order is about, and the stream of the bus, if others are to be told. Arguments:
/// the lineage of a new ledger, what is forgotten, the lineage that is not believed any more, the wall time of an
/// expiry, how long to keep the ledger and the stream, the message but its end, and for each record its number and its
/// tags. Answers the head, and 1 if others were told.
pub(super) static FORGET: Script = Script::new(
    r"local zero, head = string.rep('\0', 8), redis.pcall('GET', KEYS[1])
local is_new = type(head) ~= 'string' or #head ~= 555 or string.sub(head, 1, 3) ~= '\193\3\1' or string.sub(head, 4, 11) == ARGV[3]
if is_new then head = '\193\3\1' .. ARGV[1] .. string.rep('\0', 544) end
if ARGV[2] == 'nothing' then
  if is_new then redis.call('SET', KEYS[1], head, 'PX', ARGV[5]) end
  return head .. '0'
end
local lineage, made = string.sub(head, 4, 11), string.sub(head, 44)
local _, time, all, expired = struct.unpack('>I8I8I8I8', string.sub(head, 4, 35))
local at = string.sub(head, 36, 43)
time = time + 1
local now = struct.pack('>I8', time)
if ARGV[2] == 'everything' then all = time end
if ARGV[2] == 'expiry' then all = math.max(all, expired) expired = time at = ARGV[4] end
for i = 8, #ARGV, 2 do
  local key, number, tags = KEYS[i / 2 - 2], tonumber(ARGV[i]), ARGV[i + 1]
  local place, mask = math.floor(number / 8) + 1, bit.lshift(1, number % 8)
  local byte = string.byte(made, place)
  local record, is_lost = redis.pcall('GET', key), bit.band(byte, mask) ~= 0
  if type(record) ~= 'string' or #record > 4115 or #record % 16 ~= 3 or string.sub(record, 1, 11) ~= '\193\4\1' .. lineage then
    record = '\193\4\1' .. lineage .. (is_lost and now or zero)
  end
  local floor, noted = string.sub(record, 12, 19), string.sub(record, 20)
  for j = 1, #tags, 8 do
    local tag, found = string.sub(tags, j, j + 7), 0
    repeat
      found = string.find(noted, tag, found + 1, true)
      if found and found % 16 == 1 then noted = string.sub(noted, 1, found - 1) .. string.sub(noted, found + 16) break end
    until not found
    noted = noted .. tag .. now
  end
  local over = #noted - 4096
  if over > 0 then floor, noted = string.sub(noted, over - 7, over), string.sub(noted, over + 1) end
  redis.call('SET', key, string.sub(record, 1, 11) .. floor .. noted, 'PX', ARGV[5])
  made = string.sub(made, 1, place - 1) .. string.char(bit.bor(byte, mask)) .. string.sub(made, place + 1)
end
head = '\193\3\1' .. lineage .. now .. struct.pack('>I8I8', all, expired) .. at .. made
redis.call('SET', KEYS[1], head, 'PX', ARGV[5])
local told = '0'
if ARGV[7] ~= '' then
  local id = redis.pcall('XADD', KEYS[#KEYS], 'MAXLEN', '~', 10000, '*', 'm', ARGV[7] .. lineage .. now)
  if type(id) == 'string' then told = '1' redis.call('PEXPIRE', KEYS[#KEYS], ARGV[6]) end
end
return head .. told",
);

const KEYS: usize = protocol::KEYS as usize;

impl Script {
    const fn new(code: &'static str) -> Self {
        Self { code, hash: OnceLock::new() }
    }

    /// The call of this script, without its arguments; `room` is for their bytes.
    pub(super) fn call(&self, attempt: Attempt, keys: &[&str], room: usize) -> Cmd {
        let length: usize = keys.iter().map(|key| key.len()).sum();
        let mut command = self.begin(attempt.in_full, keys.len() + 8, room + length + 128);
        command.arg(keys.len()).arg(keys);
        command
    }

    /// The beginning of a call, which has so many parts and bytes in all.
    fn begin(&self, in_full: bool, parts: usize, bytes: usize) -> Cmd {
        let mut command = Cmd::with_capacity(parts, bytes);
        if in_full {
            command.arg("EVAL").arg(self.code);
        } else {
            command.arg("EVALSHA").arg(self.hash.get_or_init(|| redis::Script::new(self.code).get_hash().to_owned()));
        }
        command
    }
}

/// The call that does what several calls of scripts of one kind do.
pub(super) fn joined<'a>(kind: Kind, calls: impl ExactSizeIterator<Item = &'a Cmd> + Clone) -> Cmd {
    let (script, arguments) = match kind {
        Kind::Lease => (&LEASES, 3),
        Kind::Fill => (&FILLS, 4),
        Kind::Release => (&RELEASES, 1),
    };
    let in_full = calls.clone().any(|call| matches!(call.args_iter().next(), Some(Arg::Simple(b"EVAL"))));
    let mut command = script.begin(in_full, (KEYS + arguments) * calls.len() + 3, 0);
    command.arg(KEYS * calls.len());
    // Before the keys stand the name of the command, the script, and how many keys there are.
    let mut add = |call: &Cmd, from, count| {
        for arg in call.args_iter().skip(3 + from).take(count) {
            if let Arg::Simple(bytes) = arg {
                command.write_arg(bytes);
            }
        }
    };
    (0..KEYS).for_each(|key| calls.clone().for_each(|call| add(call, key, 1)));
    calls.for_each(|call| add(call, KEYS, arguments));
    command
}
