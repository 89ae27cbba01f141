//! Scripts: what a few controllers do when this and that happens, to be read aloud.

mod changes;
pub(crate) mod cluster;
mod fencing;
mod gateway;
mod hazards;
mod leaving;
mod nodes;
mod plans;
mod replicas;
mod safety;
mod sites;
mod tickets;

use cluster::Cluster;
use expect_test::Expect;

fn check(cluster: &mut Cluster, expected: Expect) {
    cluster.same_document();
    expected.assert_eq(&cluster.take_log());
}

/// The part of the document that begins with `<name id="id"`.
fn part(cluster: &mut Cluster, name: &str, id: &str) -> String {
    let document = hakudo_cib::Document::parse(&cluster.same_document()).unwrap();
    let found = document.root().descendants().find(|e| e.name() == name && e.id() == id).map(|e| e.to_xml());
    found.unwrap_or_default()
}
