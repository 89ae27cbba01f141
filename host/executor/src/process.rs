//! Runs one program to its end, whatever it does: writes without end, closes nothing, starts others, never ends.
//!
//! The program leads a process group of its own. When its time is over the group and all its [`Family`] get TERM, and
//! after a grace period KILL; they get KILL also where the leader ended upon TERM, because others may have stayed. The
//! group's signals are sent before the leader is reaped, so that its number can not have passed to somebody else.
//!
//! The end of the leader is the end of the run: a daemon that it started may hold the pipes open for ever.
//!
//! A run has a record from before it begins until it is over ([`crate::journal`]); one that was given up keeps its record.

use crate::family::{self, Family, Leader};
use crate::journal::Begun;
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

/// How much of the end of each stream is kept, in bytes.
const TAIL: usize = 8 << 10;
/// How much of standard output is kept where it is the answer, in bytes.
pub(crate) const ANSWER: usize = 1 << 20;
/// How much is still read of each stream once the program ended, in bytes: what fits into a pipe.
const LEFT_IN_PIPE: usize = 1 << 20;
/// After which times a run that was killed is looked for again, in milliseconds: it may start others faster than they are
/// found, and a process that waits for a device that never answers can not be killed. Such a run is given up.
const BETWEEN_KILLS_MS: [u64; 12] = [5, 10, 10, 20, 20, 40, 40, 80, 80, 160, 250, 250];
/// How long one look for the processes of a run may take.
const LONGEST_LOOK: Duration = Duration::from_secs(2);
/// The longest exit reason, in bytes.
const REASON: usize = 1024;
/// How an agent gives the reason of its exit code on standard error (OCF 1.1, `OCF_EXIT_REASON_PREFIX`).
pub(crate) const REASON_PREFIX: &str = "ocf-exit-reason:";

/// What is to be run.
#[derive(Debug, Default)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(String, String)>,
    /// Written to its standard input; without it that is `/dev/null`.
    pub(crate) input: Option<Vec<u8>>,
    /// The beginning of standard output is the answer, not its end.
    pub(crate) answers: bool,
}

/// How it ended.
#[derive(Debug)]
pub(crate) enum End {
    Exited(i32),
    Killed(i32),
    TimedOut,
    /// Ended early, as was asked for.
    Terminated,
}

/// A run that is over.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) end: End,
    pub(crate) output: Vec<u8>,
    pub(crate) errors: Vec<u8>,
    pub(crate) reason: String,
    /// [`Program::answers`] of the program.
    pub(crate) answers: bool,
}

/// Runs `program`, of which `begun` is the record; `terminate` ends it early.
///
/// # Errors
/// It could not be started, or not be watched and was ended therefore: the error of the system call.
pub(crate) async fn run(
    program: &Program,
    begun: Begun,
    timeout: Duration,
    grace: Duration,
    terminate: &mut oneshot::Receiver<()>,
) -> io::Result<Run> {
    run_watched(program, begun, timeout, grace, terminate, watch).await
}

async fn run_watched(
    program: &Program,
    mut begun: Begun,
    timeout: Duration,
    grace: Duration,
    terminate: &mut oneshot::Receiver<()>,
    watch: impl FnOnce(Pid) -> io::Result<AsyncFd<OwnedFd>>,
) -> io::Result<Run> {
    let mut leader = match spawn(program, begun.mark()) {
        Ok(leader) => leader,
        Err(error) => {
            begun.strike_off();
            return Err(error);
        }
    };
    begun.led_by(leader.pid());
    let watched = watch(leader.pid()).and_then(|pidfd| Ok((pidfd, Streams::of(leader.child(), program)?)));
    let (pidfd, mut streams) = match watched {
        Ok(watched) => watched,
        Err(error) => {
            // What nobody can wait for must not go on: its caller takes it for not begun.
            if end_unwatched(&mut leader, begun.mark(), grace).await {
                begun.strike_off();
            }
            return Err(error);
        }
    };

    let mut end = None;
    let mut is_over = true;
    match streams.carry_until_end(&pidfd, timeout, terminate).await {
        Ok(Ok(())) => {}
        Ok(Err(why)) => {
            end = Some(why);
            is_over = end_all(&mut streams, &leader, begun.mark(), &pidfd, grace).await;
        }
        Err(error) => {
            if end_unwatched(&mut leader, begun.mark(), grace).await {
                begun.strike_off();
            }
            return Err(error);
        }
    }
    let end = match end {
        Some(early) => early,
        None => end_of(leader.child().wait()?),
    };
    if is_over {
        leader.child().wait()?;
        begun.strike_off();
    }
    streams.drain();
    let Streams { output, errors, .. } = streams;
    Ok(Run { end, output: output.bytes(), errors: errors.bytes(), reason: errors.reason(), answers: program.answers })
}

/// Ends a run of which nothing is heard, with all that belongs to it; whether its leader is gone.
async fn end_unwatched(leader: &mut Leader, mark: &str, grace: Duration) -> bool {
    let mut hunt = Hunt::new(leader, mark);
    hunt.signal(Signal::TERM).await;
    let patience = Instant::now() + grace;
    while Instant::now() < patience && !leader.has_ended() {
        tokio::time::sleep(Duration::from_millis(BETWEEN_KILLS_MS[0])).await;
    }
    hunt.kill().await;
    leader.child().try_wait().is_ok_and(|ended| ended.is_some())
}

/// Ends a run with all that belongs to it; whether its leader is gone.
async fn end_all(
    streams: &mut Streams,
    leader: &Leader,
    mark: &str,
    pidfd: &AsyncFd<OwnedFd>,
    grace: Duration,
) -> bool {
    let mut hunt = Hunt::new(leader, mark);
    streams.carry_until(hunt.signal(Signal::TERM)).await;
    let _ = tokio::time::timeout(grace, streams.carry_until(pidfd.readable())).await;
    streams.carry_until(hunt.kill()).await;
    tokio::time::timeout(grace, streams.carry_until(pidfd.readable())).await.is_ok()
}

/// The end of a run's processes. They are looked for beside the thread that serves everything else.
struct Hunt {
    group: Pid,
    /// None once a look has hung: then only the group is told.
    family: Option<Family>,
}

impl Hunt {
    fn new(leader: &Leader, mark: &str) -> Self {
        Self { group: leader.pid(), family: Some(Family::new(leader.pid(), mark)) }
    }

    /// Whether there was anybody to be told.
    async fn signal(&mut self, signal: Signal) -> bool {
        let mut any = false;
        if let Some(mut family) = self.family.take() {
            let look = tokio::task::spawn_blocking(move || (family.signal(signal), family));
            match tokio::time::timeout(LONGEST_LOOK, look).await {
                Ok(Ok((found, family))) => (any, self.family) = (found, Some(family)),
                _ => tracing::warn!(leader = ?self.group, "the processes of a run can not be looked for"),
            }
        }
        // A group without members is what we want.
        let _ = kill_process_group(self.group, signal);
        any
    }

    async fn kill(&mut self) {
        // What can be ended in one blow need not wait for a look.
        let _ = kill_process_group(self.group, Signal::KILL);
        for pause in BETWEEN_KILLS_MS {
            if !self.signal(Signal::KILL).await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }
}

#[expect(deprecated, reason = "it is unsound for types that change their descriptor; an OwnedFd does not")]
fn watch(leader: Pid) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(pidfd_open(leader, PidfdFlags::empty())?, Interest::READABLE)
}

fn spawn(program: &Program, mark: &str) -> io::Result<Leader> {
    let start = |path: &PathBuf, script: Option<&PathBuf>| {
        let mut command = Command::new(path);
        command
            .args(script)
            .args(&program.arguments)
            .env_clear()
            .envs(program.environment.iter().map(|(name, value)| (name, value)))
            .env(family::MARK, mark)
            .current_dir("/")
            .process_group(0)
            .stdin(if program.input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Leader::spawn(&mut command)
    };
    use std::os::unix::process::CommandExt as _;
    match start(&program.path, None) {
        // A script without `#!` is one for the shell, as execvp takes it.
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NOEXEC.raw_os_error()) => {
            start(&PathBuf::from("/bin/sh"), Some(&program.path))
        }
        other => other,
    }
}

fn end_of(status: ExitStatus) -> End {
    match (status.code(), status.signal()) {
        (Some(code), _) => End::Exited(code),
        (None, signal) => End::Killed(signal.unwrap_or(0)),
    }
}

/// The pipes of a running program.
struct Streams {
    stdin: Option<pipe::Sender>,
    input: Vec<u8>,
    written: usize,
    stdout: Option<pipe::Receiver>,
    stderr: Option<pipe::Receiver>,
    output: Kept,
    errors: Kept,
}

impl Streams {
    fn of(child: &mut Child, program: &Program) -> io::Result<Self> {
        let receiver = |fd| pipe::Receiver::from_owned_fd(fd);
        Ok(Self {
            stdin: child.stdin.take().map(|pipe| pipe::Sender::from_owned_fd(pipe.into())).transpose()?,
            input: program.input.clone().unwrap_or_default(),
            written: 0,
            stdout: child.stdout.take().map(|pipe| receiver(pipe.into())).transpose()?,
            stderr: child.stderr.take().map(|pipe| receiver(pipe.into())).transpose()?,
            output: if program.answers { Kept::beginning(ANSWER) } else { Kept::end(TAIL) },
            errors: Kept::end(TAIL),
        })
    }

    /// Carries what is written until the program ends; the inner error is why it has to be ended.
    async fn carry_until_end(
        &mut self,
        pidfd: &AsyncFd<OwnedFd>,
        timeout: Duration,
        terminate: &mut oneshot::Receiver<()>,
    ) -> io::Result<Result<(), End>> {
        let end = async {
            tokio::select! {
                ended = pidfd.readable() => ended.map(|_| Ok(())),
                () = tokio::time::sleep(timeout) => Ok(Err(End::TimedOut)),
                // A sender that is gone will never ask.
                Ok(()) = terminate => Ok(Err(End::Terminated)),
            }
        };
        self.carry_until(end).await
    }

    async fn carry_until<T>(&mut self, end: impl Future<Output = T>) -> T {
        tokio::pin!(end);
        let (mut out, mut err) = ([0; 4096], [0; 4096]);
        loop {
            tokio::select! {
                ended = &mut end => return ended,
                read = read(&mut self.stdout, &mut out) => match read {
                    Some(count) => self.output.take(&out[..count]),
                    None => self.stdout = None,
                },
                read = read(&mut self.stderr, &mut err) => match read {
                    Some(count) => self.errors.take(&err[..count]),
                    None => self.stderr = None,
                },
                written = write(&mut self.stdin, &self.input[self.written..]) => match written {
                    Some(count) if self.written + count < self.input.len() => self.written += count,
                    _ => self.stdin = None,
                },
            }
        }
    }

    /// Takes what is left in the pipes, without waiting for more.
    fn drain(&mut self) {
        for (pipe, kept) in [(&self.stdout, &mut self.output), (&self.stderr, &mut self.errors)] {
            let Some(pipe) = pipe else { continue };
            let (mut buffer, mut left) = ([0; 4096], LEFT_IN_PIPE);
            while left > 0
                && let Ok(count @ 1..) = pipe.try_read_now(&mut buffer)
            {
                kept.take(&buffer[..count]);
                left = left.saturating_sub(count);
            }
        }
    }
}

trait ReadNow {
    /// Reads what is there: unlike `try_read` it asks the pipe and not what the reactor last heard of it.
    fn try_read_now(&self, buffer: &mut [u8]) -> io::Result<usize>;
}

impl ReadNow for pipe::Receiver {
    fn try_read_now(&self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(self, buffer)?)
    }
}

/// Bytes of an open pipe; `None` at its end, and for ever pending on a closed one.
async fn read(pipe: &mut Option<pipe::Receiver>, buffer: &mut [u8]) -> Option<usize> {
    match pipe {
        None => std::future::pending().await,
        Some(pipe) => pipe.read(buffer).await.ok().filter(|count| *count > 0),
    }
}

async fn write(pipe: &mut Option<pipe::Sender>, bytes: &[u8]) -> Option<usize> {
    match pipe {
        None => std::future::pending().await,
        Some(_) if bytes.is_empty() => None,
        Some(pipe) => pipe.write(bytes).await.ok(),
    }
}

/// A bounded part of a stream, and the last exit reason in all of it.
struct Kept {
    bytes: VecDeque<u8>,
    limit: usize,
    keeps_end: bool,
    line: Vec<u8>,
    reason: Option<String>,
}

impl Kept {
    fn end(limit: usize) -> Self {
        Self { bytes: VecDeque::new(), limit, keeps_end: true, line: Vec::new(), reason: None }
    }

    fn beginning(limit: usize) -> Self {
        Self { keeps_end: false, ..Self::end(limit) }
    }

    fn take(&mut self, bytes: &[u8]) {
        if self.keeps_end {
            self.look_for_reason(bytes);
            self.bytes.extend(bytes);
            let surplus = self.bytes.len().saturating_sub(self.limit);
            self.bytes.drain(..surplus);
        } else {
            let room = self.limit.saturating_sub(self.bytes.len());
            self.bytes.extend(&bytes[..bytes.len().min(room)]);
        }
    }

    fn look_for_reason(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            let room = (REASON + REASON_PREFIX.len()).saturating_sub(self.line.len());
            let text = part.strip_suffix(b"\n").unwrap_or(part);
            self.line.extend_from_slice(&text[..text.len().min(room)]);
            if part.ends_with(b"\n") {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        if let Some(reason) = self.line.strip_prefix(REASON_PREFIX.as_bytes()) {
            self.reason = Some(String::from_utf8_lossy(reason).trim().to_owned());
        }
        self.line.clear();
    }

    fn reason(mut self) -> String {
        self.end_line();
        self.reason.unwrap_or_default()
    }

    fn bytes(&self) -> Vec<u8> {
        self.bytes.iter().copied().collect()
    }
}

/// How long something took, in whole milliseconds.
pub(crate) fn milliseconds_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Program {
        Program {
            path: "/bin/sh".into(),
            arguments: vec!["-c".into(), script.into()],
            environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
            ..Program::default()
        }
    }

    async fn run_for(program: &Program, timeout: Duration) -> Run {
        let (_keep, mut terminate) = oneshot::channel();
        let records = crate::testing::directory("records");
        let begun = crate::testing::begun(&records);
        let run = run(program, begun, timeout, Duration::from_millis(100), &mut terminate).await.unwrap();
        assert_eq!(std::fs::read_dir(&*records).unwrap().count(), 0, "it is over");
        run
    }

    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn exit_code_output_and_reason() {
        let run =
            run_for(&shell("echo out; echo ocf-exit-reason:one >&2; echo ocf-exit-reason:two >&2; exit 6"), LONG).await;
        assert!(matches!(run.end, End::Exited(6)), "{run:?}");
        assert_eq!(run.output, b"out\n");
        assert_eq!(run.reason, "two");
    }

    #[tokio::test]
    async fn killed_by_a_signal() {
        assert!(matches!(run_for(&shell("kill -9 $$"), LONG).await.end, End::Killed(9)));
    }

    #[tokio::test]
    async fn endless_output_is_bounded() {
        let started = Instant::now();
        let run = run_for(&shell("yes; exit 0"), Duration::from_millis(300)).await;
        assert!(matches!(run.end, End::TimedOut));
        assert_eq!(run.output.len(), TAIL);
        assert!(started.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn binary_output_is_kept_and_does_no_harm() {
        let run =
            run_for(&shell("head -c 300000 /dev/urandom >&2; echo >&2; echo ocf-exit-reason:'\u{e9}' >&2"), LONG).await;
        assert!(matches!(run.end, End::Exited(0)));
        assert_eq!(run.reason, "\u{e9}");
    }

    #[tokio::test]
    async fn a_daemon_that_keeps_the_pipes_does_not_hold_the_run() {
        let started = Instant::now();
        let run = run_for(&shell("sleep 5 & echo started"), LONG).await;
        assert!(matches!(run.end, End::Exited(0)));
        assert_eq!(run.output, b"started\n");
        assert!(started.elapsed() < Duration::from_secs(3));
    }

    #[tokio::test]
    async fn standard_input_is_written_and_closed() {
        let long = vec![b'x'; 200_000];
        let program = Program { input: Some(long), answers: true, ..shell("cat; echo end") };
        let run = run_for(&program, LONG).await;
        assert_eq!(run.output.len(), 200_004);
        // One that does not read it is no error.
        let program = Program { input: Some(vec![b'x'; 200_000]), ..shell("exit 3") };
        assert!(matches!(run_for(&program, LONG).await.end, End::Exited(3)));
    }

    #[tokio::test]
    async fn a_timeout_ends_the_whole_group_even_where_it_ignores_term() {
        let directory = crate::testing::directory("group");
        let file = directory.join("pids");
        let script = format!(
            "trap '' TERM; echo $$ >> {0}; (trap '' TERM; sh -c 'echo $$ >> {0}; sleep 60; sleep 60') & sleep 60; sleep 60",
            file.display()
        );
        let run = run_for(&shell(&script), Duration::from_millis(400)).await;
        assert!(matches!(run.end, End::TimedOut));
        crate::testing::assert_gone(&std::fs::read_to_string(file).unwrap(), 2);
    }

    #[tokio::test]
    async fn a_leader_that_ends_upon_term_leaves_nobody_behind() {
        let directory = crate::testing::directory("leader");
        let file = directory.join("pids");
        let script = format!(
            "(trap '' TERM; sh -c 'echo $$ >> {0}; sleep 60; sleep 60') & echo $$ >> {0}; wait",
            file.display()
        );
        let run = run_for(&shell(&script), Duration::from_millis(400)).await;
        assert!(matches!(run.end, End::TimedOut));
        crate::testing::assert_gone(&std::fs::read_to_string(file).unwrap(), 2);
    }

    #[tokio::test]
    async fn what_left_the_group_and_lost_its_parents_is_ended_too() {
        family::take_in_orphans().unwrap();
        let directory = crate::testing::directory("left");
        let (file, note) = (directory.join("pids"), directory.join("note"));
        let text = format!("trap '' TERM; echo $$ >> {}; sleep 60; sleep 60", file.display());
        std::fs::write(&note, text).unwrap();
        // One with a parent that lives, one whose parents are gone, one of a living parent that shows no environment.
        let note = note.display();
        let script = format!("setsid sh {note} & (setsid sh {note} &); setsid env -i sh {note} & sleep 60; sleep 60");
        let run = run_for(&shell(&script), Duration::from_millis(600)).await;
        assert!(matches!(run.end, End::TimedOut));
        crate::testing::assert_gone(&std::fs::read_to_string(file).unwrap(), 3);
    }

    #[tokio::test]
    async fn a_daemon_of_an_earlier_run_is_not_touched_by_the_end_of_a_later_one() {
        family::take_in_orphans().unwrap();
        let directory = crate::testing::directory("earlier");
        let file = directory.join("pid");
        let daemon = format!("setsid sh -c 'echo $$ > {}; exec sleep 60' >/dev/null 2>&1 &", file.display());
        assert!(matches!(run_for(&shell(&daemon), LONG).await.end, End::Exited(0)));
        let later = run_for(&shell("sleep 60"), Duration::from_millis(300)).await;
        assert!(matches!(later.end, End::TimedOut));
        let pid = std::fs::read_to_string(file).unwrap();
        assert!(crate::testing::is_alive(pid.trim()));
        assert!(Command::new("kill").arg(pid.trim()).status().unwrap().success());
        crate::testing::assert_gone(&pid, 1);
    }

    #[tokio::test]
    async fn a_run_can_be_ended_early() {
        let (ask, mut terminate) = oneshot::channel();
        let program = shell("sleep 60");
        let records = crate::testing::directory("records");
        let run = run(&program, crate::testing::begun(&records), LONG, LONG, &mut terminate);
        let (run, ()) = tokio::join!(run, async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            ask.send(()).unwrap();
        });
        assert!(matches!(run.unwrap().end, End::Terminated));
    }

    #[tokio::test]
    async fn what_is_not_there_is_an_error() {
        let (_keep, mut terminate) = oneshot::channel();
        let program = Program { path: "/nowhere/at/all".into(), ..Program::default() };
        let records = crate::testing::directory("records");
        let begun = crate::testing::begun(&records);
        let error = run(&program, begun, LONG, LONG, &mut terminate).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(std::fs::read_dir(&*records).unwrap().count(), 0, "nothing began");
    }

    #[tokio::test]
    async fn what_cannot_be_watched_is_ended() {
        let directory = crate::testing::directory("unwatched");
        let file = directory.join("pids");
        let script = format!(
            "(trap '' TERM; sh -c 'echo $$ >> {0}; sleep 60; sleep 60') & echo $$ >> {0}; wait",
            file.display()
        );
        let (_keep, mut terminate) = oneshot::channel();
        let records = crate::testing::directory("records");
        let begun = crate::testing::begun(&records);
        let blind = |_| {
            while std::fs::read_to_string(&file).unwrap_or_default().lines().count() < 2 {
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(io::ErrorKind::OutOfMemory.into())
        };
        let grace = Duration::from_millis(100);
        let error = run_watched(&shell(&script), begun, LONG, grace, &mut terminate, blind).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::OutOfMemory);
        crate::testing::assert_gone(&std::fs::read_to_string(file).unwrap(), 2);
        assert_eq!(std::fs::read_dir(&*records).unwrap().count(), 0);
    }
}
