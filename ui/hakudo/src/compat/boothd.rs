//! `boothd`: an arbitrator that speaks booth's protocol, started as booth's is; and `booth status`.

use crate::command::daemon;
use crate::exit::{Exit, Failure, Outcome};
use crate::world::World;
use clap::{Parser, Subcommand};
use hakudo_arbitrator::pid_file::PidFile;
use hakudo_link::setup;
use hakudo_tickets::Protocol;
use hakudo_tickets::booth::text::{self, exit};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// A member of a ticket group that speaks booth's protocol.
///
/// This program is an arbitrator. A site is served by its cluster: "tickets": { "protocol": "booth" } in
/// /etc/hakudo/cluster.json.
#[derive(Debug, Parser)]
#[command(name = "boothd", version, disable_help_subcommand = true)]
pub(super) struct Boothd {
    #[command(subcommand)]
    command: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Run as the member that has an address of this machine
    #[command(aliases = ["start", "site", "arbitrator"])]
    Daemon(Arguments),
}

#[derive(Clone, Debug, clap::Args)]
struct Arguments {
    /// Stay in the foreground, and say on standard error what happens
    #[arg(short = 'S')]
    foreground: bool,
    /// Say more
    #[arg(short = 'D')]
    debug: bool,
    /// The configuration: a path, or NAME for /etc/booth/NAME.conf
    #[arg(short, value_name = "CONF", default_value = "booth")]
    config: String,
    /// The lock file; /var/run/booth/NAME.pid if none is given
    #[arg(short, value_name = "LOCKFILE")]
    lock_file: Option<PathBuf>,
    /// The address of the member that this is, where the machine has several
    #[arg(short, value_name = "ADDRESS")]
    site: Option<String>,
}

/// What `booth status` is asked.
#[derive(Debug, Parser)]
#[command(name = "booth", disable_help_subcommand = true)]
pub(super) struct Status {
    #[command(subcommand)]
    command: StatusCommand,
}

#[derive(Debug, Subcommand)]
enum StatusCommand {
    /// Tell whether the daemon runs
    Status(Arguments),
}

/// What one boothd needs.
struct Places {
    config: PathBuf,
    name: String,
    lock_file: PathBuf,
}

impl Arguments {
    fn places(&self) -> Places {
        let config = match Path::new(&self.config) {
            path if path.is_absolute() => path.to_owned(),
            _ => PathBuf::from(format!("/etc/booth/{}.conf", self.config)),
        };
        let name = config.file_stem().map_or_else(|| "booth".to_owned(), |stem| stem.to_string_lossy().into_owned());
        let default = || PathBuf::from(format!("/var/run/booth/{name}.pid"));
        Places { lock_file: self.lock_file.clone().unwrap_or_else(default), config, name }
    }
}

fn word(arguments: &[OsString], place: usize) -> &str {
    arguments.get(place).and_then(|word| word.to_str()).unwrap_or_default()
}

/// These words begin a daemon, and all others ask one.
pub(super) fn is_daemon(arguments: &[OsString]) -> bool {
    matches!(word(arguments, 1), "daemon" | "start" | "site" | "arbitrator" | "--help" | "-h" | "--version")
}

/// `booth status`, or `booth client status`.
pub(super) fn asks_for_status(arguments: &[OsString]) -> bool {
    word(arguments, if word(arguments, 1) == "client" { 2 } else { 1 }) == "status"
}

pub(super) fn run(options: &Boothd) -> Outcome {
    let Role::Daemon(arguments) = &options.command;
    let Places { config, name, lock_file } = arguments.places();
    if !arguments.foreground {
        return detach(&lock_file);
    }
    // A boothd has a memory of its own for each configuration.
    let folder = Path::new(hakudo_arbitrator::STATE_DIR);
    let state_dir = if name == "booth" { folder.to_owned() } else { folder.join(&name) };
    let socket = Path::new(hakudo_arbitrator::SOCKET);
    let socket = if name == "booth" { socket.to_owned() } else { socket.with_file_name(format!("{name}.sock")) };
    let member = arguments.site.clone();
    let own = setup::Own { config: Some(config), protocol: Protocol::Booth, member, ..setup::Own::default() };
    daemon::tell_on_standard_error(if arguments.debug { "debug" } else { "info" });
    daemon::serve(&hakudo_arbitrator::Config { own, state_dir, socket, pid_file: Some(lock_file) })
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

pub(super) fn status(options: &Status, world: &mut World) -> Outcome {
    let StatusCommand::Status(arguments) = &options.command;
    let lock_file = arguments.places().lock_file;
    let Ok(content) = PidFile::read(&lock_file) else { return Ok(Exit(exit::ERROR)) };
    let Some(content) = content else { return Ok(Exit(exit::NOT_RUNNING)) };
    let field = |name: &str| {
        let value = content.split_whitespace().find_map(|field| field.strip_prefix(name)).unwrap_or_default();
        value.trim_matches('\'').to_owned()
    };
    let pid = field("booth_pid=").parse().unwrap_or(0);
    write!(world.out, "{}", text::status(pid, &lock_file.display().to_string(), &content))?;
    if arguments.foreground {
        let port = field("booth_port=").parse().unwrap_or(0);
        write!(world.err, "{}", text::seems_to_run(&field("booth_addr_string="), port))?;
    }
    Ok(Exit::OK)
}
