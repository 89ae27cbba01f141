//! One machine of a lab: processes in namespaces of their own, with a `/run` of their own, that can lose their power.

use crate::shell;
use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// The first process of a machine. The parts of hakudo are started one by one, as an init system would.
const BOOT: &str = r#"
hostname "$1" && mount -t tmpfs tmpfs /run && mkdir -p /run/resource-agents /run/lock && chmod 1777 /run/lock &&
echo up && exec sleep infinity
"#;

/// A machine.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) name: String,
    namespace: String,
    directory: PathBuf,
    program: PathBuf,
    init: Option<Child>,
    parts: Vec<Child>,
}

impl Machine {
    /// A machine that is off. `directory` holds its configuration and what it says.
    pub(crate) fn new(name: &str, namespace: String, directory: PathBuf, program: PathBuf) -> Self {
        Self { name: name.to_owned(), namespace, directory, program, init: None, parts: Vec::new() }
    }

    /// Switches it on, without hakudo.
    pub(crate) fn boot(&mut self) -> Result<()> {
        let mut init = Command::new("ip")
            .args(["netns", "exec", &self.namespace])
            .args([
                "unshare",
                "--mount",
                "--uts",
                "--propagation",
                "private",
                "--",
                "sh",
                "-c",
                BOOT,
                "boot",
                &self.name,
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(self.log("boot")?)
            .spawn()
            .with_context(|| format!("{} does not boot", self.name))?;
        let mut ready = [0; 3];
        let out = init.stdout.as_mut().context("no output of the first process")?;
        std::io::Read::read_exact(out, &mut ready).with_context(|| format!("{} does not boot", self.name))?;
        self.init = Some(init);
        Ok(())
    }

    /// Starts a part of hakudo: `executor` or `node`.
    pub(crate) fn start(&mut self, part: &str) -> Result<()> {
        let config = self.directory.join("cluster.json");
        let child = self
            .inside()?
            .arg(&self.program)
            .args(["daemon", part, "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(self.log(part)?)
            .stderr(self.log(part)?)
            .spawn()
            .with_context(|| format!("the {part} of {} does not start", self.name))?;
        self.parts.push(child);
        Ok(())
    }

    /// Starts a verb of hakudo with these words.
    pub(crate) fn start_with(&mut self, verb: &str, words: &[&str]) -> Result<()> {
        let mut command = self.inside()?;
        command.arg(&self.program).arg(verb).args(words);
        command.stdin(Stdio::null()).stdout(self.log(verb)?).stderr(self.log(verb)?);
        let child = command.spawn().with_context(|| format!("the {verb} of {} does not start", self.name))?;
        self.parts.push(child);
        Ok(())
    }

    /// Starts a program that is not hakudo; what it says is in the log of that name.
    pub(crate) fn start_program(&mut self, log: &str, words: &[&str]) -> Result<()> {
        let mut command = self.inside()?;
        command.args(words).stdin(Stdio::null()).stdout(self.log(log)?).stderr(self.log(log)?);
        let child = command.spawn().with_context(|| format!("{log} of {} does not start", self.name))?;
        self.parts.push(child);
        Ok(())
    }

    /// Kills a part of hakudo, and nothing else.
    pub(crate) fn kill(&mut self, part: &str) -> Result<()> {
        self.signal(&["daemon", part], Signal::KILL)?;
        self.bury();
        Ok(())
    }

    /// Sends a signal to the process whose command line begins with these words.
    pub(crate) fn signal(&mut self, words: &[&str], signal: Signal) -> Result<()> {
        kill_process(self.process(words)?, signal)?;
        Ok(())
    }

    /// The process of this program whose command line begins with these words.
    pub(crate) fn process(&self, words: &[&str]) -> Result<Pid> {
        let program = self.program.as_os_str().as_encoded_bytes();
        let wanted: Vec<&[u8]> = std::iter::once(program).chain(words.iter().map(|word| word.as_bytes())).collect();
        let found = self.processes()?.into_iter().find(|pid| {
            let command = fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero())).unwrap_or_default();
            command.split(|byte| *byte == 0).take(wanted.len()).eq(wanted.iter().copied())
        });
        found.with_context(|| format!("there is no {} on {}", words.join(" "), self.name))
    }

    /// Ends every process of the machine at once, with no chance to say anything.
    pub(crate) fn power_off(&mut self) -> Result<()> {
        shell::wait_for(&format!("all processes of {} gone", self.name), PATIENCE, || {
            let processes = self.processes()?;
            for &pid in &processes {
                // It may have ended meanwhile.
                let _ = kill_process(pid, Signal::KILL);
            }
            self.bury();
            Ok(processes.is_empty().then_some(()))
        })
    }

    /// Whether the machine has processes. Whoever looks at its addresses from outside is among them for a moment; a machine that is
    /// on has some whenever one looks.
    pub(crate) fn is_on(&mut self) -> bool {
        self.bury();
        (0..20).all(|look| {
            if look > 0 {
                thread::sleep(Duration::from_millis(10));
            }
            self.processes().is_ok_and(|processes| !processes.is_empty())
        })
    }

    /// Runs a command on the machine.
    pub(crate) fn run(&self, words: &[&str]) -> Result<String> {
        let output = self.inside()?.args(words).stdin(Stdio::null()).output()?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            anyhow::bail!("`{}` on {} ended with {}: {}", words.join(" "), self.name, output.status, said.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// The socket of its node.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.join("run/node.sock")
    }

    /// Where its files are.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// The number of its network namespace.
    pub(crate) fn network_namespace(&self) -> Result<u64> {
        let path = Path::new("/run/netns").join(&self.namespace);
        Ok(fs::metadata(&path).with_context(|| path.display().to_string())?.ino())
    }

    fn inside(&self) -> Result<Command> {
        let init = self.init.as_ref().with_context(|| format!("{} is off", self.name))?;
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--uts", "--net", "--target", &init.id().to_string(), "--"]);
        Ok(command)
    }

    fn processes(&self) -> Result<Vec<Pid>> {
        let own = self.network_namespace()?;
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
            let inside = fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|namespace| namespace.ino() == own);
            if inside {
                found.extend(Pid::from_raw(pid));
            }
        }
        Ok(found)
    }

    /// Takes note of those of our children that ended.
    fn bury(&mut self) {
        self.parts.retain_mut(|part| !matches!(part.try_wait(), Ok(Some(_))));
        if let Some(init) = &mut self.init
            && matches!(init.try_wait(), Ok(Some(_)))
        {
            self.init = None;
        }
    }

    fn log(&self, part: &str) -> Result<fs::File> {
        let path = self.directory.join(format!("{part}.log"));
        fs::File::options().create(true).append(true).open(&path).with_context(|| path.display().to_string())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // A machine that can not be switched off is said to be so where that matters.
        let _ = self.power_off();
    }
}
