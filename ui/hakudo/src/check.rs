//! Everything that is wrong in a CIB, shown at its place.

use crate::exit::{Exit, Failure, Outcome};
use crate::input;
use crate::planning;
use crate::world::World;
use hakudo_base::Severity;
use hakudo_cib::{Document, Position, upgrade};

/// Something that is wrong.
#[derive(Debug)]
struct Finding {
    severity: Severity,
    /// Where, if that is known.
    position: Option<Position>,
    /// The object, if the place is not known.
    id: String,
    message: String,
}

/// Shows all findings; the exit code says whether there is an error among them.
pub(crate) fn run(text: &str, name: &str, world: &mut World) -> Outcome {
    let findings = find(text, world.now);
    show(&findings, text, name, world)?;
    let (errors, warnings) = count(&findings);
    writeln!(world.out, "{name}: {errors} error{}, {warnings} warning{}", plural(errors), plural(warnings))?;
    Ok(if errors > 0 { Exit::CONFIG } else { Exit::OK })
}

/// Shows findings only if there is an error among them.
pub(crate) fn errors(text: &str, name: &str, world: &mut World) -> Outcome {
    let findings = find(text, world.now);
    if count(&findings).0 == 0 {
        return Ok(Exit::OK);
    }
    show(&findings, text, name, world)?;
    Ok(Exit::CONFIG)
}

fn count(findings: &[Finding]) -> (usize, usize) {
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    let warnings = findings.iter().filter(|finding| finding.severity == Severity::Warning).count();
    (errors, warnings)
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn find(text: &str, now: i64) -> Vec<Finding> {
    let cib = match Document::parse(text) {
        Ok(cib) => cib,
        Err(error) => {
            return vec![Finding {
                severity: Severity::Error,
                position: Some(error.position),
                id: String::new(),
                message: error.message,
            }];
        }
    };
    let mut findings = Vec::new();
    if let Err(failure) = input::check_root(&cib) {
        findings.push(Finding {
            severity: Severity::Error,
            position: Some(cib.root().position()),
            id: String::new(),
            message: failure,
        });
        return findings;
    }
    let positions: std::collections::BTreeMap<&str, Position> =
        cib.ids().into_iter().map(|(id, element)| (id, element.position())).collect();
    let place = |id: &str| positions.get(id).copied();
    match upgrade::upgrade(&cib) {
        Err(error) => {
            findings.push(Finding {
                severity: Severity::Error,
                position: Some(cib.root().position()),
                id: String::new(),
                message: error.to_string(),
            });
        }
        Ok(upgraded) => {
            findings.extend(upgraded.notes.into_iter().map(|note| Finding {
                severity: note.severity,
                position: place(&note.id),
                id: note.id,
                message: note.message,
            }));
            if let Ok(plan) = planning::plan(&upgraded.document, planning::execution_date(&cib).unwrap_or(now)) {
                findings.extend(plan.problems.into_iter().map(|problem| Finding {
                    severity: Severity::Warning,
                    position: place(&problem.id),
                    id: problem.id,
                    message: problem.message,
                }));
            }
        }
    }
    findings.sort_by_key(|finding| (finding.position, finding.id.clone()));
    findings
}

/// Each finding with the line that it is about, and a mark under the column.
fn show(findings: &[Finding], text: &str, name: &str, world: &mut World) -> Result<(), Failure> {
    let lines: Vec<&str> = text.lines().collect();
    for finding in findings {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "note",
        };
        let source = finding.position.filter(|position| position.line > 0);
        match source {
            None if finding.id.is_empty() => writeln!(world.out, "{name}: {severity}: {}", finding.message)?,
            None => writeln!(world.out, "{name}: {severity}: {}: {}", finding.id, finding.message)?,
            Some(position) => {
                writeln!(world.out, "{name}:{position}: {severity}: {}", finding.message)?;
                if let Some(line) = lines.get(position.line as usize - 1) {
                    excerpt(line, position, world)?;
                }
            }
        }
    }
    Ok(())
}

/// A line shortened to what fits, with the mark under the column.
fn excerpt(line: &str, position: Position, world: &mut World) -> Result<(), Failure> {
    const WIDTH: usize = 100;
    let column = position.column.saturating_sub(1) as usize;
    let indent = line.chars().take_while(|c| c.is_whitespace()).count().min(column);
    let start = if column - indent > WIDTH / 2 { column - WIDTH / 4 } else { indent };
    let shown: String = line.chars().skip(start).take(WIDTH).collect();
    let number = position.line.to_string();
    writeln!(world.out, "{number:>6} | {}", shown.trim_end())?;
    writeln!(world.out, "       | {}^", " ".repeat(column - start))?;
    Ok(())
}
