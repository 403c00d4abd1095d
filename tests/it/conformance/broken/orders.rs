//! The defects of orders to forget.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use cachekit::backends::Memory;
use cachekit::{AnyBus, Backend, Batch, Bus, Error, ErrorKind, Forgotten, Key, Order, Position};
use tokio::task::yield_now;

use super::{D, Defect};

/// What a defect remembers.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// By the key of the head: what was answered last, and the head that was stored then.
    last: Mutex<HashMap<Key, (Forgotten, Option<Bytes>)>>,
    is_busy: AtomicBool,
    turn: tokio::sync::Mutex<()>,
}

const LONG: Duration = Duration::from_secs(100_000);

async fn found(memory: &Memory, order: &Order) -> Result<Vec<Option<Bytes>>, Error> {
    memory.get_many(&order.keys()).await
}

async fn store(memory: &Memory, changes: impl IntoIterator<Item = (Key, Bytes)>) -> Result<(), Error> {
    for (key, bytes) in changes {
        memory.set(&key, bytes, LONG).await?;
    }
    Ok(())
}

/// The lineage in the bytes of a head or a record.
fn lineage(bytes: &Bytes) -> Bytes {
    bytes.slice(3..11)
}

impl Orders {
    pub(super) async fn carry_out(&self, defect: Defect, memory: &Memory, order: &Order) -> Result<Forgotten, Error> {
        let head = memory.get(&order.head()).await?;
        let last = self.last.lock().unwrap().get(&order.head()).cloned();
        let answer = self.answer(defect, memory, order, head, last).await?;
        let stored = memory.get(&order.head()).await?;
        self.last.lock().unwrap().insert(order.head(), (answer.clone(), stored));
        Ok(answer)
    }

    async fn answer(
        &self,
        defect: Defect,
        memory: &Memory,
        order: &Order,
        head: Option<Bytes>,
        last: Option<(Forgotten, Option<Bytes>)>,
    ) -> Result<Forgotten, Error> {
        let has_records = order.keys().len() > 1;
        match (defect, head, last) {
            (D::MakesLedgersAnew, Some(_), _) => memory.remove(&order.head()).await?,
            (D::ForgetsTooMuch, Some(_), _) if has_records => memory.remove(&order.head()).await?,
            (D::ForgetsNothing, Some(_), Some((answer, _))) => return Ok(answer),
            (D::RevivesLedgers, None, Some((_, Some(head)))) => memory.set(&order.head(), head, LONG).await?,
            (D::BelievesOldLedgers, Some(head), Some((answer, _))) => {
                let (changes, _) = order.carry_out(&found(memory, order).await?);
                if changes.last().is_some_and(|(_, new)| lineage(new) != lineage(&head)) {
                    return Ok(answer);
                }
            }
            (D::HoldsDroppedOrders, ..) => return self.alone(memory, order).await,
            (D::WritesTheHeadFirst | D::RacesOrders | D::ForgetsHeads | D::TrustsLostRecords, head, _) => {
                return self.by_hand(defect, memory, order, head).await;
            }
            (D::AnnouncesNothing | D::NoLeases, ..) => {
                let (changes, answer) = order.carry_out(&found(memory, order).await?);
                store(memory, changes).await?;
                return Ok(answer);
            }
            _ => {}
        }
        let answer = memory.forget(order).await?;
        if defect == D::LowersFloors {
            lower_floors(memory, order).await?;
        }
        Ok(answer)
    }

    /// Refuses all orders after one that was dropped.
    async fn alone(&self, memory: &Memory, order: &Order) -> Result<Forgotten, Error> {
        if self.is_busy.swap(true, SeqCst) {
            return Err(Error::new(ErrorKind::Unavailable, "busy"));
        }
        yield_now().await;
        let answer = memory.forget(order).await;
        self.is_busy.store(false, SeqCst);
        answer
    }

    async fn by_hand(
        &self,
        defect: Defect,
        memory: &Memory,
        order: &Order,
        head: Option<Bytes>,
    ) -> Result<Forgotten, Error> {
        let _turn = if defect == D::RacesOrders { None } else { Some(self.turn.lock().await) };
        let mut found = found(memory, order).await?;
        if let (D::TrustsLostRecords, Some(head)) = (defect, &head) {
            let empty = [&[0xC1, 4, 1][..], &lineage(head), &[0; 8]].concat();
            found.iter_mut().skip(1).for_each(|record| *record = record.take().or(Some(empty.clone().into())));
        }
        let (mut changes, answer) = order.carry_out(&found);
        match defect {
            D::RacesOrders => yield_now().await,
            D::ForgetsHeads if head.is_some() => changes.retain(|(key, _)| *key != order.head()),
            D::WritesTheHeadFirst => {
                store(memory, changes.pop()).await?;
                yield_now().await;
            }
            _ => {}
        }
        store(memory, changes).await?;
        Ok(answer)
    }
}

async fn lower_floors(memory: &Memory, order: &Order) -> Result<(), Error> {
    for key in &order.keys()[1..] {
        let Some(record) = memory.get(key).await? else { continue };
        let mut record = record.to_vec();
        record[11..19].fill(0);
        memory.set(key, record.into(), LONG).await?;
    }
    Ok(())
}

/// Tells of many messages in the wrong order.
#[derive(Debug)]
pub(super) struct Backwards(pub(super) AnyBus);

impl Bus for Backwards {
    async fn publish(&self, message: Bytes) -> Result<(), Error> {
        self.0.publish(message).await
    }
    async fn receive(&self, after: Option<&Position>, wait: Duration) -> Result<Batch, Error> {
        let mut batch = self.0.receive(after, wait).await?;
        if batch.messages.len() > 8 {
            batch.messages.reverse();
        }
        Ok(batch)
    }
}
