//! From the schemas of older versions to today's, `pacemaker-4.0`.
//!
//! What changed between schemas changed at three of them only, so an upgrade has at most three passes, a file each:
//!
//! ```text
//!   pacemaker-1.x ──acls──▶ 2.x ──options──▶ 3.x ──constructs──▶ 4.0
//! ```
//!
//! A pass leaves alone what it does not know; nothing in the status section is touched. A document of today's schema comes
//! back as it is. The facts are those of the stylesheets that Pacemaker 3.0.2 applies, so that the scheduler sees what
//! Pacemaker's sees. Spelling that today's schema still accepts (`stonith-enabled`, `master-max`, `Master`) is kept, unless
//! [`modernise`] is asked for.

mod acls;
mod constructs;
mod modernise;
mod options;

use crate::document::{Document, Element, Node};
use hakudo_base::Severity;
use std::collections::BTreeSet;
use std::sync::Arc;
use thiserror::Error;

pub use modernise::modernise;

/// The schema that everything is upgraded to.
pub const LATEST_SCHEMA: &str = "pacemaker-4.0";

/// Something that an upgrade did and that people may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// [`Severity::Info`] where the meaning stayed, [`Severity::Warning`] where something was lost.
    pub severity: Severity,
    /// The `id` of the element that it is about.
    pub id: String,
    /// What was done and why.
    pub message: String,
    /// The lines with which Pacemaker's commands announce it, in their words; none where they do not say anything.
    pub announced: Vec<String>,
}

/// An upgraded document.
#[derive(Clone, Debug)]
pub struct Upgraded {
    /// The document, with `validate-with="pacemaker-4.0"`.
    pub document: Document,
    /// What was done, in order; empty where nothing had to be.
    pub notes: Vec<Note>,
}

/// Why a document cannot be upgraded.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the schema '{schema}' is not known: validate-with must be pacemaker-1.0 to {LATEST_SCHEMA}, or none")]
pub struct UpgradeError {
    schema: String,
}

/// Upgrades a document to [`LATEST_SCHEMA`]. A document that claims no schema, or `none`, is taken for one of today's.
///
/// # Errors
/// Where `validate-with` names a schema that is not known, for instance a newer one.
pub fn upgrade(document: &Document) -> Result<Upgraded, UpgradeError> {
    let schema = document.root().attribute("validate-with").unwrap_or_default();
    let major = major_version(schema)?;
    let mut document = document.clone();
    if document.root().attribute("validate-with") != Some(LATEST_SCHEMA) {
        document.root_mut().set("validate-with", LATEST_SCHEMA);
    }
    let mut work = Work::new(document.clone());
    if schema == "none" {
        work.note(
            Severity::Warning,
            "",
            "validate-with is none: nothing says which form the configuration has; today's is taken",
        );
        work.announce(
            "Schema validation of configuration is disabled (support for validate-with set to \"none\" is deprecated and will \
             be removed in a future release)"
                .to_owned(),
        );
    }
    if major < 4
        && let Some(configuration) = document.root_mut().child_mut("configuration")
    {
        if major < 2 {
            acls::upgrade(configuration, &mut work);
        }
        if major < 3 {
            options::upgrade(configuration, &mut work);
        }
        constructs::upgrade(configuration, &mut work);
    }
    Ok(Upgraded { document, notes: work.notes })
}

fn major_version(schema: &str) -> Result<u32, UpgradeError> {
    let unknown = || UpgradeError { schema: schema.to_owned() };
    if schema.is_empty() || schema == "none" {
        return Ok(4);
    }
    let (major, minor) = schema.strip_prefix("pacemaker-").and_then(|v| v.split_once('.')).ok_or_else(unknown)?;
    let (major, minor): (u32, u32) = major.parse().ok().zip(minor.parse().ok()).ok_or_else(unknown)?;
    match (major, minor) {
        (1..=3, _) | (4, 0) => Ok(major),
        _ => Err(unknown()),
    }
}

/// What all passes share: the notes, and which ids are taken.
struct Work {
    notes: Vec<Note>,
    original: Document,
    /// Every id of the original and those made since, once one has to be made: hardly any upgrade makes one.
    taken: Option<BTreeSet<String>>,
    /// An attribute was changed or added that a path of somebody may speak of.
    attributes_changed: bool,
}

impl Work {
    fn new(original: Document) -> Self {
        Self { notes: Vec::new(), original, taken: None, attributes_changed: false }
    }

    /// Something changed its form but not its meaning.
    fn changed(&mut self, id: &str, message: impl Into<String>) {
        self.note(Severity::Info, id, message);
    }

    /// Something went away.
    fn lost(&mut self, id: &str, message: impl Into<String>) {
        self.note(Severity::Warning, id, message);
    }

    fn note(&mut self, severity: Severity, id: &str, message: impl Into<String>) {
        self.notes.push(Note { severity, id: id.to_owned(), message: message.into(), announced: Vec::new() });
    }

    /// How Pacemaker's commands announce what was noted last.
    fn announce(&mut self, line: String) {
        if let Some(note) = self.notes.last_mut() {
            note.announced.push(line);
        }
    }

    /// The same in several lines.
    fn announce_all(&mut self, lines: Vec<String>) {
        lines.into_iter().for_each(|line| self.announce(line));
    }

    /// An id that nothing else has, made of this one.
    fn fresh_id(&mut self, wanted: &str) -> String {
        let original = &self.original;
        let taken = self.taken.get_or_insert_with(|| original.ids().into_keys().map(str::to_owned).collect());
        let wanted = format!("upgraded-{wanted}");
        let mut id = wanted.clone();
        for number in 2u64.. {
            if taken.insert(id.clone()) {
                break;
            }
            id = format!("{wanted}-{number}");
        }
        id
    }

    /// Gives new ids to the element and all that is in it, for a copy.
    fn with_fresh_ids(&mut self, element: &Element) -> Element {
        let mut copy = element.clone();
        self.renew_ids(&mut copy);
        copy
    }

    fn renew_ids(&mut self, element: &mut Element) {
        if element.attribute("id").is_some() {
            let id = self.fresh_id(element.id());
            element.set("id", &id);
        }
        for child in element.children_mut() {
            self.renew_ids(child);
        }
    }
}

/// Calls `change` on the element and all below it, parents first.
fn for_all(element: &mut Element, change: &mut dyn FnMut(&mut Element)) {
    change(element);
    for child in element.children_mut() {
        for_all(child, change);
    }
}

/// Takes an attribute away, and gives what it was.
fn take(element: &mut Element, attribute: &str) -> Option<String> {
    let value = element.attribute(attribute)?.to_owned();
    element.unset(attribute);
    Some(value)
}

/// Takes away the elements inside that fit, in order.
fn extract(element: &mut Element, fits: impl Fn(&Element) -> bool) -> Vec<Arc<Element>> {
    let mut taken = Vec::new();
    element.nodes_mut().retain(|node| match node {
        Node::Element(child) if fits(child) => {
            taken.push(Arc::clone(child));
            false
        }
        _ => true,
    });
    taken
}

/// A name/value pair.
fn nvpair(id: &str, name: &str, value: &str) -> Element {
    Element::new("nvpair").with("id", id).with("name", name).with("value", value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    /// Upgrades a configuration; shows it, and the notes behind it.
    fn check(schema: &str, configuration: &str, expected: Expect) {
        let text = format!("<cib validate-with='{schema}'><configuration>{configuration}</configuration></cib>");
        let upgraded = upgrade(&Document::parse(&text).unwrap()).unwrap();
        assert_eq!(upgraded.document.root().attribute("validate-with"), Some(LATEST_SCHEMA));
        let again = upgrade(&upgraded.document).unwrap();
        assert_eq!((again.document, again.notes.len()), (upgraded.document.clone(), 0));
        let mut shown: String =
            upgraded.document.section(&["configuration"]).unwrap().children().map(Element::to_xml).collect();
        for note in upgraded.notes {
            shown += &format!("{:?} {}: {}\n", note.severity, note.id, note.message);
            note.announced.iter().for_each(|line| shown += &format!("  {line}\n"));
        }
        expected.assert_eq(&shown);
    }

    #[test]
    fn schemas() {
        let major = |schema| major_version(schema).map_err(|error| error.to_string());
        assert_eq!(major("pacemaker-1.0"), Ok(1));
        assert_eq!(major("pacemaker-3.10"), Ok(3));
        assert_eq!(major("none"), Ok(4));
        expect![
            "the schema 'pacemaker-5.0' is not known: validate-with must be pacemaker-1.0 to pacemaker-4.0, or none"
        ]
        .assert_eq(&major("pacemaker-5.0").unwrap_err());
        assert!(major("transitional-0.6").is_err());
    }

    #[test]
    fn access_lists() {
        check(
            "pacemaker-1.2",
            "<acls>
               <acl_role id='monitor'><read id='m1' xpath='/cib'/><deny id='m2' xpath='//nvpair' attribute='value'/></acl_role>
               <acl_user id='alice'><role_ref id='monitor'/></acl_user>
               <acl_user id='bob'><write id='b1' tag='node' attribute='standby'/><read id='b2' ref='m1'/></acl_user>
               <acl_user id='carol'/>
             </acls>",
            expect![[r#"
                <acls>
                  <acl_role id="monitor">
                    <acl_permission id="m1" xpath="/cib" kind="read"/>
                    <acl_permission id="m2" xpath="//nvpair[@value]" kind="deny"/>
                  </acl_role>
                  <acl_target id="alice">
                    <role id="monitor"/>
                  </acl_target>
                  <acl_target id="bob">
                    <role id="auto-bob"/>
                  </acl_target>
                  <acl_role id="auto-bob">
                    <acl_permission id="b1" attribute="standby" object-type="node" kind="write"/>
                    <acl_permission id="b2" reference="m1" kind="read"/>
                  </acl_role>
                  <acl_target id="carol"/>
                </acls>
                Info bob: the permissions of a user are those of a role now: auto-bob
            "#]],
        );
    }

    #[test]
    fn options_of_2() {
        check(
            "pacemaker-2.10",
            "<crm_config><cluster_property_set id='cib-bootstrap-options'>
               <nvpair id='1' name='stonith_enabled' value='true'/><nvpair id='2' name='default-action-timeout' value='20s'/>
               <nvpair id='3' name='expected-quorum-votes' value='2'/><nvpair id='4' name='is_managed_default' value='false'/>
               <nvpair id='5' name='cluster-infrastructure' value='cman'/><nvpair id='6' name='cluster-infrastructure' value='corosync'/>
               <nvpair id='7' name='default-resource-stickiness' value='100'/>
               <nvpair id='8' name='default-resource-failure-stickiness' value='-INFINITY'/>
             </cluster_property_set></crm_config>
             <nodes><node id='n1' uname='a' type='normal'/></nodes>
             <resources><primitive id='p' class='stonith' type='fence_x'>
               <instance_attributes id='pi'><nvpair id='pi1' name='pcmk_off_cmd' value='off'/><nvpair id='pi2' name='pcmk_arg_map' value='port:plug'/></instance_attributes>
               <meta_attributes id='pm'><nvpair id='pm1' name='isolation-host' value='h'/></meta_attributes>
               <operations><op id='s' name='start' interval='0' requires='nothing'/><op id='m' name='monitor' interval='10' requires='quorum'>
                 <instance_attributes id='mi'><nvpair id='mi1' name='timeout' value='30s'/><nvpair id='mi2' name='depth' value='10'/></instance_attributes></op></operations>
             </primitive></resources>
             <constraints><rsc_colocation id='c' rsc='p' with-rsc='p' score-attribute='x' score='1'/></constraints>
             <rsc_defaults><meta_attributes id='rd'><nvpair id='rd1' name='resource-stickiness' value='1'/></meta_attributes></rsc_defaults>",
            expect![[r#"
                <crm_config>
                  <cluster_property_set id="cib-bootstrap-options">
                    <nvpair id="1" name="stonith-enabled" value="true"/>
                    <nvpair id="6" name="cluster-infrastructure" value="corosync"/>
                  </cluster_property_set>
                </crm_config>
                <nodes>
                  <node id="n1" uname="a" type="member"/>
                </nodes>
                <resources>
                  <primitive id="p" class="stonith" type="fence_x">
                    <instance_attributes id="pi">
                      <nvpair id="pi1" name="pcmk_off_action" value="off"/>
                      <nvpair id="pi2" name="pcmk_host_argument" value="plug"/>
                    </instance_attributes>
                    <meta_attributes id="pm">
                      <nvpair id="pm1" name="target-role" value="Stopped"/>
                      <nvpair id="upgraded-s-requires" name="requires" value="nothing"/>
                    </meta_attributes>
                    <operations>
                      <op id="s" name="start" interval="0"/>
                      <op id="m" name="monitor" interval="10">
                        <instance_attributes id="mi">
                          <nvpair id="mi2" name="depth" value="10"/>
                        </instance_attributes>
                        <meta_attributes id="upgraded-m-meta_attributes">
                          <nvpair id="mi1" name="timeout" value="30s"/>
                        </meta_attributes>
                      </op>
                    </operations>
                  </primitive>
                </resources>
                <constraints>
                  <rsc_colocation id="c" rsc="p" with-rsc="p" score="1"/>
                </constraints>
                <rsc_defaults>
                  <meta_attributes id="rd">
                    <nvpair id="rd1" name="resource-stickiness" value="1"/>
                    <nvpair id="4" name="is-managed" value="false"/>
                    <nvpair id="8" name="migration-threshold" value="1"/>
                  </meta_attributes>
                </rsc_defaults>
                <op_defaults>
                  <meta_attributes id="upgraded-op_defaults-meta_attributes">
                    <nvpair id="2" name="timeout" value="20s"/>
                  </meta_attributes>
                </op_defaults>
                Info 1: the property stonith_enabled is called stonith-enabled now
                  DEBUG: Cluster properties: 1: renaming stonith_enabled as stonith-enabled
                Warning 3: expected-quorum-votes is gone: the membership layer counts the votes
                  INFO: Cluster properties: 3: dropping expected-quorum-votes
                  INFO: Cluster properties: ... corosync (2+) infrastructure tracks quorum on its own
                Warning 5: cluster-infrastructure 'cman' is gone: no such infrastructure is supported any more
                  INFO: Cluster properties: 5: dropping cluster-infrastructure for matching heartbeat|openais|classic openais|classic openais (with plugin)|cman
                  INFO: Cluster properties: ... corosync (2+) infrastructure can be used instead, though the value is not of significance
                Info 2: the property default-action-timeout is timeout in op_defaults now
                  DEBUG: Cluster properties: 2: moving default-action-timeout under op_defaults as timeout unless already defined there
                Info 4: the property is_managed_default is is-managed in rsc_defaults now
                  DEBUG: Cluster properties: 4: moving is_managed_default under rsc_defaults as is-managed unless already defined there
                Warning 7: default-resource-stickiness is gone: resource-stickiness is set in rsc_defaults already
                  DEBUG: Cluster properties: 7: moving default-resource-stickiness under rsc_defaults as resource-stickiness unless already defined there
                Info 8: the property default-resource-failure-stickiness is migration-threshold in rsc_defaults now
                  DEBUG: Cluster properties: 8: moving default-resource-failure-stickiness under rsc_defaults as migration-threshold unless already defined there, redefined as 1, for matching -INFINITY
                Info n1: the node type normal is called member now
                  DEBUG: Cluster node: a (id=n1): keeping type as type, redefined as member, for matching normal
                Info pi1: pcmk_off_cmd is called pcmk_off_action now
                  DEBUG: Resource instance_attributes: pi1: renaming pcmk_off_cmd as pcmk_off_action
                Info pi2: pcmk_arg_map is pcmk_host_argument now
                  DEBUG: Resource instance_attributes: pi2: renaming pcmk_arg_map as pcmk_host_argument for matching port: prefix that will, meanwhile, get dropped
                Warning pm1: isolation-host is gone: bundles do this now; the resource is stopped by target-role
                  WARNING: Resource meta_attributes: p (meta=pm): renaming isolation-host as target-role, redefined as Stopped
                  WARNING: Resource meta_attributes: ... i.e. resource at hand disabled; isolation wrappers obsoleted with bundle resources
                Info s: requires of the operation start is the resource's own now
                  DEBUG: Resources-operation: s (rsc=p): moving requires under meta_attributes as requires unless already defined there for matching start|promote
                Info mi1: timeout is a meta attribute of the operation now
                  DEBUG: Resources-operation instance_attributes: m (rsc=p, meta=mi): moving timeout under meta_attributes as timeout unless already defined there
                Warning m: requires of the operation monitor is gone: only that of start and promote counted
                  INFO: Resources-operation: m (rsc=p): dropping requires
                  INFO: Resources-operation: ... only start/promote operation taken into account
                Warning c: score-attribute of a colocation is gone: it never had an effect
                  INFO: Constraints-colocation: c: dropping score-attribute
                  INFO: Constraints-colocation: ... was actually never in effect
            "#]],
        );
    }

    #[test]
    fn constructs_of_3() {
        check(
            "pacemaker-3.5",
            "<crm_config><cluster_property_set id='o'><nvpair id='o1' name='stonith-action' value='poweroff'/>
               <nvpair id='o2' name='crmd-transition-delay' value='1s'/><nvpair id='o3' name='remove-after-stop' value='true'/></cluster_property_set></crm_config>
             <nodes><node id='1' uname='gate' type='ping'/></nodes>
             <resources>
               <master id='ms'><meta_attributes id='ms-m'><nvpair id='ms1' name='master-max' value='1'/></meta_attributes><primitive id='p' class='ocf' provider='h' type='S'/></master>
               <bundle id='rkt'><rkt image='i'/></bundle>
               <bundle id='b'><docker image='i' masters='2'/></bundle>
               <group id='g'><primitive id='u' class='upstart' type='x'><meta_attributes id='shared'><nvpair id='sh' name='priority' value='5'/></meta_attributes></primitive></group>
               <primitive id='q' class='ocf' provider='h' type='S'><meta_attributes id-ref='shared'/><operations><op id='qo' name='monitor' interval='5'>
                 <meta_attributes id='qom'><nvpair id='qom1' name='can_fail' value='1'/><nvpair id-ref='ms1' name='other'/></meta_attributes></op></operations></primitive>
             </resources>
             <constraints>
               <rsc_location id='two' rsc='q'><rule id='r1' score='1'><expression id='e1' attribute='a' operation='defined'/></rule><rule id='r2' score='2'><expression id='e2' attribute='b' operation='defined'/></rule></rsc_location>
               <rsc_location id='life' rsc='q' node='n' score='5'><lifetime><rule id='r3'><date_expression id='d3' operation='gt' start='2020-01-01'/></rule></lifetime></rsc_location>
               <rsc_order id='ord' first='g' then='q'/>
               <rsc_colocation id='col' rsc='q' with-rsc='ms'><lifetime><rule id='r4'><date_expression id='d4' operation='date_spec'><date_spec id='ds' moon='1' hours='1'/></date_expression></rule></lifetime></rsc_colocation>
               <rsc_order id='set'><resource_set id='s1'><resource_ref id='u'/><resource_ref id='q'/></resource_set></rsc_order>
             </constraints>
             <fencing-topology><fencing-level id='f' index='10' target='n' devices='x'/></fencing-topology>
             <acls><acl_role id='role'><acl_permission id='a1' kind='read' reference='two'/><acl_permission id='a2' kind='read' reference='u'/></acl_role></acls>
             <tags><tag id='t'><obj_ref id='u'/><obj_ref id='q'/></tag></tags>",
            expect![[r##"
                <crm_config>
                  <cluster_property_set id="o">
                    <nvpair id="o1" name="stonith-action" value="off"/>
                    <nvpair id="o2" name="transition-delay" value="1s"/>
                  </cluster_property_set>
                </crm_config>
                <nodes>
                  <node id="1" uname="gate" type="member"/>
                </nodes>
                <resources>
                  <clone id="ms">
                    <meta_attributes id="upgraded-promotable-ms" score="INFINITY">
                      <nvpair id="upgraded-promotable-ms-pair" name="promotable" value="true"/>
                    </meta_attributes>
                    <meta_attributes id="ms-m">
                      <nvpair id="ms1" name="master-max" value="1"/>
                    </meta_attributes>
                    <primitive id="p" class="ocf" provider="h" type="S"/>
                  </clone>
                  <bundle id="b">
                    <docker image="i" promoted-max="2"/>
                  </bundle>
                  <primitive id="q" class="ocf" provider="h" type="S">
                    <meta_attributes id="shared">
                      <nvpair id="sh" name="priority" value="5"/>
                    </meta_attributes>
                    <operations>
                      <op id="qo" name="monitor" interval="5">
                        <meta_attributes id="qom">
                          <nvpair id="upgraded-ms1-other" name="other" value="1"/>
                        </meta_attributes>
                      </op>
                    </operations>
                  </primitive>
                </resources>
                <constraints>
                  <rsc_location id="upgraded-two-1" rsc="q">
                    <rule id="r1" score="1">
                      <expression id="e1" attribute="a" operation="defined"/>
                    </rule>
                  </rsc_location>
                  <rsc_location id="upgraded-two-2" rsc="q">
                    <rule id="r2" score="2">
                      <expression id="e2" attribute="b" operation="defined"/>
                    </rule>
                  </rsc_location>
                  <rsc_location id="life" rsc="q">
                    <rule id="upgraded-life-lifetime-and-rule" boolean-op="and">
                      <rule id="upgraded-life-node-score-rule" score="5">
                        <expression id="upgraded-life-node-score-expression" attribute="#uname" operation="eq" value="n"/>
                      </rule>
                      <rule id="r3">
                        <date_expression id="d3" operation="gt" start="2020-01-01"/>
                      </rule>
                    </rule>
                  </rsc_location>
                  <rsc_colocation id="col" rsc="q" with-rsc="ms"/>
                  <rsc_order id="set">
                    <resource_set id="s1">
                      <resource_ref id="q"/>
                    </resource_set>
                  </rsc_order>
                  <rsc_location id="upgraded-ping-node-ban-gate" rsc-pattern=".*" node="gate" score="-INFINITY" resource-discovery="never"/>
                </constraints>
                <fencing-topology/>
                <acls>
                  <acl_role id="role">
                    <acl_permission id="a1" kind="read" xpath="//*[@id='upgraded-two-1' or @id='upgraded-two-2']"/>
                    <acl_permission id="a2" kind="read" xpath="/*[false()]"/>
                  </acl_role>
                </acls>
                <tags>
                  <tag id="t">
                    <obj_ref id="q"/>
                  </tag>
                </tags>
                Info o1: the value poweroff of stonith-action is called off now
                Info o2: the property crmd-transition-delay is called transition-delay now
                Warning o3: remove-after-stop is gone: it is not supported any more
                  WARNING: Dropping nvpair o3 because the remove-after-stop property is unsupported
                Info qom: the reference to ms1 under the name other is a pair now
                Warning ds: the phase of the moon in a date specification is gone
                  WARNING: Dropping moon attribute from date spec ds because moon phase is no longer supported
                Warning f: a fencing level with an index above 9 is gone: it was never used
                Info 1: a ping node is a member now, on which no resource may run
                Info ms: a master resource is a clone with promotable=true now
                Info two: each rule has a constraint of its own now: upgraded-two-1, upgraded-two-2
                Info life: the lifetime of a location constraint is part of its rule now
                Warning col: the lifetime of a colocation or an ordering is gone: the constraint holds always now
                  WARNING: Dropping lifetime element from constraint col because lifetime elements are no longer supported. Any rules contained there will no longer apply to the constraint
                Warning rkt: the resource is gone: rkt containers are not supported any more
                  WARNING: Dropping bundle resource rkt because rkt containers are no longer supported
                Warning g: the resource is gone: it would be empty
                  INFO: Dropping group g because it would become empty
                Warning qom1: can_fail is gone: on-fail can be set instead
                  WARNING: Dropping can_fail meta-attribute from qom because it is no longer supported. Consider setting the "on-fail" operation attribute instead
                Warning ord: the constraint is gone with its resource
                Warning : permissions by xpath may no longer fit the configuration: look at them
                  WARNING: CIB syntax changes may invalidate ACLs that use "xpath". It is strongly recommended to run "cibadmin --upgrade" and then examine the updated CIB carefully to ensure ACLs still match the desired intent.
            "##]],
        );
    }
}
