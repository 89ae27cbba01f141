//! The configuration of a simulated cluster as XML, and the changes that clients ask for.

use crate::script::{Ask, Constraint, Fencing, Nonsense, Resource, Setup, Shape};
use hakudo_cib::Document;
use hakudo_controller::request::{Change, ChangeOperation};
use std::collections::BTreeSet;
use std::fmt::Write;

/// The name of node number `number` (from 1).
pub(crate) fn node_name(number: usize) -> String {
    format!("n{number}")
}

/// The primitives of a resource.
pub(crate) fn primitives(resource: &Resource) -> Vec<String> {
    match resource.shape {
        Shape::Primitive => vec![resource.name.clone()],
        Shape::Group(size) => (1..=size).map(|n| format!("{}-{n}", resource.name)).collect(),
        Shape::Clone | Shape::Promotable => vec![format!("{}-1", resource.name)],
    }
}

/// The element name of a resource's shape.
fn element(shape: Shape) -> &'static str {
    match shape {
        Shape::Primitive => "primitive",
        Shape::Group(_) => "group",
        Shape::Clone | Shape::Promotable => "clone",
    }
}

fn nvpairs(owner: &str, set: &str, pairs: &[(String, String)]) -> String {
    if pairs.is_empty() {
        return String::new();
    }
    let mut xml = format!("<{set} id=\"{owner}-{set}\">");
    for (name, value) in pairs {
        let _ = write!(xml, "<nvpair id=\"{owner}-{set}-{name}\" name=\"{name}\" value=\"{value}\"/>");
    }
    let _ = write!(xml, "</{set}>");
    xml
}

fn primitive_xml(name: &str, promotable: bool, monitor_ms: u64, meta: &[(String, String)]) -> String {
    let kind = if promotable { "Stateful" } else { "Dummy" };
    let mut xml = format!("<primitive id=\"{name}\" class=\"ocf\" provider=\"hakudo\" type=\"{kind}\">");
    xml.push_str(&nvpairs(name, "meta_attributes", meta));
    xml.push_str("<operations>");
    let mut op = |operation: &str, interval: u64, extra: &str| {
        let _ = write!(
            xml,
            "<op id=\"{name}-{operation}-{interval}\" name=\"{operation}\" interval=\"{interval}ms\" timeout=\"4s\"{extra}/>"
        );
    };
    op("start", 0, "");
    op("stop", 0, "");
    if monitor_ms > 0 {
        op("monitor", monitor_ms, "");
        if promotable {
            op("monitor", monitor_ms + 1, " role=\"Promoted\"");
        }
    }
    if promotable {
        op("promote", 0, "");
        op("demote", 0, "");
    }
    xml + "</operations></primitive>"
}

/// A resource as XML.
pub(crate) fn resource_xml(resource: &Resource) -> String {
    let Resource { name, shape, monitor_ms, meta } = resource;
    match shape {
        Shape::Primitive => primitive_xml(name, false, *monitor_ms, meta),
        Shape::Group(_) => {
            let members: String =
                primitives(resource).iter().map(|member| primitive_xml(member, false, *monitor_ms, &[])).collect();
            format!("<group id=\"{name}\">{}{members}</group>", nvpairs(name, "meta_attributes", meta))
        }
        Shape::Clone | Shape::Promotable => {
            let promotable = *shape == Shape::Promotable;
            let mut all = meta.clone();
            if promotable {
                all.push(("promotable".into(), "true".into()));
            }
            let inner = primitive_xml(&format!("{name}-1"), promotable, *monitor_ms, &[]);
            format!("<clone id=\"{name}\">{}{inner}</clone>", nvpairs(name, "meta_attributes", &all))
        }
    }
}

fn constraint_xml(constraint: &Constraint) -> String {
    match constraint {
        Constraint::Location(rsc, node, score) => {
            let id = format!("location-{rsc}-n{node}");
            format!("<rsc_location id=\"{id}\" rsc=\"{rsc}\" node=\"n{node}\" score=\"{score}\"/>")
        }
        Constraint::Colocation(rsc, with, score) => {
            let id = format!("colocation-{rsc}-{with}");
            format!("<rsc_colocation id=\"{id}\" rsc=\"{rsc}\" with-rsc=\"{with}\" score=\"{score}\"/>")
        }
        Constraint::Ticket(rsc, ticket, policy) => {
            format!(
                "<rsc_ticket id=\"ticket-{rsc}-{ticket}\" rsc=\"{rsc}\" ticket=\"{ticket}\" loss-policy=\"{policy}\"/>"
            )
        }
        Constraint::Order(first, then) => {
            format!("<rsc_order id=\"order-{first}-{then}\" first=\"{first}\" then=\"{then}\"/>")
        }
    }
}

/// The fence devices of a cluster.
fn device_xml(setup: &Setup) -> String {
    let device = |id: &str, hosts: &str| {
        let parameters =
            [("pcmk_host_list".to_owned(), hosts.to_owned()), ("pcmk_host_check".into(), "static-list".into())];
        format!(
            "<primitive id=\"{id}\" class=\"stonith\" type=\"fence_sim\">{}</primitive>",
            nvpairs(id, "instance_attributes", &parameters)
        )
    };
    let nodes = 1..=setup.votes.len();
    match setup.fencing {
        Fencing::Off => String::new(),
        Fencing::Shared => device("fence", &nodes.map(node_name).collect::<Vec<_>>().join(" ")),
        Fencing::Each => nodes.map(|n| device(&format!("fence-n{n}"), &node_name(n))).collect(),
    }
}

/// The configuration that all nodes have on disk at the beginning.
pub(crate) fn initial(setup: &Setup) -> String {
    let mut options = setup.options.clone();
    if setup.fencing == Fencing::Off {
        options.push(("fencing-enabled".into(), "false".into()));
    }
    let nodes: String = (1..=setup.votes.len()).map(|n| format!("<node id=\"{n}\" uname=\"n{n}\"/>")).collect();
    let resources: String = setup.resources.iter().map(resource_xml).collect();
    let constraints: String = setup.constraints.iter().map(constraint_xml).collect();
    format!(
        "<cib validate-with=\"pacemaker-4.0\" admin_epoch=\"0\" epoch=\"1\" num_updates=\"0\"><configuration><crm_config>{}\
         <cluster_property_set id=\"notes\"/></crm_config><nodes>{nodes}</nodes><resources>{}{resources}</resources>\
         <constraints>{constraints}</constraints></configuration><status/></cib>",
        nvpairs("cib-bootstrap-options", "cluster_property_set", &options)
            .replace("cib-bootstrap-options-cluster_property_set\">", "cib-bootstrap-options\">"),
        device_xml(setup),
    )
}

/// The id of the note that change number `number` leaves in the configuration.
pub(crate) fn note_id(number: u64) -> String {
    format!("note-{number}")
}

/// The numbers of all notes in a document.
pub(crate) fn noted(cib: &Document) -> BTreeSet<u64> {
    let sets = cib.section(&["configuration", "crm_config"]).into_iter().flat_map(hakudo_cib::Element::children);
    let pairs = sets.filter(|set| set.id() == "notes").flat_map(hakudo_cib::Element::children);
    pairs.filter_map(|pair| pair.id().strip_prefix("note-")?.parse().ok()).collect()
}

/// The numbers of all notes in a configuration.
pub(crate) fn notes(xml: &str) -> impl Iterator<Item = u64> {
    xml.split("id=\"note-").skip(1).filter_map(|rest| rest.split('"').next()?.parse().ok())
}

/// What a client says to have `ask` done; the change leaves a note of its number. None where it is no change.
pub(crate) fn change(ask: &Ask, number: u64, shape_of: impl Fn(&str) -> Option<Shape>) -> Option<Change> {
    let modify = |xml: String, parent: &str| ChangeOperation::Modify { xml, create_in: Some(parent.into()) };
    let mut operations = match ask {
        Ask::Note | Ask::ForceNote => Vec::new(),
        Ask::NodeOption(node, name, value) => {
            let set = nvpairs(&node_name(*node), "instance_attributes", &[(name.clone(), value.clone())]);
            vec![modify(format!("<node id=\"{node}\" uname=\"n{node}\">{set}</node>"), "/cib/configuration/nodes")]
        }
        Ask::Meta(rsc, name, value) => {
            let kind = element(shape_of(rsc)?);
            let set = nvpairs(rsc, "meta_attributes", &[(name.clone(), value.clone())]);
            vec![ChangeOperation::Modify { xml: format!("<{kind} id=\"{rsc}\">{set}</{kind}>"), create_in: None }]
        }
        Ask::Option(name, value) => {
            let id = format!("cib-bootstrap-options-cluster_property_set-{name}");
            let pair = format!("<nvpair id=\"{id}\" name=\"{name}\" value=\"{value}\"/>");
            let set = format!("<cluster_property_set id=\"cib-bootstrap-options\">{pair}</cluster_property_set>");
            vec![modify(set, "/cib/configuration/crm_config")]
        }
        Ask::Add(resource) => {
            vec![ChangeOperation::Create { parent: "/cib/configuration/resources".into(), xml: resource_xml(resource) }]
        }
        Ask::Remove(rsc) => {
            let kind = element(shape_of(rsc)?);
            let refers = ["rsc", "with-rsc", "first", "then"].map(|name| format!("@{name}='{rsc}'")).join(" or ");
            vec![
                ChangeOperation::Delete {
                    xpath: format!("/cib/configuration/constraints/*[{refers}]"),
                    or_nothing: true,
                },
                ChangeOperation::Delete { xpath: format!("//{kind}[@id='{rsc}']"), or_nothing: false },
            ]
        }
        Ask::Move(rsc, node, score) => {
            let constraint = Constraint::Location(rsc.clone(), *node, score.clone());
            vec![modify(constraint_xml(&constraint), "/cib/configuration/constraints")]
        }
        Ask::Nonsense(kind, rsc) => vec![nonsense(*kind, rsc, number, &shape_of)],
        Ask::Cleanup | Ask::Refresh(..) | Ask::Fence(_) | Ask::Confirm(_) | Ask::Leave | Ask::Score(_) => return None,
    };
    let id = note_id(number);
    let note = format!("<nvpair id=\"{id}\" name=\"{id}\" value=\"1\"/>");
    operations.push(modify(note, "/cib/configuration/crm_config/cluster_property_set[@id='notes']"));
    Some(Change { operations, if_version: None, force: *ask == Ask::ForceNote })
}

/// A change that is wrong in the way of its kind.
fn nonsense(kind: Nonsense, rsc: &str, number: u64, shape_of: impl Fn(&str) -> Option<Shape>) -> ChangeOperation {
    let create =
        |section: &str, xml: String| ChangeOperation::Create { parent: format!("/cib/configuration/{section}"), xml };
    let constraint = |rest: String| create("constraints", format!("<rsc_location id=\"odd-{number}\" {rest}/>"));
    let options = |pairs: &[(&str, &str)]| {
        let set: Vec<(String, String)> = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        create("crm_config", nvpairs(&format!("odd-{number}"), "cluster_property_set", &set))
    };
    match kind {
        Nonsense::CutOff => create("constraints", "<rsc_location id=\"broken\" rsc=".into()),
        Nonsense::Deep => create("constraints", "<rsc_location>".repeat(5_000)),
        Nonsense::SameId => create("nodes", "<node id=\"1\" uname=\"other\"/>".into()),
        Nonsense::BadPath => ChangeOperation::Delete { xpath: "//*[@id=".into(), or_nothing: true },
        Nonsense::UnknownElement => create("constraints", format!("<rsc_wish id=\"odd-{number}\"/>")),
        Nonsense::NoSuchResource => constraint("rsc=\"nobody\" node=\"n1\" score=\"5\"".into()),
        Nonsense::NoSuchNode => constraint(format!("rsc=\"{rsc}\" node=\"nowhere\" score=\"5\"")),
        Nonsense::BadScore => constraint(format!("rsc=\"{rsc}\" node=\"n1\" score=\"plenty\"")),
        Nonsense::BadOptions => options(&[("batch-limit", "many"), ("cluster-delay", "soon"), ("no-such-option", "1")]),
        Nonsense::BadRole => {
            let kind = element(shape_of(rsc).unwrap_or(Shape::Primitive));
            let set = nvpairs(rsc, "meta_attributes", &[("target-role".into(), "Sideways".into())]);
            ChangeOperation::Modify { xml: format!("<{kind} id=\"{rsc}\">{set}</{kind}>"), create_in: None }
        }
        Nonsense::BadInterval => ChangeOperation::Create {
            parent: format!("//primitive[@id='{rsc}']/operations"),
            xml: format!("<op id=\"odd-{number}\" name=\"monitor\" interval=\"often\"/>"),
        },
        Nonsense::EmptyGroup => create("resources", format!("<group id=\"odd-{number}\"/>")),
        Nonsense::Loop => {
            create("constraints", format!("<rsc_order id=\"odd-{number}\" first=\"{rsc}\" then=\"{rsc}\"/>"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_initial_configuration_is_a_document_and_notes_are_found_in_it() {
        let script: crate::script::Script =
            "votes 1 1\nfencing each\ngroup g of 2 monitor 1000 target-role=Stopped\npromotable p\nlocation g n1 5"
                .parse()
                .unwrap();
        let xml = initial(&script.setup);
        hakudo_cib::Document::parse(&xml).unwrap();
        let noted = xml.replace("<cluster_property_set id=\"notes\"/>", "<x id=\"note-4\"/><x id=\"note-12\"/>");
        assert_eq!(notes(&noted).collect::<Vec<_>>(), [4, 12]);
    }
}
