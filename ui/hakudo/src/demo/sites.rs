//! Two sites and an arbitrator: what the members of the ticket group know, and what only a group of sites can be told to do.

use super::cluster;
use super::layout::{Layout, Site};
use anyhow::{Context, Result, bail};
use hakudo_controller::request::{Reply, Request};
use hakudo_link::setup::Own;
use hakudo_tickets::{MemberId, Outcome, Reply as Answer, Request as Ask, Status};
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The ticket on which the service depends.
pub(super) const TICKET: &str = "web";

/// How long the holder's lease lasts after it last heard from most members.
const EXPIRE: Duration = Duration::from_secs(2);

/// How long stopping one of the two primitives may take.
const STOP: Duration = Duration::from_millis(400);

/// Both of them one after the other, and the time to decide it.
const STOP_OF_ALL: Duration = Duration::from_secs(1);

/// The port of ticket groups (booth's).
const PORT: u16 = 9929;

/// What says that the service depends on the ticket.
pub(super) const NEEDS_THE_TICKET: &str =
    r#"<rsc_ticket id="web-needs-ticket" rsc="web" ticket="web" loss-policy="stop"/>"#;

/// The operation that bounds how long stopping takes.
pub(super) fn stop_operation(primitive: &str) -> String {
    format!(r#"<op id="{primitive}-stop" name="stop" interval="0s" timeout="{}ms"/>"#, STOP.as_millis())
}

/// The group as booth's file says it: a site has one address there, that of its first node.
fn booth_conf(layout: &Layout) -> Result<String> {
    let mut text = format!("authfile = {}\n", layout.key().display());
    for site in &layout.sites {
        text.push_str(&format!("site = {}\n", layout.address(&site.nodes[0])?));
    }
    if let Some(arbitrator) = &layout.arbitrator {
        text.push_str(&format!("arbitrator = {}\n", layout.address(arbitrator)?));
    }
    let expire = EXPIRE.as_secs();
    Ok(format!("{text}ticket = {TICKET}\nexpire = {expire}\ntimeout = 200ms\nretries = 3\n"))
}

fn booth_file(layout: &Layout) -> PathBuf {
    layout.folder.join("booth.conf")
}

/// What a machine knows of the group beside booth.conf: which member it is or belongs to, and all addresses of each site.
pub(super) fn own(layout: &Layout, member: &str, machine: &str) -> Result<Own> {
    let mut addresses = BTreeMap::new();
    for site in &layout.sites {
        let of_nodes: Result<Vec<String>> =
            site.nodes.iter().map(|node| Ok(layout.address(node)?.to_string())).collect();
        let mut of_nodes = of_nodes?.into_iter();
        addresses.insert(of_nodes.next().context("a site has a node")?, of_nodes.collect());
    }
    Ok(Own {
        config: Some(booth_file(layout)),
        member: Some(layout.address(member)?.to_string()),
        listen: vec![SocketAddr::from((layout.address(machine)?, PORT))],
        addresses,
        stop_time_ms: BTreeMap::from([(TICKET.to_owned(), u64::try_from(STOP_OF_ALL.as_millis())?)]),
        ..Own::default()
    })
}

/// The file in which the arbitrator finds that.
fn own_file(layout: &Layout) -> PathBuf {
    layout.folder.join("arbitrator.json")
}

/// Writes the group's file, and the arbitrator's.
pub(super) fn write(layout: &Layout, arbitrator: &str) -> Result<()> {
    fs::write(booth_file(layout), booth_conf(layout)?)?;
    let own = Own { config: None, ..own(layout, arbitrator, arbitrator)? };
    Ok(fs::write(own_file(layout), serde_json::to_string_pretty(&own)?)?)
}

/// The words after the program's name that run the arbitrator.
pub(super) fn arbitrate(layout: &Layout, arbitrator: &str) -> Vec<String> {
    let shown = |path: PathBuf| path.display().to_string();
    let state = layout.node(arbitrator).join("state");
    let socket = layout.runtime(arbitrator).join("arbitrator.sock");
    let (conf, own) = (shown(booth_file(layout)), shown(own_file(layout)));
    let words = ["arbitrator", "-c", &conf, "--own", &own, "--state-dir", &shown(state), "--listen", &shown(socket)];
    words.map(str::to_owned).to_vec()
}

/// Asks the group, through the first node of the site that answers.
async fn ask(layout: &Layout, site: &Site, ask: &Ask) -> Result<Outcome> {
    let request = Request::Tickets { ask: Box::new(ask.clone()), progress: false };
    let mut last = format!("no node of {} answers", site.name);
    for node in &site.nodes {
        match cluster::ask(&layout.socket(node), &request).await {
            Ok(Reply::Tickets { answer }) => match *answer {
                Answer::Done(outcome) => return Ok(outcome),
                other => last = format!("the group answers {other:?}"),
            },
            Ok(other) => last = format!("{node} answers {other:?}"),
            // This node may be off: another one is asked.
            Err(_) => {}
        }
    }
    bail!(last)
}

async fn status(layout: &Layout, site: &Site) -> Result<Status> {
    match ask(layout, site, &Ask::Status).await? {
        Outcome::Status(status) => Ok(*status),
        other => bail!("no status: {other:?}"),
    }
}

/// The number of a site in the group.
async fn member(layout: &Layout, through: &Site, site: &Site) -> Result<MemberId> {
    let address = layout.address(&site.nodes[0])?.to_string();
    let status = status(layout, through).await?;
    let found = status.members.iter().find(|member| member.name == address);
    found.map(|member| member.id).with_context(|| format!("{} is no member of the group", site.name))
}

/// Gives the ticket to a site, as soon as the group has a coordinator.
pub(super) async fn grant(layout: &Layout, site: &Site, patience: Duration) -> Result<()> {
    let began = Instant::now();
    loop {
        let granted = async {
            let site_id = member(layout, site, site).await?;
            ask(layout, site, &Ask::Grant { ticket: TICKET.into(), site: site_id, force: false }).await
        };
        match granted.await {
            Ok(_) => return Ok(()),
            Err(error) if began.elapsed() > patience => return Err(error.context("the ticket was not granted")),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Moves the ticket to a site; how long nobody had it, as the group measured it.
pub(super) async fn hand_over(layout: &Layout, from: &Site, to: &Site) -> Result<Option<Duration>> {
    let to = member(layout, from, to).await?;
    match ask(layout, from, &Ask::Move { ticket: TICKET.into(), to, dry_run: false }).await? {
        Outcome::Moved { interruption, .. } => Ok(interruption),
        other => bail!("the move ended with {other:?}"),
    }
}
