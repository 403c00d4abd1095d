//! A computation runs on a task, which may move between threads.

use std::future::ready;
use std::io;
use std::rc::Rc;

use cachekit::{Backend, Cache, Codec, ComputeError};

async fn name<B: Backend, C: Codec>(users: &Cache<B, C>) -> Result<String, ComputeError<io::Error>> {
    let compute = || async {
        let name = Rc::new(String::from("ada"));
        ready(()).await;
        Ok(name.to_string())
    };
    users.get_or_compute(42, compute).await
}

fn main() {}
