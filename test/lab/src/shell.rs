//! Running the commands that a lab is built with.

use anyhow::{Context, Result, bail};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Runs a command to its end; its standard output.
///
/// # Errors
/// It could not be run, or failed: with what it said.
pub(crate) fn run(words: &[&str]) -> Result<String> {
    let output = output(words)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` ended with {}: {}", words.join(" "), output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command to its end, however that is.
///
/// # Errors
/// It could not be run.
pub(crate) fn output(words: &[&str]) -> Result<Output> {
    let (program, arguments) = words.split_first().context("no command")?;
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("`{}` can not be run", words.join(" ")))
}

/// Looks every few milliseconds until there is something to see.
///
/// # Errors
/// There was nothing until `patience` was over: the last reason why.
pub(crate) fn wait_for<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let started = Instant::now();
    loop {
        let why = match look() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if started.elapsed() > patience {
            let message = format!("{what}: not within {} s", patience.as_secs());
            return Err(match why {
                Some(error) => error.context(message),
                None => anyhow::anyhow!(message),
            });
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
