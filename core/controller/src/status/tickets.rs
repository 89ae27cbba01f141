//! Tickets of the group, as its member here said last.
//!
//! They are status and not configuration: what the group agreed to is on the disks of its members, and after a restart it
//! is heard from there again before anything starts by it.

use hakudo_cib::Element;
use hakudo_tickets::check_attribute_name;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A ticket as the group gave it to this cluster, or did not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GroupTicket {
    /// The grant that this speaks of.
    pub(crate) generation: u64,
    /// This cluster may use it.
    pub(crate) granted: bool,
    /// The group granted it, and not all members know yet until when.
    pub(crate) awaited: bool,
    /// How long this site may take to stop what depends on it, in milliseconds.
    pub(crate) stop_time_ms: u64,
    /// See `<ticket_state>`.
    pub(crate) standby: bool,
    /// When it was granted last, in seconds since 1970.
    pub(crate) last_granted: Option<i64>,
    /// Who holds it, by name.
    pub(crate) holder: Option<String>,
    /// This site's attributes of it.
    pub(crate) attributes: BTreeMap<String, String>,
}

impl GroupTicket {
    /// `<ticket_state>`.
    pub(crate) fn write(&self, name: &str) -> Element {
        let mut element = ticket_state(name, self.granted, self.standby, self.last_granted, &self.attributes);
        if let Some(holder) = &self.holder {
            element.set("owner", holder);
        }
        element
    }

    /// The group counts on this cluster to hold it.
    pub(crate) fn is_held(&self) -> bool {
        self.granted || self.awaited
    }
}

/// `<ticket_state>`, whoever granted the ticket.
pub(crate) fn ticket_state(
    name: &str,
    granted: bool,
    standby: bool,
    last_granted: Option<i64>,
    attributes: &BTreeMap<String, String>,
) -> Element {
    let flag = |is| if is { "true" } else { "false" };
    let mut element =
        Element::new("ticket_state").with("id", name).with("standby", flag(standby)).with("granted", flag(granted));
    if let Some(time) = last_granted {
        element.set("last-granted", &time.to_string());
    }
    // Others check names too; but what they miss must not become a grant, nor a document that nobody can read.
    for (name, value) in attributes.iter().filter(|(name, _)| check_attribute_name(name).is_ok()) {
        element.set(name, value);
    }
    element
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_attribute_says_what_the_cluster_says() {
        let names = ["a b", "granted", "id", "standby", "state", "x:y", "xmlns"];
        let attributes = names.map(|name| (name.to_owned(), "true".to_owned())).into();
        let ticket = GroupTicket { attributes, holder: Some("b".to_owned()), ..GroupTicket::default() };
        let mut document = hakudo_cib::Document::parse("<cib/>").unwrap();
        document.root_mut().push(ticket.write("t"));
        let written = document.to_xml();
        expect_test::expect![[r#"
            <cib>
              <ticket_state id="t" standby="false" granted="false" state="true" owner="b"/>
            </cib>
        "#]]
        .assert_eq(&written);
        assert_eq!(hakudo_cib::Document::parse(&written).unwrap(), document);
    }
}
