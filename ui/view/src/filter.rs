//! A status of less than the whole cluster: what is about some nodes, or about some resources.

use crate::status::{ClusterStatus, Resource};

impl ClusterStatus {
    /// Leaves only what is about these nodes; of the resources, those that are active there.
    pub fn only_nodes(&mut self, names: &[String]) {
        let is_one = |node: &str| names.iter().any(|name| name.eq_ignore_ascii_case(node));
        self.nodes.retain(|node| is_one(&node.name));
        self.history.retain(|history| is_one(&history.node));
        self.failures.retain(|failure| is_one(&failure.node));
        self.bans.retain(|ban| is_one(&ban.node));
        self.fencing.retain(|fencing| is_one(&fencing.target));
        self.resources
            .retain(|resource| resource.primitives().iter().any(|one| one.active_on.iter().any(|node| is_one(node))));
    }

    /// Leaves only what is about these resources and what is in them or around them.
    pub fn only_resources(&mut self, ids: &[String]) {
        let is_one = |id: &str| ids.iter().any(|wanted| wanted == without_number(id) || wanted == id);
        let concerns = |resource: &Resource| resource.walk().into_iter().any(|inside| is_one(inside.id()));
        self.resources.retain(concerns);
        let named: Vec<String> = self
            .resources
            .iter()
            .filter(|resource| is_one(resource.id()))
            .flat_map(Resource::walk)
            .map(|inside| without_number(inside.id()).to_owned())
            .chain(ids.iter().cloned())
            .collect();
        let is_named = |id: &str| named.iter().any(|one| one == without_number(id));
        for group in &mut self.resources {
            if let Resource::Group(group) = group
                && !is_one(&group.id)
            {
                group.members.retain(|member| is_one(member.id()));
            }
        }
        for history in &mut self.history {
            history.resources.retain(|resource| is_named(&resource.resource));
        }
        self.history.retain(|history| !history.resources.is_empty());
        self.failures.retain(|failure| is_named(&failure.resource));
        self.bans.retain(|ban| is_named(&ban.resource));
    }
}

/// The id of a resource without the number of an instance.
fn without_number(id: &str) -> &str {
    match id.rsplit_once(':') {
        Some((name, number)) if number.parse::<u32>().is_ok() => name,
        _ => id,
    }
}
