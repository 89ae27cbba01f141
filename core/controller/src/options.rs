//! The cluster options that the controller itself obeys; all others are the scheduler's.

use hakudo_cib::{Document, Element, values};
use std::time::Duration;

/// Options of `<crm_config>` with their defaults (Pacemaker Explained: "Cluster Options").
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// `start-failure-is-fatal`.
    pub(crate) start_failure_is_fatal: bool,
    /// `cluster-recheck-interval`; none where it is 0.
    pub(crate) recheck_interval: Option<Duration>,
    /// `dc-deadtime`: how long a starting cluster waits for nodes that it has not seen.
    pub(crate) dc_deadtime: Duration,
    /// `no-quorum-policy`, as far as nodes that come to a side without quorum are concerned.
    pub(crate) without_quorum: WithoutQuorum,
    /// `fencing-reaction`: a node that hears of its own fencing resets its machine (`panic`) instead of stopping (`stop`).
    pub(crate) panics: bool,
    /// `node-action-limit`: so many actions are on their way to a node at once; none where the executor's own limit is enough
    /// (twice its cores, which 0 stands for).
    pub(crate) node_action_limit: Option<usize>,
    /// `fencing-enabled`.
    pub(crate) fencing: bool,
}

impl Options {
    pub(crate) fn read(cib: &Document) -> Self {
        let text = |name: &str, older: &str| option(cib, name).or_else(|| option(cib, older));
        let duration = |name: &str, default: u64| {
            Duration::from_millis(text(name, "").and_then(values::milliseconds).unwrap_or(default))
        };
        let flag = |name: &str, older: &str| text(name, older).and_then(values::boolean).unwrap_or(true);
        let recheck = duration("cluster-recheck-interval", 15 * 60_000);
        Self {
            start_failure_is_fatal: flag("start-failure-is-fatal", ""),
            recheck_interval: (!recheck.is_zero()).then_some(recheck),
            dc_deadtime: duration("dc-deadtime", 20_000),
            without_quorum: text("no-quorum-policy", "").map_or(WithoutQuorum::Stops, WithoutQuorum::read),
            panics: text("fencing-reaction", "fence-reaction").is_some_and(|word| word.eq_ignore_ascii_case("panic")),
            node_action_limit: text("node-action-limit", "")
                .and_then(|text| text.parse().ok())
                .filter(|limit| *limit > 0),
            fencing: flag("fencing-enabled", "stonith-enabled"),
        }
    }
}

/// What a side without quorum does with its services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WithoutQuorum {
    /// Nothing begins (`stop`, `fence`).
    Stops,
    /// Some go on where they are (`freeze`, `demote`).
    GoesOn,
    /// The same as with quorum (`ignore`): each side fences all others and then takes over.
    TakesOver,
}

impl WithoutQuorum {
    fn read(policy: &str) -> Self {
        match policy.to_ascii_lowercase().as_str() {
            "freeze" | "demote" => Self::GoesOn,
            "ignore" => Self::TakesOver,
            _ => Self::Stops,
        }
    }
}

/// The value of a cluster option: of the set `cib-bootstrap-options` first, then of the others in order.
fn option<'a>(cib: &'a Document, name: &str) -> Option<&'a str> {
    let sets = cib.section(&["configuration", "crm_config"])?;
    let in_set = |set: &'a Element| {
        set.children_named("nvpair")
            .find(|pair| pair.attribute("name") == Some(name))
            .and_then(|p| p.attribute("value"))
    };
    let first = sets.children_named("cluster_property_set").find(|set| set.id() == "cib-bootstrap-options");
    first.and_then(in_set).or_else(|| sets.children_named("cluster_property_set").find_map(in_set))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bootstrap_options_come_first() {
        let cib = Document::parse(
            "<cib><configuration><crm_config>
               <cluster_property_set id='a'><nvpair id='1' name='dc-deadtime' value='5s'/></cluster_property_set>
               <cluster_property_set id='cib-bootstrap-options'>
                 <nvpair id='2' name='dc-deadtime' value='7s'/>
                 <nvpair id='3' name='cluster-recheck-interval' value='0'/>
                 <nvpair id='5' name='node-action-limit' value='3'/>
                 <nvpair id='4' name='stonith-enabled' value='off'/>
                 <nvpair id='6' name='no-quorum-policy' value='Ignore'/>
               </cluster_property_set>
             </crm_config></configuration></cib>",
        )
        .unwrap();
        let options = Options::read(&cib);
        assert_eq!(options.dc_deadtime, Duration::from_secs(7));
        assert_eq!(options.recheck_interval, None);
        assert_eq!(options.node_action_limit, Some(3));
        assert!(!options.fencing && options.start_failure_is_fatal);
        assert_eq!(options.without_quorum, WithoutQuorum::TakesOver);
    }
}
