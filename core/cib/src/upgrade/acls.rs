//! 1.x to 2.0: users with permissions of their own become targets with roles.

use super::{Work, extract, take};
use crate::document::{Element, Node};
use std::sync::Arc;

pub(super) fn upgrade(configuration: &mut Element, work: &mut Work) {
    let Some(acls) = configuration.child_mut("acls") else { return };
    let nodes = std::mem::take(acls.nodes_mut());
    for node in nodes {
        let Node::Element(element) = node else {
            acls.nodes_mut().push(node);
            continue;
        };
        let mut element = Arc::unwrap_or_clone(element);
        for child in element.children_mut() {
            match child.name() {
                "role_ref" => child.rename("role"),
                "read" | "write" | "deny" => permission(child, work),
                _ => {}
            }
        }
        if element.name() != "acl_user" {
            acls.push(element);
            continue;
        }
        element.rename("acl_target");
        let permissions = extract(&mut element, |child| child.name() == "acl_permission");
        let is_role = |child: &Element| child.name() == "role";
        if permissions.is_empty() || element.children().any(is_role) {
            acls.push(element);
            continue;
        }
        let role_id = format!("auto-{}", element.id());
        work.changed(element.id(), format!("the permissions of a user are those of a role now: {role_id}"));
        let mut role = Element::new("acl_role").with("id", &role_id);
        role.nodes_mut().extend(permissions.into_iter().map(Node::Element));
        acls.push(element.with_child(Element::new("role").with("id", &role_id)));
        acls.push(role);
    }
}

/// `<read ref=…/>` is `<acl_permission kind="read" reference=…/>` now.
fn permission(element: &mut Element, work: &mut Work) {
    let kind = element.name().to_owned();
    let id = element.id().to_owned();
    element.rename("acl_permission");
    if let Some(reference) = take(element, "ref") {
        if take(element, "attribute").is_some() {
            work.lost(&id, "a permission for a reference covers all attributes now");
        }
        element.set("reference", &reference);
    } else if let Some(tag) = take(element, "tag") {
        element.set("object-type", &tag);
    } else if let (Some(attribute), Some(xpath)) = (take(element, "attribute"), element.attribute("xpath")) {
        let xpath = format!("{xpath}[@{attribute}]");
        element.set("xpath", &xpath);
    }
    element.set("kind", &kind);
}
