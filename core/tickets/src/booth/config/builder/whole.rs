//! What can be said only when all settings are known: whether members and tickets fit together, and where each problem stands.

use super::{At, Builder, Draft, Given, Options, Place, time};
use crate::booth::config::{Group, Kind, Member, Mode, Owner, PORT, Problem, Reading, Ticket};
use hakudo_base::Severity;
use hakudo_cib::Position;
use std::time::Duration;

impl Builder<'_> {
    /// Checks what can be checked only when all is known.
    pub(in super::super) fn finish(mut self) -> Reading {
        // A text that was refused as a whole is not blamed for what it does not have.
        if !self.has_errors() {
            self.check_members();
        }
        let tickets: Vec<Ticket> =
            std::mem::take(&mut self.drafts).into_iter().map(|draft| self.ticket_of(draft)).collect();
        if let Some(given) = self.milliseconds {
            let what =
                "a time that is not in whole seconds makes boothd count the leases of all tickets in milliseconds";
            let hint = "give all members the same file before any ticket is granted";
            self.tell_at(Severity::Warning, given.at, given.length, what.to_owned(), Some(hint));
        }
        let group = (!self.has_errors()).then(|| {
            let mut text = |key: &str| self.globals.remove(key).map(|given| given.value);
            Group {
                name: text("name"),
                port: self.port.unwrap_or(PORT),
                key_file: text("authfile"),
                max_time_skew: self.max_time_skew.unwrap_or(Duration::from_secs(600)),
                site_owner: Owner { user: text("site-user"), group: text("site-group") },
                arbitrator_owner: Owner { user: text("arbitrator-user"), group: text("arbitrator-group") },
                debug: self.debug,
                members: self.members.iter().map(|(member, _)| member.clone()).collect(),
                tickets,
            }
        });
        Reading { group, problems: placed(self.text, &self.places, self.problems) }
    }

    fn has_errors(&self) -> bool {
        self.problems.iter().any(|(_, _, problem)| problem.severity == Severity::Error)
    }

    fn check_members(&mut self) {
        let sites = self.members.iter().filter(|(member, _)| member.kind == Kind::Site).count();
        let all = self.members.len();
        let (first, last) = (self.members.first().map(|(_, at)| *at), self.members.last().map(|(_, at)| *at));
        let here = first.unwrap_or(self.start);
        if sites == 0 {
            self.miss(here, 0, "there is no site".to_owned(), Some("write: site = ADDRESS"));
        } else if all == 2 {
            let what = "with two members neither can take a ticket over when the other is lost".to_owned();
            self.tell_at(Severity::Warning, last.unwrap_or(here), 0, what, Some("add an arbitrator at a third place"));
        } else if all > 2 && all.is_multiple_of(2) {
            let what = format!("{all} members survive the loss of no more members than {} do", all - 1);
            self.tell_at(Severity::Warning, last.unwrap_or(here), 0, what, Some("an odd number of members is better"));
        }
        if self.drafts.is_empty() {
            self.tell_at(Severity::Warning, last.unwrap_or(here), 0, "there is no ticket".to_owned(), None);
        }
    }

    /// The whole ticket, its options checked against each other.
    fn ticket_of(&mut self, draft: Draft) -> Ticket {
        let Draft { name, options, defaults } = draft;
        let own = options.clone();
        let options = options.or(&defaults);
        let expire = value_or(options.expire, Duration::from_secs(600));
        let renewal = value_or(options.renewal, Duration::from_millis(expire.as_millis() as u64 / 2));
        let timeout = value_or(options.timeout, Duration::from_secs(5));
        let retries = value_or(options.retries, 10);
        // The ticket's own line, rather than one of the defaults, is where the reader should look.
        let place = |first: Option<(At, usize)>| first.unwrap_or((name.at, name.length));
        let own_place =
            own.timeout.map(spot).or(own.retries.map(spot)).or(own.renewal.map(spot)).or(own.expire.map(spot));
        if renewal >= expire {
            let (at, length) = place(own.renewal.map(spot).or(own.expire.map(spot)));
            let what = format!(
                "the ticket `{}` expires after {}, before it is renewed at {}",
                name.value,
                time(expire),
                time(renewal)
            );
            self.miss(at, length, what, None);
        } else if timeout * (retries + 1) >= renewal {
            let (at, length) = place(own_place);
            let what = format!(
                "the ticket `{}` is renewed every {}, but asking {} times for {} each takes {}",
                name.value,
                time(renewal),
                retries + 1,
                time(timeout),
                time(timeout * (retries + 1))
            );
            let hint = "timeout * (retries + 1) must be shorter than renewal-freq (which is half of expire where it is not given)";
            self.miss(at, length, what, Some(hint));
        }
        if let Some(weights) = &options.weights
            && weights.value.len() > self.members.len()
        {
            let what = format!("{} weights for {} members", weights.value.len(), self.members.len());
            self.miss(weights.at, weights.length, what, None);
        }
        self.check_preference(&options);
        Ticket {
            name: name.value,
            expire,
            acquire_after: value_or(options.acquire_after, Duration::ZERO),
            renewal,
            timeout,
            retries,
            weights: options.weights.map(|given| given.value).unwrap_or_default(),
            handler: options.handler.map(|given| given.value).unwrap_or_default(),
            prerequisites: options.prerequisites,
            mode: value_or(options.mode, Mode::Automatic),
            stop_time: options.stop_time.map(|given| given.value),
            lag: options.lag.map(|given| given.value),
            preferred: options.preferred.map(|given| given.value),
            fail_back: options.fail_back.map(|given| given.value),
        }
    }

    fn check_preference(&mut self, options: &Options) {
        match (&options.preferred, &options.fail_back) {
            (Some(preferred), _) => {
                let is_site = |(member, _): &(Member, At)| member.kind == Kind::Site && member.host == preferred.value;
                if !self.members.iter().any(is_site) {
                    let what = format!("`{}` is no site of the group", preferred.value);
                    self.tell_at(Severity::Error, preferred.at, preferred.length, what, None);
                }
            }
            (None, Some(fail_back)) => {
                let what = "no site is preferred to which the ticket could go back".to_owned();
                self.tell_at(Severity::Error, fail_back.at, fail_back.length, what, Some("add: preferred = SITE"));
            }
            (None, None) => {}
        }
    }
}

fn spot<T>(given: Given<T>) -> (At, usize) {
    (given.at, given.length)
}

fn value_or<T>(given: Option<Given<T>>, default: T) -> T {
    given.map_or(default, |given| given.value)
}

/// All problems with line and column, in the order of their places.
fn placed(text: &str, places: &[Place], problems: Vec<(At, usize, Problem)>) -> Vec<Problem> {
    let starts: Vec<usize> = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
    let mut problems: Vec<Problem> = problems
        .into_iter()
        .map(|(at, length, mut problem)| {
            match at {
                At::Element(place) => {
                    if let Some(Place { position, id, attribute }) = places.get(place) {
                        (problem.position, problem.id, problem.attribute) = (*position, id.clone(), *attribute);
                    }
                }
                At::Text(offset) => {
                    let line = starts.partition_point(|start| *start <= offset);
                    let before = text.get(starts[line.saturating_sub(1)]..offset).unwrap_or_default();
                    problem.position = Position { line: line as u32, column: before.chars().count() as u32 + 1 };
                    problem.span = Some(offset..offset + length);
                }
            }
            problem
        })
        .collect();
    problems.sort_by_key(|problem| problem.position);
    problems
}
