//! Everything that is wrong in a CIB, shown at its place.

use crate::exit::{Exit, Failure, Outcome};
use crate::input;
use crate::planning;
use crate::world::{World, zone};
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use hakudo_base::Severity;
use hakudo_cib::{Document, Element, ParseError, Position, upgrade, validate};
use hakudo_tickets::booth::config as tickets;
use std::collections::BTreeMap;
use std::ops::Range;

/// Something that is wrong.
#[derive(Debug)]
struct Finding {
    severity: Severity,
    /// Where, if that is known.
    position: Option<Position>,
    /// The object, if the place is not known.
    id: String,
    /// The attribute of the element at that place.
    attribute: Option<String>,
    message: String,
    /// What else belongs to it, and what to do.
    notes: Vec<String>,
    hint: Option<String>,
}

impl Finding {
    fn new(severity: Severity, position: Option<Position>, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { severity, position, id: String::new(), attribute: None, message, notes: Vec::new(), hint: None }
    }
}

/// Shows all findings; the exit code says whether there is an error among them.
pub(crate) fn run(text: &str, name: &str, world: &mut World) -> Outcome {
    let findings = find(text, world.now);
    show(&findings, text, name, world)?;
    let (errors, warnings) = count(&findings);
    writeln!(world.out, "{name}: {errors} error{}, {warnings} warning{}", plural(errors), plural(warnings))?;
    Ok(if errors > 0 { Exit::CONFIG } else { Exit::OK })
}

fn count(findings: &[Finding]) -> (usize, usize) {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let warnings = findings.iter().filter(|finding| finding.severity == Severity::Warning).count();
    (errors, warnings)
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

/// Tells the warnings of a text in a line each, as compilers do.
pub(crate) fn warn(text: &str, name: &str, world: &mut World) -> Result<(), Failure> {
    let Ok(cib) = input::read_configuration(text) else { return Ok(()) };
    for problem in validate(&cib).into_iter().filter(|problem| problem.severity == Severity::Warning) {
        writeln!(world.err, "{name}:{problem}")?;
    }
    Ok(())
}

/// A text that cannot be read at all: shown at its place.
pub(crate) fn unreadable(error: &ParseError, text: &str, name: &str, world: &mut World) -> Result<(), Failure> {
    show(&[Finding::new(Severity::Error, Some(error.position), error.message.clone())], text, name, world)
}

fn find(text: &str, now: i64) -> Vec<Finding> {
    let cib = match input::read_configuration(text) {
        Ok(cib) => cib,
        Err(error) => return vec![Finding::new(Severity::Error, Some(error.position), error.message)],
    };
    let mut findings: Vec<Finding> = validate(&cib)
        .into_iter()
        .map(|problem| Finding {
            severity: problem.severity,
            position: Some(problem.position),
            id: problem.id,
            attribute: problem.attribute,
            message: problem.message,
            notes: problem.related.into_iter().map(|(position, what)| format!("{what} is at {position}")).collect(),
            hint: problem.hint,
        })
        .collect();
    findings.extend(of_tickets(&cib));
    findings.extend(decided(&cib, now, &findings));
    findings.sort_by_key(|finding| (finding.position, finding.id.clone()));
    findings
}

/// What is wrong with the group of tickets that the configuration describes. What boothd does otherwise is of no interest: it
/// does not read it there.
fn of_tickets(cib: &Document) -> Vec<Finding> {
    let problems = tickets::read_cib(cib).map(|reading| reading.problems).unwrap_or_default();
    let problems = problems.into_iter().filter(|problem| problem.severity != Severity::Info);
    problems
        .map(|problem| Finding {
            id: problem.id,
            attribute: problem.attribute.map(str::to_owned),
            hint: problem.hint,
            ..Finding::new(problem.severity, Some(problem.position), problem.message)
        })
        .collect()
}

/// What the upgrade and the scheduler have to say, as far as it is not said already.
fn decided(cib: &Document, now: i64, known: &[Finding]) -> Vec<Finding> {
    let elements = cib.ids();
    let properties = properties(cib);
    let finding = |severity, id: String, message| {
        let property = properties.get(id.as_str()).copied();
        let element = elements.get(id.as_str()).copied().or(property);
        Finding {
            position: element.map(Element::position),
            attribute: property.map(|_| "value".to_owned()),
            id,
            ..Finding::new(severity, None, message)
        }
    };
    let Ok(upgraded) = upgrade::upgrade(cib) else { return Vec::new() };
    let mut findings: Vec<Finding> =
        upgraded.notes.into_iter().map(|note| finding(note.severity, note.id, note.message)).collect();
    if let Ok(plan) =
        planning::plan(&upgraded.document, planning::wall_time(planning::execution_date(cib).unwrap_or(now), &zone()))
    {
        let problems = plan.problems.into_iter().filter(|problem| {
            let element = elements.get(problem.id.as_str()).or_else(|| properties.get(problem.id.as_str()));
            let about_it = |finding: &&Finding| {
                finding.id == problem.id
                    || element.is_some_and(|element| element.descendants().any(|one| one.id() == finding.id))
            };
            !known.iter().filter(about_it).any(|finding| repeats(&problem.message, &finding.message))
        });
        findings.extend(problems.map(|problem| finding(Severity::Warning, problem.id, problem.message)));
    }
    findings
}

/// The pair of each cluster property, by today's name: of the bootstrap options first.
fn properties(cib: &Document) -> BTreeMap<String, &Element> {
    let today = |name: &str| match name {
        "stop-orphan-resources" => "stop-removed-resources".to_owned(),
        "stop-orphan-actions" => "cancel-removed-actions".to_owned(),
        name => name.strip_prefix("stonith-").map_or_else(|| name.to_owned(), |rest| format!("fencing-{rest}")),
    };
    let sets = cib.section(&["configuration", "crm_config"]).into_iter().flat_map(Element::children);
    let mut sets: Vec<&Element> = sets.collect();
    sets.sort_by_key(|set| set.id() != "cib-bootstrap-options");
    let mut properties = BTreeMap::new();
    for pair in sets.into_iter().flat_map(|set| set.children_named("nvpair")) {
        properties.entry(today(pair.attribute("name").unwrap_or_default())).or_insert(pair);
    }
    properties
}

/// Whether what is said is known already: it names nothing that the other does not name.
fn repeats(said: &str, known: &str) -> bool {
    let mut quoted = said.split('\'').skip(1).step_by(2).peekable();
    quoted.peek().is_some() && quoted.all(|word| known.contains(&format!("'{word}'")))
}

/// Each finding with the line that it is about, and a mark under what is wrong there.
fn show(findings: &[Finding], text: &str, name: &str, world: &mut World) -> Result<(), Failure> {
    let lines: Vec<&str> = text.lines().collect();
    let renderer = if world.terminal { Renderer::styled() } else { Renderer::plain() };
    for finding in findings {
        let level = match finding.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Info => Level::NOTE,
        };
        let source =
            finding.position.and_then(|position| Some((position, *lines.get(position.line.checked_sub(1)? as usize)?)));
        let title = match (&source, finding.id.as_str()) {
            (Some(_), _) | (None, "") => finding.message.clone(),
            (None, id) => format!("{id}: {}", finding.message),
        };
        let mut group = Group::with_title(level.primary_title(title));
        match source {
            None => group = group.element(Origin::path(name)),
            Some((position, line)) => {
                let (excerpt, marked) = excerpt(line, position.column, finding.attribute.as_deref());
                let number = position.line as usize;
                let mut snippet = Snippet::source(excerpt).line_start(number);
                if excerpt.len() == line.len() {
                    snippet = snippet.path(name);
                } else {
                    // The columns of a line that was cut are not those of the file.
                    group = group.element(Origin::path(name).line(number).char_column(position.column as usize));
                }
                group = group.element(snippet.annotation(AnnotationKind::Primary.span(marked)));
            }
        }
        group = group.elements(finding.notes.iter().map(|note| Level::NOTE.message(note.as_str())));
        group = group.elements(finding.hint.iter().map(|hint| Level::HELP.message(hint.as_str())));
        writeln!(world.out, "{}\n", renderer.render(&[group]))?;
    }
    Ok(())
}

/// The part of a line that is shown, and the bytes in it that are marked: the attribute, or else the element's name.
fn excerpt<'a>(line: &'a str, column: u32, attribute: Option<&str>) -> (&'a str, Range<usize>) {
    /// In bytes, before and after the mark: a CIB may be one single line.
    const AROUND: usize = 300;
    let at = line.char_indices().nth(column.saturating_sub(1) as usize).map_or(line.len(), |(at, _)| at);
    let marked = attribute.and_then(|name| attribute_in(line, at, name)).unwrap_or_else(|| {
        let rest = &line[at..];
        let end = rest.find(|c: char| c.is_whitespace() || matches!(c, '>' | '/')).unwrap_or(rest.len());
        at..at + end.max(rest.chars().next().map_or(0, char::len_utf8))
    });
    let from = line.floor_char_boundary(marked.start.saturating_sub(AROUND));
    let to = line.ceil_char_boundary(marked.end.saturating_add(AROUND).min(line.len()));
    (&line[from..to], marked.start - from..marked.end - from)
}

/// Where an attribute with its value stands in the start tag that begins at `at`, as far as the tag is in this line.
fn attribute_in(line: &str, at: usize, name: &str) -> Option<Range<usize>> {
    let mut place = at;
    loop {
        let rest = &line[place..];
        let equals = rest.find(['=', '>'])?;
        if rest[equals..].starts_with('>') {
            return None;
        }
        let quote = rest[equals..].find(['"', '\''])? + equals;
        let end = rest[quote + 1..].find(char::from(rest.as_bytes()[quote]))? + quote + 2;
        let found = rest[..equals].trim_end();
        let begin = found.rfind(char::is_whitespace).map_or(0, |blank| blank + 1);
        if &found[begin..] == name {
            return Some(place + begin..place + end);
        }
        place += end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_attribute_is_marked() {
        let line = r#"  <op id="a=b" name = 'mon' interval="soon"/><op interval="10"/>"#;
        let marked = |name: Option<&str>| {
            let (text, range) = excerpt(line, 3, name);
            text[range].to_owned()
        };
        assert_eq!(marked(Some("interval")), r#"interval="soon""#);
        assert_eq!(marked(Some("name")), "name = 'mon'");
        assert_eq!(marked(Some("timeout")), "<op");
        assert_eq!(marked(None), "<op");
        assert_eq!(excerpt("", 1, None), ("", 0..0));
        assert_eq!(excerpt("ä", 9, None), ("ä", 2..2));
    }

    /// The cluster options that the scheduler reads, out of its own text.
    fn options_of_the_scheduler() -> Vec<&'static str> {
        let text = include_str!("../../../core/scheduler/src/read/configuration.rs");
        let calls = [".boolean(", ".interval(", ".number(", ".word(", "score("];
        let mut names = Vec::new();
        for call in calls {
            for (at, _) in text.match_indices(call) {
                let Some(rest) = text[at + call.len()..].trim_start().strip_prefix('"') else { continue };
                let (name, rest) = rest.split_once('"').unwrap();
                names.push(name);
                names.extend(rest.strip_prefix(", Some(\"").and_then(|older| older.split('"').next()));
            }
        }
        names
    }

    #[test]
    fn the_options_of_the_scheduler_are_known() {
        let names = options_of_the_scheduler();
        assert!(names.len() > 25 && names.contains(&"stonith-timeout"), "{names:?}");
        let known: Vec<&str> = hakudo_cib::known_properties().collect();
        let unknown: Vec<&&str> = names.iter().filter(|name| !known.contains(name)).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        // And what the check takes for a value of one, the scheduler does not complain of.
        for name in names {
            let wrong = format!(
                "<cib><configuration><crm_config><cluster_property_set id='s'><nvpair id='p' name='{name}' value='%%'/>\
                 <nvpair id='q' name='shutdown-lock' value='true'/><nvpair id='r' name='node-health-strategy' value='custom'/>\
                 </cluster_property_set></crm_config><nodes/><resources/><constraints/></configuration><status/></cib>"
            );
            let findings = find(&wrong, 0);
            let of_it = findings.iter().filter(|finding| finding.message.contains("'%%'"));
            let places: Vec<_> = of_it.map(|finding| (finding.position.is_some(), finding.id.as_str())).collect();
            assert_eq!(places, [(true, "p")], "{name}: {findings:?}");
        }
    }

    #[test]
    fn what_the_scheduler_says_is_not_lost() {
        let text = "<cib validate-with='pacemaker-4.0'><configuration><crm_config><cluster_property_set id='s'>\
             <nvpair id='s1' name='no-quorum-policy' value='fence'/>\
             <nvpair id='s2' name='fencing-enabled' value='false'/></cluster_property_set></crm_config><nodes/><resources>\
             <primitive id='web' class='ocf' provider='p' type='T'><meta_attributes id='m'>\
             <nvpair id='m1' name='target-role' value='Strated'/><nvpair id='m2' name='requires' value='fencing'/>\
             </meta_attributes></primitive></resources><constraints/></configuration><status/></cib>";
        let said: Vec<String> = find(text, 0)
            .iter()
            .filter(|finding| finding.severity != Severity::Info)
            .map(|finding| format!("{}: {}", finding.id, finding.message))
            .collect();
        assert!(said.iter().any(|one| one.starts_with("m1: 'Strated' is no value for 'target-role'")), "{said:#?}");
        assert!(said.iter().any(|one| one.starts_with("web: requires fencing")), "{said:#?}");
        assert!(!said.iter().any(|one| one.starts_with("web: 'Strated'")), "{said:#?}");
        assert!(said.iter().any(|one| one.starts_with("no-quorum-policy: fencing is disabled")), "{said:#?}");
        let at = find(text, 0).into_iter().find(|finding| finding.id == "no-quorum-policy").unwrap();
        assert!(at.position.is_some() && at.attribute.as_deref() == Some("value"), "{at:?}");
    }

    #[test]
    fn a_long_line_is_cut() {
        let line = format!("{}<x y='ü'/>{}", "ä".repeat(1000), "z".repeat(1000));
        let (text, range) = excerpt(&line, 1001, Some("y"));
        assert_eq!(&text[range], "y='ü'");
        assert!(text.len() < 700);
    }
}
