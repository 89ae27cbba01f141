//! `hakudo ticket check`: all that is wrong in a booth.conf, shown at its place; and, where a node runs, what it says about it.

mod running;

use super::ticket::{self, Form, Shown};
use crate::cli::Global;
use crate::exit::{Exit, Failure, Outcome};
use crate::output;
use crate::world::World;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use clap::Args;
use hakudo_base::Severity;
use hakudo_link::setup::BOOTH_CONF;
use hakudo_tickets::MemberKind;
use hakudo_tickets::booth::config::{self, Problem};
use serde::Serialize;
use std::ops::Range;
use std::path::PathBuf;

/// Arguments of `check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The file
    #[arg(default_value = BOOTH_CONF)]
    file: PathBuf,
    #[command(flatten)]
    shown: Shown,
}

/// What was found, as JSON (schema/ticket.json).
#[derive(Debug, Serialize)]
struct Found<'a> {
    file: &'a str,
    valid: bool,
    problems: Vec<Listed<'a>>,
}

#[derive(Debug, Serialize)]
struct Listed<'a> {
    severity: &'static str,
    line: u32,
    column: u32,
    message: &'a str,
    hint: Option<&'a str>,
}

fn listed(problem: &Problem) -> Listed<'_> {
    Listed {
        severity: match problem.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "note",
        },
        line: problem.position.line,
        column: problem.position.column,
        message: &problem.message,
        hint: problem.hint.as_deref(),
    }
}

/// Shows all problems; the exit code says whether there is an error among them.
pub(crate) fn run(arguments: &Check, global: &Global, world: &mut World) -> Outcome {
    let name = arguments.file.display().to_string();
    let bytes = std::fs::read(&arguments.file)
        .map_err(|error| Failure::new(Exit::NO_INPUT, format!("cannot read {name}: {error}")))?;
    let mut reading = config::read_bytes(&bytes);
    if let Some(group) = &reading.group {
        reading.problems.extend(against_what_runs(group, global, world));
    }
    let valid = reading.problems.iter().all(|problem| problem.severity != Severity::Error);
    let exit = if valid { Exit::OK } else { Exit::CONFIG };
    if arguments.shown.output_as == Form::Json {
        let found = Found { file: &name, valid, problems: reading.problems.iter().map(listed).collect() };
        write!(world.out, "{}", output::json(&found)?)?;
        return Ok(exit);
    }
    let text = String::from_utf8_lossy(&bytes);
    for problem in &reading.problems {
        let shown = shown(problem, &text, &name, world.terminal);
        writeln!(world.out, "{shown}\n")?;
    }
    let count = |severity| reading.problems.iter().filter(|problem| problem.severity == severity).count();
    let (errors, warnings, notes) = (count(Severity::Error), count(Severity::Warning), count(Severity::Info));
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    let counted = [plural(errors, "error"), plural(warnings, "warning"), plural(notes, "note")].join(", ");
    writeln!(world.out, "{name}: {counted}")?;
    Ok(exit)
}

/// Where no node runs here, or it is in no group, there is nothing to compare with.
fn against_what_runs(file: &config::Group, global: &Global, world: &World) -> Vec<Problem> {
    let Ok(mut group) = ticket::Group::at(&global.source(world)) else { return Vec::new() };
    let mut problems = running::differences(file, &group.status);
    if let Some(cib) = group.cib().ok().and_then(|text| hakudo_cib::Document::parse(&text).ok()) {
        problems.extend(running::too_short(file, &cib));
    }
    problems
}

fn kind(kind: MemberKind) -> &'static str {
    match kind {
        MemberKind::Site => config::Kind::Site.word(),
        MemberKind::Arbitrator => config::Kind::Arbitrator.word(),
    }
}

/// A problem with the line that it is about, and a mark under what is wrong there.
fn shown(problem: &Problem, text: &str, name: &str, styled: bool) -> String {
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Info => Level::NOTE,
    };
    let mut group = Group::with_title(level.primary_title(problem.message.as_str()));
    match problem.span.as_ref().and_then(|span| line_with(text, span)) {
        Some((line, marked)) => {
            let snippet = Snippet::source(line).line_start(problem.position.line as usize).path(name);
            group = group.element(snippet.annotation(AnnotationKind::Primary.span(marked)));
        }
        None => group = group.element(Origin::path(name)),
    }
    let group = group.elements(problem.hint.iter().map(|hint| Level::HELP.message(hint.as_str())));
    let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
    renderer.render(&[group])
}

/// The line in which a span begins, and the part of it that the span marks.
fn line_with<'a>(text: &'a str, span: &Range<usize>) -> Option<(&'a str, Range<usize>)> {
    let before = text.get(..span.start)?;
    let begin = before.rfind('\n').map_or(0, |at| at + 1);
    let line = text.get(begin..)?.lines().next().unwrap_or_default();
    let marked = span.start - begin..(span.end.max(span.start) - begin).min(line.len());
    line.get(marked.clone())?;
    Some((line, marked))
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(text: &str, expected: Expect) {
        let reading = config::read(text);
        let all: Vec<String> =
            reading.problems.iter().map(|problem| shown(problem, text, "booth.conf", false)).collect();
        expected.assert_eq(&(all.join("\n\n") + "\n"));
    }

    #[test]
    fn each_mistake_is_shown_at_its_place() {
        check(
            "site = 192.0.2.1\nsite = 198.51.100.1 # the other one\nticket = T\nexpire = soon\nmode = manuel\nnonsense = 1\n",
            expect![[r#"
                note: boothd takes a comment behind a value without quotes as part of the value
                 --> booth.conf:2:8
                  |
                2 | site = 198.51.100.1 # the other one
                  |        ^^^^^^^^^^^^
                  |
                  = help: put the value in quotes

                error: `soon` is no time
                 --> booth.conf:4:10
                  |
                4 | expire = soon
                  |          ^^^^
                  |
                  = help: seconds have no unit, milliseconds have `ms`: 10 or 10000ms

                error: no mode `manuel`: there are `manual` and `auto`
                 --> booth.conf:5:8
                  |
                5 | mode = manuel
                  |        ^^^^^^
                  |
                  = help: boothd takes every other word as automatic, silently

                error: unknown keyword `nonsense`
                 --> booth.conf:6:1
                  |
                6 | nonsense = 1
                  | ^^^^^^^^
            "#]],
        );
    }

    #[test]
    fn an_empty_file_has_a_place_too() {
        check(
            "",
            expect![[r#"
            error: there is no site
             --> booth.conf:1:1
              |
            1 |
              | ^
              |
              = help: write: site = ADDRESS

            warning: there is no ticket
             --> booth.conf:1:1
              |
            1 |
              | ^
        "#]],
        );
    }
}
