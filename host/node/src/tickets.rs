//! This node's part in a ticket group: the links to the other members, and the checks before a ticket is taken.
//!
//! The group is decided on in the controller of the node that speaks for the site. Here is what touches the world.

use crate::config::NodeConfig;
use crate::ticket_checks;
use anyhow::{Result, bail, ensure};
use hakudo_base::{NodeId, Severity};
use hakudo_cib::Document;
use hakudo_controller::{TicketEffect, TicketInput, TicketSetup};
use hakudo_link::booth::{BoothLink, Came};
use hakudo_link::setup::{self, Own, Setup, Wire};
use hakudo_link::{Link, Received};
use hakudo_tickets::Check;
use hakudo_tickets::booth::config::{self as booth, Reading};
use hakudo_tickets::booth::engine::ClientId;
use hakudo_tickets::booth::text;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

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
    /// The group's name, and this site's in it.
    group: String,
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
        let (config_file, group, site) = (PathBuf::new(), String::new(), String::new());
        let mut tickets = Self { links: None, inputs, config: config_file, group, site, in_cib: None, copy };
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
        self.enter(setup, &own, config.watchdog.is_some())
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

    fn enter(&mut self, setup: Setup, own: &Own, watchdog: bool) -> Result<()> {
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
        (self.config, self.group, self.site) = (config, group.name.clone(), group.name_of(local));
        self.tell(TicketInput::Group(Some(Box::new(TicketSetup {
            local: local.0,
            group,
            stop_time_ms: own.stop_time_ms.clone(),
            watchdog,
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
                    let result = ticket_checks::run(&check, &environment).await;
                    // The node ends only with this process.
                    let _ = inputs.send(TicketInput::Checked { check: check.check, result });
                });
            }
            (TicketEffect::Answer { .. }, Some(Links::Hakudo(_))) | (_, None) => {}
        }
    }

    /// What booth's handlers are told.
    fn environment(&self, check: &Check) -> BTreeMap<&'static str, String> {
        let path = self.config.display().to_string();
        text::handler_environment(&check.ticket, &self.site, &path, &self.group, check.expires)
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
