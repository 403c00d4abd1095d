//! Traces: files of requests.
//!
//! A file whose first bytes are text has a request or several a line: `start count x x` are `count` keys from `start`,
//! `time id size` is the key `id`, a number alone is a key, and any other line is skipped. Other files have a key in each
//! record of big-endian bytes: of four, or of eight where the file's name has no ending.

use std::fs;
use std::path::Path;

use super::loads::Load;
use crate::Failure;

/// All traces of a directory, by name. Files that explain (`.md`) are no traces.
pub(super) fn read(directory: &Path) -> Result<Vec<Load>, Failure> {
    let name = directory.display();
    let files = fs::read_dir(directory).map_err(|error| format!("{name}: {error}; name another by --traces"))?;
    let mut paths = files.map(|file| Ok(file?.path())).collect::<Result<Vec<_>, Failure>>()?;
    paths.retain(|path| path.is_file() && path.extension().is_none_or(|ending| ending != "md"));
    paths.sort();
    paths.iter().map(|path| load(path)).collect()
}

fn load(path: &Path) -> Result<Load, Failure> {
    let bytes = fs::read(path)?;
    let width = if path.extension().is_some() { 4 } else { 8 };
    let keys = if is_text(&bytes) { lines(std::str::from_utf8(&bytes)?) } else { records(&bytes, width) };
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if keys.is_empty() {
        return Err(format!("{name} has no request in a form that is known; take it out of the directory").into());
    }
    Ok(Load::new(name, keys))
}

fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().take(512).all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
}

fn lines(text: &str) -> Vec<u64> {
    let mut keys = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let number = |index: usize| fields[index].parse::<u64>().ok();
        match fields.len() {
            1 => keys.extend(number(0)),
            3 => keys.extend(number(1)),
            4 => keys.extend(number(0).zip(number(1)).into_iter().flat_map(|(start, count)| start..start + count)),
            _ => {}
        }
    }
    keys
}

fn records(bytes: &[u8], width: usize) -> Vec<u64> {
    let key = |record: &[u8]| record.iter().fold(0, |key, byte| key << 8 | u64::from(*byte));
    bytes.chunks_exact(width).map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_form_is_read() {
        assert_eq!(lines("7 3 0 0\n1 1 0 4\n"), [7, 8, 9, 1]);
        assert_eq!(lines("1 0 68\n2 9 7454\n"), [0, 9]);
        assert_eq!(lines("0\n*\n12\nphase 2\n"), [0, 12]);
        assert_eq!(records(&[0, 0, 1, 0, 0, 0, 0, 2, 9], 4), [256, 2]);
        assert_eq!(records(&[0, 0, 0, 0, 0, 0, 1, 2], 8), [258]);
        assert!(is_text(b"1 2\n3") && !is_text(&[0, 0, 0, 1]));
    }
}
