//! What needs no server.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use super::{cachekit, command};

#[test]
fn a_key_is_64_digits_and_another_each_time() {
    let [first, second] = [(); 2].map(|()| cachekit(&["keygen"], &[]));
    let digits = first.out.strip_suffix('\n').unwrap();
    assert!(digits.len() == 64 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')), "{first:?}");
    assert!(first.out != second.out && first.err.is_empty());
    let vars = [("CACHEKIT_MASTER_KEY", digits)];
    assert!(cachekit::Environment::from_vars(vars).findings().is_empty());
}

#[test]
fn the_committed_table_of_settings_is_the_generated_one() {
    let made = cachekit(&["settings", "--format", "markdown"], &[]);
    let committed = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/settings.md")).unwrap();
    assert!(
        made.out == committed,
        "docs/settings.md is out of date: run `cargo run --features cli -- settings --format markdown > docs/settings.md`"
    );
    assert!(made.out.contains("| `CACHEKIT_REDIS_URL` |") && made.out.contains("### xfetch_beta"));
}

#[test]
fn settings_are_data_too() {
    let table = cachekit(&["settings", "--json"], &[]).json();
    let row = |kind: &str, name: &str| {
        table[kind].as_array().unwrap().iter().find(|row| row["name"] == name).unwrap().clone()
    };
    let ttl = row("settings", "ttl");
    assert_eq!(
        (&ttl["default"], &ttl["variable"], &ttl["setter"]),
        (&"3600 s".into(), &"CACHEKIT_DEFAULT_TTL".into(), &true.into())
    );
    let key = row("variables", "CACHEKIT_MASTER_KEY");
    assert_eq!((&key["secret"], &key["setting"]), (&true.into(), &serde_json::Value::Null));
    let text = cachekit(&["settings"], &[]).out;
    assert!(text.contains("CACHEKIT_FILE_MAX_SIZE_MB  a whole number of MB, 1..=1000000; default 1024"), "{text}");
}

#[test]
fn shells_complete_it_and_help_shows_examples() {
    for (shell, word) in
        [("bash", "complete -F _cachekit"), ("zsh", "#compdef cachekit"), ("fish", "complete -c cachekit")]
    {
        let ran = cachekit(&["completions", shell], &[]);
        assert!(ran.code == 0 && ran.out.contains(word), "{shell}: {}", ran.out);
    }
    let help = cachekit(&["--help"], &[]);
    help.says(&["Examples:", "cachekit doctor", "CACHEKIT_REDIS_URL", "invalidate"]);
    assert_eq!(cachekit(&["no-such-command"], &[]).code, 2);
}

#[test]
fn nobody_who_reads_is_no_panic() {
    let mut child = command(&["settings", "--format", "markdown"], &[])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}
