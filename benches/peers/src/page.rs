//! The value that everybody stores.

use serde::{Deserialize, Serialize};

/// A record whose size is mostly text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Page {
    id: u64,
    title: String,
    public: bool,
    score: f64,
    body: String,
}

impl Page {
    /// A page of about `size` bytes in postcard.
    pub(crate) fn new(id: u64, size: usize) -> Self {
        let title = format!("page number {id}");
        let body = "lorem ipsum ".chars().cycle().take(size.saturating_sub(title.len() + 14)).collect();
        Self { id, title, public: true, score: 0.5, body }
    }

    /// Checks that this is the page with this number.
    pub(crate) fn is(&self, id: usize) -> bool {
        self.id == id as u64 && !self.body.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::Page;

    #[test]
    fn a_page_is_as_long_as_asked() {
        for size in [200, 16 << 10] {
            let stored = postcard::to_stdvec(&Page::new(7, size)).unwrap();
            assert!(stored.len().abs_diff(size) <= 4, "{}", stored.len());
        }
    }
}
