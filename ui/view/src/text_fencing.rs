//! The history of fencing as text, in crm_mon's words.

use crate::outline::{Outline, Section};
use crate::status::{ClusterStatus, Fencing, FencingState};
use crate::text::{Sections, Show};

/// Fencing that failed.
pub(crate) fn failed(outline: &mut Outline, status: &ClusterStatus, sections: Sections, show: &Show) -> bool {
    let failed = |fencing: &Fencing| fencing.state == FencingState::Failed;
    list(outline, "Failed Fencing Actions", status, failed, sections, show)
}

/// Fencing that goes on; and with the whole history, fencing that succeeded.
pub(crate) fn others(outline: &mut Outline, status: &ClusterStatus, sections: Sections, show: &Show) -> bool {
    if sections.fencing_succeeded {
        let not_failed = |fencing: &Fencing| fencing.state != FencingState::Failed;
        list(outline, "Fencing History", status, not_failed, sections, show)
    } else {
        let pending = |fencing: &Fencing| fencing.state == FencingState::Pending;
        list(outline, "Pending Fencing Actions", status, pending, sections, show)
    }
}

fn list(
    outline: &mut Outline,
    title: &str,
    status: &ClusterStatus,
    wanted: impl Fn(&Fencing) -> bool,
    sections: Sections,
    show: &Show,
) -> bool {
    let mut section = Section::new(title, !outline.is_empty());
    for (place, fencing) in status.fencing.iter().enumerate().filter(|(_, fencing)| wanted(fencing)) {
        section.begin(outline);
        outline.item(&line(fencing, later_success(&status.fencing[..place], fencing), sections, show));
    }
    section.end(outline)
}

/// Who did what this one could not, later.
fn later_success<'a>(newer: &'a [Fencing], failed: &Fencing) -> Option<&'a str> {
    let same =
        |f: &&Fencing| f.state == FencingState::Success && (&f.target, &f.action) == (&failed.target, &failed.action);
    let success = newer.iter().find(same).filter(|_| failed.state == FencingState::Failed)?;
    Some(success.delegate.as_deref().unwrap_or("an unknown node"))
}

fn line(fencing: &Fencing, later: Option<&str>, sections: Sections, show: &Show) -> String {
    let action = match fencing.action.as_str() {
        "on" => "unfencing",
        "off" => "turning off",
        other => other,
    };
    let ended = fencing.state != FencingState::Pending;
    let delegate = fencing.delegate.as_deref().filter(|_| ended);
    let state = match (fencing.state, &fencing.exit_reason) {
        (FencingState::Pending, _) => "pending".to_owned(),
        (FencingState::Success, _) => "successful".to_owned(),
        (FencingState::Failed, None) => "failed".to_owned(),
        (FencingState::Failed, Some(reason)) => format!("failed ({reason})"),
    };
    let time = fencing.completed.filter(|_| ended).map(|time| moment(time, show));
    let (client, origin) = (&fencing.client, &fencing.origin);
    let mut line = format!("{action} of {}", fencing.target);
    let all = sections.fencing_failed && sections.fencing_pending && sections.fencing_succeeded;
    if show.failed_detail {
        line.push_str(&format!(" {state}: "));
        if let Some(delegate) = delegate {
            line.push_str(&format!("delegate={delegate}, "));
        }
        line.push_str(&format!("client={client}, origin={origin}"));
        let when = match fencing.state {
            _ if all => "completed",
            FencingState::Failed => "last-failed",
            _ => "last-successful",
        };
        if let Some(time) = time {
            line.push_str(&format!(", {when}='{time}'"));
        }
    } else {
        if let Some(delegate) = delegate {
            line.push_str(&format!(" by {delegate}"));
        }
        line.push_str(&format!(" for {client}@{origin}{} {state}", if all { "" } else { " last" }));
        if let Some(time) = time {
            line.push_str(&format!(" at {time}"));
        }
    }
    if let Some(later) = later {
        line.push_str(&format!(" (a later attempt from {later} succeeded)"));
    }
    line
}

/// A moment as the tools write it in the history of fencing: `2026-01-31 12:00:00Z`, or with an offset.
pub(crate) fn moment(seconds: i64, show: &Show) -> String {
    let Ok(time) = jiff::Timestamp::from_second(seconds) else { return seconds.to_string() };
    let time = time.to_zoned(show.zone.clone());
    let format = if time.offset().seconds() == 0 { "%Y-%m-%d %H:%M:%SZ" } else { "%Y-%m-%d %H:%M:%S %:z" };
    time.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text;
    use expect_test::{Expect, expect};

    fn fencing(action: &str, state: FencingState, delegate: Option<&str>, completed: i64) -> Fencing {
        Fencing {
            target: "n2".to_owned(),
            action: action.to_owned(),
            state,
            delegate: delegate.map(str::to_owned),
            devices: Vec::new(),
            client: "hakudo".to_owned(),
            origin: "n1".to_owned(),
            completed: (completed > 0).then_some(completed),
            exit_reason: (state == FencingState::Failed).then(|| "no route".to_owned()),
            took_ms: 12,
        }
    }

    fn status() -> ClusterStatus {
        let fencing = vec![
            fencing("off", FencingState::Pending, None, 0),
            fencing("reboot", FencingState::Success, Some("n1"), 300),
            fencing("reboot", FencingState::Failed, Some("n3"), 200),
            fencing("on", FencingState::Failed, None, 100),
        ];
        let mut status = ClusterStatus { fencing, ..ClusterStatus::default() };
        status.summary.local = Some("n1".to_owned());
        status
    }

    fn check(succeeded: bool, failed_detail: bool, expected: Expect) {
        let sections = Sections {
            fencing_failed: true,
            fencing_pending: true,
            fencing_succeeded: succeeded,
            ..Sections::default()
        };
        let show = Show { failed_detail, ..Show::default() };
        let xml = crate::xml::crm_mon(&status(), sections, &show, "status");
        expected.assert_eq(&format!("{}\n{xml}", text::render(&status(), sections, &show)));
    }

    #[test]
    fn failures_and_what_goes_on() {
        check(
            false,
            false,
            expect![[r#"
            Failed Fencing Actions:
              * reboot of n2 by n3 for hakudo@n1 last failed (no route) at 1970-01-01 00:03:20Z (a later attempt from n1 succeeded)
              * unfencing of n2 for hakudo@n1 last failed (no route) at 1970-01-01 00:01:40Z

            Pending Fencing Actions:
              * turning off of n2 for hakudo@n1 last pending

            <?xml version="1.0"?>
            <pacemaker-result api-version="2.41" request="status">
              <fence_history status="0">
                <fence_event action="off" target="n2" client="hakudo" origin="n1" status="pending" extended-status="1"/>
                <fence_event action="reboot" target="n2" client="hakudo" origin="n1" status="failed" exit-reason="no route" delegate="n3" completed="1970-01-01 00:03:20Z"/>
                <fence_event action="on" target="n2" client="hakudo" origin="n1" status="failed" exit-reason="no route" completed="1970-01-01 00:01:40Z"/>
              </fence_history>
              <status code="0" message="OK"/>
            </pacemaker-result>
        "#]],
        );
    }

    #[test]
    fn the_whole_history() {
        check(
            true,
            false,
            expect![[r#"
            Failed Fencing Actions:
              * reboot of n2 by n3 for hakudo@n1 failed (no route) at 1970-01-01 00:03:20Z (a later attempt from n1 succeeded)
              * unfencing of n2 for hakudo@n1 failed (no route) at 1970-01-01 00:01:40Z

            Fencing History:
              * turning off of n2 for hakudo@n1 pending
              * reboot of n2 by n1 for hakudo@n1 successful at 1970-01-01 00:05:00Z

            <?xml version="1.0"?>
            <pacemaker-result api-version="2.41" request="status">
              <fence_history status="0">
                <fence_event action="off" target="n2" client="hakudo" origin="n1" status="pending" extended-status="1"/>
                <fence_event action="reboot" target="n2" client="hakudo" origin="n1" status="success" delegate="n1" completed="1970-01-01 00:05:00Z"/>
                <fence_event action="reboot" target="n2" client="hakudo" origin="n1" status="failed" exit-reason="no route" delegate="n3" completed="1970-01-01 00:03:20Z"/>
                <fence_event action="on" target="n2" client="hakudo" origin="n1" status="failed" exit-reason="no route" completed="1970-01-01 00:01:40Z"/>
              </fence_history>
              <status code="0" message="OK"/>
            </pacemaker-result>
        "#]],
        );
        check(
            true,
            true,
            expect![[r#"
            Failed Fencing Actions:
              * reboot of n2 failed (no route): delegate=n3, client=hakudo, origin=n1, completed='1970-01-01 00:03:20Z' (a later attempt from n1 succeeded)
              * unfencing of n2 failed (no route): client=hakudo, origin=n1, completed='1970-01-01 00:01:40Z'

            Fencing History:
              * turning off of n2 pending: client=hakudo, origin=n1
              * reboot of n2 successful: delegate=n1, client=hakudo, origin=n1, completed='1970-01-01 00:05:00Z'

            <?xml version="1.0"?>
            <pacemaker-result api-version="2.41" request="status">
              <fence_history status="0">
                <fence_event action="off" target="n2" client="hakudo" origin="n1" status="pending" extended-status="1"/>
                <fence_event action="reboot" target="n2" client="hakudo" origin="n1" status="success" delegate="n1" completed="1970-01-01 00:05:00Z"/>
                <fence_event action="reboot" target="n2" client="hakudo" origin="n1" status="failed" exit-reason="no route" delegate="n3" completed="1970-01-01 00:03:20Z"/>
                <fence_event action="on" target="n2" client="hakudo" origin="n1" status="failed" exit-reason="no route" completed="1970-01-01 00:01:40Z"/>
              </fence_history>
              <status code="0" message="OK"/>
            </pacemaker-result>
        "#]],
        );
    }
}
