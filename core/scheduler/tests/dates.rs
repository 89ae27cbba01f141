//! Rules that depend on the time.

mod common;

use common::{Cluster, NOW};
use hakudo_base::{UnixTime, WallTime};
use hakudo_cib::Document;
use hakudo_scheduler::{Change, plan};

/// What is started where, when the clocks on the wall are so many seconds ahead of UTC.
fn started(cluster: &Cluster, utc_offset: i32) -> Vec<String> {
    let cib = Document::parse(&cluster.xml()).expect("the cluster is well-formed XML");
    let plan = plan(&cib, WallTime { time: UnixTime::from_seconds(NOW), utc_offset });
    let place = |change: Change| match change {
        Change::Resource { resource, destination, .. } if resource != "fence" => {
            Some(format!("{resource} on {}", destination.unwrap_or_default()))
        }
        _ => None,
    };
    plan.changes.into_iter().filter_map(place).collect()
}

/// `NOW` is 22:13 in UTC.
#[test]
fn hours_are_those_of_the_clocks_on_the_wall() {
    let cluster = Cluster {
        resources: r#"<primitive id="one" class="ocf" provider="pacemaker" type="Dummy"/>"#,
        constraints: r##"
            <rsc_location id="by-day" rsc="one">
              <rule id="late" score="-INFINITY" boolean-op="and">
                <date_expression id="when" operation="date_spec"><date_spec id="hours" hours="22-23"/></date_expression>
                <expression id="where" attribute="#uname" operation="eq" value="a"/>
              </rule>
            </rsc_location>"##,
        ..Cluster::default()
    };
    assert_eq!(started(&cluster, 0), ["one on b"]);
    assert_eq!(started(&cluster, 2 * 3600), ["one on a"], "it is past midnight there");
    assert_eq!(started(&cluster, -3600), ["one on a"], "it is 21:13 there");
}

/// An operation whose parameters are others from 22:30 on.
fn with_operation(name: &str) -> String {
    format!(
        r#"<primitive id="one" class="ocf" provider="pacemaker" type="Dummy">
             <operations>
               <op id="op" name="{name}" interval="0">
                 <instance_attributes id="own">
                   <rule id="early"><date_expression id="until" operation="lt" end="2023-11-14T22:30:00Z"/></rule>
                   <nvpair id="own-depth" name="depth" value="1"/>
                 </instance_attributes>
               </op>
             </operations>
           </primitive>"#
    )
}

#[test]
fn parameters_of_an_operation_that_change_with_time_are_looked_at_again() {
    let cluster = Cluster { resources: with_operation("start").leak(), ..Cluster::default() };
    assert_eq!(cluster.plan().transition.recheck_by, Some(1_700_001_000));
}

/// The action is thought of, and so are its parameters.
#[test]
fn also_those_of_an_operation_that_need_not_run_now() {
    let cluster = Cluster {
        resources: with_operation("stop").leak(),
        histories: vec![("a", "one ocf:pacemaker:Dummy start 0")],
        ..Cluster::default()
    };
    assert_eq!(cluster.plan().transition.recheck_by, Some(1_700_001_000));
}
