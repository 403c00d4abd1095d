//! Keys by their beginning.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use super::{Case, Suite};
use crate::backends::Backend;
use crate::error::ErrorKind;

pub(super) async fn check<F, M, B>(suite: &mut Suite<F>)
where
    F: Fn() -> M + Send + Sync,
    M: Future<Output = B> + Send,
    B: Backend,
{
    suite
        .case("`scan` lists all below a prefix, page by page, and nothing else; or it is `Unsupported`.", listed)
        .await;
}

async fn listed<B: Backend>(case: Case<B>) {
    let keys: BTreeSet<_> =
        (0..25).map(|number| case.key(format!("list-{number}"))).map(|key| key.as_str().to_owned()).collect();
    for number in 0..25 {
        case.set(&case.key(format!("list-{number}")), "v", Duration::from_secs(60)).await;
    }
    case.set(&case.key("other"), "v", Duration::from_secs(60)).await;
    let first = case.key("list-0");
    let prefix = &first.as_str()[..first.as_str().len() - 1];
    let (mut found, mut after) = (BTreeSet::new(), None);
    loop {
        let page = match case.backend.scan(prefix, after, 10).await {
            Err(error) if error.kind() == ErrorKind::Unsupported => return,
            page => case.done("scan", page),
        };
        found.extend(page.keys.iter().map(|key| key.as_str().to_owned()));
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let (lacks, more) = (keys.difference(&found).count(), found.difference(&keys).count());
    case.require(lacks == 0, || format!("scan left {lacks} of 25 keys out"));
    case.require(more == 0, || format!("scan listed {more} keys that were not asked for"));
}
