//! Which crates may depend on which, and under which licences.

use crate::process;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

/// For each crate of the workspace, the crates of the workspace that it may use. A crate that is not here may use none.
const ALLOWED: &[(&str, &[&str])] = &[
    ("hakudo-base", &[]),
    ("hakudo-cib", &["hakudo-base"]),
    ("hakudo-scheduler", &["hakudo-base", "hakudo-cib"]),
    ("hakudo-seal", &["hakudo-base"]),
    ("hakudo-membership", &["hakudo-base", "hakudo-seal"]),
    ("hakudo-fencing", &["hakudo-base", "hakudo-cib"]),
    ("hakudo-tickets", &["hakudo-base", "hakudo-cib"]),
    ("hakudo-guard", &["hakudo-base"]),
    // The controller carries out the plan, an immutable value of the scheduler's; it never calls the scheduler.
    (
        "hakudo-controller",
        &[
            "hakudo-base",
            "hakudo-cib",
            "hakudo-fencing",
            "hakudo-guard",
            "hakudo-membership",
            "hakudo-scheduler",
            "hakudo-tickets",
        ],
    ),
    ("hakudo-link", &["hakudo-base", "hakudo-seal", "hakudo-tickets"]),
    ("hakudo-arbitrator", &["hakudo-base", "hakudo-link", "hakudo-tickets"]),
    ("hakudo-executor", CORE),
    (
        "hakudo-node",
        &[
            "hakudo-base",
            "hakudo-cib",
            "hakudo-controller",
            "hakudo-executor",
            "hakudo-fencing",
            "hakudo-guard",
            "hakudo-link",
            "hakudo-membership",
            "hakudo-scheduler",
            "hakudo-tickets",
        ],
    ),
    ("hakudo-view", CORE),
    // The one program: it holds the daemons as verbs, so it alone sees both `ui` and `host`.
    (
        "hakudo",
        &[
            "hakudo-arbitrator",
            "hakudo-base",
            "hakudo-cib",
            "hakudo-controller",
            "hakudo-executor",
            "hakudo-fencing",
            "hakudo-link",
            "hakudo-membership",
            "hakudo-node",
            "hakudo-scheduler",
            "hakudo-seal",
            "hakudo-tickets",
            "hakudo-view",
        ],
    ),
    ("hakudo-sim", CORE),
    ("hakudo-lab", CORE),
    ("xtask", &["hakudo-sim"]),
];

const CORE: &[&str] = &[
    "hakudo-base",
    "hakudo-cib",
    "hakudo-controller",
    "hakudo-fencing",
    "hakudo-guard",
    "hakudo-membership",
    "hakudo-scheduler",
    "hakudo-tickets",
];

fn metadata() -> Result<Metadata> {
    let json = process::output(&["cargo", "metadata", "--format-version", "1", "--locked"])?;
    serde_json::from_str(&json).context("cannot read cargo's metadata")
}

/// Fails where a crate of the workspace uses another one against the directions of the design.
pub(crate) fn check_directions() -> Result<()> {
    let metadata = metadata()?;
    let allowed: BTreeMap<&str, &[&str]> = ALLOWED.iter().copied().collect();
    let ours: Vec<&Package> = metadata.packages.iter().filter(|p| metadata.workspace_members.contains(&p.id)).collect();
    let mut wrong = Vec::new();
    for package in &ours {
        let may = allowed.get(package.name.as_str()).copied().unwrap_or_default();
        for dependency in &package.dependencies {
            let is_ours = ours.iter().any(|p| p.name == dependency.name);
            let for_tests = dependency.kind.as_deref() == Some("dev");
            if is_ours && !for_tests && !may.contains(&dependency.name.as_str()) {
                wrong.push(format!("{} may not depend on {}", package.name, dependency.name));
            }
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("; "));
    }
    println!("dependency directions: {} crates, all as designed", ours.len());
    Ok(())
}

/// Licences under which a part of a GPL-2.0-or-later program may come. Apache-2.0 and the like are compatible with
/// GPL-3.0, which "or later" allows for the whole.
const COMPATIBLE: &[&str] = &[
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "GPL-2.0-or-later",
    "ISC",
    "LGPL-2.1-or-later",
    "MIT",
    "MIT-0",
    "MPL-2.0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

/// Fails where a dependency has no licence, or one that the program may not be combined with.
pub(crate) fn check_licences() -> Result<()> {
    let metadata = metadata()?;
    let wrong: Vec<String> = metadata
        .packages
        .iter()
        .filter(|p| !p.license.as_deref().is_some_and(is_compatible))
        .map(|p| format!("{} {}: {}", p.name, p.version, p.license.as_deref().unwrap_or("no licence given")))
        .collect();
    if !wrong.is_empty() {
        bail!("licences that are not known to be compatible:\n  {}", wrong.join("\n  "));
    }
    println!("licences: {} packages, all compatible", metadata.packages.len());
    Ok(())
}

/// An SPDX expression is compatible if one alternative of each of its parts is.
fn is_compatible(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    split_top(&expression, " AND ").iter().all(|part| {
        let part = part.trim();
        let inner = part.strip_prefix('(').and_then(|p| p.strip_suffix(')'));
        match inner {
            Some(inner) => is_compatible(inner),
            None => {
                let alternatives = split_top(part, " OR ");
                alternatives.iter().any(|alternative| {
                    let alternative = alternative.trim();
                    COMPATIBLE.contains(&alternative) || (alternative.starts_with('(') && is_compatible(alternative))
                })
            }
        }
    })
}

/// Splits at `separator` outside of parentheses.
fn split_top<'a>(text: &'a str, separator: &str) -> Vec<&'a str> {
    let (mut parts, mut depth, mut start, mut at) = (Vec::new(), 0usize, 0, 0);
    while at < text.len() {
        match text.as_bytes()[at] {
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            _ if depth == 0 && text[at..].starts_with(separator) => {
                parts.push(&text[start..at]);
                at += separator.len();
                start = at;
                continue;
            }
            _ => {}
        }
        at += 1;
    }
    parts.push(&text[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::is_compatible;

    #[test]
    fn licence_expressions_are_understood() {
        for good in ["MIT", "MIT/Apache-2.0", "(MIT OR Apache-2.0) AND Unicode-3.0", "GPL-3.0-only OR MIT"] {
            assert!(is_compatible(good), "{good}");
        }
        for bad in ["GPL-2.0-only", "MIT AND Proprietary", "", "(MIT OR X) AND Y"] {
            assert!(!is_compatible(bad), "{bad}");
        }
    }
}
