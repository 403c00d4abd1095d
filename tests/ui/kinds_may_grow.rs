//! Enums and structs that may grow are not matched or made exhaustively.

use cachekit::{ErrorKind, Event, Settings};

fn is_settled(kind: ErrorKind) -> bool {
    match kind {
        ErrorKind::Unavailable | ErrorKind::Timeout => false,
        ErrorKind::Config | ErrorKind::Key | ErrorKind::Argument | ErrorKind::Unsupported | ErrorKind::Closed => true,
        ErrorKind::Backend | ErrorKind::TooLarge => true,
        ErrorKind::Encode | ErrorKind::Decode | ErrorKind::Unauthentic => true,
    }
}

fn is_unreadable(event: &Event<'_>) -> bool {
    matches!(event, Event::Unreadable { key: _, reason: _ })
}

fn main() {
    let _settings = Settings { stats: Some(false), ..Settings::default() };
}
