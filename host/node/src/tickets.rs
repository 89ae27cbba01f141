//! This node's part in a ticket group: the links to the other members, and the checks before a ticket is taken.
//!
//! The group is decided on in the controller of the node that speaks for the site. Here is what touches the world.

use crate::config::NodeConfig;
use anyhow::{Result, bail, ensure};
use hakudo_base::NodeId;
use hakudo_controller::{TicketEffect, TicketInput, TicketSetup};
use hakudo_link::setup::{self, Setup, Wire};
use hakudo_link::{Link, Received};
use hakudo_tickets::booth::text;
use hakudo_tickets::{Check, Handler, Readiness};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;
use tokio::sync::mpsc;

/// A program that checks whether a ticket may be taken has so long.
const CHECK_PATIENCE: Duration = Duration::from_secs(30);

/// The links of this node.
pub(crate) struct Tickets {
    link: Option<Link>,
    inputs: mpsc::UnboundedSender<TicketInput>,
    config: PathBuf,
    /// This site's name in the group.
    site: String,
}

impl Tickets {
    /// Listens, where this node's cluster is part of a group; what comes is told to the receiver.
    ///
    /// # Errors
    /// Where the group's configuration is wrong, or an address cannot be used.
    pub(crate) fn start(config: &NodeConfig) -> Result<(Self, mpsc::UnboundedReceiver<TicketInput>)> {
        let (inputs, told) = mpsc::unbounded_channel();
        let mut tickets = Self { link: None, inputs, config: PathBuf::new(), site: String::new() };
        tickets.configure(config)?;
        Ok((tickets, told))
    }

    /// Takes the group as its file is now.
    ///
    /// # Errors
    /// As [`Tickets::start`]; then the group is what it was.
    pub(crate) fn configure(&mut self, config: &NodeConfig) -> Result<()> {
        let Some(own) = &config.tickets else {
            if self.link.take().is_some() {
                self.tell(TicketInput::Group(None));
            }
            return Ok(());
        };
        let Setup { local, group, wire, config } = setup::read(own)?;
        let Wire::Hakudo(settings) = wire else { bail!("a site cannot speak booth's protocol yet") };
        ensure!(group.is_site(local), "{} is an arbitrator of the group, and no site", group.name_of(local));
        match &self.link {
            Some(link) => link.configure(settings),
            None => {
                let (link, received) = Link::start(settings, false)?;
                tokio::spawn(pass_on(received, self.inputs.clone()));
                self.link = Some(link);
            }
        }
        (self.config, self.site) = (config, group.name_of(local));
        self.tell(TicketInput::Group(Some(Box::new(TicketSetup {
            local: local.0,
            group,
            stop_time_ms: own.stop_time_ms.clone(),
        }))));
        Ok(())
    }

    pub(crate) fn carry_out(&self, effect: TicketEffect) {
        match (effect, &self.link) {
            (TicketEffect::Send { to, bytes }, Some(link)) => link.send(NodeId(to), bytes),
            (TicketEffect::Speak(speaks), Some(link)) => link.speak(speaks),
            (TicketEffect::Check(check), _) => {
                let environment = self.environment(&check);
                let inputs = self.inputs.clone();
                tokio::spawn(async move {
                    let result = run_check(check.handler.as_ref(), &environment).await;
                    // The node ends only with this process.
                    let _ = inputs.send(TicketInput::Checked { check: check.check, result });
                });
            }
            (_, None) => {}
        }
    }

    /// What booth's handlers are told. The ticket is not granted yet, so that it does not expire either.
    fn environment(&self, check: &Check) -> BTreeMap<&'static str, String> {
        let name = self.config.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let path = self.config.display().to_string();
        text::handler_environment(&check.ticket, &self.site, &path, &name, None)
    }

    fn tell(&self, input: TicketInput) {
        // The node ends only with this process.
        let _ = self.inputs.send(input);
    }
}

async fn pass_on(mut received: mpsc::UnboundedReceiver<Received>, inputs: mpsc::UnboundedSender<TicketInput>) {
    while let Some(Received { from, bytes }) = received.recv().await {
        if inputs.send(TicketInput::Message { from: from.0, bytes }).is_err() {
            return;
        }
    }
}

/// Runs the program, or all of a folder in the order of their names until one fails (booth: `before-acquire-handler`).
async fn run_check(handler: Option<&Handler>, environment: &BTreeMap<&str, String>) -> Result<Readiness, String> {
    if let Some(Handler { path, arguments }) = handler {
        for program in programs(Path::new(path))? {
            run_program(&program, arguments, environment).await?;
        }
    }
    Ok(Readiness::default())
}

fn programs(path: &Path) -> Result<Vec<PathBuf>, String> {
    let cannot = |error: std::io::Error| format!("the check {} cannot be read: {error}", path.display());
    if !std::fs::metadata(path).map_err(cannot)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let entries = std::fs::read_dir(path).map_err(cannot)?;
    let mut programs: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|p| p.is_file()).collect();
    programs.sort();
    Ok(programs)
}

async fn run_program(program: &Path, arguments: &[String], environment: &BTreeMap<&str, String>) -> Result<(), String> {
    let mut command = Command::new(program);
    command.args(arguments).envs(environment);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let name = program.display();
    let mut child = command.spawn().map_err(|error| format!("the check {name} cannot be run: {error}"))?;
    match tokio::time::timeout(CHECK_PATIENCE, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("the check {name} says no ({status})")),
        Ok(Err(error)) => Err(format!("the check {name} was lost: {error}")),
        Err(_) => Err(format!("the check {name} has not ended after {} s", CHECK_PATIENCE.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handler(path: &str, arguments: &[&str]) -> Handler {
        Handler { path: path.into(), arguments: arguments.iter().map(|&a| a.to_owned()).collect() }
    }

    #[tokio::test]
    async fn a_check_says_yes_or_no_by_its_exit_code() {
        let environment = BTreeMap::from([("BOOTH_TICKET", "T".to_owned())]);
        let script = |text: &'static str| handler("/bin/sh", &["-c", text]);
        let result = run_check(Some(&script("test \"$BOOTH_TICKET\" = T")), &environment).await;
        assert_eq!(result, Ok(Readiness::default()));
        assert!(run_check(Some(&script("exit 3")), &environment).await.unwrap_err().contains("says no"));
        assert!(run_check(Some(&handler("/nonsense", &[])), &environment).await.is_err());
        assert_eq!(run_check(None, &environment).await, Ok(Readiness::default()));
    }
}
