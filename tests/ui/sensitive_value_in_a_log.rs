//! Serde writes no sensitive value.

use cachekit::Sensitive;

fn main() {
    let _ = serde_json::to_string(&Sensitive::new("4111"));
}
