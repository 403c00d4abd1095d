//! A computation may outlive the call, so it borrows nothing of its caller's.

use std::io;

use cachekit::{Backend, Cache, Codec, ComputeError};

type Answer = Result<String, ComputeError<io::Error>>;

async fn of_a_local<B: Backend, C: Codec>(users: &Cache<B, C>, id: u64) -> Answer {
    users.get_or_compute(id, || async { Ok(id.to_string()) }).await
}

async fn of_an_argument<B: Backend, C: Codec>(users: &Cache<B, C>, name: &str) -> Answer {
    users.get_or_compute(name, move || async move { Ok(name.to_owned()) }).await
}

fn main() {}
