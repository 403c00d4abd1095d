//! cachekit beside its peers on Redis.
//!
//! All ways to read one server run in one process and in turns, so that what disturbs one disturbs all; only ratios of
//! one run mean anything. How to run it is in the README beside this crate.

use std::process::ExitCode;

use tokio::runtime::Builder;

mod arguments;
mod case;
mod contender;
mod load;
mod ours;
mod page;
mod peers;
mod raw;
mod report;
mod server;
mod way;

use self::arguments::{Arguments, USAGE};
use self::case::Case;
use self::contender::Contender;
use self::load::Load;
use self::report::Report;
use self::server::Server;
use self::way::Failure;

fn main() -> ExitCode {
    let arguments = match Arguments::read(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut runtime = Builder::new_multi_thread();
    if arguments.current_thread {
        runtime = Builder::new_current_thread();
    }
    let runtime = runtime.worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        for case in Case::all().filter(|case| arguments.takes_case(&case.name())) {
            measure(&case, arguments).await?.print();
        }
        Ok(())
    })
}

/// Measures one case on a server of its own: each round gives every way its turn, and begins with another one.
async fn measure(case: &Case, arguments: &Arguments) -> Result<Report, Failure> {
    let server = Server::start(&arguments.server).await?;
    let ways = contenders(&server, case, arguments).await?;
    let mut report = Report::new(case.name(), ways.iter().map(|way| (way.name, way.kind)));
    let load = Load { tasks: case.tasks, keys: case.keys, sets: case.sets, time: arguments.time };
    for round in 0..arguments.rounds {
        for turn in 0..ways.len() {
            let index = (round + turn) % ways.len();
            report.add(index, (ways[index].run)(load).await?);
        }
    }
    Ok(report)
}

/// Every way that was asked for, with its values stored.
async fn contenders(server: &Server, case: &Case, arguments: &Arguments) -> Result<Vec<Contender>, Failure> {
    let mut all = raw::contenders(server, case).await?;
    all.extend(ours::contenders(server, case)?);
    all.extend(peers::contenders(server, case).await?);
    all.retain(|way| arguments.takes_way(way.name));
    for way in &all {
        (way.fill)().await?;
    }
    Ok(all)
}
