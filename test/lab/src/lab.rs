//! A cluster of real machines, and what a test wants to do with it.

use crate::machine::Machine;
use crate::network::Network;
use crate::shell;
use anyhow::{Context, Result, bail};
use hakudo_controller::request::{Change, ChangeOperation, ClusterState, Event, Reply, Request};
use serde_json::{Value, json};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a cluster may take for anything that does not say otherwise.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// A cluster is at rest when it says so for this long.
const REST: Duration = Duration::from_millis(300);
/// The commands of Pacemaker that agents call, all of them this program.
const OLD_NAMES: [&str; 8] =
    ["crm_attribute", "crm_master", "attrd_updater", "crm_node", "crm_resource", "crm_mon", "crm_ticket", "pacemakerd"];
/// Agents of ours, and the word by which the program knows them.
const AGENTS: [(&str, &str); 5] = [
    ("ocf/resource.d/hakudo/Address", "Address"),
    ("ocf/resource.d/hakudo/Http", "Http"),
    ("ocf/resource.d/hakudo/Dummy", "Dummy"),
    ("ocf/resource.d/hakudo/Stateful", "Stateful"),
    ("fence/fence_hakudo_process", "fence_hakudo_process"),
];

/// How a lab differs from the usual one.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How many nodes.
    pub(crate) nodes: u8,
    /// How many links each has.
    pub(crate) links: u8,
    /// The node that has little room for its configuration.
    pub(crate) small_disk: Option<&'static str>,
    /// Two clusters of so many nodes each share a ticket, with an arbitrator; none where there is one cluster only.
    pub(crate) sites: Option<Lease>,
    /// Which members of the ticket group are boothd; all speak its protocol then.
    pub(crate) boothd: Boothd,
}

/// Where Debian's boothd runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Boothd {
    /// Nowhere: hakudo's own protocol is spoken.
    Nowhere,
    /// It is the arbitrator of hakudo's sites.
    Arbitrator,
    /// It is both sites, each of one machine without a cluster, and hakudo is the arbitrator.
    Sites,
    /// It is both sites too, each beside a cluster of hakudo, which it tells of its ticket with hakudo's `crm_ticket`.
    Clusters,
}

/// How long a ticket lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    /// After its last renewal.
    pub(crate) expire: Duration,
    /// How long a site needs at most to stop what depends on it.
    pub(crate) stop_time: Duration,
    /// The sites know their group from the configuration of their clusters alone.
    pub(crate) in_configuration: bool,
}

/// A cluster of the lab: with others it is a site.
#[derive(Debug)]
struct Site {
    name: String,
    nodes: Vec<String>,
}

/// The machine that only votes on tickets.
pub(crate) const ARBITRATOR: &str = "arbitrator";

/// A running cluster. Everything of it is gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) directory: PathBuf,
    program: PathBuf,
    pub(crate) machines: Vec<Machine>,
    pub(crate) network: Network,
    small_disk: Option<&'static str>,
    sites: Vec<Site>,
    lease: Option<Lease>,
    pub(crate) boothd: Boothd,
    /// The site that is asked and changed.
    chosen: usize,
}

impl Lab {
    /// Makes the machines, and starts hakudo on all of them.
    pub(crate) fn start(program: &Path, plan: &Plan) -> Result<Self> {
        let directory = std::env::temp_dir().join(format!("hakudo-lab-{}", std::process::id()));
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&directory)?;
        let sites = sites(plan);
        let mut names: Vec<String> = sites.iter().flat_map(|site| site.nodes.clone()).collect();
        names.extend(plan.sites.map(|_| ARBITRATOR.to_owned()));
        let network = Network::new(&names, plan.links)?;
        let machines = names
            .iter()
            .map(|name| Machine::new(name, network.namespace(name), directory.join(name), program.to_owned()));
        let machines = machines.collect();
        let Plan { small_disk, sites: lease, boothd, .. } = *plan;
        let program_file = program.to_owned();
        let mut lab =
            Self { directory, program: program_file, machines, network, small_disk, sites, lease, boothd, chosen: 0 };
        lab.write_files(program)?;
        for name in &names {
            lab.power_on(name)?;
        }
        let clusters = if lab.boothd == Boothd::Sites { 0 } else { lab.sites.len() };
        for site in 0..clusters {
            lab.chosen = site;
            lab.members(lab.names().len())?;
        }
        lab.chosen = 0;
        Ok(lab)
    }

    fn write_files(&self, program: &Path) -> Result<()> {
        for (file, agent) in AGENTS {
            let file = self.directory.join(file);
            fs::create_dir_all(file.parent().context("an agent lies in a directory")?)?;
            fs::write(&file, format!("#!/bin/sh\nexec '{}' agent {agent} \"$@\"\n", program.display()))?;
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755))?;
        }
        let names = self.directory.join("bin");
        fs::create_dir_all(&names)?;
        for name in OLD_NAMES {
            symlink(program, names.join(name))?;
        }
        let key = self.directory.join("key");
        fs::write(&key, [7; 32])?;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
        fs::create_dir_all(self.directory.join("power"))?;
        if self.sites.len() > 1 {
            fs::write(self.directory.join("booth.conf"), self.booth_conf()?)?;
        }
        for machine in &self.machines {
            fs::create_dir_all(machine.directory())?;
            if machine.name == ARBITRATOR {
                continue;
            }
            let text = serde_json::to_string_pretty(&self.node_config(machine)?)?;
            fs::write(machine.directory().join("cluster.json"), text)?;
            let text = format!(
                "netns={}\ndown={}\nstart=touch '{}'\n",
                machine.network_namespace()?,
                self.network.down_command(&machine.name),
                self.switched_on(&machine.name).display()
            );
            fs::write(self.directory.join("power").join(&machine.name), text)?;
        }
        Ok(())
    }

    fn node_config(&self, machine: &Machine) -> Result<Value> {
        let site = self.sites.iter().find(|site| site.nodes.contains(&machine.name));
        let site = site.with_context(|| format!("{} is of no site", machine.name))?;
        let mut nodes = Vec::new();
        for (number, node) in (1..).zip(&site.nodes) {
            let addresses: Result<Vec<_>> =
                (0..self.network.links()).map(|link| self.network.address(node, link)).collect();
            nodes.push(json!({ "id": number, "name": node, "addresses": addresses? }));
        }
        let mut config = json!({
            "cluster_name": site.name,
            "node": machine.name,
            "nodes": nodes,
            "key_file": self.directory.join("key"),
            "state_dir": machine.directory().join("state"),
            "runtime_dir": machine.directory().join("run"),
            "ocf_roots": ["/usr/lib/ocf", self.directory.join("ocf")],
            "fence_dirs": [self.directory.join("fence")],
            "agent_path": [self.directory.join("bin")],
        });
        if self.lease.is_some_and(|lease| !lease.in_configuration) && self.boothd != Boothd::Clusters {
            config["tickets"] = self.ticket_config(&self.network.address(&site.nodes[0], 0)?.to_string())?;
        }
        Ok(config)
    }

    /// Keywords and values of the group: what concerns all, each member, and the ticket. booth names a site by one address; the
    /// others stand here where they stand nowhere else.
    fn group(&self) -> Result<Vec<Vec<(&'static str, String)>>> {
        let Lease { expire, stop_time, in_configuration } = self.lease()?;
        let mut sections = vec![vec![("authfile", self.directory.join("key").display().to_string())]];
        for site in &self.sites {
            let addresses: Result<Vec<String>> =
                site.nodes.iter().map(|node| Ok(self.network.address(node, 0)?.to_string())).collect();
            let addresses = addresses?;
            let mut section = vec![("site", addresses[0].clone())];
            if in_configuration {
                section.push(("addresses", addresses[1..].join(" ")));
            }
            sections.push(section);
        }
        sections.push(vec![("arbitrator", self.network.address(ARBITRATOR, 0)?.to_string())]);
        let mut ticket = vec![("ticket", "T".to_owned())];
        ticket.push(("expire", expire.as_secs().to_string()));
        ticket.extend([("timeout", "200ms".to_owned()), ("retries", "3".to_owned())]);
        if in_configuration {
            ticket.push(("stop-time", stop_time.as_secs().to_string()));
        }
        if self.boothd != Boothd::Nowhere {
            // booth's members wait for nothing else while the loser stops.
            ticket.push(("acquire-after", stop_time.as_secs().to_string()));
        }
        sections.push(ticket);
        Ok(sections)
    }

    fn booth_conf(&self) -> Result<String> {
        let lines = self.group()?.into_iter().flatten();
        Ok(lines.map(|(keyword, value)| format!("{keyword} = {value}\n")).collect())
    }

    /// The same as sets of the CIB's options.
    pub(crate) fn group_as_sets(&self) -> Result<Vec<String>> {
        let set = |(number, section): (usize, Vec<(&str, String)>)| {
            let id = match section[0].0 {
                "authfile" => "hakudo-tickets".to_owned(),
                "ticket" => format!("hakudo-tickets-ticket-{number}"),
                _ => format!("hakudo-tickets-member-{number}"),
            };
            let pair =
                |(name, value): &(&str, String)| format!(r#"<nvpair id="{id}-{name}" name="{name}" value="{value}"/>"#);
            let pairs: String = section.iter().map(pair).collect();
            format!(r#"<cluster_property_set id="{id}">{pairs}</cluster_property_set>"#)
        };
        Ok(self.group()?.into_iter().enumerate().map(set).collect())
    }

    /// How long the ticket lasts that the sites share.
    pub(crate) fn lease(&self) -> Result<Lease> {
        self.lease.context("there is one cluster only, and no ticket")
    }

    /// What a member knows beside booth.conf: all addresses of each member.
    fn ticket_config(&self, member: &str) -> Result<Value> {
        if self.lease()?.in_configuration {
            return Ok(json!({}));
        }
        let mut addresses = serde_json::Map::new();
        let arbitrator = [ARBITRATOR.to_owned()];
        for machines in self.sites.iter().map(|site| &site.nodes[..]).chain([&arbitrator[..]]) {
            let links = || 0..self.network.links();
            let of_member = machines.iter().flat_map(|machine| links().map(move |link| (machine, link)));
            let of_member: Result<Vec<String>> =
                of_member.map(|(machine, link)| Ok(self.network.address(machine, link)?.to_string())).collect();
            let of_member = of_member?;
            addresses.insert(of_member[0].clone(), json!(of_member[1..]));
        }
        let protocol = if self.boothd == Boothd::Nowhere { "hakudo" } else { "booth" };
        Ok(json!({
            "protocol": protocol,
            "config": self.directory.join("booth.conf"),
            "member": member,
            "listen": ["0.0.0.0:9929"],
            "addresses": addresses,
            "stop_time_ms": { "T": u64::try_from(self.lease()?.stop_time.as_millis())? },
        }))
    }

    /// The file that fencing makes when it switches a machine on.
    fn switched_on(&self, node: &str) -> PathBuf {
        self.directory.join(format!("{node}.on"))
    }

    /// A machine by its name.
    pub(crate) fn machine(&mut self, node: &str) -> Result<&mut Machine> {
        self.machines
            .iter_mut()
            .find(|machine| machine.name == node)
            .with_context(|| format!("there is no node {node}"))
    }

    /// The names of all nodes of the cluster, or of the site that was chosen.
    pub(crate) fn names(&self) -> Vec<String> {
        self.sites[self.chosen].nodes.clone()
    }

    /// From now on this site is asked and changed.
    pub(crate) fn choose(&mut self, site: usize) {
        self.chosen = site;
    }

    /// Switches a machine on, and starts hakudo on it.
    pub(crate) fn power_on(&mut self, node: &str) -> Result<()> {
        self.network.give_addresses(node)?;
        self.network.heal(node)?;
        let small_disk = self.small_disk;
        let machine = self.machine(node)?;
        let run = machine.directory().join("run");
        if run.exists() {
            fs::remove_dir_all(&run)?;
        }
        fs::create_dir_all(run)?;
        machine.boot()?;
        if node == ARBITRATOR {
            return if self.boothd == Boothd::Arbitrator { self.start_boothd(node) } else { self.start_arbitrator() };
        }
        if self.boothd == Boothd::Sites {
            return self.start_boothd(node);
        }
        let machine = self.machine(node)?;
        if small_disk == Some(node) {
            let state = machine.directory().join("state").display().to_string();
            machine.run(&["mkdir", "-p", &state])?;
            machine.run(&["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", &state])?;
        }
        machine.start("executor")?;
        machine.start("node")
    }

    /// Starts the process that only votes.
    pub(crate) fn start_arbitrator(&mut self) -> Result<()> {
        let member = self.network.address(ARBITRATOR, 0)?.to_string();
        let own = self.directory.join("arbitrator.json");
        let mut config = self.ticket_config(&member)?;
        config.as_object_mut().context("an object")?.remove("config");
        fs::write(&own, serde_json::to_string(&config)?)?;
        let conf = self.directory.join("booth.conf").display().to_string();
        let machine = self.machine(ARBITRATOR)?;
        let state = machine.directory().join("state").display().to_string();
        let socket = machine.directory().join("run/arbitrator.sock").display().to_string();
        let own = own.display().to_string();
        machine.start_with("arbitrator", &["-c", &conf, "--own", &own, "--state-dir", &state, "--listen", &socket])
    }

    /// Has the agent of the service's server fail on every machine for which [`Lab::break_agent`] says so. Stopping works.
    pub(crate) fn make_agent_breakable(&self) -> Result<()> {
        let (file, agent) = AGENTS[1];
        let file = self.directory.join(file);
        let program = self.program.display();
        let broken = self.broken("$(hostname)").display().to_string();
        let text = format!(
            "#!/bin/sh\ncase $1 in start|monitor) if [ -e \"{broken}\" ]; then exit 1; fi ;; esac\n\
             exec '{program}' agent {agent} \"$@\"\n"
        );
        Ok(fs::write(&file, text)?)
    }

    /// The agent of the server fails on this machine from now on, or does not any more.
    pub(crate) fn break_agent(&self, node: &str, broken: bool) -> Result<()> {
        let file = self.broken(node);
        if broken {
            fs::write(file, "")?
        } else {
            fs::remove_file(file)?
        }
        Ok(())
    }

    fn broken(&self, node: &str) -> PathBuf {
        self.directory.join(format!("{node}.broken"))
    }

    /// Pulls the plug: links first, as the power of the interfaces goes with the machine.
    pub(crate) fn power_off(&mut self, node: &str) -> Result<()> {
        self.network.cut_all(node)?;
        self.machine(node)?.power_off()
    }

    /// Waits until fencing has switched a machine off and on again, and starts it.
    pub(crate) fn reboot_after_fencing(&mut self, node: &str) -> Result<()> {
        let switch = self.switched_on(node);
        shell::wait_for(&format!("{node} fenced"), PATIENCE, || Ok(switch.exists().then_some(())))?;
        if self.machine(node)?.is_on() {
            bail!("{node} is said to be fenced, and has processes");
        }
        fs::remove_file(switch)?;
        self.power_on(node)
    }

    /// Asks a node.
    pub(crate) fn ask(&mut self, node: &str, request: &Request) -> Result<Reply> {
        let socket = self.machine(node)?.socket();
        exchange(&socket, request, Duration::from_secs(10)).with_context(|| format!("asking {node}"))
    }

    /// Asks a node for something that takes its time.
    pub(crate) fn ask_patiently(&mut self, node: &str, request: &Request) -> Result<Reply> {
        let socket = self.machine(node)?.socket();
        exchange(&socket, request, PATIENCE * 2).with_context(|| format!("asking {node}"))
    }

    /// Has failures of a resource forgotten.
    pub(crate) fn clean_up(&mut self, resource: &str) -> Result<()> {
        let node = self.names()[0].clone();
        let request = Request::Cleanup { resource: Some(resource.to_owned()), node: None, refresh: false };
        match self.ask(&node, &request)? {
            Reply::Done => Ok(()),
            other => bail!("{node} answers {other:?}"),
        }
    }

    /// What a node knows of the cluster.
    pub(crate) fn state(&mut self, node: &str) -> Result<ClusterState> {
        match self.ask(node, &Request::Cluster)? {
            Reply::Cluster(state) => Ok(*state),
            other => bail!("no state: {other:?}"),
        }
    }

    /// The events of a node, oldest first.
    pub(crate) fn events(&mut self, node: &str) -> Result<Vec<Event>> {
        match self.ask(node, &Request::Events { after: 0, limit: 10_000 })? {
            Reply::Events { events } => Ok(events),
            other => bail!("no events: {other:?}"),
        }
    }

    /// The CIB as a node has it.
    pub(crate) fn cib(&mut self, node: &str) -> Result<String> {
        match self.ask(node, &Request::Cib)? {
            Reply::Cib { xml } => Ok(xml),
            other => bail!("no CIB: {other:?}"),
        }
    }

    /// Waits until some node sees so many members, and they agree.
    pub(crate) fn members(&mut self, count: usize) -> Result<ClusterState> {
        self.wait(&format!("{count} members that agree"), |state| {
            state.ready && state.nodes.iter().filter(|node| node.member).count() == count
        })
    }

    /// Waits until some quorate node says so.
    pub(crate) fn wait(&mut self, what: &str, fits: impl Fn(&ClusterState) -> bool) -> Result<ClusterState> {
        let names = self.names();
        shell::wait_for(what, PATIENCE, || {
            let mut last = None;
            for node in &names {
                match self.state(node) {
                    Ok(state) if state.quorate && fits(&state) => return Ok(Some(state)),
                    Ok(state) => last = Some(format!("{node} sees {state:?}")),
                    Err(_) => {}
                }
            }
            bail!(last.unwrap_or_else(|| "no node answers".to_owned()))
        })
    }

    /// Waits until so many members have nothing left to do, and stay so for a moment.
    pub(crate) fn settled(&mut self, members: usize) -> Result<ClusterState> {
        let started = Instant::now();
        let rests = |state: &ClusterState| {
            state.ready && state.settled && state.nodes.iter().filter(|node| node.member).count() == members
        };
        loop {
            let first = self.wait(&format!("{members} members at rest"), rests)?;
            std::thread::sleep(REST);
            let second = self.wait(&format!("{members} members at rest"), rests)?;
            if first.view == second.view {
                return Ok(second);
            }
            if started.elapsed() > PATIENCE {
                bail!("the cluster finds no rest");
            }
        }
    }

    /// Loads a configuration: resources and constraints as XML; nodes, options and fencing are added.
    pub(crate) fn configure(&mut self, options: &[(&str, &str)], resources: &str, constraints: &str) -> Result<()> {
        let names = self.names();
        let nodes: String =
            (1..).zip(&names).map(|(id, name): (u32, _)| format!(r#"<node id="{id}" uname="{name}"/>"#)).collect();
        let option =
            |(name, value): &(&str, &str)| format!(r#"<nvpair id="options-{name}" name="{name}" value="{value}"/>"#);
        let options: String = options.iter().map(option).collect();
        let xml = format!(
            r#"<configuration>
                <crm_config><cluster_property_set id="cib-bootstrap-options">{options}</cluster_property_set></crm_config>
                <nodes>{nodes}</nodes>
                <resources>
                    <primitive id="power" class="stonith" type="fence_hakudo_process">
                        <instance_attributes id="power-parameters">
                            <nvpair id="power-hosts" name="pcmk_host_list" value="{hosts}"/>
                            <nvpair id="power-state" name="state" value="{state}"/>
                        </instance_attributes>
                        <operations><op id="power-monitor" name="monitor" interval="60s" timeout="20s"/></operations>
                    </primitive>
                    {resources}
                </resources>
                <constraints>{constraints}</constraints>
            </configuration>"#,
            hosts = names.join(" "),
            state = self.directory.join("power").display(),
        );
        self.change(ChangeOperation::Replace { xml })?;
        self.settled(names.len()).map(drop)
    }

    /// Changes the configuration.
    pub(crate) fn change(&mut self, operation: ChangeOperation) -> Result<()> {
        let change = Change { operations: vec![operation], if_version: None, force: false };
        let names = self.names();
        shell::wait_for("a change of the configuration", PATIENCE, || {
            let mut last = "no node answers".to_owned();
            for node in &names {
                match self.ask(node, &Request::Change(change.clone())) {
                    Ok(Reply::Done) => return Ok(Some(())),
                    Ok(other) => last = format!("{node}: {other:?}"),
                    Err(error) => last = format!("{node}: {error:#}"),
                }
            }
            bail!(last)
        })
    }

    /// The nodes that have an address now, which more than one must never have.
    pub(crate) fn holders(&mut self, address: &str) -> Result<Vec<String>> {
        let mut holders = Vec::new();
        for node in self.names() {
            let namespace = self.network.namespace(&node);
            let on = self.machine(&node)?.is_on();
            if on && shell::run(&["ip", "-n", &namespace, "-o", "address"])?.contains(&format!(" {address}/")) {
                holders.push(node);
            }
        }
        Ok(holders)
    }

    /// Waits until one node has the address, and no other.
    pub(crate) fn holder(&mut self, address: &str) -> Result<String> {
        shell::wait_for(&format!("a node with the address {address}"), PATIENCE, || {
            match self.holders(address)?.as_slice() {
                [] => Ok(None),
                [one] => Ok(Some(one.clone())),
                more => bail!("{} have {address} at the same time", more.join(" and ")),
            }
        })
    }

    /// Asks for a page from where the clients are.
    pub(crate) fn page(&self, url: &str) -> Option<String> {
        let switch = self.network.switch();
        let words = ["ip", "netns", "exec", &switch, "curl", "--silent", "--fail", "--max-time", "1", url];
        shell::run(&words).ok()
    }

    /// Waits for a page.
    pub(crate) fn answer(&self, url: &str) -> Result<String> {
        shell::wait_for(&format!("an answer of {url}"), PATIENCE, || Ok(self.page(url)))
    }

    /// What is worth to be read after a failure.
    pub(crate) fn report(&mut self) -> String {
        let mut report = String::new();
        let nodes: Vec<String> = self.sites.iter().flat_map(|site| site.nodes.clone()).collect();
        for node in nodes.into_iter().chain([ARBITRATOR.to_owned()]) {
            if self.machine(&node).is_err() {
                continue;
            }
            match self.state(&node) {
                Ok(state) => report.push_str(&format!("--- {node}: {state:?}\n")),
                Err(error) => report.push_str(&format!("--- {node}: {error:#}\n")),
            }
            for event in self.events(&node).unwrap_or_default().iter().rev().take(30).rev() {
                report.push_str(&format!("{} {} {}\n", event.time_ms, event.kind, event.text));
            }
            for part in ["boot", "node", "executor", "arbitrator", "boothd"] {
                let text =
                    fs::read_to_string(self.directory.join(&node).join(format!("{part}.log"))).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                let newest = &lines[lines.len().saturating_sub(40)..];
                if !newest.is_empty() {
                    report.push_str(&format!("--- {node}, the end of {part}.log:\n{}\n", newest.join("\n")));
                }
            }
        }
        report
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.machines.clear();
        // Files that stay do no harm to the next run, which takes another directory.
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// The clusters of a plan: one, or a few sites.
fn sites(plan: &Plan) -> Vec<Site> {
    let nodes = |prefix: &str| (1..=plan.nodes).map(|number| format!("{prefix}{number}")).collect();
    match plan.sites {
        None => vec![Site { name: "lab".into(), nodes: nodes("n") }],
        Some(_) => ["a", "b"].map(|name| Site { nodes: nodes(name), name: name.to_owned() }).into(),
    }
}

fn exchange(socket: &Path, request: &Request, patience: Duration) -> Result<Reply> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let body = serde_json::to_vec(request)?;
    stream.write_all(&u32::try_from(body.len())?.to_be_bytes())?;
    stream.write_all(&body)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut reply = Vec::new();
    stream.take(u32::from_be_bytes(length).into()).read_to_end(&mut reply)?;
    Ok(serde_json::from_slice(&reply)?)
}
