//! What is cached is read back, so it must be serializable both ways.

use cachekit::{Backend, Cache, Codec};
use serde::Serialize;

#[derive(Clone, Serialize)]
struct User {
    name: String,
}

fn user<B: Backend, C: Codec>(users: &Cache<B, C>) {
    let _user = users.get::<User>(42);
}

fn main() {}
