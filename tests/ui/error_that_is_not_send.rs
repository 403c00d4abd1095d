//! All callers of a computation share its error, so it must be fit for all threads.

use std::rc::Rc;

use cachekit::{Backend, Cache, Codec};

fn name<B: Backend, C: Codec>(users: &Cache<B, C>) {
    let _name = users.get_or_compute(42, || async { Err::<String, Rc<str>>("gone".into()) });
}

fn main() {}
