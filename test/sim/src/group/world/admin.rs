//! The administrator: what he orders, what he makes sure of before, and what he is told.

use super::super::Mutation;
use super::super::generate::FRESH;
use super::{Event, MS, World};
use hakudo_base::UnixTime;
use hakudo_tickets::{Input, MemberId, MemberKind, Outcome as Answer, Refusal, Reply, Request, RequestEnvelope};

/// How long others stay without power at least after an order by force.
const FORCED: u64 = 40_000 * MS;

impl World {
    pub(super) fn ask(&mut self, at: MemberId, request: Request) {
        let Some(member) = self.index(at) else { return };
        if self.places[member].process.is_none() {
            return;
        }
        match &request {
            Request::TakeOver { members } => self.make_sure_of(member, members),
            Request::Grant { force: true, site, .. } => self.switch_off_all_but(*site, member),
            // Who is asked for it must not run it itself: he would not know when that has ended.
            Request::Revoke { force: true, ticket } if self.may_run(member, ticket) => return,
            Request::Revoke { force: true, .. } => self.switch_off_all_but(at, member),
            _ => {}
        }
        let Some(process) = self.places[member].process.as_mut() else { return };
        process.next_request += 1;
        let (run, id) = (process.run, process.next_request);
        self.may_be_revoked(&request);
        self.asked.insert((run, id), request.clone());
        if matches!(request, Request::TakeOver { .. }) {
            self.takeovers.insert(run);
        }
        if self.mutation == Some(Mutation::AcknowledgedAtOnce) {
            self.acknowledged(&request, &Answer::Done);
        }
        let request = RequestEnvelope { who: "admin".to_owned(), at: UnixTime::from_millis(self.now as i64), request };
        self.feed(member, run, Input::Request { id, request });
    }

    /// A run that was asked is gone: a takeover that was ordered there may be stored, or have been given up and be stored all the same.
    pub(super) fn nobody_answers(&mut self, member: MemberId, run: Option<u64>) {
        if run.is_some() && self.takeovers.iter().any(|asked| Some(*asked) == run) {
            self.forget_what_others_knew();
        }
        let gone: Vec<Request> =
            self.asked.extract_if(.., |(asked, _), _| Some(*asked) == run).map(|(_, it)| it).collect();
        let healed = self.healed;
        for request in gone.into_iter().filter(|request| healed && ends_trouble(request)) {
            self.after(1000 * MS, Event::AskAgain { at: member, request });
        }
    }

    /// Who mends everything goes on until it is mended: members may have been kept off so far.
    pub(super) fn ask_again(&mut self, at: MemberId, request: Request) {
        // Another one than before, which may have been taken out of the group.
        let (before, count) = (self.index(at).unwrap_or(0), self.places.len());
        let mut others = (1..=count).map(|step| (before + step) % count);
        match others.find(|member| self.places[*member].process.is_some()) {
            Some(member) => self.ask(self.places[member].id, request),
            None => self.after(1000 * MS, Event::AskAgain { at, request }),
        }
    }

    /// A takeover is in force, or may come into force: what those alone knew who were left out is lost.
    pub(super) fn forget_what_others_knew(&mut self) {
        self.kept.clear();
        self.granted.clear();
    }

    /// Who orders a takeover has made sure that nothing runs at the others.
    fn make_sure_of(&mut self, orderer: usize, members: &[MemberId]) {
        let others: Vec<MemberId> =
            self.places.iter().map(|place| place.id).filter(|id| !members.contains(id)).collect();
        for other in others {
            self.lose_power(other);
            self.off.insert(other, (self.now, orderer));
        }
        self.reach("taken over");
    }

    /// Who grants or revokes by force has made sure that nothing runs at the other sites, and that nothing will start there.
    fn switch_off_all_but(&mut self, site: MemberId, orderer: usize) {
        self.reach("ordered by force");
        if self.mutation == Some(Mutation::NobodyLooked) {
            return;
        }
        let sites = self.places.iter().filter(|place| place.kind == MemberKind::Site && place.id != site);
        let others: Vec<MemberId> = sites.map(|place| place.id).collect();
        for other in others {
            self.lose_power(other);
            self.off.insert(other, (self.now + FORCED, orderer));
        }
    }

    /// Whoever gives such an order lets nothing run elsewhere before he is answered; and where he is not, for as long as the order
    /// may still come into force: the member that has it may come back with it. Who was left out of a takeover would decide by itself
    /// where it does not hear those who went on, so that it stays off as long as it cannot.
    pub(super) fn is_kept_off(&mut self, id: MemberId) -> bool {
        let Some((until, orderer)) = self.off.get(&id).copied() else { return false };
        let place = &self.places[orderer];
        let orderer_id = place.id;
        let in_doubt = place.process.is_none() || self.hangs(orderer) || place.store_hangs_until > self.now;
        if in_doubt {
            self.off.insert(id, (self.now + FORCED, orderer));
        }
        let apart = self.cut.contains(&(orderer_id, id)) || self.cut.contains(&(id, orderer_id));
        in_doubt || apart || self.now < until || self.asked.values().any(is_by_force)
    }

    fn may_run(&mut self, member: usize, ticket: &str) -> bool {
        let service = self.places[member].cluster.service(ticket);
        service.active || service.grant.is_some()
    }

    pub(super) fn replied(&mut self, member: usize, run: u64, id: u64, reply: &Reply) {
        if self.mutation == Some(Mutation::RepliesDropped) || !reply.is_final() {
            let place = self.places[member].id;
            return self.note(|| format!("{place} is told of request {id}: {reply:?}"));
        }
        let Some(request) = self.asked.remove(&(run, id)) else { return };
        let place = self.places[member].id;
        self.note(|| format!("{place} is told of {request:?}: {reply:?}"));
        if matches!((&request, reply), (Request::TakeOver { .. }, Reply::Done(_) | Reply::Refused(Refusal::NoAnswer))) {
            self.forget_what_others_knew();
        }
        self.reach(match reply {
            Reply::Done(_) => "request done",
            _ => "request refused",
        });
        match reply {
            Reply::Done(answer) => self.acknowledged(&request, answer),
            Reply::Refused(Refusal::NoAnswer) if self.healed && ends_trouble(&request) => {
                self.after(1000 * MS, Event::AskAgain { at: place, request });
            }
            _ => {}
        }
    }

    fn acknowledged(&mut self, request: &Request, answer: &Answer) {
        match (request, answer) {
            (Request::Attribute { ticket, site, name, value: Some(value) }, _) if name != FRESH => {
                self.kept.insert((ticket.clone(), *site, name.clone(), value.clone()));
            }
            (Request::Grant { ticket, .. }, Answer::Granted { generation, .. }) => {
                let newest = self.granted.entry(ticket.clone()).or_default();
                *newest = (*newest).max(*generation);
            }
            (Request::Move { .. }, Answer::Moved { .. }) => self.reach("moved"),
            _ => {}
        }
    }
}

/// A request by which a site may be used again.
fn ends_trouble(request: &Request) -> bool {
    match request {
        Request::Disclaim { on, .. } | Request::Observe { on, .. } => !on,
        _ => false,
    }
}

fn is_by_force(request: &Request) -> bool {
    matches!(
        request,
        Request::Grant { force: true, .. } | Request::Revoke { force: true, .. } | Request::TakeOver { .. }
    )
}
