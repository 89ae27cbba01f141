//! What a running cluster and its group say about a file: whether its leases and times to stop are long enough for what depends on
//! the tickets there, and in what it differs from what the group goes by.

use hakudo_base::Severity;
use hakudo_cib::values::milliseconds;
use hakudo_cib::{Document, Element, Position};
use hakudo_tickets::booth::config::{Group, Mode, Problem, Ticket};
use hakudo_tickets::{Status, TicketMode};
use std::collections::BTreeSet;
use std::time::Duration;

/// What an agent may take to stop where the configuration does not say it (Pacemaker Explained: "Operation Properties").
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(20);

/// Tickets whose leases or times to stop are shorter than the timeouts of the agents that depend on them.
pub(super) fn too_short(file: &Group, cib: &Document) -> Vec<Problem> {
    file.tickets.iter().filter_map(|ticket| Some((ticket, slowest(&ticket.name, cib)?))).flat_map(times).collect()
}

fn times((ticket, (resource, needed)): (&Ticket, (&str, Duration))) -> Vec<Problem> {
    let name = &ticket.name;
    let may_take = format!("the agent of {resource} may take {} s to stop", needed.as_secs_f64());
    let mut all = Vec::new();
    if let Some(given) = ticket.stop_time.filter(|given| *given < needed) {
        all.push(problem(
            Severity::Warning,
            format!("stop-time of ticket {name} is {} s, but {may_take}", given.as_secs_f64()),
            "a node that has not stopped all by then resets itself: write a longer stop-time, or shorten the timeout of the agent",
        ));
    }
    if ticket.mode == Mode::Automatic && ticket.expire < needed {
        all.push(problem(
            Severity::Info,
            format!("expire of ticket {name} is {} s, but {may_take}", ticket.expire.as_secs_f64()),
            "stopping may then take longer than the lease: another site starts only after both",
        ));
    }
    all
}

/// Of what depends on a ticket, the resource that may take longest to stop.
fn slowest<'a>(ticket: &str, cib: &'a Document) -> Option<(&'a str, Duration)> {
    let constraints = cib.section(&["configuration", "constraints"])?;
    let resources = cib.section(&["configuration", "resources"])?;
    let of_it =
        constraints.children_named("rsc_ticket").filter(|constraint| constraint.attribute("ticket") == Some(ticket));
    let mut named = BTreeSet::new();
    for constraint in of_it {
        named.extend(constraint.attribute("rsc"));
        let references = constraint.descendants().filter(|element| element.name() == "resource_ref");
        named.extend(references.map(Element::id));
    }
    let dependent = resources.descendants().filter(|element| named.contains(element.id()));
    let primitives = dependent.flat_map(Element::descendants).filter(|element| element.name() == "primitive");
    primitives.map(|primitive| (primitive.id(), stop_timeout(primitive, cib))).max_by_key(|(_, timeout)| *timeout)
}

fn stop_timeout(primitive: &Element, cib: &Document) -> Duration {
    let stops = primitive.child("operations").into_iter().flat_map(|all| all.children_named("op"));
    let own = stops.filter(|op| op.attribute("name") == Some("stop")).find_map(|op| op.attribute("timeout"));
    let timeout = own.or_else(|| default_timeout(cib)).and_then(milliseconds);
    timeout.map_or(DEFAULT_TIMEOUT, Duration::from_millis)
}

fn default_timeout(cib: &Document) -> Option<&str> {
    let values = cib.section(&["configuration", "op_defaults"])?.descendants();
    values.filter(|value| value.attribute("name") == Some("timeout")).find_map(|value| value.attribute("value"))
}

/// In what a file differs from what a group goes by, as far as the group shows it.
pub(super) fn differences(file: &Group, status: &Status) -> Vec<Problem> {
    let mut all = Vec::new();
    let (ours, theirs): (BTreeSet<String>, BTreeSet<String>) = (
        file.members.iter().map(|member| format!("{} {}", member.kind.word(), member.host)).collect(),
        status.members.iter().map(|member| format!("{} {}", super::kind(member.kind), member.name)).collect(),
    );
    all.extend(ours.difference(&theirs).map(|member| format!("{member} is no member of the running group")));
    all.extend(
        theirs.difference(&ours).map(|member| format!("{member}, a member of the running group, is not in this file")),
    );
    for ticket in &file.tickets {
        let name = &ticket.name;
        let Some(known) = status.tickets.iter().find(|known| known.name == *name) else {
            all.push(format!("the running group has no ticket {name}"));
            continue;
        };
        if known.expire != ticket.expire {
            let (here, there) = (ticket.expire.as_secs_f64(), known.expire.as_secs_f64());
            all.push(format!("expire of ticket {name} is {here} s here and {there} s in the running group"));
        }
        if (known.mode == TicketMode::Manual) != (ticket.mode == Mode::Manual) {
            all.push(format!("mode of ticket {name} is not the one of the running group"));
        }
    }
    let gone = status.tickets.iter().filter(|known| file.ticket(&known.name).is_none());
    all.extend(gone.map(|known| format!("ticket {} of the running group is not in this file", known.name)));
    let hint =
        "what the group agreed to counts: hakudo ticket configure shows all differences, and makes it go by this file";
    all.into_iter().map(|message| problem(Severity::Warning, message, hint)).collect()
}

/// A problem of the whole file.
fn problem(severity: Severity, message: String, hint: &str) -> Problem {
    Problem {
        severity,
        position: Position { line: 1, column: 1 },
        span: None,
        id: String::new(),
        attribute: None,
        message,
        hint: Some(hint.to_owned()),
        incomplete: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use hakudo_tickets::booth::config;
    use hakudo_tickets::{Member, MemberId, TicketConfig};

    fn check(problems: &[Problem], expected: Expect) {
        expected.assert_eq(
            &problems.iter().map(|problem| format!("{:?} {}\n", problem.severity, problem.message)).collect::<String>(),
        );
    }

    fn file(ticket: &str) -> Group {
        let text = format!(
            "site = 10.0.0.1\nsite = 10.0.0.2\narbitrator = 10.0.0.3\nticket = \"__defaults__\"\ntimeout = 1\nretries = 3\n{ticket}"
        );
        let reading = config::read(&text);
        assert!(reading.group.is_some(), "{:?}", reading.problems);
        reading.group.expect("a group")
    }

    #[test]
    fn a_lease_or_time_to_stop_shorter_than_what_agents_may_take_is_noted() {
        let cib = Document::parse(
            r#"<cib><configuration><crm_config/><nodes/><resources>
            <group id="g"><primitive id="ip" class="ocf" provider="p" type="t"/>
              <primitive id="db" class="ocf" provider="p" type="t"><operations>
                <op id="db-stop" name="stop" interval="0" timeout="60s"/></operations></primitive></group>
            <primitive id="web" class="ocf" provider="p" type="t"/></resources>
            <constraints><rsc_ticket id="c1" ticket="T" rsc="g"/><rsc_ticket id="c2" ticket="U" rsc="web"/></constraints>
            </configuration><status/></cib>"#,
        )
        .expect("a CIB");
        let short = file("ticket = T\nexpire = 30\nstop-time = 10\nticket = U\nexpire = 30\nticket = V\nexpire = 10\n");
        check(
            &too_short(&short, &cib),
            expect![[r#"
                Warning stop-time of ticket T is 10 s, but the agent of db may take 60 s to stop
                Info expire of ticket T is 30 s, but the agent of db may take 60 s to stop
            "#]],
        );
        check(&too_short(&file("ticket = T\nexpire = 120\nstop-time = 60\n"), &cib), expect![""]);
    }

    #[test]
    fn a_file_that_differs_from_what_the_group_goes_by_is_noted() {
        let named = |id, name: &str, kind| hakudo_tickets::MemberEntry {
            id: MemberId(id),
            name: name.to_owned(),
            kind,
            addresses: Vec::new(),
            key: None,
        };
        let (site, arbitrator) = (hakudo_tickets::MemberKind::Site, hakudo_tickets::MemberKind::Arbitrator);
        let members = vec![named(1, "10.0.0.1", site), named(2, "10.0.0.2", site), named(4, "10.0.0.4", arbitrator)];
        let tickets = vec![TicketConfig::new("T"), TicketConfig::new("gone")];
        let group =
            hakudo_tickets::Group { name: "g".to_owned(), members, tickets, ..hakudo_tickets::Group::default() };
        let now = hakudo_base::Instant::ZERO;
        let status = Member::new(MemberId(1), group, 1, None, now).expect("a member").status(now);
        check(
            &differences(&file("ticket = T\nexpire = 30\nticket = new\n"), &status),
            expect![[r#"
                Warning arbitrator 10.0.0.3 is no member of the running group
                Warning arbitrator 10.0.0.4, a member of the running group, is not in this file
                Warning expire of ticket T is 30 s here and 600 s in the running group
                Warning the running group has no ticket new
                Warning ticket gone of the running group is not in this file
            "#]],
        );
    }
}
