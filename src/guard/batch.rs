//! Batches: many keys, by an operation on each part of the backend that has any of them.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::limits::Attempt;
use super::{Guard, one_each};
use crate::backends::{Backend, join};
use crate::error::Error;
use crate::event::{Operation, Why};
use crate::key::Key;

/// How many keys are read by one operation. Batches of more are read by several at once.
const BATCH: usize = 256;

impl<B: Backend> Guard<B> {
    /// Reads the bytes under many keys, each as [`get`](Guard::get) does, in as few round trips as the backend can.
    pub(crate) async fn read_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>, Error> {
        let parts = self.by_part(keys);
        let batches: Vec<(u16, &[usize])> = parts.iter().flat_map(|(part, all)| batches(*part, all)).collect();
        let read = |(part, numbers): &(u16, &[usize])| {
            let few = numbers.iter().map(|number| keys[*number].clone()).collect();
            self.read_in(*part, few)
        };
        let found = join::all(batches.iter().map(read)).await;
        let mut values = vec![None; keys.len()];
        for ((_, numbers), found) in batches.iter().zip(found) {
            for (number, value) in numbers.iter().zip(found?) {
                values[*number] = value;
            }
        }
        Ok(values)
    }

    async fn read_in(&self, part: u16, keys: Vec<Key>) -> Result<Vec<Option<Bytes>>, Error> {
        let (Some(first), executor) = (keys.first(), &self.parts[usize::from(part)]) else { return Ok(Vec::new()) };
        let read = || self.backend.get_many(&keys);
        let found = executor.run(first, Operation::Get, Attempt::PARTS, read).await?;
        let (mut found, why) = (one_each(found, &keys)?, Why::default());
        let is_apart = |bytes: &Option<Bytes>| bytes.as_deref().is_some_and(|bytes| self.is_judged_apart(bytes));
        let apart: Vec<usize> = (0..keys.len()).filter(|number| is_apart(&found[*number])).collect();
        let whole = apart.iter().map(|number| self.whole(&keys[*number], found[*number].clone(), &why));
        for (number, whole) in apart.iter().zip(join::all(whole).await) {
            found[*number] = whole?;
        }
        Ok(found)
    }

    /// Removes the items under some keys.
    pub(crate) async fn remove_many(&self, keys: &[Key]) -> Result<(), Error> {
        let parts = self.by_part(keys).into_iter();
        let remove = parts.map(|(part, numbers)| {
            let keys = numbers.into_iter().map(|number| keys[number].clone()).collect();
            self.remove_in(part, keys)
        });
        join::all(remove).await.into_iter().collect()
    }

    async fn remove_in(&self, part: u16, keys: Vec<Key>) -> Result<(), Error> {
        let (Some(first), executor) = (keys.first(), &self.parts[usize::from(part)]) else { return Ok(()) };
        executor.run(first, Operation::Remove, Attempt::PARTS, || self.backend.remove_many(&keys)).await
    }

    /// Which of these keys each part has, by their numbers.
    fn by_part(&self, keys: &[Key]) -> BTreeMap<u16, Vec<usize>> {
        let mut parts: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
        keys.iter().enumerate().for_each(|(number, key)| parts.entry(self.part(key)).or_default().push(number));
        parts
    }
}

fn batches(part: u16, numbers: &[usize]) -> impl Iterator<Item = (u16, &[usize])> {
    numbers.chunks(BATCH).map(move |few| (part, few))
}
