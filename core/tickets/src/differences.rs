//! In what two configurations of a group differ, in words.

use crate::config::{Group, MemberEntry, TicketConfig};
use std::fmt::Debug;

impl Group {
    /// What would change if this group became `new`; nothing where both say the same.
    pub fn differences(&self, new: &Group) -> Vec<String> {
        let mut all = Vec::new();
        changed(&mut all, "the group", "name", &self.name, &new.name);
        changed(&mut all, "the group", "heartbeat", &self.heartbeat, &new.heartbeat);
        for member in &self.members {
            match new.members.iter().find(|other| other.id == member.id) {
                Some(other) => member_differs(&mut all, member, other),
                None => all.push(format!("member {} is removed", member.name)),
            }
        }
        let added = new.members.iter().filter(|member| self.member(member.id).is_none());
        all.extend(added.map(|member| format!("member {} is added", member.name)));
        for ticket in &self.tickets {
            match new.ticket(&ticket.name) {
                Some(other) => ticket_differs(&mut all, ticket, other),
                None => all.push(format!("ticket {} is removed", ticket.name)),
            }
        }
        let added = new.tickets.iter().filter(|ticket| self.ticket(&ticket.name).is_none());
        all.extend(added.map(|ticket| format!("ticket {} is added", ticket.name)));
        // Numbers stay what they are, but in whose order people see members and tickets is part of what all agree on.
        if all.is_empty() && self.digest() != new.digest() {
            all.push("members or tickets stand in another order".to_owned());
        }
        all
    }
}

fn changed<T: PartialEq + Debug>(all: &mut Vec<String>, of: &str, what: &str, now: &T, new: &T) {
    if now != new {
        all.push(format!("{of}: {what} is {now:?}, and becomes {new:?}"));
    }
}

fn member_differs(all: &mut Vec<String>, now: &MemberEntry, new: &MemberEntry) {
    let of = format!("member {}", now.name);
    changed(all, &of, "name", &now.name, &new.name);
    changed(all, &of, "kind", &now.kind, &new.kind);
    changed(all, &of, "addresses", &now.addresses, &new.addresses);
    if now.key != new.key {
        all.push(format!("{of}: its public key is another one"));
    }
}

fn ticket_differs(all: &mut Vec<String>, now: &TicketConfig, new: &TicketConfig) {
    let of = format!("ticket {}", now.name);
    changed(all, &of, "expire", &now.expire, &new.expire);
    changed(all, &of, "acquire-after", &now.acquire_after, &new.acquire_after);
    changed(all, &of, "renewal-freq", &now.renewal_freq, &new.renewal_freq);
    changed(all, &of, "timeout", &now.timeout, &new.timeout);
    changed(all, &of, "retries", &now.retries, &new.retries);
    changed(all, &of, "weights", &now.weights, &new.weights);
    changed(all, &of, "mode", &now.mode, &new.mode);
    changed(all, &of, "attr-prereq", &now.prerequisites, &new.prerequisites);
    changed(all, &of, "before-acquire-handler", &now.handler, &new.handler);
    changed(all, &of, "stop-time", &now.stop_time, &new.stop_time);
    changed(all, &of, "lag", &now.lag, &new.lag);
    changed(all, &of, "preferred", &now.preferred, &new.preferred);
    changed(all, &of, "fail-back", &now.fail_back, &new.fail_back);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::tests::group;
    use expect_test::expect;
    use std::time::Duration;

    #[test]
    fn everything_that_all_must_agree_on_is_named() {
        let now = group(vec![TicketConfig::new("a"), TicketConfig::new("b")]);
        assert_eq!(now.differences(&now), Vec::<String>::new());
        let mut new = now.clone();
        new.tickets[0].expire = Duration::from_secs(20);
        new.tickets[1].name = "c".to_owned();
        new.members[2].id = crate::MemberId(4);
        new.members[2].name = "judge".to_owned();
        new.members[1].addresses.push("10.0.1.2".to_owned());
        expect![[r#"
            member osaka: addresses is ["10.0.0.2"], and becomes ["10.0.0.2", "10.0.1.2"]
            member witness is removed
            member judge is added
            ticket a: expire is 600s, and becomes 20s
            ticket b is removed
            ticket c is added"#]]
        .assert_eq(&now.differences(&new).join("\n"));
        let mut turned = now.clone();
        turned.tickets.reverse();
        assert_eq!(now.differences(&turned), ["members or tickets stand in another order"]);
    }
}
