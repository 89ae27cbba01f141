//! `boothd`: an arbitrator that speaks booth's protocol, started as booth's is; and `booth status`.
//!
//! This program is an arbitrator only. A site is served by its cluster: "tickets": { "protocol": "booth" } in
//! /etc/hakudo/cluster.json.

use super::booth::{Options, complain, read_config};
use crate::command::daemon;
use crate::exit::{Exit, Failure, Outcome};
use crate::world::World;
use hakudo_arbitrator::pid_file::PidFile;
use hakudo_link::setup;
use hakudo_tickets::Protocol;
use hakudo_tickets::booth::text::{self, exit};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The lock file: as it is named, or that of the name which the configuration gives the daemon.
fn lock_file(options: &Options, world: &mut World) -> Result<Option<PathBuf>, Failure> {
    match (&options.lock_file, read_config(&options.config_file())) {
        (Some(file), Ok(_)) => Ok(Some(file.clone())),
        (None, Ok(group)) => {
            let name = group.name.unwrap_or_else(|| options.config_name());
            Ok(Some(PathBuf::from(format!("/var/run/booth/{name}.pid"))))
        }
        (_, Err(errors)) => {
            for error in errors {
                complain(error, world)?;
            }
            Ok(None)
        }
    }
}

/// Runs as the member that has an address of this machine.
pub(super) fn run(options: &Options, world: &mut World) -> Outcome {
    let Some(lock_file) = lock_file(options, world)? else { return Ok(Exit::ERROR) };
    if !options.foreground {
        return detach(&lock_file);
    }
    // A boothd has a memory of its own for each configuration.
    let name = options.config_name();
    let folder = Path::new(hakudo_arbitrator::STATE_DIR);
    let state_dir = if name == "booth" { folder.to_owned() } else { folder.join(&name) };
    let socket = Path::new(hakudo_arbitrator::SOCKET);
    let socket = if name == "booth" { socket.to_owned() } else { socket.with_file_name(format!("{name}.sock")) };
    let config = std::path::absolute(options.config_file())
        .map_err(|error| Failure::new(Exit::ERROR, format!("the place of the configuration is not known: {error}")))?;
    let member = options.site.clone();
    let own = setup::Own { config: Some(config), protocol: Protocol::Booth, member, ..setup::Own::default() };
    let config = hakudo_arbitrator::Config { own, state_dir, socket, pid_file: Some(lock_file) };
    daemon::serve(&config, if options.debug { "debug" } else { "info" })
}

/// Begins the same in the background, and waits until it serves.
fn detach(lock_file: &Path) -> Outcome {
    use std::os::unix::process::CommandExt;
    let cannot = |error: std::io::Error| Failure::new(Exit::ERROR, format!("cannot begin in the background: {error}"));
    let mut command = Command::new(std::env::current_exe().map_err(cannot)?);
    command.arg0("boothd").args(std::env::args_os().skip(1)).arg("-S");
    command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
    let mut child = command.spawn().map_err(cannot)?;
    let begun = Instant::now();
    loop {
        if PidFile::read(lock_file).ok().flatten().is_some_and(|text| text.contains("booth_state=started")) {
            return Ok(Exit::OK);
        }
        if let Some(status) = child.try_wait().map_err(cannot)? {
            // It has said why.
            return Ok(Exit(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)));
        }
        if begun.elapsed() > Duration::from_secs(30) {
            return Err(Failure::new(Exit::TIMEOUT, "the daemon does not come up"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Tells whether it runs.
pub(super) fn status(options: &Options, world: &mut World) -> Outcome {
    let Some(lock_file) = lock_file(options, world)? else { return Ok(Exit(exit::ERROR)) };
    let Ok(content) = PidFile::read(&lock_file) else { return Ok(Exit(exit::ERROR)) };
    let Some(content) = content else {
        if options.foreground {
            writeln!(world.err, "not running: nobody holds {}", lock_file.display())?;
        }
        return Ok(Exit(exit::NOT_RUNNING));
    };
    let field = |name: &str| {
        let value = content.split_whitespace().find_map(|field| field.strip_prefix(name)).unwrap_or_default();
        value.trim_matches('\'').to_owned()
    };
    let pid = field("booth_pid=").parse().unwrap_or(0);
    write!(world.out, "{}", text::status(pid, &lock_file.display().to_string(), &content))?;
    if options.foreground {
        let port = field("booth_port=").parse().unwrap_or(0);
        write!(world.err, "{}", text::seems_to_run(&field("booth_addr_string="), port))?;
    }
    Ok(Exit::OK)
}
