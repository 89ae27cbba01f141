//! The programs that say whether this site may take a ticket, or keep it: booth's `before-acquire-handler`, and what measures
//! how far the data is behind.
//!
//! A program leads a process group of its own. When its time is over, all of the group ends: what it started for its answer
//! is of no use any more, and would pile up with each renewal.

use hakudo_executor::pages::with_huge_pages_for_child;
use hakudo_tickets::{Check, Handler, Readiness};
use rustix::process::{Pid, Signal, kill_process_group};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};

/// A program has so long.
const PATIENCE: Duration = Duration::from_secs(30);
/// Nothing that it prints is kept beyond this many bytes, on either stream.
const MOST_WORDS: u64 = 4096;
/// What it started may hold its output open; so long is waited for the rest of its own words.
const REST: Duration = Duration::from_millis(100);

/// Runs the program, or all of a folder in the order of their names until one fails. Then measures how far the data is
/// behind, where that is to be known.
pub(crate) async fn run(check: &Check, environment: &BTreeMap<&str, String>) -> Result<Readiness, String> {
    if let Some(Handler { path, arguments }) = &check.handler {
        for program in programs(Path::new(path))? {
            run_program(&program, arguments, environment, PATIENCE).await?;
        }
    }
    let lag = match &check.lag {
        Some(rule) => Some(measure(&rule.program, environment).await?),
        None => None,
    };
    Ok(Readiness { lag })
}

/// Seconds as the program prints them.
async fn measure(program: &Handler, environment: &BTreeMap<&str, String>) -> Result<Duration, String> {
    let Handler { path, arguments } = program;
    let said = run_program(Path::new(path), arguments, environment, PATIENCE).await?;
    let seconds = said.trim().parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds
        .ok_or_else(|| format!("the check {path} prints {:?}, which is no number of seconds", shortened(said.trim())))
}

/// What is quoted of a program's words.
fn shortened(text: &str) -> &str {
    text.char_indices().nth(100).map_or(text, |(end, _)| &text[..end])
}

/// The program itself, or those of a folder as booth takes them: files that may be executed, and are not hidden (an editor's
/// or a package manager's leavings are).
fn programs(path: &Path) -> Result<Vec<PathBuf>, String> {
    let cannot = |error: std::io::Error| format!("the check {} cannot be read: {error}", path.display());
    if !std::fs::metadata(path).map_err(cannot)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let is_hidden = |path: &PathBuf| path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
    let runs = |path: &PathBuf| {
        std::fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    };
    let entries = std::fs::read_dir(path).map_err(cannot)?.collect::<Result<Vec<_>, _>>().map_err(cannot)?;
    let mut programs: Vec<PathBuf> =
        entries.into_iter().map(|entry| entry.path()).filter(|path| !is_hidden(path) && runs(path)).collect();
    programs.sort();
    Ok(programs)
}

/// What it prints, of which a page is enough.
async fn run_program(
    program: &Path,
    arguments: &[String],
    environment: &BTreeMap<&str, String>,
    patience: Duration,
) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).envs(environment).process_group(0);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let name = program.display();
    let child = with_huge_pages_for_child(|| command.spawn());
    let child = child.map_err(|error| format!("the check {name} cannot be run: {error}"))?;
    let mut leader = Leader(child);
    let (mut said, mut complained) = (Vec::new(), Vec::new());
    let (output, errors) = (leader.0.stdout.take(), leader.0.stderr.take());
    let ended = {
        let words = async { tokio::join!(read(output, &mut said), read(errors, &mut complained)) };
        tokio::pin!(words);
        let run = async {
            tokio::select! {
                status = leader.0.wait() => {
                    let _ = tokio::time::timeout(REST, words).await;
                    status
                }
                _ = &mut words => leader.0.wait().await,
            }
        };
        tokio::time::timeout(patience, run).await
    };
    drop(leader);
    let complaint = last_line(&complained);
    match ended {
        Ok(Ok(status)) if status.success() => Ok(String::from_utf8_lossy(&said).into_owned()),
        Ok(Ok(status)) => Err(format!("the check {name} says no ({status}){complaint}")),
        Ok(Err(error)) => Err(format!("the check {name} was lost: {error}")),
        Err(_) => Err(format!("the check {name} has not ended after {} s{complaint}", patience.as_secs())),
    }
}

/// Keeps the first words, and reads on so that nobody waits for room.
async fn read(stream: Option<impl AsyncRead + Unpin>, words: &mut Vec<u8>) {
    let Some(mut stream) = stream else { return };
    // A stream that cannot be read has said all that it says.
    let _ = (&mut stream).take(MOST_WORDS).read_to_end(words).await;
    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
}

/// What a program said last on standard error: most say there why they fail.
fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty());
    line.map_or_else(String::new, |line| format!(": {}", shortened(line)))
}

/// The first process of a program. Where it has not ended when this is dropped, it ends with all of its group.
struct Leader(Child);

impl Drop for Leader {
    fn drop(&mut self) {
        // Until it has been waited for, its number is nobody else's.
        let group = self.0.id().and_then(|leader| Pid::from_raw(i32::try_from(leader).ok()?));
        if let Some(group) = group {
            // A group that has just ended is what we want.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hakudo_tickets::LagRule;

    fn handler(path: &str, arguments: &[&str]) -> Handler {
        Handler { path: path.into(), arguments: arguments.iter().map(|&a| a.to_owned()).collect() }
    }

    fn check(handler: Option<Handler>, lag: Option<Handler>) -> Check {
        let lag = lag.map(|program| LagRule { at_most: Duration::from_secs(5), program });
        Check { check: 1, ticket: "T".to_owned(), handler, lag, expires: None }
    }

    fn script(text: &str) -> Handler {
        handler("/bin/sh", &["-c", text])
    }

    #[tokio::test]
    async fn a_check_says_yes_or_no_by_its_exit_code() {
        let environment = BTreeMap::from([("BOOTH_TICKET", "T".to_owned())]);
        let check = |handler| async { run(&check(handler, None), &environment).await };
        assert_eq!(check(Some(script("test \"$BOOTH_TICKET\" = T"))).await, Ok(Readiness::default()));
        let no = check(Some(script("echo trying >&2; echo the copy is stale >&2; exit 3"))).await.unwrap_err();
        assert!(no.contains("says no") && no.ends_with(": the copy is stale"), "{no}");
        assert!(check(Some(handler("/nonsense", &[]))).await.is_err());
        assert_eq!(check(None).await, Ok(Readiness::default()));
    }

    #[tokio::test]
    async fn how_far_the_data_is_behind_is_what_the_program_prints() {
        let environment = BTreeMap::new();
        let lag = |lag: &'static str| async { run(&check(None, Some(script(lag))), &environment).await };
        assert_eq!(lag("echo 2.5").await, Ok(Readiness { lag: Some(Duration::from_millis(2500)) }));
        assert!(lag("echo never").await.unwrap_err().contains("prints \"never\""));
        assert!(lag("echo -1").await.is_err());
        assert!(lag("echo 1; exit 1").await.unwrap_err().contains("says no"));
    }

    /// A folder that is gone when it is dropped.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("hakudo-checks-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn file(&self, name: &str, mode: u32, text: &str) {
            let file = self.0.join(name);
            std::fs::write(&file, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn of_a_folder_only_what_is_meant_to_run_does() {
        let folder = Folder::new("folder");
        for (name, mode) in [("20-b", 0o755), ("10-a", 0o700), (".10-a.swp", 0o755), ("README", 0o644)] {
            folder.file(name, mode, "");
        }
        std::fs::create_dir(folder.0.join("30-c")).unwrap();
        assert_eq!(programs(&folder.0), Ok(vec![folder.0.join("10-a"), folder.0.join("20-b")]));
    }

    #[tokio::test]
    async fn what_takes_too_long_ends_with_all_that_it_started() {
        let folder = Folder::new("group");
        let mark = folder.0.join("mark").display().to_string();
        let text = format!("(sleep 1; touch {mark}) & echo waiting for the disk >&2; sleep 30");
        let begun = std::time::Instant::now();
        let arguments = ["-c".to_owned(), text];
        let short = Duration::from_millis(300);
        let error = run_program(Path::new("/bin/sh"), &arguments, &BTreeMap::new(), short).await.unwrap_err();
        assert!(error.contains("has not ended") && error.ends_with(": waiting for the disk"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(5));
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert!(!Path::new(&mark).exists(), "what it started went on");
    }

    #[tokio::test]
    async fn who_holds_the_output_open_is_not_waited_for() {
        let begun = std::time::Instant::now();
        let arguments = ["-c".to_owned(), "sleep 20 & echo yes".to_owned()];
        let said = run_program(Path::new("/bin/sh"), &arguments, &BTreeMap::new(), PATIENCE).await;
        assert_eq!(said, Ok("yes\n".to_owned()));
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
