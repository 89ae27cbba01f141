use super::*;
use expect_test::{Expect, expect};
use hakudo_cib::Document;
use proptest::prelude::*;

/// What is said of `text`, then the canonical text of what was read.
fn check(text: &str, expected: Expect) {
    let reading = read(text);
    expected.assert_eq(&said(&reading));
    for problem in &reading.problems {
        let span = problem.span.clone().unwrap();
        assert!(text.get(span).is_some(), "the span of `{problem}` is not in the text");
    }
    if let Some(group) = &reading.group {
        let again = read(&write(group).unwrap());
        assert_eq!(again.group.as_ref(), Some(group), "what was written reads differently");
    }
}

fn said(reading: &Reading) -> String {
    let mut out: String = reading.problems.iter().map(|problem| format!("{problem}\n")).collect();
    if let Some(group) = &reading.group {
        out.push_str(&write(group).unwrap());
    }
    out
}

#[test]
fn a_small_file() {
    check(
        "site=192.0.2.1\nsite=192.0.2.2\narbitrator = \"2001:db8::3\"\nticket=\"ticketA\"\n",
        expect![[r#"
            transport = "UDP"
            site = "192.0.2.1"
            site = "192.0.2.2"
            arbitrator = "2001:db8::3"

            ticket = "ticketA"
                expire = 600
                acquire-after = 0
                renewal-freq = 300
                timeout = 5
                retries = 10
        "#]],
    );
}

#[test]
fn what_hakudo_adds() {
    check(
        "addresses = 192.0.2.1\n",
        expect![[r#"
        1:1: note: boothd does not know `addresses` and refuses the file
        1:1: error: `addresses` belongs to a member, and no member comes before it
    "#]],
    );
    check(
        "site=192.0.2.1\naddresses = 192.0.2.4 2001:db8::4\nsite=192.0.2.2\naddresses=somewhere\naddresses=elsewhere\n",
        expect![[r#"
            2:1: note: boothd does not know `addresses` and refuses the file
            4:1: note: boothd does not know `addresses` and refuses the file
            5:1: note: boothd does not know `addresses` and refuses the file
            5:1: error: the addresses of `192.0.2.2` are given a second time
        "#]],
    );
    check(
        "site=192.0.2.1\naddresses = 192.0.2.4 2001:db8::4\nticket=T\n",
        expect![[r#"
        2:1: note: boothd does not know `addresses` and refuses the file
        transport = "UDP"
        site = "192.0.2.1"
        addresses = "192.0.2.4 2001:db8::4"

        ticket = "T"
            expire = 600
            acquire-after = 0
            renewal-freq = 300
            timeout = 5
            retries = 10
    "#]],
    );
    let head = "site=192.0.2.1\nsite=192.0.2.2\narbitrator=192.0.2.3\nticket=\"T\"\n";
    check(
        &format!("{head}stop-time = 500ms\nlag = 5 /usr/bin/lag --of T\npreferred = 192.0.2.2\nfail-back = 60\n"),
        expect![[r#"
            5:1: note: boothd does not know `stop-time` and refuses the file
            6:1: note: boothd does not know `lag` and refuses the file
            7:1: note: boothd does not know `preferred` and refuses the file
            8:1: note: boothd does not know `fail-back` and refuses the file
            transport = "UDP"
            site = "192.0.2.1"
            site = "192.0.2.2"
            arbitrator = "192.0.2.3"

            ticket = "T"
                expire = 600
                acquire-after = 0
                renewal-freq = 300
                timeout = 5
                retries = 10
                stop-time = 500ms
                lag = "5 /usr/bin/lag --of T"
                preferred = 192.0.2.2
                fail-back = 60
        "#]],
    );
    check(
        &format!("{head}lag = 5\npreferred = 192.0.2.3\nstop-time = soon\n"),
        expect![[r#"
        5:1: note: boothd does not know `lag` and refuses the file
        5:7: error: a time and a program are expected (write: lag = SECONDS PROGRAM [ARGUMENT...]; the program prints by how many seconds the data is behind)
        6:1: note: boothd does not know `preferred` and refuses the file
        6:13: error: `192.0.2.3` is no site of the group
        7:1: note: boothd does not know `stop-time` and refuses the file
        7:13: error: `soon` is no time (seconds have no unit, milliseconds have `ms`: 10 or 10000ms)
    "#]],
    );
    check(
        &format!("{head}fail-back = 5\n"),
        expect![[r#"
        5:1: note: boothd does not know `fail-back` and refuses the file
        5:13: error: no site is preferred to which the ticket could go back (add: preferred = SITE)
    "#]],
    );
}

#[test]
fn the_older_form_of_a_ticket() {
    check(
        "transport=\"UDP\"\nport=\"6666\"\nsite=\"192.0.2.1\"\nsite=\"192.0.2.2\"\narbitrator=\"192.0.2.3\"\n\
         ticket=\"ticketA; 1000\"\nticket=\"tkt-A;600;1,2,2\"\nticket=\"b; 300\"\n  expire = 20\n",
        expect![[r#"
            9:3: error: `expire` is given a second time, first in line 8
        "#]],
    );
    check(
        "transport=\"UDP\"\nport=\"6666\"\nsite=\"192.0.2.1\"\nsite=\"192.0.2.2\"\narbitrator=\"192.0.2.3\"\n\
         ticket=\"ticketA; 1000\"\nticket=\"tkt-A;600;1,2,2\"\n",
        expect![[r#"
            transport = "UDP"
            port = 6666
            site = "192.0.2.1"
            site = "192.0.2.2"
            arbitrator = "192.0.2.3"

            ticket = "ticketA"
                expire = 1000
                acquire-after = 0
                renewal-freq = 500
                timeout = 5
                retries = 10

            ticket = "tkt-A"
                expire = 600
                acquire-after = 0
                renewal-freq = 300
                timeout = 5
                retries = 10
                weights = 1,2,2
        "#]],
    );
    check(
        "site=a\nsite=b\narbitrator=c\nticket=\"t;;1,x\"\nticket=\"u;6s;1;2\"\n",
        expect![[r#"
            4:11: error: nothing stands here where `expire` is expected
            4:14: error: `x` is no weight: a number from 0 to 4294967295 is
            5:11: error: `6s` is no time (seconds have no unit, milliseconds have `ms`: 10 or 10000ms)
            5:16: error: a ticket in one line has a name, a time of expiry and weights only
        "#]],
    );
}

#[test]
fn defaults_hold_for_all_options_of_following_tickets() {
    check(
        r#"# a group
name = geo   # the name
authfile = "/etc/booth/a key # with signs"
site = 192.0.2.1
site = two.example.org
arbitrator = 192.0.2.3
ticket = "__defaults__"
    expire = 20
    timeout = 2
    retries = 3
    acquire-after = 8
    renewal-freq = 9
    weights = 3:7
    before-acquire-handler = "/usr/share/booth/service-runnable db"
    attr-prereq = "auto repl_state eq ACTIVE"
    mode = MANUAL
ticket = a
ticket = b
    expire = 30000ms
    mode = auto
    attr-prereq = auto lag lt 5
"#,
        expect![[r#"
            2:8: note: boothd takes a comment behind a value without quotes as part of the value (put the value in quotes)
            11:21: note: boothd ignores `acquire-after` in `__defaults__`; here it holds for the tickets that follow (with booth members in the group, repeat it in each ticket)
            12:20: note: boothd ignores `renewal-freq` in `__defaults__`; here it holds for the tickets that follow (with booth members in the group, repeat it in each ticket)
            14:31: note: boothd ignores `before-acquire-handler` in `__defaults__`; here it holds for the tickets that follow (with booth members in the group, repeat it in each ticket)
            15:20: note: boothd ignores `attr-prereq` in `__defaults__`; here it holds for the tickets that follow (with booth members in the group, repeat it in each ticket)
            21:28: note: boothd does not know `lt` and refuses the file
            transport = "UDP"
            name = geo
            authfile = "/etc/booth/a key # with signs"
            site = "192.0.2.1"
            site = "two.example.org"
            arbitrator = "192.0.2.3"

            ticket = "a"
                expire = 20
                acquire-after = 8
                renewal-freq = 9
                timeout = 2
                retries = 3
                weights = 3,7
                before-acquire-handler = "/usr/share/booth/service-runnable db"
                attr-prereq = "auto repl_state eq ACTIVE"
                mode = manual

            ticket = "b"
                expire = 30
                acquire-after = 8
                renewal-freq = 9
                timeout = 2
                retries = 3
                weights = 3,7
                before-acquire-handler = "/usr/share/booth/service-runnable db"
                attr-prereq = "auto repl_state eq ACTIVE"
                attr-prereq = "auto lag lt 5"
        "#]],
    );
}

#[test]
fn every_mistake_is_told_with_its_place() {
    check(
        "transport = SNEAKERNET\n\
         site = 192.0.2.1\n\
         port = 9000\n\
         site = 192.0.2.001.5\n\
         site = 192.0.2.1\n\
         arbiter = 192.0.2.3\n\
         expire = 10\n\
         ticket = \"a b\"\n\
         \x20 timeout = 0\n\
         ticket = a\n\
         \x20 mode = manuel\n\
         \x20 retries = 2\n\
         \x20 expire = 10 s\n\
         \x20 acquire_after = 5\n\
         \x20 attr-prereq = auto x is y\n\
         \x20 attr-prereq = sometimes x gt y\n\
         \x20 before-acquire-handler = handler\n\
         ticket = \"a\n\
         ticket = a\n\
         name\n\
         = 5\n\
         name = 'x' y\n\
         authfile =\n\
         debug = much\n\
         maxtimeskew = -1\n",
        expect![[r#"
            1:13: error: no transport `SNEAKERNET`: there is UDP only (write: transport = UDP)
            3:1: error: `port` does not hold for the members before it: boothd would reach them at another port (put it before all members)
            4:8: error: `192.0.2.001.5` is neither an address nor the name of a host
            5:8: error: `192.0.2.1` is a member already, in line 2
            6:1: error: unknown keyword `arbiter`
            7:1: error: `expire` belongs to a ticket, and no ticket comes before it (for all tickets: ticket = "__defaults__" before it)
            8:12: error: ` ` cannot be in the name of a ticket: letters, digits, `-` and `/` can
            9:13: error: a time longer than zero is expected
            11:10: error: no mode `manuel`: there are `manual` and `auto` (boothd takes every other word as automatic, silently)
            12:13: error: a number from 3 to 100 is expected
            13:12: error: `10 s` is no time (seconds have no unit, milliseconds have `ms`: 10 or 10000ms)
            14:3: error: unknown keyword `acquire_after` (did you mean `acquire-after`?)
            15:24: error: no comparison `is`: eq, ne, lt, le, gt or ge
            16:17: error: `sometimes`: `auto` or `manual` is expected
            16:32: error: `gt` compares with a number
            17:28: warning: the path of the program is relative to wherever the daemon was started (write the whole path, from `/` on)
            18:10: error: the closing " is missing
            19:10: error: the ticket `a` is there already, in line 10
            20:1: error: `=` is missing behind `name` (write: keyword = value)
            21:1: error: a keyword is expected here
            22:12: error: only a comment may follow a value in quotes
            23:1: error: `authfile` has no value
            24:9: error: a number is expected
            25:15: error: a number of seconds is expected
        "#]],
    );
}

#[test]
fn options_are_checked_against_each_other() {
    check(
        "site=a\nsite=b\narbitrator=c\nticket=t\nexpire=10\ntimeout=1\nretries=4\nticket=u\nexpire=10\ntimeout=1\n\
         retries=3\nrenewal-freq=10\nticket=v\nexpire=2500ms\ntimeout=200ms\nretries=3\nweights=1,2,3,4\nticket=w\n\
         expire=100\n",
        expect![[r#"
            6:9: error: the ticket `t` is renewed every 5, but asking 5 times for 1 each takes 5 (timeout * (retries + 1) must be shorter than renewal-freq (which is half of expire where it is not given))
            12:14: error: the ticket `u` expires after 10, before it is renewed at 10
            14:8: warning: a time that is not in whole seconds makes boothd count the leases of all tickets in milliseconds (give all members the same file before any ticket is granted)
            17:9: error: 4 weights for 3 members
            19:8: error: the ticket `w` is renewed every 50, but asking 11 times for 5 each takes 55 (timeout * (retries + 1) must be shorter than renewal-freq (which is half of expire where it is not given))
        "#]],
    );
}

#[test]
fn groups_that_cannot_serve_are_told_of() {
    let of = |text: &str| said(&read(text));
    expect![[r#"
        1:1: error: there is no site (write: site = ADDRESS)
        1:1: warning: there is no ticket
    "#]]
    .assert_eq(&of(""));
    assert!(
        of("site=a\nsite=b\nticket=t\n").starts_with("2:6: warning: with two members neither can take a ticket over")
    );
    assert!(of("site=a\nsite=b\nsite=c\nsite=d\nticket=t\n").starts_with("4:6: warning: 4 members survive"));
    let many: String = (0..17).map(|n| format!("site = 192.0.2.{n}\n")).collect();
    assert_eq!(of(&format!("{many}ticket=t\n")), "17:8: error: more than 16 members\n");
}

#[test]
fn values_have_any_length() {
    let path = format!("/{}", "long/".repeat(1000));
    let text = format!("authfile = {path}\nsite=a\nsite=b\nsite=c\nticket=t\nbefore-acquire-handler={path} x y\n");
    let group = read(&text).group.unwrap();
    assert_eq!(group.key_file.as_ref(), Some(&path));
    assert_eq!(group.tickets[0].handler, [path.as_str(), "x", "y"]);
    assert_eq!(read(&write(&group).unwrap()).group, Some(group));
}

#[test]
fn bytes_that_are_no_text_are_told_of() {
    expect!["2:3: error: this is not UTF-8 (byte 0xff)\n"].assert_eq(&said(&read_bytes(b"# a\nab\xffc")));
    expect!["1:4: error: a control character\n"].assert_eq(&said(&read_bytes(b"a =\x01 b")));
}

#[test]
fn the_same_in_the_cib() {
    let cib = |sets: &str| {
        let xml = format!("<cib>\n<configuration><crm_config>\n{sets}\n</crm_config></configuration></cib>");
        read_cib(&Document::parse(&xml).unwrap())
    };
    assert_eq!(cib("<cluster_property_set id=\"cib-bootstrap-options\"/>"), None);
    let good = r#"<cluster_property_set id="hakudo-tickets"><nvpair id="1" name="port" value="9930"/></cluster_property_set>
        <cluster_property_set id="hakudo-tickets-member-1"><nvpair id="2" name="site" value="192.0.2.1"/></cluster_property_set>
        <cluster_property_set id="hakudo-tickets-member-2"><nvpair id="3" name="site" value="192.0.2.2"/></cluster_property_set>
        <cluster_property_set id="hakudo-tickets-member-3"><nvpair id="4" name="arbitrator" value="c"/></cluster_property_set>
        <cluster_property_set id="hakudo-tickets-ticket-1">
          <nvpair id="5" name="attr-prereq-1" value="auto lag lt 5"/>
          <nvpair id="6" name="attr-prereq-2" value="manual state eq ok"/>
          <nvpair id="7" name="ticket" value="ticketA"/>
        </cluster_property_set>"#;
    expect![[r#"
        8:11: note: boothd does not know `lt` and refuses the file
        transport = "UDP"
        port = 9930
        site = "192.0.2.1"
        site = "192.0.2.2"
        arbitrator = "c"

        ticket = "ticketA"
            expire = 600
            acquire-after = 0
            renewal-freq = 300
            timeout = 5
            retries = 10
            attr-prereq = "auto lag lt 5"
            attr-prereq = "manual state eq ok"
    "#]]
    .assert_eq(&said(&cib(good).unwrap()));
    let bad = r#"<cluster_property_set id="hakudo-tickets-x"/>
<cluster_property_set id="hakudo-tickets-member-1"><nvpair id="1" name="expire" value="5"/></cluster_property_set>
<cluster_property_set id="hakudo-tickets-member-2"><nvpair id="2" name="site" value="5.6"/>
  <nvpair id="3" name="expire" value="5"/></cluster_property_set>
<cluster_property_set id="hakudo-tickets-ticket-1"><nvpair id="4" name="ticket" value="t"/>
  <nvpair id-ref="other"/><nvpair id="5" name="expires" value="5"/></cluster_property_set>"#;
    expect![[r#"
        3:1: error: the id `hakudo-tickets-x` says neither of a member nor of a ticket what the set is (call it hakudo-tickets-member-… or hakudo-tickets-ticket-…)
        4:1: error: one `site` or `arbitrator` is expected in the set `hakudo-tickets-member-1`
        5:52: error: `5.6` is neither an address nor the name of a host
        6:3: error: `expire` does not belong in the set `hakudo-tickets-member-2`
        8:3: error: a `nvpair` without a name and a value of its own means nothing here (write an nvpair with name and value)
        8:27: error: unknown keyword `expires` (did you mean `expire`?)
    "#]]
    .assert_eq(&said(&cib(bad).unwrap()));
}

#[test]
fn prerequisites_compare_texts_and_numbers() {
    let is = |comparison, value: &str, actual| {
        Prerequisite { when: When::Auto, attribute: "a".into(), comparison, value: value.into() }
            .is_fulfilled_by(actual)
    };
    assert!(is(Comparison::Equal, "x", Some("x")) && !is(Comparison::Equal, "x", None));
    assert!(is(Comparison::NotEqual, "x", Some("y")) && is(Comparison::NotEqual, "x", None));
    assert!(is(Comparison::Less, "5", Some("4.5")) && !is(Comparison::Less, "5", Some("10")));
    assert!(is(Comparison::GreaterOrEqual, "5", Some("5.0")) && !is(Comparison::Greater, "5", Some("5")));
    assert!(!is(Comparison::LessOrEqual, "5", Some("nan")) && !is(Comparison::LessOrEqual, "5", Some("")));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let reading = read_bytes(&bytes);
        prop_assert_eq!(reading.group.is_none(), reading.problems.iter().any(|p| p.severity == Severity::Error));
    }

    #[test]
    fn any_lines_are_read_or_refused(lines in prop::collection::vec("(site|ticket|expire|weights|mode|attr-prereq|retries|port)? ?=? ?[ \"'#;,a-z0-9äß.]{0,12}", 0..20)) {
        let text = lines.join("\n");
        let reading = read(&text);
        for problem in &reading.problems {
            prop_assert!(text.get(problem.span.clone().unwrap()).is_some());
        }
        if let Some(group) = reading.group {
            prop_assert_eq!(read(&write(&group).unwrap()).group, Some(group));
        }
    }
}
