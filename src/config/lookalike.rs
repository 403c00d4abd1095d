//! Variables that are not read, and what they likely meant.

use super::variables::{NAMES, PREFIX};

/// Names longer than this are not like ours.
const LONGEST_NAME: usize = 64;

/// The most warnings given one by one.
const MAX_WARNINGS: usize = 16;

/// A warning for every name that looks like one of ours and is not, in alphabetical order. The platform's names for
/// services that are called like this library are not meant for it.
pub(super) fn warnings(mut others: Vec<String>) -> Vec<String> {
    others.sort_unstable();
    others.dedup();
    let mut warnings: Vec<String> = others.iter().filter_map(|name| warning(name, &others)).collect();
    if warnings.len() > MAX_WARNINGS {
        let more = warnings.len() - MAX_WARNINGS;
        warnings.truncate(MAX_WARNINGS);
        warnings.push(format!("{more} more variables look like cachekit's and are ignored"));
    }
    warnings
}

fn warning(name: &str, names: &[String]) -> Option<String> {
    let upper = name.to_ascii_uppercase();
    if is_of_a_service(&upper) || is_of_a_link(&upper, names) {
        return None;
    }
    if let Some(rest) = upper.strip_prefix(PREFIX) {
        let shown: String = name.chars().take(LONGEST_NAME).flat_map(char::escape_debug).collect();
        return Some(match meant(&upper, rest) {
            Some(known) => format!("{shown} is ignored: {known} is likely meant"),
            None => format!("{shown} is ignored: cachekit has no such variable; unset it"),
        });
    }
    // `CACHE_*` belongs to many programs, so only what is nearly one of our names is worth a word.
    let rest = upper.strip_prefix("CACHE_")?;
    let known = nearest(&format!("{PREFIX}{rest}"), 1).or_else(|| nearest(&upper, 1))?;
    let shown: String = name.chars().flat_map(char::escape_debug).collect();
    Some(format!("{shown} is ignored: {known} is likely meant, as every variable of cachekit begins with {PREFIX}"))
}

/// Whether Kubernetes, or Docker for a linked container, gives such a name to the address of a service, whatever the
/// service is called.
fn is_of_a_service(upper: &str) -> bool {
    let is_digit = |first: char| first.is_ascii_digit();
    let is_port = |(_, rest): (&str, &str)| {
        rest.is_empty() || rest.strip_prefix('_').is_some_and(|rest| rest.starts_with(is_digit))
    };
    upper.ends_with("_SERVICE_HOST")
        || upper.contains("_SERVICE_PORT")
        || upper.rsplit_once("_PORT").is_some_and(is_port)
}

/// Whether Docker gives such a name to what it says of a linked container beside its ports, as some of `names` do.
fn is_of_a_link(upper: &str, names: &[String]) -> bool {
    let alias = upper.strip_suffix("_NAME").or_else(|| Some(upper.split_once("_ENV_")?.0));
    alias.is_some_and(|alias| {
        let port = format!("{alias}_PORT_");
        names.iter().any(|name| name.starts_with(&port))
    })
}

fn meant(upper: &str, rest: &str) -> Option<&'static str> {
    let distance = (rest.len() / 3).clamp(1, 3);
    let default = format!("{PREFIX}DEFAULT_{rest}");
    let close = nearest(upper, distance).or_else(|| only(|known| *known == default));
    close.or_else(|| only(|known| known.ends_with(&format!("_{rest}")))).or_else(|| {
        let start = format!("{}_", upper.trim_end_matches('_'));
        only(|known| known.starts_with(&start))
    })
}

/// The one known name of which this is true.
fn only(is_like: impl Fn(&str) -> bool) -> Option<&'static str> {
    let mut like = NAMES.iter().filter(|known| known.starts_with(PREFIX) && is_like(known));
    let first = like.next()?;
    like.next().is_none().then_some(first)
}

/// The known name with the fewest edits to `name`, if these are at most `limit`.
fn nearest(name: &str, limit: usize) -> Option<&'static str> {
    if name.len() > LONGEST_NAME {
        return None;
    }
    let ours = NAMES.iter().filter(|known| known.starts_with(PREFIX));
    let (edits, known) = ours.map(|known| (edits(name.as_bytes(), known.as_bytes()), *known)).min()?;
    (edits <= limit).then_some(known)
}

/// The Levenshtein distance.
fn edits(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
