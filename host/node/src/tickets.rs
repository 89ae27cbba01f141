//! This node's part in a ticket group: the links to the other members, and the checks before a ticket is taken.
//!
//! The group is decided on in the controller of the node that speaks for the site. Here is what touches the world.

use crate::config::NodeConfig;
use anyhow::{Result, bail, ensure};
use hakudo_base::{NodeId, Severity};
use hakudo_cib::Document;
use hakudo_controller::{TicketEffect, TicketInput, TicketSetup};
use hakudo_link::booth::{BoothLink, Came};
use hakudo_link::setup::{self, Own, Setup, Wire};
use hakudo_link::{Link, Received};
use hakudo_tickets::booth::config::{self as booth, Reading};
use hakudo_tickets::booth::engine::ClientId;
use hakudo_tickets::booth::text;
use hakudo_tickets::{Check, Handler, Readiness};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::mpsc;

/// A program that checks whether a ticket may be taken has so long.
const CHECK_PATIENCE: Duration = Duration::from_secs(30);
/// Nothing that it prints is read beyond this many bytes.
const MOST_WORDS: u64 = 4096;

/// What the members of the group say to each other, and by what.
enum Links {
    Hakudo(Link),
    Booth(BoothLink),
}

const OTHER_PROTOCOL: &str = "the group speaks another protocol than before: restart the node with its tickets revoked";

/// The links of this node.
pub(crate) struct Tickets {
    links: Option<Links>,
    inputs: mpsc::UnboundedSender<TicketInput>,
    config: PathBuf,
    /// This site's name in the group.
    site: String,
    /// What the configuration of the cluster says of the group, where it is taken from there.
    in_cib: Option<Reading>,
    /// Where that is written for programs that want booth.conf.
    copy: PathBuf,
}

impl Tickets {
    /// Listens, where this node's cluster is part of a group; what comes is told to the receiver.
    ///
    /// # Errors
    /// Where the group's configuration is wrong, or an address cannot be used.
    pub(crate) fn start(config: &NodeConfig) -> Result<(Self, mpsc::UnboundedReceiver<TicketInput>)> {
        let (inputs, told) = mpsc::unbounded_channel();
        let copy = config.runtime_dir.join("booth.conf");
        let (config_file, site) = (PathBuf::new(), String::new());
        let mut tickets = Self { links: None, inputs, config: config_file, site, in_cib: None, copy };
        tickets.configure(config)?;
        Ok((tickets, told))
    }

    /// Takes what the cluster's configuration says of the group, where no file does.
    ///
    /// # Errors
    /// As [`Tickets::start`]; then the group is what it was.
    pub(crate) fn take_from_cib(&mut self, config: &NodeConfig, cib: &Document) -> Result<()> {
        let reading = booth::read_cib(cib);
        if reading == self.in_cib {
            return Ok(());
        }
        self.in_cib = reading;
        self.configure(config)
    }

    /// Takes the group as its file is now, or as the cluster's configuration says where there is no file.
    ///
    /// # Errors
    /// As [`Tickets::start`]; then the group is what it was.
    pub(crate) fn configure(&mut self, config: &NodeConfig) -> Result<()> {
        let has_file =
            config.tickets.as_ref().is_some_and(|own| own.config.is_some() || Path::new(setup::BOOTH_CONF).exists());
        let own = config.tickets.clone().unwrap_or_default();
        let setup = match &self.in_cib {
            _ if has_file => setup::read(&own)?,
            Some(reading) => self.setup_from_cib(reading.clone(), &own)?,
            None => {
                if config.tickets.is_some() {
                    let file = setup::BOOTH_CONF;
                    tracing::info!(
                        "there is no {file}, and the cluster's configuration names no group of tickets, or is not known yet"
                    );
                }
                if self.links.take().is_some() {
                    self.tell(TicketInput::Group(None));
                }
                return Ok(());
            }
        };
        self.enter(setup, &own)
    }

    fn setup_from_cib(&self, reading: Reading, own: &Own) -> Result<Setup> {
        let wrong = reading.problems.iter().filter(|problem| problem.severity == Severity::Error);
        let wrong: Vec<String> = wrong.map(|problem| format!("the configuration:{problem}")).collect();
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        if let Some(group) = &reading.group {
            let written = booth::write(group).map_err(anyhow::Error::from);
            let written = written.and_then(|text| Ok(std::fs::write(&self.copy, text)?));
            if let Err(error) = written {
                tracing::warn!("checks before a ticket is taken find no {}: {error:#}", self.copy.display());
            }
        }
        setup::from_reading(reading, own, self.copy.clone())
    }

    fn enter(&mut self, setup: Setup, own: &Own) -> Result<()> {
        let Setup { local, group, wire, config } = setup;
        ensure!(group.is_site(local), "{} is an arbitrator of the group, and no site", group.name_of(local));
        let mut booth = None;
        match (wire, &mut self.links) {
            (Wire::Hakudo(settings), None) => {
                let (link, received) = Link::start(settings, false)?;
                tokio::spawn(pass_on(received, self.inputs.clone()));
                self.links = Some(Links::Hakudo(link));
            }
            (Wire::Hakudo(settings), Some(Links::Hakudo(link))) => link.configure(settings),
            (Wire::Booth(setup, settings), links) => {
                match links {
                    None => {
                        let (link, came) = BoothLink::start(settings)?;
                        tokio::spawn(pass_on_booth(came, self.inputs.clone()));
                        *links = Some(Links::Booth(link));
                    }
                    Some(Links::Booth(link)) => link.configure(settings),
                    Some(Links::Hakudo(_)) => bail!("{OTHER_PROTOCOL}"),
                }
                booth = Some(setup);
            }
            (Wire::Hakudo(_), Some(Links::Booth(_))) => bail!("{OTHER_PROTOCOL}"),
        }
        (self.config, self.site) = (config, group.name_of(local));
        self.tell(TicketInput::Group(Some(Box::new(TicketSetup {
            local: local.0,
            group,
            stop_time_ms: own.stop_time_ms.clone(),
            booth,
        }))));
        Ok(())
    }

    pub(crate) fn carry_out(&self, effect: TicketEffect) {
        match (effect, &self.links) {
            (TicketEffect::Send { to, bytes }, Some(Links::Hakudo(link))) => link.send(NodeId(to), bytes),
            (TicketEffect::Send { to, bytes }, Some(Links::Booth(link))) => link.send(to, &bytes),
            (TicketEffect::Answer { client, bytes, last }, Some(Links::Booth(link))) => {
                link.answer(ClientId(client), bytes, last);
            }
            (TicketEffect::Speak(speaks), Some(Links::Hakudo(link))) => link.speak(speaks),
            // All nodes listen, and pass on what is for the one that speaks.
            (TicketEffect::Speak(_), Some(Links::Booth(_))) => {}
            (TicketEffect::Check(check), _) => {
                let environment = self.environment(&check);
                let inputs = self.inputs.clone();
                tokio::spawn(async move {
                    let result = run_check(&check, &environment).await;
                    // The node ends only with this process.
                    let _ = inputs.send(TicketInput::Checked { check: check.check, result });
                });
            }
            (TicketEffect::Answer { .. }, Some(Links::Hakudo(_))) | (_, None) => {}
        }
    }

    /// What booth's handlers are told.
    fn environment(&self, check: &Check) -> BTreeMap<&'static str, String> {
        let name = self.config.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let path = self.config.display().to_string();
        text::handler_environment(&check.ticket, &self.site, &path, &name, check.expires)
    }

    fn tell(&self, input: TicketInput) {
        // The node ends only with this process.
        let _ = self.inputs.send(input);
    }
}

async fn pass_on_booth(mut came: mpsc::UnboundedReceiver<Came>, inputs: mpsc::UnboundedSender<TicketInput>) {
    while let Some(came) = came.recv().await {
        let input = match came {
            Came::Datagram(bytes) => TicketInput::Message { from: 0, bytes },
            Came::Client(ClientId(client), bytes) => TicketInput::Client { client, bytes },
            Came::Gone(ClientId(client)) => TicketInput::ClientGone { client },
        };
        if inputs.send(input).is_err() {
            return;
        }
    }
}

async fn pass_on(mut received: mpsc::UnboundedReceiver<Received>, inputs: mpsc::UnboundedSender<TicketInput>) {
    while let Some(Received { from, bytes }) = received.recv().await {
        if inputs.send(TicketInput::Message { from: from.0, bytes }).is_err() {
            return;
        }
    }
}

/// Runs the program, or all of a folder in the order of their names until one fails (booth: `before-acquire-handler`). Then
/// measures how far the data is behind, where that is to be known.
async fn run_check(check: &Check, environment: &BTreeMap<&str, String>) -> Result<Readiness, String> {
    if let Some(Handler { path, arguments }) = &check.handler {
        for program in programs(Path::new(path))? {
            run_program(&program, arguments, environment).await?;
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
    let said = run_program(Path::new(path), arguments, environment).await?;
    let seconds = said.trim().parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds
        .ok_or_else(|| format!("the check {path} prints {:?}, which is no number of seconds", shortened(said.trim())))
}

/// What is quoted of a program's words.
fn shortened(text: &str) -> &str {
    text.char_indices().nth(100).map_or(text, |(end, _)| &text[..end])
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

/// What it prints, of which a page is enough.
async fn run_program(
    program: &Path,
    arguments: &[String],
    environment: &BTreeMap<&str, String>,
) -> Result<String, String> {
    let mut command = Command::new(program);
    command.args(arguments).envs(environment);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true);
    let name = program.display();
    let mut child = command.spawn().map_err(|error| format!("the check {name} cannot be run: {error}"))?;
    let output = child.stdout.take();
    let run = async {
        let (mut said, mut rest) = (Vec::new(), tokio::io::sink());
        if let Some(mut output) = output {
            (&mut output).take(MOST_WORDS).read_to_end(&mut said).await?;
            tokio::io::copy(&mut output, &mut rest).await?;
        }
        Ok((child.wait().await?, said))
    };
    match tokio::time::timeout(CHECK_PATIENCE, run).await {
        Ok(Ok((status, said))) if status.success() => Ok(String::from_utf8_lossy(&said).into_owned()),
        Ok(Ok((status, _))) => Err(format!("the check {name} says no ({status})")),
        Ok::<Result<_, std::io::Error>, _>(Err(error)) => Err(format!("the check {name} was lost: {error}")),
        Err(_) => Err(format!("the check {name} has not ended after {} s", CHECK_PATIENCE.as_secs())),
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
        let run = |handler| async { run_check(&check(handler, None), &environment).await };
        assert_eq!(run(Some(script("test \"$BOOTH_TICKET\" = T"))).await, Ok(Readiness::default()));
        assert!(run(Some(script("exit 3"))).await.unwrap_err().contains("says no"));
        assert!(run(Some(handler("/nonsense", &[]))).await.is_err());
        assert_eq!(run(None).await, Ok(Readiness::default()));
    }

    #[tokio::test]
    async fn how_far_the_data_is_behind_is_what_the_program_prints() {
        let environment = BTreeMap::new();
        let run = |lag: &'static str| async { run_check(&check(None, Some(script(lag))), &environment).await };
        assert_eq!(run("echo 2.5").await, Ok(Readiness { lag: Some(Duration::from_millis(2500)) }));
        assert!(run("echo never").await.unwrap_err().contains("prints \"never\""));
        assert!(run("echo -1").await.is_err());
        assert!(run("echo 1; exit 1").await.unwrap_err().contains("says no"));
    }
}
