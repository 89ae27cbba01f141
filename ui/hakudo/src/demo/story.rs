//! What happens in the demo: the cluster starts, orders come, the client's interruptions are told; or all of it by itself.

use super::client::{Client, Seen};
use super::cluster;
use super::control::{self, Order};
use super::layout::{Layout, Site, shown};
use super::machines::{self, Machines};
use super::phases;
use super::sites;
use crate::exit::Exit;
use crate::phases::Phases;
use crate::planning;
use anyhow::{Context, Result, bail};
use hakudo_base::UnixTime;
use hakudo_cib::Document;
use hakudo_controller::request::{Reply, Request};
use hakudo_view::text::{self, Sections, Show};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{mpsc, oneshot};

/// The cluster gets this long to come to rest after anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the demo in its namespaces.
///
/// # Errors
/// Where something cannot be set up, or (unattended) where the service did not come back.
pub(super) async fn run(layout: &Layout, auto: bool, power_cuts: Option<u32>) -> Result<Exit> {
    let began = Instant::now();
    let mut machines = Machines::new(layout).await?;
    let all = layout.machines();
    for machine in &all {
        machines.start(machine).await?;
    }
    let orders = control::listen(layout)?;
    let (own, own_orders) = mpsc::channel(4);
    tokio::spawn(obey(layout.clone(), machines, orders, own_orders));
    let stage = Stage { layout: layout.clone(), client: Client::start(layout.service()), orders: own };
    println!(
        "{} {} start: {}",
        all.len(),
        if layout.arbitrator.is_some() { "machines" } else { "nodes" },
        all.join(", ")
    );
    for site in &layout.sites {
        cluster::configure(layout, site).await?;
    }
    if layout.arbitrator.is_some() {
        sites::grant(layout, &layout.sites[0], PATIENCE).await?;
    }
    stage.served_within(PATIENCE).await.context("the service did not start")?;
    println!("The service answers at {} after {}.", layout.url(), milliseconds(began.elapsed()));
    stage.settled().await?;
    match (auto, power_cuts) {
        (true, Some(count)) => stage.power_cuts(count).await?,
        (true, None) if layout.arbitrator.is_some() => stage.whole_story_of_sites().await?,
        (true, None) => stage.whole_story().await?,
        (false, _) => stage.watch().await?,
    }
    Ok(Exit::OK)
}

/// Carries orders out, one after the other, and lets fenced machines boot.
async fn obey(
    layout: Layout,
    mut machines: Machines,
    mut orders: mpsc::Receiver<Order>,
    mut own: mpsc::Receiver<Order>,
) {
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        let order = tokio::select! {
            Some(order) = orders.recv() => order,
            Some(order) = own.recv() => order,
            _ = tick.tick() => {
                match machines.boot_those_switched_on().await {
                    Ok(booted) => booted.iter().for_each(|node| println!("{node} boots.")),
                    Err(error) => println!("A machine does not boot: {error:#}"),
                }
                continue;
            }
        };
        let answer = match carry_out(&layout, &mut machines, &order.words).await {
            Ok(answer) => answer,
            Err(error) => format!("error: {error:#}\n"),
        };
        // Whoever asked may have gone.
        let _ = order.answer.send(answer);
    }
}

async fn carry_out(layout: &Layout, machines: &mut Machines, words: &[String]) -> Result<String> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["kill", name] => {
            let mut outcomes = Vec::new();
            for machine in machines_of(layout, name) {
                outcomes.push(machines.kill(&machine).await);
            }
            any(outcomes).map(|()| format!("{name} has no power.\n"))
        }
        ["start", name] => {
            let mut outcomes = Vec::new();
            for machine in machines_of(layout, name) {
                outcomes.push(machines.start(&machine).await);
            }
            any(outcomes).map(|()| format!("{name} boots.\n"))
        }
        ["cut", name] => machines.cut(name).await.map(|()| format!("The cable of {name} is cut.\n")),
        ["heal", name] => machines.heal(name).await.map(|()| format!("The cable of {name} is whole.\n")),
        ["fence", node] => fence(layout, node).await,
        ["move", name] => hand_over(layout, name).await,
        ["stop"] => {
            println!("The demo ends.");
            if layout.shape.loopback {
                machines::clear_away()?;
            }
            std::process::exit(0)
        }
        other => bail!("this is not an order: {}", other.join(" ")),
    }
}

/// What was done to several machines went well where it did for one of them: the others may have been so before.
fn any(outcomes: Vec<Result<()>>) -> Result<()> {
    match outcomes.iter().any(Result::is_ok) {
        true => Ok(()),
        false => outcomes.into_iter().collect(),
    }
}

/// All machines of a site, or the machine of that name.
fn machines_of(layout: &Layout, name: &str) -> Vec<String> {
    let site = layout.sites.iter().find(|site| layout.arbitrator.is_some() && site.name == name);
    site.map_or_else(|| vec![name.to_owned()], |site| site.nodes.clone())
}

async fn fence(layout: &Layout, node: &str) -> Result<String> {
    let request = Request::Fence { node: node.into(), action: "reboot".into() };
    let site = layout.site_of(node).with_context(|| format!("there is no node {node}"))?;
    for other in site.nodes.iter().filter(|other| *other != node) {
        match cluster::ask(&layout.socket(other), &request).await {
            Ok(Reply::Done) => return Ok(format!("{node} is fenced.\n")),
            Ok(Reply::Refused { reason, .. } | Reply::Unknown { reason }) => bail!("{reason}"),
            Ok(other) => bail!("this is no answer: {other:?}"),
            // This node may be off: another one is asked.
            Err(_) => {}
        }
    }
    bail!("no node answers")
}

async fn hand_over(layout: &Layout, name: &str) -> Result<String> {
    if layout.arbitrator.is_none() {
        bail!("there is no ticket to move: the demo has one cluster only (see: hakudo demo --sites)");
    }
    let (to, others): (Vec<&Site>, Vec<&Site>) = layout.sites.iter().partition(|site| site.name == name);
    let (Some(to), Some(from)) = (to.first(), others.first()) else { bail!("there is no site {name}") };
    let interruption = sites::hand_over(layout, from, to).await?;
    let away = interruption.map(|away| format!(", which nobody had for {}", milliseconds(away)));
    Ok(format!("{name} has the ticket{}.\n", away.unwrap_or_default()))
}

/// The clusters with their client.
pub(super) struct Stage {
    pub(super) layout: Layout,
    client: Client,
    orders: mpsc::Sender<Order>,
}

impl Stage {
    async fn order(&self, words: &[&str]) -> Result<()> {
        let (answer, wait) = oneshot::channel();
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        self.orders.send(Order { words, answer }).await.context("nobody takes orders")?;
        let answer = wait.await.context("nobody answers orders")?;
        match answer.strip_prefix("error: ") {
            Some(error) => bail!("{}", error.trim_end()),
            None => Ok(()),
        }
    }

    /// The node whose page the client got last.
    pub(super) fn server(&self) -> Result<String> {
        let page = self.client.seen().server.context("the service never answered")?;
        let node = self.layout.nodes().find(|node| page.split(|c: char| !c.is_alphanumeric()).any(|w| w == **node));
        node.cloned().with_context(|| format!("the page names no node: {page:?}"))
    }

    async fn leader(&self) -> Result<String> {
        let state = cluster::state(&self.layout, &self.layout.sites[0]).await.context("no node answers")?;
        state.leader.context("nobody leads")
    }

    /// Waits until every cluster has all its nodes and nothing to do.
    async fn settled(&self) -> Result<()> {
        for site in &self.layout.sites {
            cluster::settled(&self.layout, site, PATIENCE).await?;
        }
        Ok(())
    }

    /// Waits until the client gets an answer.
    async fn served_within(&self, patience: Duration) -> Result<()> {
        let began = Instant::now();
        while self.client.seen().answered.is_none() {
            if began.elapsed() > patience {
                bail!("no answer within {} s", patience.as_secs());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Waits until the client, after something happened, got an answer again that was asked for after it; and returns
    /// the longest interruption since. Where the service `must` have been interrupted, nothing is shown by one that was not.
    async fn recovered(&self, before: &Seen, since: Instant, must: bool) -> Result<Duration> {
        loop {
            if let Some(interruption) = judge(before, &self.client.seen(), since.elapsed(), must)? {
                return Ok(interruption);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether an order takes the service away from where it is now.
    fn is_about_the_server(&self, words: &[&str]) -> Result<bool> {
        let server = self.server()?;
        let of_site = self.layout.site_of(&server).map_or("", |site| site.name.as_str());
        Ok(match words {
            ["kill" | "cut" | "fence", name] => *name == server || *name == of_site,
            ["move", site] => *site != of_site,
            _ => false,
        })
    }

    /// One scene: something happens, the service comes back, the cluster comes to rest with all nodes.
    pub(super) async fn scene(&self, title: &str, words: &[&str], afterwards: Option<&[&str]>) -> Result<Duration> {
        let before = self.client.seen();
        let must = self.is_about_the_server(words)?;
        let start = now();
        let since = Instant::now();
        self.order(words).await.with_context(|| title.to_owned())?;
        let interruption = self.recovered(&before, since, must).await.with_context(|| title.to_owned())?;
        // What happens to a whole site is no loss of a node, and has other phases.
        let node = words.get(1).copied().filter(|name| self.layout.site_of(name).is_some());
        let phases = match node {
            Some(_) => phases::of(&self.layout, node, start).await,
            None => Phases::default(),
        };
        println!("{title}: interrupted for {}{phases}", milliseconds(interruption));
        if let Some(words) = afterwards {
            self.order(words).await?;
        }
        self.settled().await.with_context(|| title.to_owned())?;
        Ok(interruption)
    }

    async fn whole_story(&self) -> Result<()> {
        let server = self.server()?;
        self.scene(&format!("Power cut of {server}, which serves"), &["kill", &server], None).await?;
        let leader = self.leader().await?;
        self.scene(&format!("Power cut of {leader}, which leads"), &["kill", &leader], None).await?;
        if !self.layout.shape.loopback {
            let server = self.server()?;
            let title = format!("Network of {server} cut, which serves");
            self.scene(&title, &["cut", &server], Some(&["heal", &server])).await?;
        }
        let server = self.server()?;
        self.scene(&format!("{server} fenced, which serves"), &["fence", &server], None).await?;
        println!("The service came back each time.");
        Ok(())
    }

    async fn power_cuts(&self, count: u32) -> Result<()> {
        let mut interruptions = Vec::new();
        for run in 1..=count {
            let server = self.server()?;
            let title = format!("{run:>3}. power cut of {server}");
            interruptions.push(self.scene(&title, &["kill", &server], None).await?);
        }
        interruptions.sort_unstable();
        if let (Some(least), Some(most)) = (interruptions.first(), interruptions.last()) {
            let median = interruptions[interruptions.len() / 2];
            println!(
                "{count} power cuts: median {}, least {}, most {}",
                milliseconds(median),
                milliseconds(*least),
                milliseconds(*most)
            );
        }
        Ok(())
    }

    /// Tells what happens until it is interrupted.
    async fn watch(&self) -> Result<()> {
        self.say_what_to_type();
        let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?;
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        let mut reporters: Vec<Reporter> = self.layout.sites.iter().map(Reporter::new).collect();
        let mut interruptions = self.client.seen().interruptions.len();
        loop {
            tokio::select! {
                _ = interrupt.recv() => { println!("\nThe demo ends."); return Ok(()) }
                _ = tick.tick() => {}
            }
            for reporter in &mut reporters {
                reporter.tell(&self.layout).await;
            }
            let seen = self.client.seen();
            for interruption in seen.interruptions.iter().skip(interruptions) {
                println!("{} client: the service was away for {}", clock(now().millis()), milliseconds(*interruption));
            }
            interruptions = seen.interruptions.len();
        }
    }

    fn say_what_to_type(&self) {
        let site = &self.layout.sites[0];
        let node = site.nodes.first().map_or("n1", String::as_str);
        let program = shown(&self.layout.program);
        let socket = shown(&self.layout.socket(node));
        let mut failures = vec![(format!("kill {node}"), "pull its plug: fenced, and its services start elsewhere")];
        if self.layout.arbitrator.is_some() {
            failures.push((format!("kill {}", site.name), "pull the plug of the whole site: the other one takes over"));
            failures.push((format!("start {}", site.name), "switch it on again"));
            failures.push((format!("move {}", site.name), "move the ticket there"));
        }
        if !self.layout.shape.loopback {
            let what = if self.layout.arbitrator.is_some() { &site.name } else { node };
            failures.push((format!("cut {what}"), "cut its network cable (mend it with: heal)"));
        }
        failures.push((format!("fence {node}"), "let the cluster fence it"));
        println!("\nIn another terminal, make something fail and watch what happens here:\n");
        for (words, what) in failures {
            println!("  {:<40} {what}", format!("{program} demo {words}"));
        }
        println!("\nor look inside:\n\n  export HAKUDO_SOCKET={socket}\n  {program} status");
        if self.layout.arbitrator.is_some() {
            println!("  {program} ticket explain {}", sites::TICKET);
        }
        println!("  {program} why web-server\n  {program} events\n\nCtrl-C ends the demo.\n");
    }
}

/// What a client saw so long after something happened: the longest interruption, or nothing yet.
fn judge(before: &Seen, seen: &Seen, since: Duration, must: bool) -> Result<Option<Duration>> {
    /// What was not interrupted until then goes on.
    const UNHARMED: Duration = Duration::from_secs(5);
    let interrupted = seen.interruptions.get(before.interruptions.len()..).unwrap_or_default();
    let longest = interrupted.iter().max().copied();
    if !seen.failing && (longest.is_some() || (!must && since > UNHARMED)) {
        return Ok(Some(longest.unwrap_or_default()));
    }
    if since <= PATIENCE {
        return Ok(None);
    }
    match seen.failing {
        true => bail!("the service did not come back within {} s", PATIENCE.as_secs()),
        false => bail!("the service was never interrupted: what was done to the node that serves did not happen"),
    }
}

/// Tells the story of a cluster: in the words of its leader, as long as that answers.
struct Reporter<'a> {
    site: &'a Site,
    node: Option<String>,
    told: BTreeMap<String, u64>,
    latest: UnixTime,
    /// Something happened since the status was last looked at.
    stale: bool,
    /// The status as it was last shown.
    shown: String,
}

impl<'a> Reporter<'a> {
    fn new(site: &'a Site) -> Self {
        Self { site, node: None, told: BTreeMap::new(), latest: now(), stale: true, shown: String::new() }
    }

    async fn tell(&mut self, layout: &Layout) {
        let state = cluster::state(layout, self.site).await;
        if let Some(leader) = state.as_ref().and_then(|state| state.leader.clone()) {
            self.node = Some(leader);
        }
        let Some(node) = self.node.clone() else { return };
        let after = self.told.get(&node).copied().unwrap_or_default();
        for event in cluster::events(layout, &node, after).await.unwrap_or_default() {
            self.stale = true;
            self.told.insert(node.clone(), event.number);
            if event.time_ms > self.latest.millis() {
                self.latest = UnixTime::from_millis(event.time_ms);
                println!("{} {node}: {}", clock(event.time_ms), event.text);
            }
        }
        // While the cluster is at work, its events say enough.
        if self.stale && state.is_some_and(|state| state.settled) {
            self.show(layout, &node).await;
        }
    }

    /// Shows where everything is now, where that is another place than before.
    async fn show(&mut self, layout: &Layout, node: &str) {
        let Ok(Reply::Cib { xml }) = cluster::ask(&layout.socket(node), &Request::Cib).await else { return };
        let Some(status) = compact_status(&xml) else { return };
        self.stale = false;
        if status != self.shown {
            println!("\nCluster {}:\n{status}", self.site.name);
            self.shown = status;
        }
    }
}

/// Nodes, resources and failures, in the lines of `hakudo status`.
fn compact_status(xml: &str) -> Option<String> {
    let cib = Document::parse(xml).ok()?;
    let model = planning::model(&cib, now().into()).ok()?;
    let sections = Sections { nodes: true, resources: true, failures: true, ..Sections::default() };
    let text = text::render(&hakudo_view::cluster_status(&cib, &model), sections, &Show::default());
    let items = text.lines().filter(|line| line.starts_with("  ")).map(|line| format!("{line}\n"));
    Some(items.collect())
}

fn now() -> UnixTime {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixTime::from_millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

fn milliseconds(duration: Duration) -> String {
    format!("{} ms", duration.as_millis())
}

/// The time of day in UTC.
fn clock(time_ms: i64) -> String {
    let of_day = time_ms.rem_euclid(86_400_000);
    format!("{:02}:{:02}:{:02}.{:03}", of_day / 3_600_000, of_day / 60_000 % 60, of_day / 1000 % 60, of_day % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TWO_NODES;

    #[test]
    fn a_service_that_was_not_interrupted_shows_nothing() {
        let seconds = Duration::from_secs;
        let before = Seen { interruptions: vec![seconds(9)], ..Seen::default() };
        let away = Seen { failing: true, ..before.clone() };
        let back = Seen { interruptions: vec![seconds(9), seconds(1), seconds(2)], ..Seen::default() };
        assert_eq!(judge(&before, &back, seconds(3), true).unwrap(), Some(seconds(2)));
        assert_eq!(judge(&before, &away, seconds(6), false).unwrap(), None);
        assert!(judge(&before, &away, seconds(31), false).unwrap_err().to_string().contains("did not come back"));
        // What is done to a node that does not serve need not be noticed.
        assert_eq!(judge(&before, &before, seconds(4), false).unwrap(), None);
        assert_eq!(judge(&before, &before, seconds(6), false).unwrap(), Some(Duration::ZERO));
        assert_eq!(judge(&before, &before, seconds(6), true).unwrap(), None);
        assert!(judge(&before, &before, seconds(31), true).unwrap_err().to_string().contains("never interrupted"));
    }

    #[test]
    fn a_status_is_a_few_lines() {
        assert_eq!(
            compact_status(TWO_NODES).as_deref(),
            Some(
                "  * Online: [ alpha beta ]\n  * address\t(ocf:hakudo:Address):\t Started alpha\n  \
                 * web\t(ocf:hakudo:Http):\t Started alpha\n"
            )
        );
    }
}
