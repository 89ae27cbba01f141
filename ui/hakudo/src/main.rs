//! The `hakudo` command.
//!
//! One file a command under `command/`; each reads its arguments (declared in the same file), works through the libraries, and
//! writes to the [`World`] that it is given. Nothing else prints, but for the demo, which goes on for as long as somebody watches it. A command that people know from Pacemaker does what it does
//! there, with the same options, words and exit codes, also under its old name (`crm_mon`, `crm_simulate`).

mod change;
mod check;
mod cli;
mod client;
mod command;
mod compat;
mod demo;
mod difference;
mod exit;
mod input;
mod offline;
mod output;
mod pair;
mod phases;
mod planning;
mod scratch;
mod settle;
mod world;

#[cfg(test)]
mod testing;

use clap::Parser;
use exit::{Exit, Failure};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use world::World;

/// Plans are made of many small lists and maps: a quarter of their time goes to the system's allocator, and a tenth to this one.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if command::daemon::is_daemon(&arguments) {
        command::daemon::begin_small(&arguments);
    }
    // An arbitrator stays small: it begins before anything that only commands need.
    let arbitrated = command::daemon::described(&arguments).map(|config| command::daemon::run_arbitrator(&config));
    let mut world = World::of_process();
    let exit = match arbitrated {
        Some(outcome) => finish(outcome, &mut world),
        None => run(arguments, &mut world),
    };
    let flushed = world.out.flush().map_err(Failure::from);
    match flushed {
        Err(failure) if exit == Exit::OK => ExitCode::from(failure.exit.0),
        _ => ExitCode::from(exit.0),
    }
}

/// Runs the command of these arguments, the program's name first.
fn run(arguments: Vec<OsString>, world: &mut World) -> Exit {
    if let Some(outcome) = compat::run(&arguments, world) {
        return finish(outcome, world);
    }
    let arguments = cli::by_old_name(arguments);
    let cli = match cli::Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return show_usage(&error, world),
    };
    let outcome = cli.run(world);
    finish(outcome, world)
}

/// Says what went wrong, if something did.
fn finish(outcome: exit::Outcome, world: &mut World) -> Exit {
    match outcome {
        Ok(exit) => exit,
        Err(failure) => {
            // What was written before belongs before the error.
            let _ = world.out.flush();
            if !failure.message.is_empty() {
                let _ = writeln!(world.err, "hakudo: {failure}");
            }
            failure.exit
        }
    }
}

/// Help goes to standard output and is no error; a wrong command line goes to standard error.
fn show_usage(error: &clap::Error, world: &mut World) -> Exit {
    let text = error.render();
    if error.use_stderr() {
        let _ = write!(world.err, "{text}");
        Exit::USAGE
    } else {
        match write!(world.out, "{text}") {
            Ok(()) => Exit::OK,
            Err(error) => Failure::from(error).exit,
        }
    }
}
