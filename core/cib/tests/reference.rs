//! All reference CIBs load, are upgraded, and are written back without loss.
//!
//! The cases are not part of the project: `HAKUDO_REFERENCE_CASES` names the directory that has them (in `xml` folders one
//! level down). Without it there is nothing to test, and the tests say so.

use hakudo_base::Severity;
use hakudo_cib::{Document, upgrade};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The reference CIBs, by name.
#[expect(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a test of files reads files and says so")]
fn cases() -> Vec<(String, String)> {
    let Ok(directory) = std::env::var("HAKUDO_REFERENCE_CASES") else {
        println!("skipped: HAKUDO_REFERENCE_CASES is not set");
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = Vec::new();
    for corpus in std::fs::read_dir(directory).expect("the directory of cases") {
        let xml = corpus.expect("an entry").path().join("xml");
        for file in std::fs::read_dir(xml).into_iter().flatten() {
            files.push(file.expect("an entry").path());
        }
    }
    files.retain(|file| file.extension().is_some_and(|ext| ext == "xml"));
    files.sort();
    assert!(!files.is_empty(), "no cases in the directory");
    files.iter().map(|f| (f.display().to_string(), std::fs::read_to_string(f).expect("a file"))).collect()
}

#[test]
fn they_are_written_back_without_loss() {
    for (name, text) in cases() {
        let document = Document::parse(&text).unwrap_or_else(|error| panic!("{name}:{error}"));
        let written = document.to_xml();
        let again = Document::parse(&written).unwrap_or_else(|error| panic!("{name} written:{error}"));
        assert!(again == document, "{name} changed when it was written");
        assert_eq!(again.to_xml(), written, "{name}");
    }
}

#[test]
fn they_are_upgraded() {
    for (name, text) in cases() {
        let document = Document::parse(&text).unwrap_or_else(|error| panic!("{name}:{error}"));
        let upgraded = upgrade::upgrade(&document).unwrap_or_else(|error| panic!("{name}: {error}")).document;
        assert_eq!(upgraded.root().attribute("validate-with"), Some(upgrade::LATEST_SCHEMA), "{name}");
        assert_eq!(upgraded.root().child("status"), document.root().child("status"), "{name}: status changed");
        let again = Document::parse(&upgraded.to_xml()).unwrap_or_else(|error| panic!("{name} upgraded:{error}"));
        assert!(again == upgraded, "{name} changed when it was written");
        let configuration =
            upgraded.root().child("configuration").unwrap_or_else(|| panic!("{name}: no configuration"));
        let ids: BTreeSet<&str> = configuration.descendants().filter_map(|e| e.attribute("id")).collect();
        for element in configuration.descendants() {
            if let Some(reference) = element.attribute("id-ref") {
                assert!(ids.contains(reference), "{name}: nothing has the id {reference}");
            }
        }
    }
}

/// The digest of the start of every resource whose configuration is plain enough to know the parameters: no rules, no
/// sets that are shared, one set of instance attributes. Histories may be older than the configuration, so that a few may
/// differ; most must not.
#[test]
fn histories_have_our_digests() {
    let (mut same, mut different) = (0, 0);
    for (_, text) in cases() {
        let document = Document::parse(&text).expect("it was read before");
        let ids = document.ids();
        for history in document.root().descendants().filter(|element| element.name() == "lrm_resource") {
            let Some(resource) = ids.get(history.id()).filter(|element| element.name() == "primitive") else {
                continue;
            };
            let mut sets = resource.children_named("instance_attributes");
            let set = sets.next();
            let plain = sets.next().is_none() && resource.attribute("template").is_none();
            if !plain || set.is_some_and(|s| s.children().any(|c| c.name() == "rule" || c.attribute("value").is_none()))
            {
                continue;
            }
            let pairs = set.into_iter().flat_map(|set| set.children_named("nvpair"));
            let parameters: BTreeMap<&str, &str> =
                pairs.filter_map(|pair| Some((pair.attribute("name")?, pair.attribute("value")?))).collect();
            for operation in history.children().filter(|operation| operation.attribute("operation") == Some("start")) {
                match operation.attribute("op-digest") {
                    Some(digest) if digest == hakudo_cib::digest::operation(&parameters) => same += 1,
                    Some(_) => different += 1,
                    None => {}
                }
            }
        }
    }
    assert!(different * 10 <= same, "{same} digests are the same, {different} differ");
}

/// They are valid, but for two that are wrong on purpose.
#[test]
fn they_are_valid() {
    let on_purpose = ["'foo' is no value for 'kind'", "'invalid' is no value for 'influence'"];
    for (name, text) in cases() {
        let document = Document::parse(&text).unwrap_or_else(|error| panic!("{name}:{error}"));
        for problem in hakudo_cib::validate(&document) {
            let known = on_purpose.iter().any(|known| problem.message.starts_with(known));
            assert!(known || problem.severity != Severity::Error, "{name}:{problem}");
        }
    }
}
