//! Devices, topology and properties, as the configuration gives them.

use crate::pattern::Pattern;
use hakudo_base::UnixTime;
use hakudo_base::agent::AgentName;
use hakudo_cib::rules::{Context, evaluate_sets};
use hakudo_cib::{Document, Element, values};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// All that fencing takes from the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Configuration {
    pub(crate) devices: BTreeMap<String, Device>,
    /// Devices that are switched off, with the reason.
    pub(crate) disabled: BTreeMap<String, String>,
    levels: Vec<Level>,
    /// `fencing-timeout`.
    pub(crate) timeout: Duration,
    /// `fencing-max-attempts`; none for `INFINITY`.
    pub(crate) attempts: Option<u32>,
    /// `concurrent-fencing`.
    pub(crate) concurrent: bool,
    /// `cluster-recheck-interval`.
    pub(crate) recheck: Duration,
    node_attributes: BTreeMap<String, BTreeMap<String, String>>,
    /// What is wrong in the configuration and is passed over, for people.
    pub(crate) notes: BTreeSet<String>,
}

/// A fence device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) id: String,
    pub(crate) agent: AgentName,
    /// All parameters, those for the cluster (`pcmk_…`) among them.
    pub(crate) parameters: BTreeMap<String, String>,
    pub(crate) priority: i32,
    /// `pcmk_host_list`.
    pub(crate) hosts: Vec<String>,
    /// `pcmk_host_map`: what the device calls a node.
    ports: Vec<(String, String)>,
    pub(crate) check: Option<HostCheck>,
    delay_base: Delays,
    delay_max: Duration,
    /// `pcmk_action_limit`; none without a limit.
    pub(crate) limit: Option<usize>,
}

/// `pcmk_host_check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HostCheck {
    StaticList,
    DynamicList,
    Status,
    None,
}

/// `pcmk_delay_base`: one for all targets, or one for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Delays {
    all: Duration,
    by_target: Vec<(String, Duration)>,
}

/// A `fencing-level`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Level {
    whose: Whose,
    index: u32,
    devices: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Whose {
    Name(String),
    Pattern(String, Pattern),
    Attribute(String, String),
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            devices: BTreeMap::new(),
            disabled: BTreeMap::new(),
            levels: Vec::new(),
            timeout: Duration::from_secs(60),
            attempts: Some(10),
            concurrent: true,
            recheck: Duration::from_secs(15 * 60),
            node_attributes: BTreeMap::new(),
            notes: BTreeSet::new(),
        }
    }
}

impl Configuration {
    /// Reads a CIB. What is wrong is noted and passed over: a mistake in one device must not take the others away.
    pub(crate) fn read(cib: &Document, now: UnixTime) -> Self {
        let ids = cib.ids();
        let context = Context { now, ids: Some(&ids), ..Context::default() };
        let mut configuration = Self { node_attributes: node_attributes(cib, &context), ..Self::default() };
        configuration.read_properties(cib, &context);
        configuration.read_devices(cib, &context);
        configuration.read_levels(cib);
        configuration
    }

    fn read_properties(&mut self, cib: &Document, context: &Context<'_>) {
        let Some(section) = cib.section(&["configuration", "crm_config"]) else { return };
        let sets: Vec<&Element> = section.children_named("cluster_property_set").collect();
        let properties = evaluate_sets(&sets, context, Some("cib-bootstrap-options")).values;
        let property = |names: [&'static str; 2]| {
            names.iter().find_map(|name| properties.get(name).map(|value| (*name, (*value).to_owned())))
        };
        let timeout = property(["fencing-timeout", "stonith-timeout"]);
        let attempts = property(["fencing-max-attempts", "stonith-max-attempts"]);
        let concurrent = property(["concurrent-fencing", "concurrent-fencing"]);
        let recheck = property(["cluster-recheck-interval", "cluster_recheck_interval"]);
        if let Some((name, text)) = timeout {
            self.set(name, &text, values::milliseconds(&text).filter(|ms| *ms > 0), |all, ms| {
                all.timeout = milliseconds(ms)
            });
        }
        if let Some((name, text)) = attempts {
            let number = values::score(&text).filter(|number| *number > 0);
            self.set(name, &text, number, |all, number| {
                all.attempts = u32::try_from(number).ok().filter(|_| number < values::INFINITY);
            });
        }
        if let Some((name, text)) = concurrent {
            self.set(name, &text, values::boolean(&text), |all, yes| all.concurrent = yes);
        }
        if let Some((name, text)) = recheck {
            let time = values::milliseconds(&text);
            self.set(name, &text, time, |all, ms| all.recheck = milliseconds(ms));
        }
    }

    fn set<T>(&mut self, name: &str, text: &str, value: Option<T>, set: impl FnOnce(&mut Self, T)) {
        match value {
            Some(value) => set(self, value),
            None => {
                self.notes.insert(format!("property {name}: {text:?} is no valid value, the default is used"));
            }
        }
    }

    fn read_devices(&mut self, cib: &Document, context: &Context<'_>) {
        let Some(resources) = cib.section(&["configuration", "resources"]) else { return };
        let defaults: Vec<&Element> = cib
            .section(&["configuration", "rsc_defaults"])
            .map(|section| section.children_named("meta_attributes").collect())
            .unwrap_or_default();
        let defaults = evaluate_sets(&defaults, context, None).values;
        let templates: BTreeMap<&str, &Element> =
            resources.children_named("template").map(|template| (template.id(), template)).collect();
        let mut open: Vec<(&Element, Vec<&Element>)> =
            resources.children().rev().map(|top| (top, Vec::new())).collect();
        while let Some((element, parents)) = open.pop() {
            match element.name() {
                "group" | "clone" | "master" => {
                    let mut inside = parents.clone();
                    inside.push(element);
                    open.extend(element.children().rev().map(|child| (child, inside.clone())));
                }
                "primitive" => {
                    let template = element.attribute("template").and_then(|id| templates.get(id).copied());
                    let sources: Vec<&Element> = [Some(element), template].into_iter().flatten().collect();
                    let class = sources.iter().find_map(|source| source.attribute("class"));
                    if class.is_some_and(|class| class == "stonith") {
                        self.read_device(element.id(), &sources, &parents, &defaults, context);
                    }
                }
                _ => {}
            }
        }
    }

    /// `sources` are the primitive and its template, `parents` its groups and clones from the outside in.
    fn read_device(
        &mut self,
        id: &str,
        sources: &[&Element],
        parents: &[&Element],
        defaults: &BTreeMap<&str, &str>,
        context: &Context<'_>,
    ) {
        let merged = |name: &str, elements: &mut dyn Iterator<Item = &Element>| {
            let mut all: BTreeMap<String, String> = BTreeMap::new();
            for element in elements {
                let sets: Vec<&Element> = element.children_named(name).collect();
                for (name, value) in evaluate_sets(&sets, context, None).values {
                    all.entry(name.to_owned()).or_insert_with(|| value.to_owned());
                }
            }
            all
        };
        let parameters = merged("instance_attributes", &mut sources.iter().copied());
        let mut meta = merged("meta_attributes", &mut sources.iter().chain(parents.iter().rev()).copied());
        for (name, value) in defaults {
            meta.entry((*name).to_owned()).or_insert_with(|| (*value).to_owned());
        }
        if meta.get("target-role").is_some_and(|role| role.eq_ignore_ascii_case("stopped")) {
            self.disabled.insert(id.to_owned(), "it is switched off by target-role=Stopped".to_owned());
            return;
        }
        let kind = sources.iter().find_map(|source| source.attribute("type")).unwrap_or_default();
        let agent = AgentName { class: "stonith".into(), provider: None, kind: kind.to_owned() };
        let device = Device::new(id, agent, parameters, &meta, &mut self.notes);
        self.devices.insert(id.to_owned(), device);
    }

    fn read_levels(&mut self, cib: &Document) {
        let Some(topology) = cib.section(&["configuration", "fencing-topology"]) else { return };
        for element in topology.children_named("fencing-level") {
            match read_level(element) {
                Ok(level) => self.levels.push(level),
                Err(reason) => {
                    self.notes.insert(format!("fencing-level {}: {reason}; it is not used", element.id()));
                }
            }
        }
    }

    /// The levels for a target in the order in which they are tried, each a list of devices; none without topology.
    /// Levels for its name hide those for a pattern or an attribute; of these the first that fits counts, with all levels
    /// for the same pattern or attribute.
    pub(crate) fn topology(&self, target: &str) -> Vec<Vec<String>> {
        let by_name = |level: &&Level| matches!(&level.whose, Whose::Name(name) if name.eq_ignore_ascii_case(target));
        let first =
            self.levels.iter().find(by_name).or_else(|| self.levels.iter().find(|l| self.fits(&l.whose, target)));
        let Some(first) = first else { return Vec::new() };
        let mut levels: BTreeMap<u32, Vec<String>> = BTreeMap::new();
        for level in
            self.levels.iter().filter(|level| level.whose == first.whose || (by_name(&first) && by_name(level)))
        {
            levels.entry(level.index).or_default().extend(level.devices.iter().cloned());
        }
        levels.into_values().collect()
    }

    fn fits(&self, whose: &Whose, target: &str) -> bool {
        match whose {
            Whose::Name(name) => name.eq_ignore_ascii_case(target),
            Whose::Pattern(_, pattern) => pattern.matches(target),
            Whose::Attribute(name, value) => {
                self.node_attributes.get(target).and_then(|all| all.get(name)).is_some_and(|is| is == value)
            }
        }
    }
}

fn read_level(element: &Element) -> Result<Level, String> {
    let index = element.attribute("index").unwrap_or_default();
    let index =
        index.parse().ok().filter(|index| (1..=9).contains(index)).ok_or(format!("index {index:?} is not 1 to 9"))?;
    let whose = if let Some(name) = element.attribute("target") {
        Whose::Name(name.to_owned())
    } else if let Some(text) = element.attribute("target-pattern") {
        let pattern = Pattern::new(text).map_err(|error| format!("target-pattern {text:?}: {error}"))?;
        Whose::Pattern(text.to_owned(), pattern)
    } else if let (Some(name), Some(value)) = (element.attribute("target-attribute"), element.attribute("target-value"))
    {
        Whose::Attribute(name.to_owned(), value.to_owned())
    } else {
        return Err("it has neither target, target-pattern nor target-attribute with target-value".into());
    };
    let devices: Vec<String> = words(element.attribute("devices").unwrap_or_default()).map(str::to_owned).collect();
    if devices.is_empty() {
        return Err("it names no devices".into());
    }
    Ok(Level { whose, index, devices })
}

fn node_attributes(cib: &Document, context: &Context<'_>) -> BTreeMap<String, BTreeMap<String, String>> {
    let mut all: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    let mut take = |node: Option<&str>, holder: Option<&Element>| {
        let (Some(node), Some(holder)) = (node, holder) else { return };
        let sets: Vec<&Element> = holder.children_named("instance_attributes").collect();
        let of_node = all.entry(node.to_owned()).or_default();
        for (name, value) in evaluate_sets(&sets, context, None).values {
            of_node.entry(name.to_owned()).or_insert_with(|| value.to_owned());
        }
    };
    for node in cib.section(&["configuration", "nodes"]).into_iter().flat_map(Element::children) {
        take(node.attribute("uname"), Some(node));
    }
    for state in cib.section(&["status"]).into_iter().flat_map(Element::children) {
        take(state.attribute("uname"), state.child("transient_attributes"));
    }
    all
}

impl Device {
    fn new(
        id: &str,
        agent: AgentName,
        parameters: BTreeMap<String, String>,
        meta: &BTreeMap<String, String>,
        notes: &mut BTreeSet<String>,
    ) -> Self {
        let get = |name: &str| parameters.get(name).map(String::as_str);
        let mut wrong = |name: &str, text: &str, means: &str| {
            notes.insert(format!("device {id}: {name}={text:?} is no valid value, {means}"));
        };
        let check = get("pcmk_host_check").and_then(|text| {
            let check = [
                ("static-list", HostCheck::StaticList),
                ("dynamic-list", HostCheck::DynamicList),
                ("status", HostCheck::Status),
                ("none", HostCheck::None),
            ];
            let found = check.into_iter().find(|(word, _)| text.eq_ignore_ascii_case(word)).map(|(_, check)| check);
            if found.is_none() {
                wrong("pcmk_host_check", text, "the default is used");
            }
            found
        });
        let ports = host_map(get("pcmk_host_map").unwrap_or_default(), |mapping| {
            wrong("pcmk_host_map", mapping, "it is passed over");
        });
        let delay_base = Delays::parse(get("pcmk_delay_base").unwrap_or_default()).unwrap_or_else(|text| {
            wrong("pcmk_delay_base", text, "there is no delay");
            Delays::default()
        });
        let delay_max = get("pcmk_delay_max").map_or(Some(0), values::milliseconds).unwrap_or_else(|| {
            wrong("pcmk_delay_max", get("pcmk_delay_max").unwrap_or_default(), "there is no delay");
            0
        });
        let limit = match get("pcmk_action_limit").map(|text| (text, values::integer(text))) {
            None => Some(1),
            Some((_, Some(number))) if number < 0 => None,
            Some((_, Some(number))) if number > 0 => usize::try_from(number).ok(),
            Some((text, _)) => {
                wrong("pcmk_action_limit", text, "it is 1");
                Some(1)
            }
        };
        let priority = meta.get("priority").or_else(|| parameters.get("priority"));
        Self {
            id: id.to_owned(),
            agent,
            priority: priority.and_then(|text| values::score(text)).unwrap_or(0),
            hosts: words(get("pcmk_host_list").unwrap_or_default()).map(str::to_owned).collect(),
            ports,
            check,
            delay_base,
            delay_max: milliseconds(delay_max),
            limit,
            parameters,
        }
    }

    /// What the device calls a node, where `pcmk_host_map` says so.
    pub(crate) fn port(&self, target: &str) -> Option<&str> {
        self.ports.iter().find(|(name, _)| name.eq_ignore_ascii_case(target)).map(|(_, port)| port.as_str())
    }

    pub(crate) fn has_list(&self) -> bool {
        self.parameters.contains_key("pcmk_host_list") || self.parameters.contains_key("pcmk_host_map")
    }

    /// The shortest and the longest time to wait before fencing `target`.
    pub(crate) fn delay(&self, target: &str) -> (Duration, Duration) {
        let base = self.delay_base.of(target);
        if self.delay_max.is_zero() { (base, base) } else { (base.min(self.delay_max), self.delay_max) }
    }

    /// `pcmk_…_timeout`.
    pub(crate) fn timeout(&self, operation: &str) -> Option<Duration> {
        let text = self.parameters.get(&format!("pcmk_{operation}_timeout"))?;
        values::milliseconds(text).filter(|ms| *ms > 0).map(milliseconds)
    }

    /// How often an operation is run in all. `pcmk_…_retries` is that number for Pacemaker, not that of further runs.
    pub(crate) fn tries(&self, operation: &str) -> u32 {
        let text = self.parameters.get(&format!("pcmk_{operation}_retries"));
        text.and_then(|text| values::integer(text)).map_or(2, |number| u32::try_from(number.clamp(1, 100)).unwrap_or(1))
    }
}

impl Delays {
    /// A time, or `node:time` pairs between `;` or spaces. A time itself may contain both (`PT1H`, `10 s`), so a text with a
    /// colon is tried as pairs first.
    fn parse(text: &str) -> Result<Self, &str> {
        let text = text.trim();
        if text.is_empty() {
            return Ok(Self::default());
        }
        if let Some(all) = values::milliseconds(text)
            && !text.contains(':')
        {
            return Ok(Self { all: milliseconds(all), by_target: Vec::new() });
        }
        let mut by_target = Vec::new();
        for mapping in text.split([';', ' ', '\t']).filter(|mapping| !mapping.is_empty()) {
            let (node, time) = mapping.split_once(':').ok_or(mapping)?;
            by_target.push((node.to_owned(), milliseconds(values::milliseconds(time).ok_or(mapping)?)));
        }
        Ok(Self { all: Duration::ZERO, by_target })
    }

    fn of(&self, target: &str) -> Duration {
        let own = self.by_target.iter().find(|(name, _)| name.eq_ignore_ascii_case(target));
        own.map_or(self.all, |(_, delay)| *delay)
    }
}

/// `node:port` pairs between `;`, spaces or tabs; `=` may stand for `:`, and a backslash takes the next character's meaning.
fn host_map(text: &str, mut wrong: impl FnMut(&str)) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let (mut name, mut port): (String, Option<String>) = (String::new(), None);
    let mut characters = text.chars().chain([';']);
    while let Some(c) = characters.next() {
        match (c, &mut port) {
            (';' | ' ' | '\t' | '\n', _) => match (std::mem::take(&mut name), port.take()) {
                (name, None) if name.is_empty() => {}
                (name, Some(port)) if !name.is_empty() && !port.is_empty() => pairs.push((name, port)),
                (name, port) => wrong(&port.map_or(name.clone(), |port| format!("{name}:{port}"))),
            },
            (':' | '=', None) => port = Some(String::new()),
            ('\\', Some(port)) => port.extend(characters.next()),
            (c, Some(port)) => port.push(c),
            (c, None) => name.push(c),
        }
    }
    pairs
}

/// Words between commas, semicolons and white space.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c == ',' || c == ';' || c.is_whitespace()).filter(|word| !word.is_empty())
}

fn milliseconds(number: u64) -> Duration {
    Duration::from_millis(number)
}
