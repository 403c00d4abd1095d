//! Appending to a stream, which may have to be begun anew.

use super::entries::appended;
use super::request::{Attempt, Request, SizeClass};
use super::scripts::REMOVE_SPOILED;
use super::spoiled::is_spoiled;
use super::stream::{self, Id};
use super::{Shared, commands};
use crate::error::{Error, ErrorKind};
use crate::key::Key;

/// Appends an entry that marks the position of now, and returns its id.
pub(super) async fn mark(shared: &Shared, name: &Key) -> Result<Id, Error> {
    add(shared, name, None, true).await
}

/// Appends a message. If it `lasts`, the server is told how long the stream is kept.
pub(super) async fn message(shared: &Shared, name: &Key, message: &[u8], lasts: bool) -> Result<(), Error> {
    add(shared, name, Some(message), lasts).await.map(drop)
}

/// Appends an entry to a stream, and returns its id.
///
/// Where what is under the name is spoiled, a new stream takes its place. Readers find it under the same name, and find
/// the entry gone at which they were.
async fn add(shared: &Shared, name: &Key, message: Option<&[u8]>, lasts: bool) -> Result<Id, Error> {
    let append =
        |lasts| shared.router.run(name, SizeClass::Small, move |_| stream::append(name.as_str(), message, lasts));
    let answer = match append(lasts).await {
        Err(error) if is_spoiled(&error) => {
            remove_spoiled(shared, name).await?;
            append(true).await?
        }
        answer => answer?,
    };
    appended(answer).ok_or_else(|| shared.strange())
}

/// Removes what nothing can be added to: by a script, so that a stream that another process has begun meanwhile stays.
/// Without scripts that may go, too, which is one more gap.
async fn remove_spoiled(shared: &Shared, name: &Key) -> Result<(), Error> {
    let script = |attempt: Attempt| Request::One(REMOVE_SPOILED.call(attempt, &[name.as_str()], 0).into());
    match shared.router.run(name, SizeClass::Small, script).await {
        Err(error) if error.kind() == ErrorKind::Unsupported => {}
        answer => return answer.map(drop),
    }
    remove(shared, name).await
}

/// Tells the server how long a stream is kept.
pub(super) async fn keep(shared: &Shared, name: &Key) -> Result<(), Error> {
    shared.router.run(name, SizeClass::Small, |_| Request::One(stream::keep(name.as_str()))).await.map(drop)
}

/// Removes a stream, which is a gap to all who read it.
pub(super) async fn remove(shared: &Shared, name: &Key) -> Result<(), Error> {
    shared
        .router
        .run(name, SizeClass::Small, |_| Request::One(commands::on(b"DEL", name.as_str()).into()))
        .await
        .map(drop)
}
