//! Results of operations that somebody wants to see as if they had happened.

mod common;

use common::{Cluster, NOW};
use expect_test::{Expect, expect};
use hakudo_base::UnixTime;
use hakudo_cib::Document;
use hakudo_scheduler::plan;
use hakudo_scheduler::simulate::{Injections, OperationResult, inject};

const RESOURCES: &str = r#"
    <primitive id="vm" class="ocf" provider="heartbeat" type="VirtualDomain"><meta_attributes id="vm-m">
      <nvpair id="vm-r" name="remote-node" value="guest"/></meta_attributes></primitive>
    <bundle id="b"><podman image="i" replicas="1"/><network ip-range-start="10.0.0.1" control-port="3121"/>
      <primitive id="in" class="ocf" provider="pacemaker" type="Dummy"/></bundle>"#;

/// The history that a failed monitor leaves on node a, or why there is none.
fn check(resource: &str, expected: &Expect) {
    let cluster = Cluster { resources: RESOURCES, ..Cluster::default() };
    let cib = Document::parse(&cluster.xml()).expect("the cluster is well-formed XML");
    let model = plan(&cib, UnixTime::from_seconds(NOW)).model;
    let operation = OperationResult {
        resource: resource.into(),
        task: "monitor".into(),
        interval_ms: 5000,
        node: "a".into(),
        exit_code: 7,
    };
    let injections = Injections { operations: vec![("it".into(), operation)], ..Injections::default() };
    let text = match inject(cib, &injections, &model, NOW) {
        Err(error) => error.to_string(),
        Ok((cib, _)) => {
            let status = cib.section(&["status"]).expect("there is a status");
            let is_it = |element: &&hakudo_cib::Element| element.name() == "lrm_resource" && element.id() == resource;
            let history = status.descendants().find(is_it).expect("there is a history");
            let of = |name: &str| history.attribute(name).unwrap_or("-").to_owned();
            format!("{}:{}:{}, {} operation", of("class"), of("provider"), of("type"), history.children().count())
        }
    };
    expected.assert_eq(&text);
}

#[test]
fn what_a_bundle_or_a_guest_node_brings_along_has_results_too() {
    check("vm", &expect!["ocf:heartbeat:VirtualDomain, 1 operation"]);
    check("guest", &expect!["ocf:pacemaker:remote, 1 operation"]);
    check("b-podman-0", &expect!["ocf:heartbeat:podman, 1 operation"]);
    check("b-ip-10.0.0.1", &expect!["ocf:heartbeat:IPaddr2, 1 operation"]);
    check("b-0", &expect!["ocf:pacemaker:remote, 1 operation"]);
    check("in", &expect!["ocf:pacemaker:Dummy, 1 operation"]);
}

#[test]
fn what_runs_no_agent_has_no_results() {
    check("b", &expect!["there is no resource 'b' that runs an agent: check the resource of the operation result"]);
    check("x", &expect!["there is no resource 'x' that runs an agent: check the resource of the operation result"]);
}
