//! Digests, the same as Pacemaker's: they tell whether two nodes have the same document, and whether an operation was run
//! with the parameters that the configuration has today.
//!
//! MD5 guards against mistakes here, not against enemies.

use crate::document::Document;
use crate::writer;
use md5::{Digest, Md5};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Attributes that say who changed a document and when; they do not make it another document.
const CHANGE_MARKS: [&str; 5] =
    ["crm-debug-origin", "cib-last-written", "update-origin", "update-client", "update-user"];

/// Parameters that are the cluster's own and not the agent's.
const NOT_THE_AGENTS: [&str; 6] = ["id", "crm_feature_set", "op-digest", "on_node", "on_node_uuid", "pcmk_external_ip"];

/// The digest of text, in lower-case hexadecimal digits.
pub fn text(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().fold(String::with_capacity(32), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The digest of a whole document (Pacemaker's version 2): of its text on one line, without the marks of who changed it.
pub fn document(document: &Document) -> String {
    text(&writer::compact(document.root(), &|attribute| !CHANGE_MARKS.contains(&attribute)))
}

/// The digest of an operation's parameters, `op-digest` in its history: of all parameters as they are given here, in the
/// order of their names. [`agent_parameters`] picks those that count.
pub fn operation<K: AsRef<str> + Ord, V: AsRef<str>>(parameters: &BTreeMap<K, V>) -> String {
    let mut xml = String::from(" <parameters");
    for (name, value) in parameters {
        let _ = write!(xml, " {}=\"", name.as_ref());
        writer::escape(value.as_ref(), true, &mut xml);
        xml.push('"');
    }
    xml.push_str("/>\n");
    text(&xml)
}

/// Those of an operation's parameters that count for its digest: the agent's own, and for a recurring operation
/// (`CRM_meta_interval` is not 0) its timeout.
pub fn agent_parameters(parameters: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    let recurring = parameters
        .get("CRM_meta_interval")
        .and_then(|interval| crate::values::integer(interval))
        .is_some_and(|interval| interval != 0);
    let counts = |name: &str| {
        !(name.starts_with("CRM_meta_") || NOT_THE_AGENTS.contains(&name)) || (recurring && name == "CRM_meta_timeout")
    };
    parameters.iter().filter(|(name, _)| counts(name)).map(|(name, value)| (&**name, &**value)).collect()
}

/// The parameters of `op-restart-digest`: of the agent's, those that `op-force-restart` lists (names between blanks), or
/// all where there is no such list.
pub fn restart_parameters<'a>(
    parameters: &BTreeMap<&'a str, &'a str>,
    force_restart: Option<&str>,
) -> BTreeMap<&'a str, &'a str> {
    let listed = |name: &str| force_restart.is_none_or(|list| list.split(' ').any(|listed| listed == name));
    parameters.iter().filter(|(name, _)| listed(name)).map(|(name, value)| (*name, *value)).collect()
}

/// The parameters of `op-secure-digest`: of the agent's, those that `op-secure-params` does not list.
pub fn secure_parameters<'a>(
    parameters: &BTreeMap<&'a str, &'a str>,
    secure: Option<&str>,
) -> BTreeMap<&'a str, &'a str> {
    let listed = |name: &str| secure.is_some_and(|list| list.split(' ').any(|listed| listed == name));
    parameters.iter().filter(|(name, _)| !listed(name)).map(|(name, value)| (*name, *value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_parameters_have_the_digest_that_every_cluster_knows() {
        assert_eq!(operation::<&str, &str>(&BTreeMap::new()), "f2317cad3d54cec5d7d7aa7d0bf35cf8");
    }

    #[test]
    fn the_order_of_names_and_the_clusters_own_do_not_matter() {
        let given = BTreeMap::from(
            [("ip", "10.0.0.1 & <2>"), ("CRM_meta_timeout", "20000"), ("CRM_meta_interval", "0"), ("op-digest", "x")]
                .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        let counting = agent_parameters(&given);
        assert_eq!(counting, BTreeMap::from([("ip", "10.0.0.1 & <2>")]));
        assert_eq!(operation(&counting), text(" <parameters ip=\"10.0.0.1 &amp; &lt;2&gt;\"/>\n"));
        let mut recurring = given.clone();
        recurring.insert("CRM_meta_interval".into(), "10000".into());
        assert!(agent_parameters(&recurring).contains_key("CRM_meta_timeout"));
    }

    #[test]
    fn lists_pick_parameters() {
        let all = BTreeMap::from([("a", "1"), ("b", "2"), ("passwd", "3")]);
        assert_eq!(restart_parameters(&all, Some(" b state ")), BTreeMap::from([("b", "2")]));
        assert_eq!(restart_parameters(&all, None), all);
        assert_eq!(secure_parameters(&all, Some(" passwd ")), BTreeMap::from([("a", "1"), ("b", "2")]));
        assert_eq!(secure_parameters(&all, None), all);
    }

    #[test]
    fn who_changed_a_document_does_not_matter() {
        let one = Document::parse("<cib epoch='1' update-user='a'><x crm-debug-origin='f'/><!--c--></cib>").unwrap();
        let two = Document::parse("<cib epoch='1'>\n<x/>\n<!--c--></cib>").unwrap();
        assert_eq!(document(&one), document(&two));
        assert_eq!(document(&two), text("<cib epoch=\"1\"><x/><!--c--></cib>"));
        assert_ne!(document(&two), document(&Document::parse("<cib epoch='2'><x/><!--c--></cib>").unwrap()));
    }
}
