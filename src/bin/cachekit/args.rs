//! The command line.

use std::time::Duration;

use clap::{Args as Group, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::duration;

const EXAMPLES: &str = "Examples:
  cachekit doctor                        what is wrong with the setup, and how to mend it
  cachekit keys -n users --limit 20      some entries of a namespace
  cachekit get -n users 42               one of them
  cachekit invalidate -n users --tag eu  forget entries by tag
  cachekit settings --format markdown    every variable and setting

The variables that configure programs configure this command, too: CACHEKIT_REDIS_URL and the like.
LOG_LEVEL says how much of its log is shown on standard error, NO_COLOR=1 leaves colours out.";

/// Looks at caches of cachekit: whether they work, what they hold, what happens to them.
#[derive(Debug, Parser)]
#[command(name = "cachekit", version, after_help = EXAMPLES, max_term_width = 110)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) scope: Scope,
    /// Print data as JSON, with stable names
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// Which entries are meant.
#[derive(Debug, Group)]
pub(super) struct Scope {
    /// The namespace of the cache
    #[arg(short, long, global = true, default_value = "default", value_name = "NAME")]
    pub(super) namespace: String,
    /// A domain of it
    #[arg(short, long, global = true, value_name = "NAME")]
    pub(super) domain: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Find out what is wrong with variables, server and permissions
    ///
    /// Ends with 0 if all is well, with 2 if something does not work, and with --strict with 1 if something is odd.
    Doctor(Doctor),
    /// List some entries: key, size, remaining life, age
    ///
    /// By their own dates: what was invalidated by tag or domain is listed until it goes; inspect says what holds.
    #[command(
        after_help = "Examples:\n  cachekit keys -n users\n  cachekit keys -n users -d orders --limit 1000 --json"
    )]
    Keys(Sampled),
    /// Print one entry
    #[command(
        after_help = "Examples:\n  cachekit get -n users 42\n  cachekit get -n users eu/42\n  cachekit get -n pages home --raw > home.bin"
    )]
    Get(Get),
    /// Say why an entry is answered or not: its dates, codecs, tags and the verdict
    #[command(after_help = "Example:\n  cachekit inspect -n users eu/42")]
    Inspect(Key),
    /// Count entries, bytes, and what is stale or expired
    Stats(Sampled),
    /// Open some entries with the keys of this environment, and count why any cannot be
    Verify(Sampled),
    /// Forget entries, here and in all processes
    #[command(
        after_help = "Examples:\n  cachekit invalidate -n users 42 43\n  cachekit invalidate -n users --tag eu\n  cachekit invalidate -n users -d orders --yes\n  cachekit invalidate -n users --all"
    )]
    Invalidate(Invalidate),
    /// Show what processes tell one another to forget, until Ctrl-C
    #[command(after_help = "Example:\n  cachekit watch -n shop -d prices --tag user:7 --for 5m")]
    Watch(Watch),
    /// Measure the backend with entries of a namespace of its own
    Bench(Bench),
    /// Print a new master key
    #[command(after_help = "Example:\n  export CACHEKIT_MASTER_KEY=$(cachekit keygen)")]
    Keygen,
    /// List every variable and setting
    Settings {
        /// How to print them
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
    /// Print what completes this command in a shell
    #[command(after_help = "Example:\n  cachekit completions bash > /etc/bash_completion.d/cachekit")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

#[derive(Debug, Group)]
pub(super) struct Doctor {
    /// End with 1 where something is odd, though all works
    #[arg(long)]
    pub(super) strict: bool,
    /// How many round trips to measure
    #[arg(long, default_value_t = 100, value_name = "NUMBER")]
    pub(super) pings: usize,
}

#[derive(Debug, Group)]
pub(super) struct Sampled {
    /// The most entries to look at
    #[arg(short, long, default_value_t = 1_000, value_name = "NUMBER")]
    pub(super) limit: usize,
}

#[derive(Debug, Group)]
pub(super) struct Get {
    /// The key; a slash separates its parts
    pub(super) key: String,
    /// Print the bytes as they are stored, and nothing else
    #[arg(long, conflicts_with = "json")]
    pub(super) raw: bool,
}

#[derive(Debug, Group)]
pub(super) struct Key {
    /// The key; a slash separates its parts
    pub(super) key: String,
}

#[derive(Debug, Group)]
pub(super) struct Invalidate {
    /// Keys; a slash separates the parts of one
    #[arg(conflicts_with_all = ["tags", "all"])]
    pub(super) keys: Vec<String>,
    /// Forget what has this tag
    #[arg(short, long = "tag", value_name = "TAG", conflicts_with = "all")]
    pub(super) tags: Vec<String>,
    /// Forget the whole namespace
    #[arg(long, conflicts_with = "domain")]
    pub(super) all: bool,
    /// Do not ask before a namespace or a domain is forgotten
    #[arg(short, long)]
    pub(super) yes: bool,
}

#[derive(Debug, Group)]
pub(super) struct Watch {
    /// End after this time, such as 10s or 5m
    #[arg(long = "for", value_parser = duration::parse, value_name = "TIME")]
    pub(super) limit: Option<Duration>,
    /// Show this tag by its name: processes tell one another numbers
    #[arg(short, long = "tag", value_name = "TAG")]
    pub(super) tags: Vec<String>,
}

#[derive(Debug, Group)]
pub(super) struct Bench {
    /// How long to write, and how long to read
    #[arg(long = "for", value_parser = duration::parse, default_value = "2s", value_name = "TIME")]
    pub(super) limit: Duration,
    /// Tasks at once
    #[arg(short, long, default_value_t = 16, value_name = "NUMBER")]
    pub(super) concurrency: usize,
    /// Bytes of a value
    #[arg(short, long, default_value_t = 1_024, value_name = "BYTES")]
    pub(super) size: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    Text,
    Json,
    Markdown,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_makes_sense() {
        super::Args::command().debug_assert();
    }
}
