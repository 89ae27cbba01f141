//! `ocf:hakudo:Http`: a small HTTP server that answers with the name of its node.

use super::*;
use rustix::process::{Pid, Signal, kill_process, setsid};
use std::io::{Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Instant;

pub(super) const DESCRIPTION: Description = Description {
    name: "Http",
    short: "A small HTTP server",
    long: "Answers every request with the name of the node on which it runs.",
    parameters: &[
        Parameter::optional("address", "string", Some("0.0.0.0"), "The address on which it listens"),
        Parameter::optional("port", "integer", Some("80"), "The port on which it listens"),
        Parameter::optional("text", "string", None, "What it answers, if not the name of the node"),
        Parameter {
            unique: true,
            ..Parameter::optional("pidfile", "string", None, "Where its process number is kept")
        },
    ],
    actions: &[
        action("start", 20),
        action("stop", 20),
        monitor(10, None),
        action("validate-all", 20),
        action("meta-data", 5),
    ],
};

/// The name by which the server itself is run.
pub(super) const SERVER: &str = "http-server";
/// How long a server may take to answer a monitor.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at something that should come soon.
const STEP: Duration = Duration::from_millis(5);

pub(super) fn run(surroundings: &Surroundings, action: &str) -> ActionResult {
    let server = Server::configured(surroundings)?;
    match action {
        "validate-all" => Ok(exit_code::OK),
        "start" => server.start(),
        "stop" => server.stop(),
        _ => server.monitor(),
    }
}

struct Server {
    listen: SocketAddr,
    text: String,
    pidfile: PathBuf,
}

impl Server {
    fn configured(surroundings: &Surroundings) -> Result<Self, Failure> {
        let wrong = |name: &str, value: &str, what: &str| {
            failure(exit_code::NOT_CONFIGURED, format!("the parameter {name} is {value:?}, not {what}"))
        };
        let address = surroundings.required(&DESCRIPTION, "address")?;
        let port = surroundings.required(&DESCRIPTION, "port")?;
        let listen = SocketAddr::new(
            address.parse().map_err(|_| wrong("address", address, "an IP address"))?,
            port.parse().ok().filter(|port| *port > 0).ok_or_else(|| wrong("port", port, "a port"))?,
        );
        let text = match surroundings.get(&DESCRIPTION, "text") {
            Some(text) => text.to_owned(),
            None => std::env::var("HAKUDO_NODE")
                .unwrap_or_else(|_| rustix::system::uname().nodename().to_string_lossy().into_owned()),
        };
        Ok(Self { listen, text, pidfile: surroundings.file(&DESCRIPTION, "pidfile", "pid") })
    }

    /// The process of the pid file, if it lives and is the one that wrote it: numbers are used again, but not with the
    /// same time of birth.
    fn process(&self) -> Result<Option<Pid>, Failure> {
        let Some(text) = read_state(&self.pidfile)? else { return Ok(None) };
        let Some((pid, born)) = text.trim().split_once(' ') else { return Ok(None) };
        let Some(number) = pid.parse().ok().and_then(Pid::from_raw) else { return Ok(None) };
        Ok((birth(pid).as_deref() == Some(born)).then_some(number))
    }

    fn start(&self) -> ActionResult {
        if self.process()?.is_some() {
            return self.monitor();
        }
        // The server writes the file once it listens; one of an earlier life must not be taken for it.
        remove_state(&self.pidfile)?;
        if let Some(directory) = self.pidfile.parent() {
            fs::create_dir_all(directory)
                .map_err(|error| failure(exit_code::ERROR, format!("{}: {error}", directory.display())))?;
        }
        let program =
            program().map_err(|error| failure(exit_code::ERROR, format!("this program can not be found: {error}")))?;
        let mut child = Command::new(program)
            .args(["agent", SERVER])
            .arg(&self.pidfile)
            .args([&self.listen.to_string(), &self.text])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| failure(exit_code::ERROR, format!("the server could not be started: {error}")))?;
        loop {
            if self.process()?.is_some() {
                return Ok(exit_code::OK);
            }
            if let Ok(Some(status)) = child.try_wait() {
                let mut reason = String::new();
                if let Some(mut errors) = child.stderr.take() {
                    let _ = errors.read_to_string(&mut reason);
                }
                let reason = format!("the server ended at once ({status}): {}", reason.trim());
                return Err(failure(exit_code::ERROR, reason));
            }
            std::thread::sleep(STEP);
        }
    }

    fn stop(&self) -> ActionResult {
        if let Some(pid) = self.process()? {
            // It keeps nothing: there is no reason to be gentle, and a stop should be over soon.
            let _ = kill_process(pid, Signal::KILL);
            while self.process()?.is_some() {
                std::thread::sleep(STEP);
            }
        }
        remove_state(&self.pidfile)?;
        Ok(exit_code::OK)
    }

    fn monitor(&self) -> ActionResult {
        if self.process()?.is_none() {
            return Ok(exit_code::NOT_RUNNING);
        }
        match self.ask() {
            Ok(answer) if answer.starts_with("HTTP/1.0 200 ") => Ok(exit_code::OK),
            Ok(answer) => {
                let line = answer.lines().next().unwrap_or("nothing").to_owned();
                Err(failure(exit_code::ERROR, format!("the server answers {line:?}")))
            }
            Err(error) => Err(failure(exit_code::ERROR, format!("the server does not answer: {error}"))),
        }
    }

    fn ask(&self) -> io::Result<String> {
        let mut address = self.listen;
        if address.ip().is_unspecified() {
            address.set_ip(match address {
                SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
                SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
            });
        }
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.take(4096).read_to_string(&mut answer)?;
        Ok(answer)
    }
}

/// When a process was born, in ticks since the machine was (proc(5): `starttime`); none of a dead one.
fn birth(pid: &str) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program, in parentheses, may hold anything; what follows it is regular.
    let mut fields = stat.rsplit(')').next()?.split_whitespace();
    match fields.next()? {
        "Z" | "X" => None,
        _ => fields.nth(18).map(str::to_owned),
    }
}

/// The server itself: `PIDFILE ADDRESS TEXT`. Runs until it is killed.
pub(super) fn serve(arguments: &[&str]) -> u8 {
    let [pidfile, address, text] = arguments else { return usage() };
    match serve_for_ever(pidfile, address, text) {
        Ok(()) => 0,
        Err(error) => {
            eprint_line(&format!("{address}: {error}"));
            1
        }
    }
}

fn serve_for_ever(pidfile: &str, address: &str, text: &str) -> io::Result<()> {
    // A group leader can not start a session; it is one of its own already, and nothing else is needed then.
    let _ = setsid();
    let listener = TcpListener::bind(address)?;
    let answer = format!(
        "HTTP/1.0 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}\n",
        text.len() + 1
    );
    let pid = std::process::id().to_string();
    let born = birth(&pid).unwrap_or_default();
    write_state(&PathBuf::from(pidfile), &format!("{pid} {born}"))
        .map_err(|failure| io::Error::other(failure.reason))?;
    let started = Instant::now();
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                let answer = answer.clone();
                let spawned = std::thread::Builder::new().stack_size(64 << 10).spawn(move || reply(stream, &answer));
                if let Err(error) = spawned {
                    eprint_line(&format!("after {:?}: a request is dropped: {error}", started.elapsed()));
                }
            }
            // A client that went away, or too many at once.
            Err(_) => std::thread::sleep(STEP),
        }
    }
}

/// Reads a request up to its empty line, and answers.
fn reply(mut stream: TcpStream, answer: &str) {
    let (mut request, mut buffer) = (Vec::new(), [0; 1024]);
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let _ = stream.set_write_timeout(Some(PATIENCE));
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < 16 << 10 {
        match stream.read(&mut buffer) {
            Ok(count @ 1..) => request.extend_from_slice(&buffer[..count]),
            _ => return,
        }
    }
    let _ = stream.write_all(answer.as_bytes());
}
