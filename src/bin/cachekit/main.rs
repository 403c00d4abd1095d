//! The command `cachekit`: looks at the cache that the environment of this process configures.
//!
//! It uses the library's public interface alone, so whatever it shows, a program can have, too.

use std::io;
use std::process::ExitCode;

use cachekit::{Environment, LogLevel};
use clap::Parser;
use tracing_subscriber::filter::LevelFilter;

use self::args::{Args, Command};
use self::failure::Failure;

mod args;
mod bench;
mod completions;
mod connect;
mod doctor;
mod duration;
mod failure;
mod get;
mod inspect;
mod invalidate;
mod keys;
mod output;
mod sample;
mod settings;
mod spread;
mod stats;
mod verify;
mod watch;

fn main() -> ExitCode {
    let args = Args::parse();
    let environment = Environment::from_env();
    log(&args, &environment);
    match run(args, environment) {
        Ok(code) => code,
        // The program that read the output has enough.
        Err(Failure::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(failure) => {
            anstream::eprintln!("{}error:{} {failure}", output::BAD.render(), output::BAD.render_reset());
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args, environment: Environment) -> Result<ExitCode, Failure> {
    let Args { scope, json, command } = args;
    let out = output::Out::new(json);
    // What needs no server.
    let command = match command {
        Command::Keygen => return completions::keygen(),
        Command::Completions { shell } => return completions::completions(shell),
        Command::Settings { format } => return settings::run(out, format),
        command => command,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::Output)?;
    runtime.block_on(async {
        match command {
            Command::Doctor(options) => doctor::run(out, environment, &scope, &options).await,
            Command::Keys(options) => keys::run(out, environment, &scope, &options).await,
            Command::Get(options) => get::run(out, environment, &scope, &options).await,
            Command::Inspect(options) => inspect::run(out, environment, &scope, &options).await,
            Command::Stats(options) => stats::run(out, environment, &scope, &options).await,
            Command::Verify(options) => verify::run(out, environment, &scope, &options).await,
            Command::Invalidate(options) => invalidate::run(out, environment, &scope, &options).await,
            Command::Watch(options) => watch::run(out, environment, &scope, &options).await,
            Command::Bench(options) => bench::run(out, environment, &options).await,
            Command::Keygen | Command::Completions { .. } | Command::Settings { .. } => Ok(ExitCode::SUCCESS),
        }
    })
}

/// Shows what the library tells `tracing`, on standard error. The doctor tells it all himself, unless asked to.
fn log(args: &Args, environment: &Environment) {
    let is_asked = environment.set_variables().contains(&"LOG_LEVEL");
    if matches!(args.command, Command::Doctor(_)) && !is_asked {
        return;
    }
    let level = match environment.log_level {
        LogLevel::Off => LevelFilter::OFF,
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
        _ => LevelFilter::INFO,
    };
    tracing_subscriber::fmt().with_max_level(level).with_writer(io::stderr).with_ansi(false).init();
}
