//! What the group must know of this cluster: whether it could run what needs a ticket, whether it does, whether it has
//! stopped it, and how long that may take. The scheduler says all of it, partly of plans that are made only to ask.

use crate::controller::Controller;
use crate::core_types::Effect;
use hakudo_cib::{Document, Element};
use hakudo_scheduler::{ActionKind, Transition};
use hakudo_tickets::Input as MemberInput;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A start that is under way when a lease ends is ended early: TERM, a second, KILL, and what is left of it is looked for.
const ENDING_A_START: Duration = Duration::from_secs(2);

/// Plans that were asked for without meaning to carry them out.
#[derive(Debug, Default)]
pub(crate) struct Outlook {
    /// As if all tickets were granted here.
    granted: Option<u64>,
    /// As if none were any more.
    lost: Option<u64>,
    /// How long starting all of them may take.
    start_time: Duration,
}

impl Controller {
    /// Asks what would be if tickets were granted, and lost.
    pub(crate) fn ask_what_if(&mut self, effects: &mut Vec<Effect>) {
        if !self.speaker.speaks() {
            return;
        }
        let names: Vec<String> =
            self.speaker.setup.iter().flat_map(|setup| &setup.group.tickets).map(|t| t.name.clone()).collect();
        let cib = self.cib();
        let now = self.wall_time();
        for granted in [true, false] {
            let token = self.leader.next_token();
            let asked = if granted { &mut self.speaker.outlook.granted } else { &mut self.speaker.outlook.lost };
            *asked = Some(token);
            effects.push(Effect::Plan { token, cib: with_tickets(&cib, &names, granted), now });
        }
    }

    /// Takes the answer to such a question; false where this is another one's.
    pub(crate) fn what_if_answered(
        &mut self,
        token: u64,
        result: &Result<Box<Transition>, String>,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let outlook = &mut self.speaker.outlook;
        if outlook.granted.take_if(|asked| *asked == token).is_some() {
            if let Ok(transition) = result {
                // What starts here has to stop here one day: until it runs, its times for starting stand for those.
                self.speaker.outlook.start_time = longest_way(transition);
                let held = |name: &String| self.replica.status.tickets.get(name).is_some_and(|state| state.granted);
                let others = transition.tickets.iter().filter(|(name, _)| !held(name));
                let others: Vec<_> = others.map(|(name, used)| (name.clone(), used.able.clone())).collect();
                self.say_able(others, effects);
            }
            return true;
        }
        if outlook.lost.take_if(|asked| *asked == token).is_some() {
            if let Ok(transition) = result {
                let longest = longest_way(transition).max(self.speaker.outlook.start_time)
                    + ENDING_A_START
                    + self.time_of_fencing(transition);
                let setup = self.speaker.setup.iter();
                let names = setup.clone().flat_map(|setup| &setup.group.tickets).map(|ticket| ticket.name.clone());
                let names: BTreeSet<String> = names.chain(transition.tickets.keys().cloned()).collect();
                let stop_time_of = |name: &String| {
                    let configured = setup.clone().find_map(|setup| setup.stop_time_ms.get(name));
                    let used = transition.tickets.contains_key(name) || self.runs_without_its_constraint(name);
                    // Of what nothing depends on nothing has to be stopped.
                    configured.map_or(if used { longest } else { Duration::ZERO }, |ms| Duration::from_millis(*ms))
                };
                let all: Vec<_> = names.into_iter().map(|name| (stop_time_of(&name), name)).collect();
                for (stop_time, ticket) in all {
                    let used = transition.tickets.get(&ticket);
                    self.warn_of_short_time(&ticket, longest, used.is_some());
                    let what = used.and_then(|used| used.stays.clone());
                    self.tell_member(MemberInput::Stays { ticket: ticket.clone(), what }, effects);
                    self.tell_member(MemberInput::StopTime { ticket, stop_time }, effects);
                }
            }
            return true;
        }
        false
    }

    /// Where a stop fails and no watchdog resets the node, fencing must end it.
    fn time_of_fencing(&self, transition: &Transition) -> Duration {
        let watchdog = self.speaker.setup.as_ref().is_some_and(|setup| setup.watchdog);
        let stops = transition.synapses.iter().any(|synapse| matches!(synapse.action.task.as_str(), "stop" | "demote"));
        if watchdog || !stops || !self.replica.options().fencing {
            return Duration::ZERO;
        }
        Duration::from_millis(transition.fencing_timeout_ms)
    }

    /// What is configured is what the group counts on: it must not be less than what the timeouts of the agents allow.
    fn warn_of_short_time(&mut self, ticket: &str, longest: Duration, used: bool) {
        let about = format!("stop-time of ticket {ticket}");
        let setup = self.speaker.setup.as_ref();
        let own = setup.and_then(|setup| setup.stop_time_ms.get(ticket)).map(|ms| Duration::from_millis(*ms));
        let agreed = setup.and_then(|setup| setup.group.ticket(ticket)).and_then(|ticket| ticket.stop_time);
        match agreed.or(own).filter(|configured| used && *configured < longest) {
            Some(configured) => {
                let text = format!(
                    "stopping all that needs ticket {ticket} may take {:.1} s by the timeouts of its agents and of fencing, and \
                     the group was promised {:.1} s: another site may start it before it has stopped here",
                    longest.as_secs_f64(),
                    configured.as_secs_f64()
                );
                self.alert(&about, hakudo_base::Severity::Warning, text);
            }
            None => self.no_alert(&about),
        }
    }

    /// What a plan that will be carried out says of tickets.
    pub(crate) fn look_at_tickets(&mut self, transition: &Transition, effects: &mut Vec<Effect>) {
        // What nobody has looked for, or a lost node may run, may be active.
        let probes = |synapse: &hakudo_scheduler::Synapse| {
            let once = synapse.action.attributes.get("CRM_meta_interval").is_none_or(|interval| interval == "0");
            synapse.action.task == "monitor" && once
        };
        let probing = transition.synapses.iter().any(probes);
        let fencing = transition.synapses.iter().any(|synapse| synapse.action.task == "stonith");
        let all_is_known = !probing && !fencing && self.rivals().is_empty();
        let uses = &transition.tickets;
        let is_active = |ticket: &str| match uses.get(ticket) {
            Some(used) => used.active,
            None => self.runs_without_its_constraint(ticket),
        };
        let all = self.tickets_of_group();
        let active: BTreeSet<String> = all.iter().filter(|ticket| is_active(ticket)).cloned().collect();
        self.say_guards(transition, |ticket| !all_is_known || active.contains(ticket));
        if !self.speaker.speaks() {
            return;
        }
        for ticket in all {
            // What a lost node may run is in it where it ran there; that it cannot be fenced keeps nobody else from a ticket.
            let active = probing || active.contains(&ticket);
            self.tell_member(MemberInput::Active { ticket, active }, effects);
        }
        let settled = transition.synapses.is_empty();
        let states = self.replica.status.tickets.iter();
        let states: Vec<(String, u64, bool, bool)> =
            states.map(|(name, state)| (name.clone(), state.generation, state.granted, state.is_held())).collect();
        for (ticket, generation, granted, held) in states {
            let used = uses.get(&ticket);
            if granted && used.is_none_or(|used| used.started) {
                self.tell_member(MemberInput::Started { ticket: ticket.clone(), generation }, effects);
            }
            if !held && !active.contains(&ticket) && all_is_known {
                self.tell_member(MemberInput::Stopped { ticket: ticket.clone(), generation }, effects);
            }
            let able = used.map_or(Ok(()), |used| used.able.clone());
            // What cannot be read says nothing of what can run.
            let unread = used.is_some_and(|used| used.unread);
            if granted && !unread && (settled || able.is_ok()) {
                self.say_able([(ticket, able)], effects);
            }
        }
        // Tickets that nothing depends on can be held anywhere.
        let unused: Vec<String> = self
            .speaker
            .setup
            .iter()
            .flat_map(|setup| &setup.group.tickets)
            .map(|ticket| ticket.name.clone())
            .filter(|name| !uses.contains_key(name))
            .collect();
        for ticket in unused {
            self.tell_member(MemberInput::Able { ticket, able: Ok(()) }, effects);
        }
        if settled {
            self.ask_what_if(effects);
        }
    }

    /// Their names.
    fn tickets_of_group(&self) -> Vec<String> {
        let setup = self.speaker.setup.iter();
        let configured = setup.flat_map(|setup| &setup.group.tickets).map(|ticket| ticket.name.clone());
        let known = self.replica.status.tickets.keys().cloned();
        configured.chain(known).collect::<BTreeSet<_>>().into_iter().collect()
    }

    fn say_able(&mut self, tickets: impl IntoIterator<Item = (String, Result<(), String>)>, effects: &mut Vec<Effect>) {
        for (ticket, able) in tickets {
            self.tell_member(MemberInput::Able { ticket, able }, effects);
        }
    }
}

/// The document with these tickets granted and in use, or with none of them.
fn with_tickets(cib: &Document, names: &[String], granted: bool) -> Document {
    let mut document = cib.clone();
    let status = document.root_mut().child_or_new("status");
    status.remove_children(|child| child.name() == "tickets");
    let mut tickets = Element::new("tickets");
    for name in names {
        let granted = if granted { "true" } else { "false" };
        tickets.push(Element::new("ticket_state").with("id", name).with("granted", granted).with("standby", "false"));
    }
    status.push(tickets);
    document
}

/// How long a plan may take if every action needs all of its time.
fn longest_way(transition: &Transition) -> Duration {
    let mut ends: BTreeMap<u32, u64> = BTreeMap::new();
    let own = |synapse: &hakudo_scheduler::Synapse| match &synapse.action.kind {
        ActionKind::Pseudo | ActionKind::PseudoFencing { .. } => 0,
        _ if synapse.action.task == "stonith" => transition.fencing_timeout_ms,
        _ => synapse.action.attributes.get("CRM_meta_timeout").and_then(|text| text.parse().ok()).unwrap_or(0),
    };
    // A graph has no circle: after as many rounds as it has steps at most, nothing becomes later any more.
    for _ in 0..=transition.synapses.len() {
        let mut later = false;
        for synapse in &transition.synapses {
            let before = synapse.inputs.iter().filter_map(|input| ends.get(input)).max().copied().unwrap_or(0);
            let end = before.saturating_add(own(synapse));
            let known = ends.entry(synapse.action.id).or_insert(0);
            if end > *known {
                (*known, later) = (end, true);
            }
        }
        if !later {
            break;
        }
    }
    Duration::from_millis(ends.values().max().copied().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::cluster::graph;

    #[test]
    fn the_longest_way_counts_what_waits_for_each_other() {
        let mut transition = graph("1 stop a n1\n2 stop b n1 after 1\n3 stop c n2");
        for (synapse, timeout) in transition.synapses.iter_mut().zip(["20000", "30000", "45000"]) {
            synapse.action.attributes.insert("CRM_meta_timeout".to_owned(), timeout.to_owned());
        }
        assert_eq!(longest_way(&transition), Duration::from_secs(50));
    }
}
