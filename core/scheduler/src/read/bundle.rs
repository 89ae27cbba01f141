//! Bundles: containers that the cluster runs, with what each needs: an address, a connection to the executor inside, and
//! an instance of the primitive that serves there.
//!
//! None of this is configured as resources; it is made here, as the elements that an administrator could have written.
//! Each replica is a container primitive, where addresses are configured an address primitive, and, where a primitive runs
//! inside, a connection primitive that makes a guest node on which only the replica's instance may run. All of them are
//! children of the bundle, the clone of the primitive comes last.

use super::resources::connection_element;
use crate::model::{BundleSettings, Discovery, Kind, NodeEntry, NodeIndex, NodeTable, Replica, ResourceId, Score};
use crate::placement::{Share, Source};
use crate::planner::Planner;
use crate::values;
use hakudo_cib::Element;
use std::fmt::Write as _;
use std::sync::Arc;

/// The port of the executor in a container, unless `control-port` says another.
const REMOTE_PORT: &str = "3121";
/// The key with which the cluster and the executor know each other.
const KEY_FILE: &str = "/etc/pacemaker/authkey";
/// Where the logs of the containers go, a directory for each.
const LOG_DIRECTORY: &str = "/var/log/pacemaker/bundles";
/// What a container runs unless `run-command` says another thing.
const EXECUTOR: &str = "/usr/sbin/pacemaker-remoted";
/// How many replicas a bundle can have: more than any cluster has use for, and few enough to be decided.
const MOST_REPLICAS: i32 = 500;
/// How much an instance likes the guest node that is made for it.
const OWN_NODE: Score = Score(500);

/// A directory or file of the host in the container.
struct Mount {
    source: String,
    target: String,
    options: Option<String>,
    /// Each replica has a directory of its own below the source.
    own_directory: bool,
}

/// A port (or range) of the container at the host or the replica's address.
struct Port {
    source: String,
    target: String,
}

/// What all containers of a bundle have in common.
#[derive(Default)]
struct Launch {
    technology: String,
    image: Option<String>,
    network: Option<String>,
    options: Option<String>,
    command: Option<String>,
    first_address: Option<String>,
    netmask: Option<String>,
    interface: Option<String>,
    control_port: Option<String>,
    /// Names go to `/etc/hosts` by `--add-host`, else by `--hosts-entry`.
    add_host: bool,
    /// The options by which the containers know each other's names.
    names: String,
    mounts: Vec<Mount>,
    ports: Vec<Port>,
}

impl Launch {
    fn port(&self) -> &str {
        self.control_port.as_deref().unwrap_or(REMOTE_PORT)
    }

    /// The arguments of the container technology for one replica.
    fn arguments(&self, bundle: &str, number: u32, address: Option<&str>) -> String {
        let mut line = String::new();
        if self.technology == "docker" {
            line.push_str(" --restart=no");
        }
        if self.first_address.is_some() {
            let _ = write!(line, " -h {bundle}-{number}");
        }
        line.push_str(" -e PCMK_stderr=1");
        if let Some(network) = &self.network {
            let _ = write!(line, " --net={network}");
        }
        let _ = write!(line, " -e PCMK_remote_port={}", self.port());
        for mount in &self.mounts {
            let source = mount.source_of(bundle, number);
            let _ = write!(line, " -v {source}:{}", mount.target);
            if let Some(options) = &mount.options {
                let _ = write!(line, ":{options}");
            }
        }
        for port in &self.ports {
            match address {
                Some(address) => {
                    let _ = write!(line, " -p {address}:{}:{}", port.source, port.target);
                }
                // In the host's own network there is nothing to map.
                None if self.network.as_deref() == Some("host") => {}
                None => {
                    let _ = write!(line, " -p {}:{}", port.source, port.target);
                }
            }
        }
        if let Some(options) = &self.options {
            let _ = write!(line, " {options}");
        }
        line.push(' ');
        line.push_str(&self.names);
        line
    }

    /// The directories that a replica has for itself alone.
    fn own_directories(&self, bundle: &str, number: u32) -> String {
        let own = self.mounts.iter().filter(|mount| mount.own_directory);
        own.map(|mount| mount.source_of(bundle, number)).collect::<Vec<_>>().join(",")
    }
}

impl Mount {
    fn source_of(&self, bundle: &str, number: u32) -> String {
        if self.own_directory { format!("{}/{bundle}-{number}", self.source) } else { self.source.clone() }
    }
}

impl Planner {
    /// Reads a bundle and makes its resources; false where it cannot be used.
    pub(crate) fn read_bundle(&mut self, bundle: ResourceId) -> bool {
        let element = Arc::clone(&self.sources[bundle.index()].element);
        let id = self.resource(bundle).id.clone();
        let Some(technology) = element.child("docker").or_else(|| element.child("podman")) else {
            self.problem(&id, "the bundle has no container technology that is known");
            return false;
        };
        let mut launch = Launch { technology: technology.name().to_owned(), ..Launch::default() };
        let mut settings = read_counts(technology);
        if settings.replicas_max > MOST_REPLICAS {
            let message = format!("a bundle can have {MOST_REPLICAS} replicas, not {}", settings.replicas_max);
            self.problem(&id, message);
            settings.replicas_max = MOST_REPLICAS;
        }
        self.read_launch(&element, technology, &mut launch);
        settings.technology.clone_from(&launch.technology);
        settings.image = launch.image.clone().unwrap_or_default();
        let primitive = super::attributes::shared_children(&element, "primitive").next().map(Arc::clone);
        let reachable = launch.first_address.is_some() || launch.control_port.is_some();
        if let Some(primitive) = primitive.as_ref().filter(|_| !reachable) {
            let message = format!("{} inside needs ip-range-start or control-port; ignored", primitive.id());
            self.problem(&id, message);
            return false;
        }
        // Whether replicas differ from each other is what was configured, whatever becomes of the number below.
        self.resource_mut(bundle).unique = settings.replicas_per_host != 1;
        if primitive.is_some() && launch.first_address.is_none() && settings.replicas_per_host > 1 {
            self.problem(&id, "control-port allows one replica a host only");
            settings.replicas_per_host = 1;
        }
        self.resource_mut(bundle).kind = Kind::Bundle(Box::new(settings.clone()));
        let mut instances = Vec::new();
        if let Some(primitive) = primitive {
            let clone = Arc::new(clone_element(&id, primitive, &settings));
            let Some(child) = self.read_resource(&clone, Some(bundle), None) else { return false };
            settings.child = Some(child);
            self.mount_executor_files(&mut launch);
            instances = self.resource(child).children.clone();
            self.share_instance_settings(bundle, child, &instances);
        }
        let count = if instances.is_empty() {
            u32::try_from(settings.replicas_max).unwrap_or(0)
        } else {
            u32::try_from(instances.len()).unwrap_or(u32::MAX)
        };
        let addresses = assign_addresses(&id, count, &mut launch);
        if let (Some(first), Some(without)) = (&launch.first_address, addresses.iter().position(Option::is_none)) {
            let message = format!("there are no addresses after {first} for replica {without} and those behind it");
            self.problem(&id, message);
        }
        for (number, address) in (0..count).zip(addresses) {
            let child = instances.get(number as usize).copied();
            let Some(replica) = self.read_replica(bundle, &launch, number, address, child) else {
                self.problem(&id, "the resources of a replica cannot be made");
                return false;
            };
            settings.replicas.push(replica);
        }
        let child = settings.child;
        self.resource_mut(bundle).kind = Kind::Bundle(Box::new(settings));
        self.resource_mut(bundle).children.extend(child);
        true
    }

    fn read_launch(&mut self, element: &Element, technology: &Element, launch: &mut Launch) {
        let text = |element: &Element, name: &str| element.attribute(name).map(str::to_owned);
        launch.image = text(technology, "image");
        launch.network = text(technology, "network");
        launch.options = text(technology, "options");
        launch.command = text(technology, "run-command");
        if let Some(network) = element.child("network") {
            launch.first_address = text(network, "ip-range-start");
            launch.netmask = text(network, "host-netmask");
            launch.interface = text(network, "host-interface");
            launch.control_port = text(network, "control-port");
            launch.add_host = network.attribute("add-host").and_then(values::boolean).unwrap_or(true);
            for mapping in network.children_named("port-mapping") {
                let source = text(mapping, "port");
                let target = source.as_ref().and_then(|_| text(mapping, "internal-port"));
                match source.or_else(|| text(mapping, "range")).filter(|source| !source.is_empty()) {
                    Some(source) => {
                        let target = target.unwrap_or_else(|| source.clone());
                        launch.ports.push(Port { source, target });
                    }
                    None => self.problem(mapping.id(), "a port mapping without port or range is ignored"),
                }
            }
        }
        for mapping in element.child("storage").into_iter().flat_map(|s| s.children_named("storage-mapping")) {
            let source = text(mapping, "source-dir");
            let own_directory = source.is_none();
            let source = source.or_else(|| text(mapping, "source-dir-root"));
            match (source, text(mapping, "target-dir")) {
                (Some(source), Some(target)) => {
                    launch.mounts.push(Mount { source, target, options: text(mapping, "options"), own_directory });
                }
                _ => self.problem(mapping.id(), "a storage mapping without source or target is ignored"),
            }
        }
    }

    /// What the executor in a container needs from the host: the key, a place for its log, its port.
    fn mount_executor_files(&self, launch: &mut Launch) {
        let own_log = launch.mounts.iter().any(|mount| mount.target == "/var/log");
        launch.mounts.push(Mount {
            source: KEY_FILE.to_owned(),
            target: KEY_FILE.to_owned(),
            options: None,
            own_directory: false,
        });
        if !own_log {
            launch.mounts.push(Mount {
                source: LOG_DIRECTORY.to_owned(),
                target: "/var/log".to_owned(),
                options: None,
                own_directory: true,
            });
        }
        let port = launch.port().to_owned();
        launch.ports.push(Port { source: port.clone(), target: port });
    }

    /// What the primitive says of itself holds for the clone and the bundle too.
    fn share_instance_settings(&mut self, bundle: ResourceId, clone: ResourceId, instances: &[ResourceId]) {
        let mut target = None;
        for &instance in instances {
            let subject = self.resource_mut(instance);
            subject.exclusive_discovery = true;
            target = subject.meta.get("container-attribute-target").cloned();
            if subject.notify {
                self.resource_mut(clone).notify = true;
            }
        }
        if let Some(target) = target {
            for resource in [bundle, clone] {
                let meta = &mut self.resource_mut(resource).meta;
                meta.insert("container-attribute-target".to_owned(), target.clone());
            }
        }
    }

    fn read_replica(
        &mut self,
        bundle: ResourceId,
        launch: &Launch,
        number: u32,
        address: Option<String>,
        child: Option<ResourceId>,
    ) -> Option<Replica> {
        let id = self.resource(bundle).id.clone();
        let element = container_element(&id, launch, number, address.as_deref(), child.is_some());
        let container = self.read_part(bundle, element)?;
        let subject = self.resource_mut(container);
        subject.replica_container = true;
        subject.instance = Some(number);
        let mut replica =
            Replica { offset: number, child, container, ip: None, remote: None, ip_address: address, node: None };
        if let Some(address) = &replica.ip_address {
            replica.ip = Some(self.read_part(bundle, address_element(&id, launch, number, address))?);
        }
        if let Some(child) = child {
            let (remote, node) = self.read_connection(bundle, launch, &replica, child)?;
            (replica.remote, replica.node) = (Some(remote), Some(node));
            if let Some(address) = replica.ip_address.clone() {
                self.resource_mut(child).meta.insert("external-ip".to_owned(), address);
            }
            self.resource_mut(remote).remote_nesting_allowed = true;
            // What the primitive needs is needed where its container runs.
            let needed = std::mem::take(&mut self.resource_mut(child).utilization);
            let own = std::mem::replace(&mut self.resource_mut(container).utilization, needed);
            self.resource_mut(child).utilization = own;
        }
        Some(replica)
    }

    fn read_part(&mut self, bundle: ResourceId, element: Element) -> Option<ResourceId> {
        let part = self.read_resource(&Arc::new(element), Some(bundle), None)?;
        self.resource_mut(bundle).children.push(part);
        Some(part)
    }

    /// The connection to the executor in a container, and the guest node that it makes.
    fn read_connection(
        &mut self,
        bundle: ResourceId,
        launch: &Launch,
        replica: &Replica,
        child: ResourceId,
    ) -> Option<(ResourceId, NodeIndex)> {
        let number = replica.offset;
        let mut name = format!("{}-{number}", self.resource(bundle).id);
        if self.model.resource_with_id(&name).is_some() {
            name = format!("pcmk-internal-{}-remote-{number}", self.resource(child).id);
        }
        let container = self.resource(replica.container).id.clone();
        // Where the container has no address, the connection goes to the host on which it runs.
        let address = replica.ip_address.as_deref().unwrap_or("#uname");
        let parameters = [("addr", Some(&address)), ("port", Some(&launch.port()))];
        let element = connection_element(&name, Some(&container), &[], &parameters, None);
        let node = self.reserve_node(&name)?;
        let own = NodeEntry { score: OWN_NODE, count: 0, discovery: Discovery::Exclusive };
        let mut table = NodeTable::default();
        table.insert(node, own);
        self.resource_mut(child).allowed = table;
        let share = Share::new(Source::Collection, &container);
        self.placements.note_instead(child, node, own.score, &share);
        if let Some(clone) = self.resource(child).parent {
            let entry = NodeEntry { score: Score::MINUS_INFINITY, ..own };
            self.resource_mut(clone).allowed.insert(node, entry);
            self.placements.note_instead(clone, node, entry.score, &share);
        }
        let remote = self.read_part(bundle, element)?;
        let model = &self.model;
        let banned: Vec<NodeIndex> =
            model.resource(remote).allowed.nodes().filter(|node| model.node(*node).is_remote_or_guest()).collect();
        let share = Share::new(Source::Container, "remote-node");
        for node in banned {
            self.set_score(remote, node, Score::MINUS_INFINITY, &share);
        }
        self.resource_mut(remote).launcher = Some(replica.container);
        let peer = self.model.node_mut(node);
        peer.connection = Some(remote);
        peer.launcher = Some(replica.container);
        peer.attributes.insert("#kind".to_owned(), "container".to_owned());
        Some((remote, node))
    }

    /// The guest node of a replica, on which nothing runs but what is made for it.
    fn reserve_node(&mut self, name: &str) -> Option<NodeIndex> {
        let node = match self.model.node_named(name) {
            Some(node) => node,
            None => self.create_node(name, name, Some("remote"), Score::ZERO)?,
        };
        let base = &mut self.model.node_mut(node).base;
        base.score = Score::MINUS_INFINITY;
        base.discovery = Discovery::Never;
        let share = Share::new(Source::Container, name);
        let mut below = self.model.top.clone();
        while let Some(resource) = below.pop() {
            self.set_score(resource, node, Score::MINUS_INFINITY, &share);
            let subject = self.resource_mut(resource);
            if let Some(entry) = subject.allowed.get_mut(node) {
                entry.discovery = Discovery::Never;
            }
            below.extend(&subject.children);
        }
        Some(node)
    }

    /// The settings of a bundle.
    pub(crate) fn bundle(&self, bundle: ResourceId) -> Option<&BundleSettings> {
        match &self.resource(bundle).kind {
            Kind::Bundle(settings) => Some(settings),
            Kind::Primitive | Kind::Group(_) | Kind::Clone(_) => None,
        }
    }

    /// The bundle that a resource is in.
    pub(crate) fn bundle_around(&self, resource: ResourceId) -> Option<ResourceId> {
        self.resource(self.model.top_of(resource)).parent
    }

    /// The replica that a resource is the container or connection of.
    pub(crate) fn replica_of(&self, resource: ResourceId) -> Option<&Replica> {
        let bundle = self.bundle(self.resource(resource).parent?)?;
        bundle.replicas.iter().find(|replica| replica.container == resource || replica.remote == Some(resource))
    }

    /// The resource whose role counts: for a container, the instance inside.
    pub(crate) fn with_role(&self, resource: ResourceId) -> ResourceId {
        if self.resource(resource).replica_container {
            self.replica_of(resource).and_then(|replica| replica.child).unwrap_or(resource)
        } else {
            resource
        }
    }
}

fn read_counts(technology: &Element) -> BundleSettings {
    let count = |name: &str, minimum: i32| {
        technology.attribute(name).and_then(|text| values::integer_from(text, minimum)).unwrap_or(minimum)
    };
    let promoted_max = count("promoted-max", 0);
    let replicas_max = if technology.attribute("replicas").is_none() && promoted_max > 0 {
        promoted_max
    } else {
        count("replicas", 1)
    };
    BundleSettings {
        replicas_max,
        replicas_per_host: count("replicas-per-host", 1),
        promoted_max,
        ..BundleSettings::default()
    }
}

/// The addresses of the replicas, one after the other, as far as they go; notes how the containers name each other.
fn assign_addresses(bundle: &str, count: u32, launch: &mut Launch) -> Vec<Option<String>> {
    let mut next = launch.first_address.clone();
    let mut addresses = Vec::new();
    for number in 0..count {
        let address = next.take();
        next = address.as_deref().and_then(next_address);
        if let Some(address) = &address {
            let name = format!("{bundle}-{number}");
            let _ = if launch.add_host {
                write!(launch.names, " --add-host={name}:{address}")
            } else {
                write!(launch.names, " --hosts-entry={address}={name}")
            };
        }
        addresses.push(address);
    }
    addresses
}

/// The address after this one; networks are taken to be no smaller than /24.
fn next_address(address: &str) -> Option<String> {
    let parts: Vec<u32> = address.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    let &[a, b, c, d] = &parts[..] else { return None };
    match (c, d) {
        (254.., _) => None,
        (_, 254..) => Some(format!("{a}.{b}.{}.1", c + 1)),
        _ => Some(format!("{a}.{b}.{c}.{}", d + 1)),
    }
}

/// The clone of what runs inside.
fn clone_element(bundle: &str, primitive: Arc<Element>, settings: &BundleSettings) -> Element {
    let mut meta = Element::new("meta_attributes").with("id", format!("{bundle}-clone-meta"));
    let mut add = |name: &str, value: &str| meta.push(pair(&format!("{bundle}-clone-meta"), name, value));
    add("ordered", "true");
    add("clone-max", &settings.replicas_max.to_string());
    add("clone-node-max", &settings.replicas_per_host.to_string());
    add("globally-unique", if settings.replicas_per_host > 1 { "true" } else { "false" });
    let suffix = if settings.promoted_max > 0 {
        add("promotable", "true");
        add("promoted-max", &settings.promoted_max.to_string());
        "master"
    } else {
        "clone"
    };
    let mut clone = Element::new("clone").with("id", format!("{bundle}-{suffix}")).with_child(meta);
    clone.push(primitive);
    clone
}

fn pair(block: &str, name: &str, value: &str) -> Element {
    Element::new("nvpair").with("id", format!("{block}-{name}")).with("name", name).with("value", value)
}

/// A primitive of one of the agents that make up a replica, with its monitor.
fn part_element(id: &str, kind: &str, block: &str, parameters: &[(&str, &str)]) -> Element {
    let mut attributes = Element::new("instance_attributes").with("id", block);
    for (name, value) in parameters {
        attributes.push(pair(block, name, value));
    }
    let monitor = Element::new("op").with("id", format!("{id}-monitor-60s")).with("interval", "60s");
    Element::new("primitive")
        .with("id", id)
        .with("class", "ocf")
        .with("provider", "heartbeat")
        .with("type", kind)
        .with_child(attributes)
        .with_child(Element::new("operations").with_child(monitor.with("name", "monitor")))
}

fn container_element(
    bundle: &str,
    launch: &Launch,
    number: u32,
    address: Option<&str>,
    with_executor: bool,
) -> Element {
    let arguments = launch.arguments(bundle, number, address);
    let directories = launch.own_directories(bundle, number);
    let mut parameters = Vec::new();
    parameters.extend(launch.image.as_deref().map(|image| ("image", image)));
    parameters.extend([
        ("allow_pull", "true"),
        ("force_kill", "false"),
        ("reuse", "false"),
        ("run_opts", &arguments),
        ("mount_points", &directories),
    ]);
    let command = launch.command.as_deref().or(with_executor.then_some(EXECUTOR));
    parameters.extend(command.map(|command| ("run_cmd", command)));
    parameters.push(("monitor_cmd", "/bin/true"));
    let id = valid_id(&format!("{bundle}-{}-{number}", launch.technology));
    part_element(&id, &launch.technology, &format!("{bundle}-attributes-{number}"), &parameters)
}

fn address_element(bundle: &str, launch: &Launch, number: u32, address: &str) -> Element {
    let mut parameters = vec![("ip", address)];
    parameters.extend(launch.interface.as_deref().map(|interface| ("nic", interface)));
    parameters.push(("cidr_netmask", launch.netmask.as_deref().unwrap_or("32")));
    let id = valid_id(&format!("{bundle}-ip-{address}"));
    part_element(&id, "IPaddr2", &format!("{bundle}-attributes-{number}"), &parameters)
}

/// An id with a dot for what cannot be in one.
fn valid_id(text: &str) -> String {
    text.chars().map(|c| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ':') { c } else { '.' }).collect()
}
