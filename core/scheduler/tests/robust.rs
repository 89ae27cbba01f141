//! Whatever a configuration and a history say, there is a plan: no panic, no endless search, no stack that grows with the
//! input.

mod common;

use common::{Cluster, NOW, check};
use expect_test::expect;
use hakudo_base::UnixTime;
use hakudo_cib::Document;
use hakudo_scheduler::{Plan, plan};
use proptest::prelude::*;
use std::fmt::Write as _;

/// So many resources, each with its own primitive, and constraints between neighbours.
fn chain(count: usize, constraint: impl Fn(usize, &mut String)) -> Plan {
    let (mut resources, mut constraints) = (String::new(), String::new());
    for at in 0..count {
        _ = write!(resources, "<primitive id='r{at}' class='ocf' provider='pacemaker' type='Dummy'/>");
        constraint(at, &mut constraints);
    }
    let cluster = Cluster { resources: resources.leak(), constraints: constraints.leak(), ..Cluster::default() };
    cluster.plan()
}

/// How many of the resources start.
fn started(plan: &Plan) -> usize {
    let starts = plan.transition.synapses.iter().filter(|synapse| synapse.action.task == "start");
    starts.filter(|synapse| synapse.action.key.starts_with('r')).count()
}

#[test]
fn a_long_chain_of_orderings_is_followed_to_its_end() {
    let order = |at: usize, text: &mut String| {
        if at > 0 {
            _ = write!(text, "<rsc_order id='o{at}' first='r{}' then='r{at}'/>", at - 1);
        }
    };
    assert_eq!(started(&chain(3000, order)), 3000);
    let blocked = |at: usize, text: &mut String| {
        order(at, text);
        if at == 0 {
            *text += "<rsc_location id='l-a' rsc='r0' node='a' score='-INFINITY'/>\
                      <rsc_location id='l-b' rsc='r0' node='b' score='-INFINITY'/>";
        }
    };
    assert_eq!(started(&chain(3000, blocked)), 0);
}

/// So many instances of a group of two; how many primitives start, and what was to be said.
fn instances(count: usize, meta: &str) -> (usize, Vec<String>) {
    let resources = format!(
        "<clone id='c'><meta_attributes id='m'><nvpair id='u' name='globally-unique' value='true'/><nvpair id='x' name='clone-max' \
         value='{count}'/><nvpair id='n' name='clone-node-max' value='{count}'/>{meta}</meta_attributes><group id='g'>\
         <primitive id='r1' class='ocf' provider='pacemaker' type='Dummy'/><primitive id='r2' class='ocf' provider='pacemaker' \
         type='Dummy'/></group></clone>"
    );
    let plan = Cluster { resources: resources.leak(), ..Cluster::default() }.plan();
    (started(&plan), plan.problems.iter().map(|problem| problem.message.clone()).collect())
}

#[test]
fn many_instances_of_a_group_are_decided() {
    assert_eq!(instances(2000, ""), (4000, vec![]));
    let limited = |what: &str, most: usize| (2 * most, vec![format!("{what} can have {most} instances, not 1000000")]);
    assert_eq!(instances(1_000_000, ""), limited("a clone", 2000));
    let notify = "<nvpair id='y' name='notify' value='true'/>";
    assert_eq!(instances(1_000_000, notify), limited("a clone that notifies", 500));
}

#[test]
fn a_long_chain_of_colocations_ends_up_on_one_node() {
    let forwards = |at: usize, text: &mut String| {
        if at > 0 {
            _ = write!(text, "<rsc_colocation id='c{at}' rsc='r{}' with-rsc='r{at}' score='INFINITY'/>", at - 1);
        }
    };
    let plan = chain(400, forwards);
    let nodes: std::collections::BTreeSet<_> = plan
        .transition
        .synapses
        .iter()
        .filter(|synapse| synapse.action.task == "start" && synapse.action.key.starts_with('r'))
        .filter_map(|synapse| synapse.action.node().map(|node| node.name.clone()))
        .collect();
    assert_eq!((started(&plan), nodes.len()), (400, 1));
}

#[test]
fn a_ring_of_colocations_has_an_end() {
    let ring = |at: usize, text: &mut String| {
        _ = write!(text, "<rsc_colocation id='c{at}' rsc='r{at}' with-rsc='r{}' score='100'/>", (at + 1) % 400);
    };
    assert_eq!(started(&chain(400, ring)), 400);
}

#[test]
fn guests_in_each_other_and_resources_that_contain_each_other_are_no_trap() {
    let guest = |id: &str, node: &str| {
        format!(
            "<primitive id='{id}' class='ocf' provider='heartbeat' type='VirtualDomain'><meta_attributes id='{id}-m'>\
             <nvpair id='{id}-r' name='remote-node' value='{node}'/></meta_attributes></primitive>"
        )
    };
    let inside = |id: &str, container: &str| {
        format!(
            "<primitive id='{id}' class='ocf' provider='pacemaker' type='Dummy'><meta_attributes id='{id}-m'>\
             <nvpair id='{id}-c' name='container' value='{container}'/></meta_attributes></primitive>"
        )
    };
    let resources = guest("vm1", "g1") + &guest("vm2", "g2") + &inside("x", "y") + &inside("y", "x");
    let cluster = Cluster {
        resources: resources.leak(),
        histories: vec![
            ("g1", "vm2 ocf:heartbeat:VirtualDomain start 0\n g2 ocf:pacemaker:remote start 0"),
            ("g2", "vm1 ocf:heartbeat:VirtualDomain start 0\n g1 ocf:pacemaker:remote start 0"),
            ("a", "x ocf:pacemaker:Dummy start 0\n x ocf:pacemaker:Dummy monitor=10000 7"),
        ],
        attributes: vec![("a", "fail-count-x#monitor_10000", "3"), ("a", "fail-count-y#monitor_10000", "INFINITY")],
        lost: vec!["b"],
        ..Cluster::default()
    };
    check(
        &cluster,
        expect![[r#"
        Fence (reboot) g2 (resource: vm2): guest is unclean
        Fence (reboot) g1 (resource: vm1): guest is unclean
        Fence (reboot) b: peer is no longer part of the cluster
        Recover vm1 g2 -> a Started
        Recover vm2 g1 -> a Started
        Recover x a -> g1 Started
        Restart y - -> g1 Started
        Recover g1 g2 -> a Started
        Recover g2 g1 -> a Started
        g1_start_0@a after g1_stop_0, stonith-b-reboot@b, stonith-g1-reboot@g1, vm1_start_0@a
        g1_stop_0 after stonith-g2-reboot@g2
        g2_start_0@a after g2_stop_0, stonith-b-reboot@b, stonith-g2-reboot@g2, vm2_start_0@a
        g2_stop_0 after stonith-g1-reboot@g1
        stonith-b-reboot@b
        stonith-g1-reboot@g1 after vm1_stop_0
        stonith-g2-reboot@g2 after stonith-g1-reboot@g1
        vm1_start_0@a after stonith-b-reboot@b, stonith-g1-reboot@g1, stonith-g2-reboot@g2, vm1_stop_0
        vm1_stop_0 after g1_stop_0, stonith-g2-reboot@g2
        vm2_start_0@a after stonith-b-reboot@b, stonith-g1-reboot@g1, stonith-g2-reboot@g2, vm2_stop_0
        vm2_stop_0 after g2_stop_0, stonith-g1-reboot@g1
        x_clear_failcount_0@a
        x_monitor_10000@a after x_stop_0@a
        x_start_0@g1 after g1_start_0@a, stonith-b-reboot@b, stonith-g1-reboot@g1, stonith-g2-reboot@g2, vm1_start_0@a, x_stop_0@a, y_start_0@g1
        x_stop_0@a after g1_start_0@a, y_stop_0@a
        y_start_0@g1 after g1_start_0@a, stonith-b-reboot@b, stonith-g1-reboot@g1, stonith-g2-reboot@g2, vm1_start_0@a, x_start_0@g1, y_stop_0@a
        y_stop_0@a after g1_start_0@a, x_stop_0@a
    "#]],
    );
}

#[test]
fn the_history_of_a_resource_that_cannot_be_used_is_that_of_an_unknown_one() {
    let cib = Document::parse(
        "<cib validate-with='pacemaker-4.0'><configuration><crm_config><cluster_property_set id='o'>\
         <nvpair id='o-f' name='fencing-enabled' value='false'/></cluster_property_set></crm_config>\
         <nodes><node id='1' uname='a'/></nodes><resources><clone id='x'/></resources></configuration>\
         <status><node_state id='1' uname='a' in_ccm='true' crmd='online' join='member' expected='member'><lrm id='1'>\
         <lrm_resources><lrm_resource id='x' class='ocf' provider='pacemaker' type='Dummy'>\
         <lrm_rsc_op id='x_last_0' operation='start' interval='0' call-id='1' rc-code='0' op-status='0' \
         transition-key='1:1:0:u'/></lrm_resource></lrm_resources></lrm></node_state></status></cib>",
    );
    let plan = plan(&cib.unwrap(), UnixTime::from_seconds(NOW));
    assert_eq!(plan.changes.len(), 1, "it is stopped: {:?}", plan.changes);
}

/// A cluster with something of everything, to be mangled.
fn rich() -> String {
    let cluster = Cluster {
        options: r#"<nvpair id="o1" name="placement-strategy" value="balanced"/>
                    <nvpair id="o2" name="no-quorum-policy" value="demote"/>"#,
        resources: r#"
            <template id="t" class="ocf" provider="pacemaker" type="Dummy">
              <utilization id="t-u"><nvpair id="t-c" name="cpu" value="2"/></utilization>
              <operations><op id="t-m" name="monitor" interval="10s" timeout="20s" on-fail="standby"/></operations>
            </template>
            <group id="g"><primitive id="g1" template="t"/><primitive id="g2" template="t"/></group>
            <clone id="c"><meta_attributes id="c-m"><nvpair id="c-p" name="promotable" value="true"/>
              <nvpair id="c-n" name="notify" value="true"/><nvpair id="c-i" name="interleave" value="true"/>
              <nvpair id="c-u" name="globally-unique" value="false"/><nvpair id="c-x" name="clone-max" value="3"/>
              </meta_attributes>
              <group id="cg"><primitive id="c1" class="ocf" provider="pacemaker" type="Stateful">
                <operations><op id="c1-m" name="monitor" interval="9s" role="Promoted" on-fail="demote"/>
                  <op id="c1-n" name="monitor" interval="8s" role="Stopped"/></operations></primitive>
                <primitive id="c2" template="t"/></group></clone>
            <primitive id="vm" class="ocf" provider="heartbeat" type="VirtualDomain">
              <meta_attributes id="vm-m"><nvpair id="vm-r" name="remote-node" value="guest"/>
                <nvpair id="vm-a" name="allow-migrate" value="true"/>
                <nvpair id="vm-f" name="failure-timeout" value="60s"/>
                <nvpair id="vm-s" name="resource-stickiness" value="100"/></meta_attributes></primitive>
            <primitive id="far" class="ocf" provider="pacemaker" type="remote"/>
            <bundle id="b"><podman image="i" replicas="2" promoted-max="1"/>
              <network ip-range-start="10.0.0.1" control-port="3121"/>
              <primitive id="in" class="ocf" provider="pacemaker" type="Stateful"/></bundle>
            <primitive id="inside" class="ocf" provider="pacemaker" type="Dummy"><meta_attributes id="i-m">
              <nvpair id="i-c" name="container" value="vm"/></meta_attributes></primitive>"#,
        constraints: r#"
            <rsc_location id="l1" rsc="g" node="a" score="50"/>
            <rsc_location id="l2" rsc="c"><rule id="l2-r" role="Promoted" score="10">
              <expression id="l2-e" attribute="standby" operation="ne" value="on"/></rule></rsc_location>
            <rsc_colocation id="k1" rsc="g" with-rsc="c" with-rsc-role="Promoted" score="INFINITY"/>
            <rsc_colocation id="k2" rsc="vm" with-rsc="g1" score="-200"/>
            <rsc_colocation id="k3" score="7"><resource_set id="s1"><resource_ref id="g1"/><resource_ref id="vm"/>
              </resource_set><resource_set id="s2" role="Promoted"><resource_ref id="b"/></resource_set></rsc_colocation>
            <rsc_order id="d1" first="c" first-action="promote" then="g" then-action="start"/>
            <rsc_order id="d2" kind="Optional"><resource_set id="s3" require-all="false" sequential="false">
              <resource_ref id="vm"/><resource_ref id="b"/></resource_set><resource_set id="s4"><resource_ref id="far"/>
              </resource_set></rsc_order>
            <rsc_ticket id="k" rsc="c" rsc-role="Promoted" ticket="T" loss-policy="demote"/>"#,
        histories: vec![
            (
                "a",
                "g1 ocf:pacemaker:Dummy start 0
                 g1 ocf:pacemaker:Dummy monitor=10000 1
                 c1 ocf:pacemaker:Stateful promote 0
                 c2 ocf:pacemaker:Dummy start 0
                 vm ocf:heartbeat:VirtualDomain start 0
                 guest ocf:pacemaker:remote start 0
                 gone ocf:pacemaker:Dummy start 0
                 b-podman-0 ocf:heartbeat:podman start 0
                 b-0 ocf:pacemaker:remote start 0",
            ),
            (
                "b",
                "c1 ocf:pacemaker:Stateful start 0\n c2 ocf:pacemaker:Dummy stop 1\n far ocf:pacemaker:remote start 0",
            ),
            ("guest", "inside ocf:pacemaker:Dummy start 0"),
            ("b-0", "in ocf:pacemaker:Stateful promote 0"),
        ],
        attributes: vec![("a", "master-c1", "5"), ("a", "fail-count-g1#monitor_10000", "2"), ("b", "#health-x", "red")],
        ..Cluster::default()
    };
    cluster.xml()
}

/// Where the values of attributes stand in a text.
fn values(text: &str) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find('=').map(|at| from + at) {
        let Some(quote) = text[at + 1..].chars().next().filter(|quote| matches!(quote, '"' | '\'')) else {
            from = at + 1;
            continue;
        };
        let begin = at + 2;
        let Some(length) = text[begin..].find(quote) else { break };
        found.push(begin..begin + length);
        from = begin + length + 1;
    }
    found
}

/// Elements without content, from `<` to behind `/>`.
fn leaves(text: &str) -> Vec<std::ops::Range<usize>> {
    let ends = text.match_indices("/>").map(|(at, _)| at + 2);
    ends.filter_map(|end| text[..end].rfind('<').map(|begin| begin..end)).collect()
}

#[derive(Clone, Debug)]
enum Mangling {
    /// A value in place of another.
    Copy(usize, usize),
    /// An odd value.
    Odd(usize, usize),
    /// An element again.
    Twice(usize),
    /// An element less.
    Without(usize),
}

const ODD: &[&str] = &[
    "",
    "-1",
    "0",
    "1",
    "2",
    "-INFINITY",
    "INFINITY",
    "99999999999999999999",
    "-2147483648",
    "2147483647",
    "true",
    "false",
    "Stopped",
    "Promoted",
    "Unpromoted",
    "Started",
    "a",
    "b",
    "r",
    "start",
    "stop",
    "promote",
    "demote",
    "migrate_to",
    "migrate_from",
    "monitor",
    "notify",
    "7",
    "8",
    "9",
    "193",
    "P1Y",
    "1s",
    "fence",
    "block",
    "ignore",
    "restart-container",
    "#uname",
    "#default",
    "c1:0",
    "c:0",
    "ü",
    "%1",
    "container",
    "remote-node",
    "host",
    "stop_unexpected",
    "minimal",
];

fn mangled(mut text: String, manglings: &[Mangling]) -> String {
    for mangling in manglings {
        let of = |ranges: Vec<std::ops::Range<usize>>, at: usize| ranges[at % ranges.len()].clone();
        match *mangling {
            Mangling::Copy(to, from) => {
                let value = text[of(values(&text), from)].to_owned();
                text.replace_range(of(values(&text), to), &value);
            }
            Mangling::Odd(to, which) => text.replace_range(of(values(&text), to), ODD[which % ODD.len()]),
            Mangling::Twice(at) => {
                let leaf = of(leaves(&text), at);
                let again = text[leaf.clone()].to_owned();
                text.insert_str(leaf.end, &again);
            }
            Mangling::Without(at) => text.replace_range(of(leaves(&text), at), ""),
        }
    }
    text
}

/// What nodes are worth to resources without that its shares say so.
fn unexplained(plan: &Plan) -> Vec<String> {
    let mut found = Vec::new();
    let sums = plan.placements.sums();
    for (id, resource) in plan.model.resources() {
        for (node, entry) in resource.allowed.iter() {
            let sum = sums.get(&(id, node)).copied().unwrap_or_default();
            if sum != entry.score {
                let (name, shares) = (&plan.model.node(node).name, plan.placements.shares(id, node));
                found.push(format!("{} on {name}: {sum} of {}: {shares:?}", resource.id, entry.score));
            }
        }
    }
    found
}

#[test]
fn what_a_node_is_worth_is_the_sum_of_its_shares() {
    let cib = Document::parse(&rich()).expect("the cluster is well-formed XML");
    let plan = plan(&cib, UnixTime::from_seconds(NOW));
    assert!(plan.model.resources().any(|(_, resource)| !resource.allowed.is_empty()));
    assert_eq!(unexplained(&plan), Vec::<String>::new());
}

/// A group that may run nowhere wants to be with the promoted instance, whose agent wants nothing more than to be promoted: the wish is not
/// outweighed, but taken back to the least that is not a ban.
#[test]
fn the_shares_add_up_where_a_colocation_takes_infinity_back() {
    let cluster = Cluster {
        resources: r#"
            <clone id="c"><meta_attributes id="c-m"><nvpair id="c-p" name="promotable" value="true"/></meta_attributes>
              <primitive id="c1" class="ocf" provider="pacemaker" type="Stateful"/></clone>
            <group id="g"><primitive id="g1" class="ocf" provider="pacemaker" type="Dummy"/></group>"#,
        constraints: r#"
            <rsc_location id="l-a" rsc="g1" node="a" score="-INFINITY"/>
            <rsc_colocation id="k1" rsc="g" with-rsc="c" with-rsc-role="Promoted" score="INFINITY"/>"#,
        histories: vec![("a", "c1 ocf:pacemaker:Stateful promote 0"), ("b", "c1 ocf:pacemaker:Stateful start 0")],
        attributes: vec![("a", "master-c1", "INFINITY"), ("b", "master-c1", "5")],
        ..Cluster::default()
    };
    assert_eq!(unexplained(&cluster.plan()), Vec::<String>::new());
}

fn mangling() -> impl Strategy<Value = Mangling> {
    prop_oneof![
        (any::<usize>(), any::<usize>()).prop_map(|(to, from)| Mangling::Copy(to, from)),
        (any::<usize>(), any::<usize>()).prop_map(|(to, which)| Mangling::Odd(to, which)),
        any::<usize>().prop_map(Mangling::Twice),
        any::<usize>().prop_map(Mangling::Without),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(300), max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_mangled_cluster_has_a_plan_and_always_the_same(manglings in prop::collection::vec(mangling(), 1..12)) {
        let text = mangled(rich(), &manglings);
        if let Ok(cib) = Document::parse(&text) {
            let now = UnixTime::from_seconds(NOW);
            let plan = plan(&cib, now);
            prop_assert_eq!(unexplained(&plan), Vec::<String>::new());
            prop_assert_eq!(plan.transition, hakudo_scheduler::plan(&cib, now).transition);
        }
    }
}
