//! What a plan changes and what a simulation did, as text.

use crate::outline::Outline;
use hakudo_scheduler::{Change, Plan, ResourceVerb, ShownRole};

/// Widths of the columns of a transition summary. They only grow, line by line.
///
/// The column of names grows by two more than a longer name needs, so that its width depends on the order of the lines.
struct Widths {
    resource: usize,
    details: usize,
}

impl Widths {
    /// Wide enough for all of these changes.
    fn of(changes: &[Change]) -> Self {
        let mut widths = Self { resource: 5, details: 5 };
        for change in changes {
            if let Change::Resource { resource, .. } = change {
                widths.make_room(resource, &details(change));
            }
        }
        widths
    }

    fn make_room(&mut self, resource: &str, details: &str) {
        if resource.len() > self.resource {
            self.resource = resource.len() + 2;
        }
        self.details = self.details.max(details.len());
    }
}

/// The summary of a plan's transition under its title. The columns have room for what was foreseen before the graph was made.
pub fn summary(plan: &Plan) -> String {
    lines(&plan.foreseen, &plan.changes)
}

fn lines(foreseen: &[Change], changes: &[Change]) -> String {
    let mut outline = Outline::new();
    outline.open("Transition Summary");
    let mut widths = Widths::of(foreseen);
    for change in changes {
        match change {
            Change::Node { task, node, reason: Some(reason) } => outline.item(&format!("{task} {node} '{reason}'")),
            Change::Node { reason: None, .. } => {}
            Change::Resource { verb, resource, reason, blocked, .. } => {
                let reason = match (reason, blocked) {
                    (Some(reason), true) => format!("  due to {reason} (blocked)"),
                    (Some(reason), false) => format!("  due to {reason}"),
                    (None, true) => "  blocked".to_owned(),
                    (None, false) => String::new(),
                };
                let details = details(change);
                outline.item(&line(&mut widths, *verb, resource, &details, &reason));
            }
        }
    }
    outline.finish()
}

fn line(widths: &mut Widths, verb: ResourceVerb, resource: &str, details: &str, reason: &str) -> String {
    widths.make_room(resource, details);
    format!(
        "{:<8}   {resource:<resource_width$}   ( {details:>details_width$} ){reason}",
        verb.as_str(),
        resource_width = widths.resource,
        details_width = widths.details,
    )
}

/// Where it happens, with the roles where these say something.
fn details(change: &Change) -> String {
    let Change::Resource { role, next_role, origin, destination, .. } = change else { return String::new() };
    let roles = *role > ShownRole::Started || *next_role > ShownRole::Unpromoted;
    match (origin, destination) {
        (None, None) => String::new(),
        (None, Some(to)) if roles => format!("{role} -> {next_role} {to}"),
        (None, Some(to)) => to.clone(),
        (Some(from), None) if roles => format!("{role} {from}"),
        (Some(from), None) => from.clone(),
        (Some(from), Some(to)) => match (role == next_role, from == to) {
            (true, true) if roles => format!("{role} {from}"),
            (true, true) => from.clone(),
            (true, false) if roles => format!("{from} -> {to} {role}"),
            (true, false) => format!("{from} -> {to}"),
            (false, true) => format!("{role} -> {next_role} {from}"),
            (false, false) => format!("{role} {from} -> {next_role} {to}"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    fn change(verb: ResourceVerb, resource: &str, roles: (ShownRole, ShownRole), nodes: (&str, &str)) -> Change {
        let node = |name: &str| (!name.is_empty()).then(|| name.to_owned());
        Change::Resource {
            verb,
            resource: resource.to_owned(),
            role: roles.0,
            next_role: roles.1,
            origin: node(nodes.0),
            destination: node(nodes.1),
            reason: None,
            blocked: false,
        }
    }

    #[test]
    fn columns_grow_and_roles_appear_where_they_matter() {
        use ShownRole::{Promoted, Started, Stopped, Unpromoted};
        let mut moved = change(ResourceVerb::Move, "database", (Started, Started), ("alpha", "beta"));
        if let Change::Resource { reason, blocked, .. } = &mut moved {
            *reason = Some("node availability".to_owned());
            *blocked = true;
        }
        let changes = [
            Change::Node { task: "Fence (reboot)".to_owned(), node: "gamma".to_owned(), reason: None },
            Change::Node {
                task: "Fence (reboot)".to_owned(),
                node: "gamma".to_owned(),
                reason: Some("peer is no longer part of the cluster".to_owned()),
            },
            change(ResourceVerb::Start, "web", (Stopped, Started), ("", "alpha")),
            moved,
            change(ResourceVerb::Promote, "disk:0", (Unpromoted, Promoted), ("alpha", "alpha")),
            change(ResourceVerb::Stop, "disk:1", (Unpromoted, Stopped), ("beta", "")),
            change(ResourceVerb::RePromote, "disk:2", (Promoted, Promoted), ("beta", "beta")),
        ];
        let mut foreseen = changes.to_vec();
        foreseen.push(change(ResourceVerb::Start, "a-longer-name", (Stopped, Started), ("", "beta")));
        let mut shown = lines(&changes, &changes);
        shown += &lines(&foreseen, &changes);
        expect![[r#"
            Transition Summary:
              * Fence (reboot) gamma 'peer is no longer part of the cluster'
              * Start      web          (                        alpha )
              * Move       database     (                alpha -> beta )  due to node availability (blocked)
              * Promote    disk:0       ( Unpromoted -> Promoted alpha )
              * Stop       disk:1       (              Unpromoted beta )
              * Re-promote   disk:2       (                Promoted beta )
            Transition Summary:
              * Fence (reboot) gamma 'peer is no longer part of the cluster'
              * Start      web               (                        alpha )
              * Move       database          (                alpha -> beta )  due to node availability (blocked)
              * Promote    disk:0            ( Unpromoted -> Promoted alpha )
              * Stop       disk:1            (              Unpromoted beta )
              * Re-promote   disk:2            (                Promoted beta )
        "#]]
        .assert_eq(&shown);
    }
}
