//! The cluster options that the controller itself obeys; all others are the scheduler's.

use hakudo_cib::{Document, Element};
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
    /// `fencing-enabled`.
    pub(crate) fencing: bool,
}

impl Options {
    pub(crate) fn read(cib: &Document) -> Self {
        let text = |name: &str, older: &str| option(cib, name).or_else(|| option(cib, older));
        let duration =
            |name: &str, default: u64| Duration::from_millis(text(name, "").and_then(milliseconds).unwrap_or(default));
        let flag = |name: &str, older: &str| text(name, older).and_then(boolean).unwrap_or(true);
        let recheck = duration("cluster-recheck-interval", 15 * 60_000);
        Self {
            start_failure_is_fatal: flag("start-failure-is-fatal", ""),
            recheck_interval: (!recheck.is_zero()).then_some(recheck),
            dc_deadtime: duration("dc-deadtime", 20_000),
            fencing: flag("fencing-enabled", "stonith-enabled"),
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

fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "y" | "1" => Some(true),
        "false" | "off" | "no" | "n" | "0" => Some(false),
        _ => None,
    }
}

/// A time as Pacemaker reads it: a number with an optional unit, seconds without one; or `PT…` of ISO 8601 with hours,
/// minutes and seconds.
pub(crate) fn milliseconds(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Some(iso) = text.strip_prefix("PT") {
        return iso_time(iso);
    }
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "us" | "usec" => return number.parse::<u64>().ok().map(|n| n / 1000),
        "ms" | "msec" => 1,
        "" | "s" | "sec" => 1000,
        "m" | "min" => 60_000,
        "h" | "hr" => 3_600_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

fn iso_time(text: &str) -> Option<u64> {
    let (mut sum, mut number) = (0u64, String::new());
    for c in text.chars() {
        let factor = match c {
            '0'..='9' => {
                number.push(c);
                continue;
            }
            'H' => 3_600_000,
            'M' => 60_000,
            'S' => 1000,
            _ => return None,
        };
        sum = sum.checked_add(number.parse::<u64>().ok()?.checked_mul(factor)?)?;
        number.clear();
    }
    number.is_empty().then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_and_without_units() {
        let read: Vec<Option<u64>> =
            ["15", "15min", "1h", "200ms", "PT1M30S", "soon", "15 s"].into_iter().map(milliseconds).collect();
        assert_eq!(read, [Some(15_000), Some(900_000), Some(3_600_000), Some(200), Some(90_000), None, Some(15_000)]);
    }

    #[test]
    fn the_bootstrap_options_come_first() {
        let cib = Document::parse(
            "<cib><configuration><crm_config>
               <cluster_property_set id='a'><nvpair id='1' name='dc-deadtime' value='5s'/></cluster_property_set>
               <cluster_property_set id='cib-bootstrap-options'>
                 <nvpair id='2' name='dc-deadtime' value='7s'/>
                 <nvpair id='3' name='cluster-recheck-interval' value='0'/>
                 <nvpair id='4' name='stonith-enabled' value='off'/>
               </cluster_property_set>
             </crm_config></configuration></cib>",
        )
        .unwrap();
        let options = Options::read(&cib);
        assert_eq!(options.dc_deadtime, Duration::from_secs(7));
        assert_eq!(options.recheck_interval, None);
        assert!(!options.fencing && options.start_failure_is_fatal);
    }
}
