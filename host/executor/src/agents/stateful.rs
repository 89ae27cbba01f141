//! `ocf:hakudo:Stateful`: a promotable resource that is nothing but a file.

use super::*;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

pub(super) const DESCRIPTION: Description = Description {
    name: "Stateful",
    short: "A promotable resource that does nothing",
    long: "Keeps a file that says whether it is promoted, and tells the cluster how much it wants to be.",
    parameters: &[
        Parameter { unique: true, ..Parameter::optional("state", "string", None, "Where the state is kept") },
        Parameter::optional("promoted_score", "integer", Some("10"), "The promotion score while promoted"),
        Parameter::optional("unpromoted_score", "integer", Some("5"), "The promotion score while not promoted"),
    ],
    actions: &[
        action("start", 20),
        action("stop", 20),
        action("promote", 20),
        action("demote", 20),
        action("notify", 20),
        monitor(10, Some("Promoted")),
        monitor(11, Some("Unpromoted")),
        action("validate-all", 20),
        action("meta-data", 5),
    ],
};

const PROMOTED: &str = "promoted";
const UNPROMOTED: &str = "unpromoted";

pub(super) fn run(surroundings: &Surroundings, action: &str) -> ActionResult {
    let file = surroundings.file(&DESCRIPTION, "state", "state");
    let state = read_state(&file)?;
    let state = state.as_deref().map(str::trim);
    match (action, state) {
        ("validate-all", _) => {
            for name in ["promoted_score", "unpromoted_score"] {
                score(surroundings, name)?;
            }
        }
        ("notify", _) => {}
        ("start", Some(PROMOTED)) => return Ok(exit_code::RUNNING_PROMOTED),
        ("start", _) => become_unpromoted(surroundings, &file)?,
        ("stop", _) => {
            set_promotion_score(None)?;
            remove_state(&file)?;
        }
        ("promote", Some(_)) => {
            write_state(&file, PROMOTED)?;
            set_promotion_score(Some(score(surroundings, "promoted_score")?))?;
        }
        ("demote", Some(_)) => become_unpromoted(surroundings, &file)?,
        (_, None) => return Ok(exit_code::NOT_RUNNING),
        (_, Some(PROMOTED)) => return Ok(exit_code::RUNNING_PROMOTED),
        (_, Some(UNPROMOTED)) => {}
        (_, Some(other)) => {
            return Err(failure(exit_code::ERROR, format!("{} holds {other:?}, which is no state", file.display())));
        }
    }
    Ok(exit_code::OK)
}

fn become_unpromoted(surroundings: &Surroundings, file: &PathBuf) -> Result<(), Failure> {
    write_state(file, UNPROMOTED)?;
    set_promotion_score(Some(score(surroundings, "unpromoted_score")?))
}

fn score(surroundings: &Surroundings, name: &str) -> Result<i64, Failure> {
    let text = surroundings.get(&DESCRIPTION, name).unwrap_or("0");
    let wrong = |_| failure(exit_code::NOT_CONFIGURED, format!("the parameter {name} is {text:?}, not a number"));
    text.parse().map_err(wrong)
}

/// Tells the cluster as every agent does, by `crm_attribute --promotion`, which this very program is by another name.
/// Where no node process is to be told, there is nothing to do.
fn set_promotion_score(score: Option<i64>) -> Result<(), Failure> {
    if std::env::var_os("HAKUDO_SOCKET").is_none() {
        return Ok(());
    }
    let program = program().map_err(not_told)?;
    let value = score.map_or_else(|| vec!["-D".to_owned()], |score| vec!["-v".to_owned(), score.to_string()]);
    let mut command = Command::new(program);
    let status = command.arg0("crm_attribute").arg("--promotion").args(value).stdin(Stdio::null()).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(not_told(status)),
        Err(error) => Err(not_told(error)),
    }
}

fn not_told(why: impl std::fmt::Display) -> Failure {
    failure(exit_code::ERROR, format!("the promotion score could not be set: {why}"))
}
