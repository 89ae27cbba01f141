//! An interruption split into its phases, from the events of a node: when was the loss noticed, when was the lost node known
//! to be dead, when was it decided what to do, and when did the last start end.

use hakudo_controller::request::Event;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// When each phase ended, in milliseconds since the failure. A phase that there was not is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Phases {
    detected: Option<i64>,
    fenced: Option<i64>,
    decided: Option<i64>,
    started: Option<i64>,
}

impl Phases {
    /// How long each phase took, in milliseconds.
    fn durations(&self) -> Vec<(&'static str, i64)> {
        let ends =
            [("detect", self.detected), ("fence", self.fenced), ("decide", self.decided), ("start", self.started)];
        let mut before = 0;
        let mut durations = Vec::new();
        for (name, end) in ends {
            if let Some(end) = end {
                durations.push((name, (end - before).max(0)));
                before = before.max(end);
            }
        }
        durations
    }

    fn total(&self) -> i64 {
        self.durations().iter().map(|(_, duration)| duration).sum()
    }
}

impl fmt::Display for Phases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (name, duration)) in self.durations().into_iter().enumerate() {
            write!(f, "{}{name} {duration} ms", if number == 0 { " = " } else { " + " })?;
        }
        Ok(())
    }
}

/// What was interrupted, by what, and how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Interruption {
    /// Always `interruption`.
    kind: &'static str,
    /// When it was over: milliseconds since 1970.
    pub(crate) time_ms: i64,
    /// The node that was lost, where it was one.
    pub(crate) node: Option<String>,
    /// The resource that failed, where it was one.
    pub(crate) resource: Option<String>,
    took_ms: i64,
    /// Milliseconds by phase.
    phases: BTreeMap<&'static str, i64>,
    /// What was started because of it.
    pub(crate) started: BTreeSet<String>,
    pub(crate) text: String,
}

/// A failure whose consequences are not over.
#[derive(Clone, Debug)]
struct Open {
    /// Milliseconds since 1970.
    began: i64,
    phases: Phases,
    started: BTreeSet<String>,
}

/// Reads events one after the other, and tells of each interruption when the cluster has come to rest after it.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    nodes: BTreeMap<String, Open>,
    resources: BTreeMap<String, Open>,
}

impl Reader {
    /// Takes the next event; what is over with it comes back.
    pub(crate) fn read(&mut self, event: &Event) -> Vec<Interruption> {
        let time = event.time_ms;
        match (event.kind.as_str(), &event.node, &event.resource) {
            ("node-lost", Some(node), _) => self.node_lost(node, event),
            ("fenced", Some(node), _) => {
                if let Some(open) = self.nodes.get_mut(node).filter(|_| !event.text.contains("(on)")) {
                    // What was started before was no consequence of the loss.
                    open.phases = Phases { fenced: Some(time - open.began), ..open.phases };
                    (open.phases.decided, open.phases.started) = (None, None);
                    open.started.clear();
                }
            }
            ("action-failed", _, Some(resource)) if event.text.contains(" monitor on ") => {
                let open = Open { began: time, phases: Phases::default(), started: BTreeSet::new() };
                self.resources.entry(resource.clone()).or_insert(open);
            }
            ("action-start", _, Some(resource)) => self.action_begins(event, resource),
            ("action-done", _, Some(resource)) if brings_up(event) => {
                for open in self.concerned(resource).filter(|open| open.phases.decided.is_some()) {
                    open.phases.started = Some(time - open.began);
                    open.started.insert(resource.clone());
                }
            }
            ("settled", _, _) => return self.settled(time),
            _ => {}
        }
        Vec::new()
    }

    /// Told twice: by membership, which says how long the node was silent, and by the controller.
    fn node_lost(&mut self, node: &str, event: &Event) {
        let silent = event.took_ms.and_then(|ms| i64::try_from(ms).ok());
        let open = Open { began: event.time_ms, phases: Phases::default(), started: BTreeSet::new() };
        let open = self.nodes.entry(node.to_owned()).or_insert(open);
        let noticed = open.phases.detected.map_or(event.time_ms, |detected| (open.began + detected).max(event.time_ms));
        open.began = open.began.min(event.time_ms - silent.unwrap_or(0));
        open.phases.detected = Some(noticed - open.began);
    }

    fn action_begins(&mut self, event: &Event, resource: &str) {
        for open in self.concerned(resource).filter(|open| open.phases.decided.is_none()) {
            open.phases.decided = Some(event.time_ms - open.began);
        }
    }

    /// Lost nodes, and the failure of this very resource.
    fn concerned(&mut self, resource: &str) -> impl Iterator<Item = &mut Open> {
        let failed = self.resources.get_mut(resource);
        self.nodes.values_mut().filter(|open| open.phases.detected.is_some()).chain(failed)
    }

    fn settled(&mut self, time: i64) -> Vec<Interruption> {
        let nodes = std::mem::take(&mut self.nodes).into_iter();
        let resources = std::mem::take(&mut self.resources).into_iter();
        let of_nodes = nodes.map(|(node, open)| open.over(time, Some(node), None));
        of_nodes.chain(resources.map(|(resource, open)| open.over(time, None, Some(resource)))).collect()
    }
}

fn brings_up(event: &Event) -> bool {
    [" start on ", " promote on ", " migrate_from on "].iter().any(|task| event.text.contains(task))
}

impl Open {
    fn over(self, time_ms: i64, node: Option<String>, resource: Option<String>) -> Interruption {
        let what = match (&node, &resource) {
            (Some(node), _) => format!("loss of {node}"),
            (None, resource) => format!("failure of {}", resource.as_deref().unwrap_or("a resource")),
        };
        let started: Vec<&str> = self.started.iter().map(String::as_str).collect();
        let started = match started.as_slice() {
            [] => "nothing had to be started".to_owned(),
            several if several.len() > 5 => format!("{} resources started", several.len()),
            few => format!("{} started", few.join(", ")),
        };
        let took_ms = self.phases.total();
        Interruption {
            kind: "interruption",
            time_ms,
            node,
            resource,
            took_ms,
            phases: self.phases.durations().into_iter().collect(),
            started: self.started,
            text: format!("{what}: {took_ms} ms{}; {started}", self.phases),
        }
    }
}

/// The phases of a failover after a failure of `lost` (or of anything) at `start`, in milliseconds since 1970, that concerns
/// resources which `counts` picks out. The events are in the order of their times.
pub(crate) fn since(events: &[Event], lost: Option<&str>, start: i64, counts: impl Fn(&str) -> bool) -> Phases {
    let at = |event: &Event| event.time_ms - start;
    let of_lost = |event: &&Event| lost.is_none() || event.node.as_deref() == lost;
    let detected = events.iter().filter(of_lost).find(|e| e.kind == "node-lost").map(at);
    let fenced = events.iter().filter(of_lost).find(|e| e.kind == "fenced").map(at);
    let after = fenced.or(detected).unwrap_or_default();
    let decided = events.iter().find(|e| e.kind == "action-start" && brings_up(e) && at(e) >= after).map(at);
    let started = events
        .iter()
        .filter(|e| e.kind == "action-done" && brings_up(e) && at(e) >= decided.unwrap_or_default())
        .filter(|e| e.resource.as_deref().is_some_and(&counts))
        .map(at)
        .next_back();
    Phases { detected, fenced, decided, started: decided.and(started) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    /// Lines of `time kind node resource took text`, `-` for nothing.
    fn events(script: &str) -> Vec<Event> {
        let lines = script.lines().map(str::trim).filter(|line| !line.is_empty());
        lines
            .map(|line| {
                let mut words = line.splitn(6, ' ');
                let mut word = || words.next().filter(|word| *word != "-").map(str::to_owned);
                Event {
                    number: 0,
                    time_ms: word().unwrap().parse().unwrap(),
                    kind: word().unwrap(),
                    node: word(),
                    resource: word(),
                    took_ms: word().map(|ms| ms.parse().unwrap()),
                    text: word().unwrap_or_default(),
                    severity: hakudo_base::Severity::Info,
                }
            })
            .collect()
    }

    fn check(script: &str, expected: Expect) {
        let mut reader = Reader::default();
        let told: Vec<String> =
            events(script).iter().flat_map(|e| reader.read(e)).map(|i| format!("{} {}\n", i.time_ms, i.text)).collect();
        expected.assert_eq(&told.concat());
    }

    #[test]
    fn the_loss_of_a_node_has_four_phases() {
        check(
            "1600 node-lost n2 - 600 node 2 is lost
             1605 node-lost n2 - - n2 is lost and not known to be dead
             1610 action-start n1 other - other start on n1 begins
             1650 action-done n1 other 40 other start on n1 is done
             1700 fenced n2 - 95 n2 was fenced (off) by n1
             1702 action-start n1 address - address start on n1 begins
             1800 action-done n1 address 98 address start on n1 is done
             1801 action-start n1 web - web start on n1 begins
             1900 action-done n1 web 99 web start on n1 is done
             1901 settled - - - nothing is left to be done
             9000 action-start n1 web - web start on n1 begins
             9900 settled - - - nothing is left to be done",
            expect![[r#"
                1901 loss of n2: 900 ms = detect 605 ms + fence 95 ms + decide 2 ms + start 198 ms; address, web started
            "#]],
        );
    }

    #[test]
    fn without_fencing_and_without_consequences() {
        check(
            "1600 node-lost n2 - 600 node 2 is lost
             1601 settled - - - nothing is left to be done
             2600 node-lost n3 - 600 node 3 is lost
             2610 action-start n1 db:0 - db:0 promote on n1 begins
             2700 action-done n1 db:0 90 db:0 promote on n1 is done
             2701 settled - - - nothing is left to be done",
            expect![[r#"
                1601 loss of n2: 600 ms = detect 600 ms; nothing had to be started
                2701 loss of n3: 700 ms = detect 600 ms + decide 10 ms + start 90 ms; db:0 started
            "#]],
        );
    }

    #[test]
    fn a_failed_resource_is_an_interruption_too() {
        check(
            "5000 action-failed n1 web 12 web monitor on n1 failed: 'Not running' (7)
             5003 action-start n1 web - web stop on n1 begins
             5050 action-done n1 web 40 web stop on n1 is done
             5051 action-start n1 web - web start on n1 begins
             5150 action-done n1 web 90 web start on n1 is done
             5160 settled - - - nothing is left to be done",
            expect![[r#"
                5160 failure of web: 150 ms = decide 3 ms + start 147 ms; web started
            "#]],
        );
    }

    #[test]
    fn many_started_resources_are_counted() {
        let starts: String = (0..9)
            .map(|n| format!("2{n}00 action-start n1 r{n} - r{n} start on n1 begins\n2{n}50 action-done n1 r{n} 50 r{n} start on n1 is done\n"))
            .collect();
        check(
            &format!("1600 node-lost n2 - 600 lost\n{starts}3000 settled - - - rest"),
            expect![[r#"
            3000 loss of n2: 1850 ms = detect 600 ms + decide 400 ms + start 850 ms; 9 resources started
        "#]],
        );
    }
}
