//! The cluster options that the controller itself obeys; all others are the scheduler's, which reads these, too: what both
//! obey must not mean one thing here and another there.

use hakudo_base::WallTime;
use hakudo_cib::{Document, Element, values};
use hakudo_scheduler::cluster_options;
use hakudo_scheduler::model::{ClusterOptions, NoQuorumPolicy};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// What the scheduler's reader makes of a configuration.
type Read = (ClusterOptions, Option<i64>);

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
    /// From when on rules may make other options of the same configuration, in seconds since 1970.
    pub(crate) until: Option<i64>,
}

impl Options {
    /// The options at `now`. Where the scheduler's reader panics, the defaults, which stop and fence: the planner meets the same panic
    /// and says so, and no node may die of a configuration that its fellows have, too.
    pub(crate) fn read(cib: &Document, now: WallTime) -> Self {
        Self::read_with(cluster_options, cib, now)
    }

    fn read_with(reader: fn(&Document, WallTime) -> Read, cib: &Document, now: WallTime) -> Self {
        let read = catch_unwind(AssertUnwindSafe(|| reader(cib, now)));
        let (options, until) = read.unwrap_or_else(|_| cluster_options(&Document::new(Element::new("cib")), now));
        let text = |name: &str, older: &str| {
            let written = options.written.get(name).or_else(|| options.written.get(older));
            written.map(String::as_str)
        };
        let duration = |name: &str, default: u64| {
            Duration::from_millis(text(name, "").and_then(values::milliseconds).unwrap_or(default))
        };
        let recheck = duration("cluster-recheck-interval", 15 * 60_000);
        Self {
            start_failure_is_fatal: options.start_failure_is_fatal,
            recheck_interval: (!recheck.is_zero()).then_some(recheck),
            dc_deadtime: duration("dc-deadtime", 20_000),
            without_quorum: WithoutQuorum::of(options.no_quorum_policy),
            panics: text("fencing-reaction", "fence-reaction").is_some_and(|word| word.eq_ignore_ascii_case("panic")),
            node_action_limit: text("node-action-limit", "")
                .and_then(|text| text.parse().ok())
                .filter(|limit| *limit > 0),
            fencing: options.fencing_enabled,
            until,
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
    fn of(policy: NoQuorumPolicy) -> Self {
        match policy {
            NoQuorumPolicy::Freeze | NoQuorumPolicy::Demote => Self::GoesOn,
            NoQuorumPolicy::Ignore => Self::TakesOver,
            NoQuorumPolicy::Stop | NoQuorumPolicy::Fence => Self::Stops,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sets: &str, now: i64) -> Options {
        let cib = format!("<cib><configuration><crm_config>{sets}</crm_config></configuration></cib>");
        Options::read(&Document::parse(&cib).unwrap(), hakudo_base::UnixTime::from_seconds(now).into())
    }

    #[test]
    fn the_bootstrap_options_come_first() {
        let options = read(
            "<cluster_property_set id='a' score='9'><nvpair id='1' name='dc-deadtime' value='5s'/></cluster_property_set>
             <cluster_property_set id='cib-bootstrap-options'>
               <nvpair id='2' name='dc-deadtime' value='7s'/>
               <nvpair id='3' name='cluster-recheck-interval' value='0'/>
               <nvpair id='5' name='node-action-limit' value='3'/>
               <nvpair id='4' name='stonith-enabled' value='off'/>
               <nvpair id='6' name='no-quorum-policy' value='Ignore'/>
             </cluster_property_set>",
            0,
        );
        assert_eq!(options.dc_deadtime, Duration::from_secs(7));
        assert_eq!(options.recheck_interval, None);
        assert_eq!(options.node_action_limit, Some(3));
        assert!(!options.fencing && options.start_failure_is_fatal);
        assert_eq!(options.without_quorum, WithoutQuorum::TakesOver);
        assert_eq!(options.until, None);
    }

    #[test]
    fn a_reader_that_panics_leaves_the_careful_defaults() {
        let cib = Document::parse("<cib/>").unwrap();
        let options = Options::read_with(|_, _| panic!("on purpose"), &cib, WallTime::default());
        assert_eq!(options, Options::read(&cib, WallTime::default()));
        assert!(options.fencing && options.without_quorum == WithoutQuorum::Stops);
    }

    #[test]
    fn sets_count_by_their_scores_and_may_refer_to_others() {
        let options = read(
            "<cluster_property_set id='a' score='1'><nvpair id='1' name='fencing-enabled' value='false'/>
               <nvpair id='2' name='no-quorum-policy' value='ignore'/></cluster_property_set>
             <cluster_property_set id='b' score='2'><nvpair id='3' name='fencing-enabled' value='true'/>
               <nvpair id-ref='4'/></cluster_property_set>
             <cluster_property_set id='c' score='-5'><nvpair id='4' name='no-quorum-policy' value='freeze'/>
             </cluster_property_set>",
            0,
        );
        assert!(options.fencing);
        assert_eq!(options.without_quorum, WithoutQuorum::GoesOn);
    }

    #[test]
    fn rules_say_when_a_set_counts() {
        let sets = "<cluster_property_set id='a' score='1'>
               <rule id='r'><date_expression id='e' operation='gt' start='1970-01-01 00:01:40Z'/></rule>
               <nvpair id='1' name='fencing-enabled' value='false'/></cluster_property_set>
             <cluster_property_set id='b'><nvpair id='2' name='fencing-enabled' value='true'/></cluster_property_set>";
        let before = read(sets, 99);
        assert!(before.fencing);
        assert!(!read(sets, before.until.unwrap()).fencing);
    }
}
