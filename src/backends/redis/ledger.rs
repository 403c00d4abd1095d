//! Orders to forget: one script, which tells the bus in the same step.

use std::sync::atomic::Ordering::Relaxed;

use redis::Value;

use super::request::{Attempt, Request, SizeClass};
use super::scripts::FORGET;
use super::{Shared, stream, whole_millis};
use crate::backends::{LeaseToken, Redis, forget_by_set};
use crate::config::LONGEST;
use crate::error::{Error, ErrorKind};
use crate::key::Key;
use crate::ledger::{Change, Forgotten, Head, Order};

impl Redis {
    /// Where scripts are refused, nothing can be changed in one step, and everything is forgotten.
    pub(super) async fn carry_out(&self, order: &Order) -> Result<Forgotten, Error> {
        if self.shared.unscripted.load(Relaxed) {
            return forget_by_set(self, order).await;
        }
        match self.shared.forget(order).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => forget_by_set(self, order).await,
            answer => answer,
        }
    }
}

impl Shared {
    async fn forget(&self, order: &Order) -> Result<Forgotten, Error> {
        let head = order.head();
        if !self.scripted.load(Relaxed) {
            // A server that does not know a command quotes its arguments: of bytes that are no text, the client takes that
            // for a broken connection.
            self.release(&head, LeaseToken::random()).await?;
            self.scripted.store(true, Relaxed);
        }
        let plans: Vec<_> = order.plans().collect();
        // In a cluster the stream is on another node.
        let announcement = order.announcement.as_ref().filter(|_| self.router.is_single_node());
        let keys = [&head].into_iter().chain(plans.iter().map(|plan| &plan.key));
        let keys: Vec<&Key> = keys.chain(announcement.map(|announcement| &announcement.bus)).collect();
        let names: Vec<&str> = keys.iter().map(|key| key.as_str()).collect();
        let (kind, at) = match order.change {
            Change::Nothing => ("nothing", 0),
            Change::Tags(_) => ("tags", 0),
            Change::Everything => ("everything", 0),
            Change::Expiry { at } => ("expiry", at),
        };
        let forget = |attempt: Attempt| {
            let mut command = FORGET.call(attempt, &names, 32 * names.len() + 1_024);
            let replaces = order.replaces.map(u64::to_be_bytes);
            command
                .arg(&order.lineage.to_be_bytes())
                .arg(kind)
                .arg(replaces.as_ref().map_or(&[][..], |lineage| lineage));
            command.arg(&at.to_be_bytes()).arg(whole_millis(LONGEST)).arg(stream::LIFE);
            command.arg(announcement.map_or(&[][..], |announcement| &announcement.message));
            for plan in &plans {
                command
                    .arg(plan.number())
                    .arg(plan.tags().iter().flat_map(|tag| tag.to_be_bytes()).collect::<Vec<u8>>());
            }
            Request::One(command.into())
        };
        let Value::BulkString(answer) = self.router.run(&head, SizeClass::Small, forget).await? else {
            return Err(self.strange());
        };
        match answer.split_last() {
            Some((told, head)) => {
                let forgotten = Forgotten::new(Head::read(head).ok_or_else(|| self.strange())?);
                Ok(if *told == b'1' { forgotten.announced() } else { forgotten })
            }
            None => Err(self.strange()),
        }
    }
}
