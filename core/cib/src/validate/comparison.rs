//! What a change makes worse.
//!
//! A configuration may be wrong already: it came from an older cluster, or somebody insisted. Then it must still be possible to
//! mend one thing after the other. So a change is not asked for a sound document, but for no error that was not there before.

use super::{Problem, validate};
use crate::document::Document;
use hakudo_base::Severity;
use std::collections::BTreeMap;

/// Errors of `after` that `before` did not have. An error is the same where it is said of the same object in the same words,
/// wherever that stands in the text; where it is there twice and was there once, it counts once.
pub fn new_errors(before: &Document, after: &Document) -> Vec<Problem> {
    new_problems(before, after, Severity::Error)
}

/// Warnings of `after` that `before` did not have, compared like [`new_errors`].
pub fn new_warnings(before: &Document, after: &Document) -> Vec<Problem> {
    new_problems(before, after, Severity::Warning)
}

fn new_problems(before: &Document, after: &Document, severity: Severity) -> Vec<Problem> {
    let problems = |document| validate(document).into_iter().filter(|problem| problem.severity == severity);
    let mut problems_after: Vec<Problem> = problems(after).collect();
    // Nearly all documents are sound: then there is nothing to compare with.
    if problems_after.is_empty() {
        return problems_after;
    }
    let mut known: BTreeMap<(String, String), usize> = BTreeMap::new();
    for problem in problems(before) {
        *known.entry((problem.id, problem.message)).or_default() += 1;
    }
    problems_after.retain(|problem| match known.get_mut(&(problem.id.clone(), problem.message.clone())) {
        Some(left) if *left > 0 => {
            *left -= 1;
            false
        }
        _ => true,
    });
    problems_after
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(before: &str, after: &str, expected: Expect) {
        let cib = |resources: &str| {
            let text = format!("<cib><configuration><resources>{resources}</resources></configuration></cib>");
            Document::parse(&text).unwrap()
        };
        let problems: Vec<String> =
            new_errors(&cib(before), &cib(after)).iter().map(|p| format!("{}: {}\n", p.id, p.message)).collect();
        expected.assert_eq(&problems.concat());
    }

    const SOUND: &str = "<primitive id='a' class='lsb' type='T'/>";
    const WRONG: &str = "<primitive id='w' class='lbs' type='T'/>";

    #[test]
    fn only_what_is_new_counts() {
        check(SOUND, SOUND, expect![""]);
        check(
            SOUND,
            WRONG,
            expect![[r#"
                w: 'lbs' is no value for 'class': it must be one of ocf, lsb, heartbeat, stonith, service, systemd
            "#]],
        );
        check(WRONG, &format!("{SOUND}\n\n{WRONG}"), expect![""]);
        check(WRONG, SOUND, expect![""]);
    }

    #[test]
    fn once_more_is_more() {
        let id_less = "<primitive class='lsb' type='T'/>";
        check(id_less, id_less, expect![""]);
        check(
            id_less,
            &format!("{id_less}{id_less}"),
            expect![[r#"
                : <primitive> needs the attribute 'id'
            "#]],
        );
    }
}
