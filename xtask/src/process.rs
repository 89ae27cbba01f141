//! Running other programs, with errors that name them.

use anyhow::{Context, Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};

/// Goes to the folder of the workspace, wherever `cargo xtask` was called from.
pub(crate) fn enter_workspace() -> Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = here.parent().context("xtask lies in the workspace")?;
    std::env::set_current_dir(workspace).with_context(|| format!("cannot go to {}", workspace.display()))
}

/// A command from its words.
pub(crate) fn command(words: &[&str]) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    command
}

/// Runs a command whose output goes to the terminal; an error if it fails.
pub(crate) fn run(words: &[&str]) -> Result<()> {
    println!("\n== {}", words.join(" "));
    let status = command(words).status().with_context(|| format!("cannot start {}", words[0]))?;
    if !status.success() {
        bail!("{} failed ({status})", words.join(" "));
    }
    Ok(())
}

/// The standard output of a command; an error if it fails.
pub(crate) fn output(words: &[&str]) -> Result<String> {
    let output =
        command(words).stderr(Stdio::inherit()).output().with_context(|| format!("cannot start {}", words[0]))?;
    if !output.status.success() {
        bail!("{} failed ({})", words.join(" "), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Whether a program can be found.
pub(crate) fn is_installed(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path)
            .chain([Path::new("/usr/sbin").into(), Path::new("/sbin").into()])
            .any(|folder| folder.join(program).is_file())
    })
}

/// Whether this process may do what root may do on this machine.
pub(crate) fn is_root() -> bool {
    output(&["id", "-u"]).is_ok_and(|id| id.trim() == "0")
}
