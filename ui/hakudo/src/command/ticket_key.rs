//! `hakudo ticket key`: a key pair of one member, in place of the common key of all.
//!
//! With a key of its own a member is known by that alone: who has taken one member's key cannot speak for another.

use super::ticket::{Form, Shown};
use crate::exit::{Exit, Failure, Outcome};
use crate::output;
use crate::world::World;
use anyhow::{Context, ensure};
use clap::Args;
use hakudo_seal::PrivateKey;
use rustix::rand::{GetRandomFlags, getrandom};
use serde::Serialize;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Arguments of `key`.
#[derive(Debug, Args)]
pub(crate) struct Key {
    /// The file of the private key: `private_key_file` of this member names it
    #[arg(default_value = "/etc/hakudo/ticket.key", value_name = "FILE")]
    file: PathBuf,
    #[command(flatten)]
    shown: Shown,
}

/// A pair, as JSON (schema/ticket.json).
#[derive(Debug, Serialize)]
struct Pair {
    file: PathBuf,
    public_key: String,
    made: bool,
}

/// Makes the pair where there is none, and prints its public key.
pub(crate) fn run(arguments: &Key, world: &mut World) -> Outcome {
    let file = &arguments.file;
    let failed = |error: anyhow::Error| Failure::new(Exit::CANNOT_CREATE, format!("{error:#}"));
    let (private, made) = match make(file) {
        Ok(private) => (private, true),
        Err(error) if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::AlreadyExists) => {
            (read(file).map_err(|error| Failure::new(Exit::DATA, format!("{error:#}")))?, false)
        }
        Err(error) => return Err(failed(error)),
    };
    let public = private.public().context("there is no cryptography").map_err(failed)?.to_string();
    match arguments.shown.output_as {
        Form::Text => writeln!(world.out, "{public}")?,
        Form::Json => {
            let pair = Pair { file: file.clone(), public_key: public, made };
            write!(world.out, "{}", output::json(&pair)?)?;
        }
    }
    if made {
        let place = file.display();
        writeln!(world.err, "{place} is this member's private key; the others know it by the public key above")?;
    }
    Ok(Exit::OK)
}

/// Writes 32 random bytes that only their owner may read; a file that is there stays as it is.
fn make(file: &Path) -> anyhow::Result<PrivateKey> {
    let cannot = || format!("cannot make {}", file.display());
    let mut bytes = [0; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        filled += getrandom(&mut bytes[filled..], GetRandomFlags::empty()).context("no randomness")?;
    }
    let mut out = File::options().write(true).create_new(true).mode(0o600).open(file).with_context(cannot)?;
    let written = out.write_all(&bytes).and_then(|()| out.sync_all());
    if written.is_err() {
        // Half of a key is none.
        let _ = std::fs::remove_file(file);
    }
    written.with_context(cannot)?;
    Ok(PrivateKey::new(bytes))
}

fn read(file: &Path) -> anyhow::Result<PrivateKey> {
    let place = file.display();
    let mode = std::fs::metadata(file).with_context(|| format!("cannot read {place}"))?.permissions().mode();
    ensure!(mode & 0o077 == 0, "{place} is a secret, and others may read it: chmod 600");
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {place}"))?;
    let bytes =
        bytes.try_into().ok().with_context(|| format!("{place} is there and no private key: it has 32 bytes"))?;
    Ok(PrivateKey::new(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::ticket::Group;
    use crate::input::Source;
    use hakudo_link::setup::Own;
    use std::collections::BTreeMap;
    use std::net::TcpListener;
    use std::time::{Duration, Instant};

    const MEMBERS: [&str; 3] = ["127.0.0.21", "127.0.0.22", "127.0.0.23"];

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("hakudo-keys-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Makes the pair, or looks at it: its public key.
    fn key(file: &Path) -> Result<String, Failure> {
        let mut world = World { out: Box::new(std::io::sink()), err: Box::new(std::io::sink()), ..World::of_process() };
        run(&Key { file: file.to_owned(), shown: Shown::default() }, &mut world)?;
        Ok(read(file).unwrap().public().unwrap().to_string())
    }

    #[test]
    fn a_pair_is_made_once_and_is_a_secret() {
        let folder = folder("once");
        let file = folder.join("key");
        let public = key(&file).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(key(&file).unwrap(), public);
        assert_ne!(key(&folder.join("other")).unwrap(), public);
        std::fs::write(&file, "short").unwrap();
        assert_eq!(key(&file).unwrap_err().exit, Exit::DATA);
        assert_eq!(std::fs::read(&file).unwrap(), b"short");
        assert_eq!(key(&folder.join("nowhere/key")).unwrap_err().exit, Exit::CANNOT_CREATE);
        std::fs::remove_dir_all(folder).unwrap();
    }

    /// Starts a member with its own key; where it is asked.
    fn start(folder: &Path, member: &str, public_keys: &BTreeMap<String, String>) -> PathBuf {
        let own = Own {
            config: Some(folder.join("dr.conf")),
            member: Some(member.to_owned()),
            private_key_file: Some(folder.join(member)),
            public_keys: public_keys.clone(),
            ..Own::default()
        };
        let (state_dir, socket) = (folder.join(format!("{member}.state")), folder.join(format!("{member}.sock")));
        let config = hakudo_arbitrator::Config { own, state_dir, socket: socket.clone(), pid_file: None };
        // It ends with this process.
        std::thread::spawn(move || hakudo_arbitrator::run(&config));
        socket
    }

    fn hears(socket: &Path, member: &str) -> bool {
        let Ok(group) = Group::at(&Source::Live(socket.to_owned())) else { return false };
        group.status.members.iter().any(|known| known.name == member && known.heard.is_some())
    }

    #[test]
    fn members_know_each_other_by_the_keys_that_were_made() {
        let folder = folder("members");
        let port = TcpListener::bind("127.0.0.21:0").unwrap().local_addr().unwrap().port();
        let text = MEMBERS.map(|member| format!("arbitrator = {member}\n")).concat();
        let text =
            format!("port = {port}\nsite = 127.0.0.24\n{text}ticket = T\nexpire = 2\ntimeout = 200ms\nretries = 3\n");
        std::fs::write(folder.join("dr.conf"), text).unwrap();
        let mut public_keys: BTreeMap<String, String> =
            MEMBERS.iter().map(|member| ((*member).to_owned(), key(&folder.join(member)).unwrap())).collect();
        public_keys.insert("127.0.0.24".to_owned(), key(&folder.join("site")).unwrap());
        let [first, second, third] = MEMBERS;
        let asked = start(&folder, first, &public_keys);
        start(&folder, second, &public_keys);
        // This one has made itself another pair since.
        std::fs::remove_file(folder.join(third)).unwrap();
        key(&folder.join(third)).unwrap();
        start(&folder, third, &public_keys);
        let begun = Instant::now();
        while !hears(&asked, second) {
            assert!(begun.elapsed() < Duration::from_secs(30), "the members do not hear each other");
            std::thread::sleep(Duration::from_millis(50));
        }
        std::thread::sleep(Duration::from_secs(1));
        assert!(!hears(&asked, third), "a member with another key is heard");
    }
}
