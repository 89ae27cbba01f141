//! The same histories for our rule and for Corosync's: `corosync-vqsim` runs the real votequorum for simulated nodes.
//!
//! Scenarios are drawn from seeds: nodes, votes, options, then crashes, starts, splits and joins. After each step both must
//! give the same answer at every node, or the difference must be one of [`Difference`]; the scenario ends there, because
//! what the two remember is different from then on.
//!
//! Where the program is not installed (Debian: `corosync-vqsim`) the test says so and passes. `HAKUDO_VQSIM_SCENARIOS` sets
//! how many scenarios are played, `HAKUDO_VQSIM_FIRST` the first seed.

use crate::cluster::{Cluster, Step};
use hakudo_base::{NodeId, Random};
use hakudo_membership::quorum::{Ground, Options, TieBreaker};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// The ways in which our rule differs from votequorum's, each on purpose: the table in `docs/quorum.md` has the reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// Members of one partition disagree under votequorum, each by its own memory. Ours always agree.
    MembersDisagree,
    /// A tie that ours does not break: votequorum judges it again when a partition forms again, and trusts a node that
    /// has just started.
    TieJudgedAgain,
    /// votequorum lets one or two nodes of more have quorum by `two_node`. Ours has it off with more than two nodes.
    TwoNodeOfMore,
    /// With `wait_for_all`, losing quorum makes ours wait for all again.
    WaitsAgain,
    /// Sides without quorum meet that expect different numbers of votes: ours takes the highest.
    HighestExpected,
    /// With `last_man_standing`, ours forgets the losses of a tie's winner wherever the tie-breaker is.
    LastManByTie,
    /// With `last_man_standing`, ours expects the votes that are here, votequorum as many as there are nodes.
    LastManCountsVotes,
    /// With `last_man_standing` and `allow_downscale`, votequorum loses quorum when the window is over.
    LastManAndDownscale,
    /// Whether the others of a tie could be quorate without us: ours counts their votes, votequorum their heads.
    TieCountsVotes,
}

/// One scenario.
#[derive(Clone, Debug)]
struct Scenario {
    seed: u64,
    options: Options,
    votes: Vec<u32>,
    steps: Vec<Step>,
}

/// The window of `last_man_standing`: so short that every step waits for it, or so long that it is never over.
const SHORT_WINDOW: Duration = Duration::from_millis(150);
const LONG_WINDOW: Duration = Duration::from_secs(3600);

fn scenario(seed: u64) -> Scenario {
    let mut random = Random::new(seed);
    let nodes = if random.percent(25) { 2 } else { random.between(1, 9) };
    let even = random.percent(80);
    let votes: Vec<u32> = (0..nodes).map(|_| if even { 1 } else { random.below(4) as u32 }).collect();
    let all: u32 = votes.iter().sum();
    let list =
        |random: &mut Random| (0..random.between(1, 3)).map(|_| NodeId(random.between(1, nodes) as u32)).collect();
    let tie_breaker = match random.below(10) {
        0 | 1 => Some(TieBreaker::Lowest),
        2 | 3 => Some(TieBreaker::Highest),
        4 => Some(TieBreaker::List(list(&mut random))),
        _ => None,
    };
    let tracking = random.percent(10);
    let options = Options {
        expected_votes: (!tracking && random.percent(10)).then(|| random.between(1, u64::from(all) + 2) as u32),
        two_node: random.percent(if nodes == 2 { 60 } else { 10 }),
        wait_for_all: [None, None, Some(true), Some(true), Some(false)][random.below(5) as usize],
        auto_tie_breaker: tie_breaker,
        last_man_standing: random.percent(30),
        last_man_standing_window: if random.percent(60) { SHORT_WINDOW } else { LONG_WINDOW },
        allow_downscale: tracking && random.percent(50),
        expected_votes_tracking: tracking,
        device: None,
    };
    let steps = steps(&mut random, nodes as u32);
    Scenario { seed, options, votes, steps }
}

fn steps(random: &mut Random, nodes: u32) -> Vec<Step> {
    let mut place: BTreeMap<u32, u32> = (1..=nodes).map(|node| (node, 0)).collect();
    let mut down: BTreeSet<u32> = BTreeSet::new();
    let mut steps = Vec::new();
    for _ in 0..random.between(4, 14) {
        let used: BTreeSet<u32> = place.values().copied().collect();
        let free: Vec<u32> = (0..10).filter(|p| !used.contains(p)).collect();
        let up: Vec<u32> = place.keys().copied().collect();
        let step = match random.below(10) {
            0..=3 if up.len() > 1 => {
                // Some nodes of one partition go to one or two free ones.
                let from = place[random.choose(&up).unwrap()];
                let sides = random.between(2, 3);
                let moves: Vec<(u32, u32)> = up
                    .iter()
                    .filter(|node| place[node] == from)
                    .filter_map(|node| Some((*node, random.below(sides))).filter(|(_, side)| *side > 0))
                    .map(|(node, side)| (node, free[side as usize - 1]))
                    .collect();
                Some(Step::Move(moves)).filter(|step| *step != Step::Move(Vec::new()))
            }
            4 | 5 if used.len() > 1 => {
                let all: Vec<u32> = used.iter().copied().collect();
                let (into, from) = (*random.choose(&all).unwrap(), *random.choose(&all).unwrap());
                (into != from).then_some(Step::Join(into, from))
            }
            6 | 7 if !up.is_empty() => Some(Step::Down(*random.choose(&up).unwrap())),
            8 | 9 => {
                let waiting: Vec<u32> = down.iter().copied().collect();
                let partitions: Vec<u32> = used.iter().copied().chain(free.first().copied()).collect();
                random.choose(&waiting).map(|node| Step::Up(*node, *random.choose(&partitions).unwrap()))
            }
            _ => None,
        };
        let Some(step) = step else { continue };
        match &step {
            Step::Move(moves) => place.extend(moves.iter().copied()),
            Step::Join(into, from) => place.values_mut().filter(|p| *p == from).for_each(|p| *p = *into),
            Step::Down(node) => {
                place.remove(node);
                down.insert(*node);
            }
            Step::Up(node, partition) => {
                place.insert(*node, *partition);
                down.remove(node);
            }
            _ => {}
        }
        steps.push(step);
    }
    steps
}

/// corosync.conf for a scenario.
fn configuration(scenario: &Scenario, folder: &std::path::Path) -> String {
    let options = &scenario.options;
    let mut quorum = String::from(" provider: corosync_votequorum\n");
    let mut set = |name: &str, value: String| writeln!(quorum, " {name}: {value}").unwrap();
    let mut flag = |name: &str, on: bool| {
        if on {
            set(name, "1".into());
        }
    };
    flag("two_node", options.two_node);
    flag("last_man_standing", options.last_man_standing);
    flag("allow_downscale", options.allow_downscale);
    flag("expected_votes_tracking", options.expected_votes_tracking);
    flag("auto_tie_breaker", options.auto_tie_breaker.is_some());
    if let Some(votes) = options.expected_votes {
        set("expected_votes", votes.to_string());
    }
    if let Some(wait) = options.wait_for_all {
        set("wait_for_all", u8::from(wait).to_string());
    }
    if options.last_man_standing {
        set("last_man_standing_window", options.last_man_standing_window.as_millis().to_string());
    }
    match &options.auto_tie_breaker {
        Some(TieBreaker::Highest) => set("auto_tie_breaker_node", "highest".into()),
        Some(TieBreaker::List(list)) => {
            let list: Vec<String> = list.iter().map(NodeId::to_string).collect();
            set("auto_tie_breaker_node", list.join(" "));
        }
        _ => {}
    }
    let nodes: String = (1..)
        .zip(&scenario.votes)
        .map(|(id, votes)| {
            format!(" node {{\n  ring0_addr: 127.0.0.{id}\n  nodeid: {id}\n  quorum_votes: {votes}\n }}\n")
        })
        .collect();
    format!(
        "totem {{\n version: 2\n cluster_name: x\n}}\nsystem {{\n state_dir: {}\n}}\nquorum {{\n{quorum}}}\nnodelist {{\n{nodes}}}\n",
        folder.display()
    )
}

/// What one simulated node shows.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    partition: u32,
    quorate: bool,
    ring: String,
    members: BTreeSet<u32>,
}

type Picture = BTreeMap<u32, Shown>;

struct Vqsim {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
    folder: PathBuf,
}

impl Drop for Vqsim {
    fn drop(&mut self) {
        let _ = self.input.write_all(b"exit\n");
        // Every simulated node is a process of its own, and stays when its parent goes: the whole group is killed.
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl Vqsim {
    fn start(scenario: &Scenario) -> std::io::Result<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("hakudo-vqsim-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join("c.conf"), configuration(scenario, &folder))?;
        // Its -c takes fewer than 8 characters, whatever it says.
        let mut child = Command::new("corosync-vqsim")
            .args(["-c", "c.conf"])
            .current_dir(&folder)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                let Ok(line) = line else { return };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, input, lines, folder })
    }

    fn command(&mut self, command: &str) {
        let _ = writeln!(self.input, "{command}");
    }

    /// What all nodes show now; nothing where the program does not answer.
    fn show(&mut self) -> Option<Picture> {
        self.command("show");
        let deadline = Instant::now() + Duration::from_secs(5);
        let next = || self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())).ok();
        while !next()?.ends_with("show") {}
        let mut picture = Picture::new();
        loop {
            let line = next()?;
            if line.starts_with("#autofence") {
                return Some(picture);
            }
            if let Some((node, shown)) = read_line(&line) {
                picture.insert(node, shown);
            }
        }
    }

    /// What all nodes show once nothing changes any more and `fits` holds, or after some time although it does not.
    fn settled(&mut self, patience: Duration, fits: impl Fn(&Picture) -> bool) -> Option<Picture> {
        let deadline = Instant::now() + patience;
        let mut before = self.show()?;
        loop {
            std::thread::sleep(Duration::from_millis(25));
            let picture = self.show()?;
            let late = Instant::now() > deadline;
            if picture == before && (late || fits(&picture)) {
                return Some(picture);
            }
            before = picture;
        }
    }
}

/// Reads `0:1: q=1 ring=[1.10] nodes=[1 2 3]`.
fn read_line(line: &str) -> Option<(u32, Shown)> {
    let (partition, rest) = line.split_once(':')?;
    let (node, rest) = rest.split_once(": q=")?;
    let (quorate, rest) = rest.split_once(" ring=[")?;
    let (ring, rest) = rest.split_once("] nodes=[")?;
    let members = rest.trim_end_matches(']').split(' ').map(str::parse).collect::<Result<_, _>>().ok()?;
    let shown = Shown { partition: partition.parse().ok()?, quorate: quorate == "1", ring: ring.into(), members };
    Some((node.parse().ok()?, shown))
}

fn command(step: &Step) -> String {
    match step {
        Step::Up(node, partition) => format!("up {partition}:{node}"),
        Step::Down(node) => format!("down {node}"),
        Step::Move(moves) => {
            let places: Vec<String> = moves.iter().map(|(node, to)| format!("{to}:{node}")).collect();
            format!("split {}", places.join(" "))
        }
        Step::Join(into, from) => format!("join {into} {from}"),
        other => panic!("{other:?} is not for vqsim"),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Same {
        steps: usize,
        late: usize,
    },
    Differs {
        after: usize,
        class: Option<Difference>,
        text: String,
    },
    /// The options are refused.
    Refused,
    /// The program did not answer.
    Silent(String),
}

fn play(scenario: &Scenario, patience: Duration) -> Outcome {
    let Ok(mut ours) = Cluster::started(scenario.options.clone(), &scenario.votes) else { return Outcome::Refused };
    let Ok(mut theirs) = Vqsim::start(scenario) else { return Outcome::Silent("it does not start".into()) };
    let waits = scenario.options.last_man_standing && scenario.options.last_man_standing_window == SHORT_WINDOW;
    let window = Duration::from_millis(2 * SHORT_WINDOW.as_millis() as u64);
    let mut late = 0;
    let mut rings: BTreeMap<u32, String> = BTreeMap::new();
    for (number, step) in std::iter::once(None).chain(scenario.steps.iter().map(Some)).enumerate() {
        let all_again = matches!(step, Some(Step::Move(_) | Step::Join(..)));
        if let Some(step) = step {
            theirs.command(&command(step));
            ours.apply(step);
        }
        if theirs.settled(patience, |picture| formed(picture, &ours, all_again.then_some(&rings))).is_none() {
            return Outcome::Silent(format!("after step {number}"));
        }
        if waits {
            std::thread::sleep(window);
            ours.apply(&Step::Wait(window.as_millis() as u64));
        }
        let Some(mut picture) = theirs.settled(patience, |picture| same(picture, &ours)) else {
            return Outcome::Silent(format!("after step {number}"));
        };
        if !same(&picture, &ours) && is_late(&picture, &ours) {
            // In the simulator a node decides before it has heard its peers; who hears them as the last does not decide anew.
            // In a real cluster it hears them first. Forming again has the same effect.
            theirs.command("join 0 15");
            ours.install_again();
            late += 1;
            match theirs.settled(patience, |picture| same(picture, &ours)) {
                Some(again) => picture = again,
                None => return Outcome::Silent(format!("after step {number}")),
            }
        }
        if !same(&picture, &ours) {
            let class = classify(scenario, &picture, &ours);
            return Outcome::Differs { after: number, class, text: describe(scenario, number, &picture, &ours) };
        }
        rings = picture.into_iter().map(|(node, shown)| (node, shown.ring)).collect();
    }
    Outcome::Same { steps: scenario.steps.len(), late }
}

/// Every node knows its partition as it is now, in a ring that is not among the earlier ones.
fn formed(picture: &Picture, ours: &Cluster, earlier: Option<&BTreeMap<u32, String>>) -> bool {
    let decisions = ours.decisions();
    picture.len() == decisions.len()
        && decisions.iter().all(|(node, (partition, _))| {
            let members: BTreeSet<u32> =
                decisions.iter().filter(|(_, (p, _))| p == partition).map(|(node, _)| *node).collect();
            picture.get(node).is_some_and(|shown| {
                shown.partition == *partition
                    && shown.members == members
                    && earlier.is_none_or(|rings| rings.get(node) != Some(&shown.ring))
            })
        })
}

fn same(picture: &Picture, ours: &Cluster) -> bool {
    ours.decisions()
        .iter()
        .all(|(node, (_, decision))| picture.get(node).is_some_and(|shown| shown.quorate == decision.quorate))
}

/// Under votequorum some members of a quorate partition have quorum and others not yet.
fn is_late(picture: &Picture, ours: &Cluster) -> bool {
    ours.decisions().iter().all(|(node, (partition, decision))| {
        let fits = |shown: &Shown| shown.quorate == decision.quorate;
        let one_does = picture.values().any(|shown| shown.partition == *partition && shown.quorate);
        picture.get(node).is_some_and(|shown| fits(shown) || (decision.quorate && one_does))
    })
}

/// The kind of the difference: each partition that differs must be explained, and the first one's kind is given.
fn classify(scenario: &Scenario, picture: &Picture, ours: &Cluster) -> Option<Difference> {
    let decisions = ours.decisions();
    let partitions: BTreeSet<u32> = decisions.values().map(|(partition, _)| *partition).collect();
    let mut found = None;
    for partition in partitions {
        let members: Vec<u32> = decisions.iter().filter(|(_, (p, _))| *p == partition).map(|(node, _)| *node).collect();
        let theirs: BTreeSet<bool> = members.iter().map(|node| picture[node].quorate).collect();
        let decision = &decisions[&members[0]].1;
        if theirs == BTreeSet::from([decision.quorate]) {
            continue;
        }
        let options = &scenario.options;
        let by_low_node = options.last_man_standing
            && matches!(options.auto_tie_breaker, Some(TieBreaker::Highest | TieBreaker::List(_)));
        let expected_varies = options.last_man_standing || options.expected_votes.is_some();
        let waits = decision.ground == Ground::WaitingForAll;
        let class = if decision.quorate {
            if options.last_man_standing && scenario.votes.contains(&0) {
                Some(Difference::LastManCountsVotes)
            } else if options.last_man_standing && options.allow_downscale {
                Some(Difference::LastManAndDownscale)
            } else if decision.ground == Ground::TieBreaker && scenario.votes.iter().any(|votes| *votes != 1) {
                Some(Difference::TieCountsVotes)
            } else if by_low_node {
                Some(Difference::LastManByTie)
            } else {
                theirs.contains(&true).then_some(Difference::MembersDisagree)
            }
        } else if waits && decision.total_votes >= decision.needed {
            Some(Difference::WaitsAgain)
        } else if options.auto_tie_breaker.is_some() && decision.total_votes == decision.expected_votes / 2 {
            Some(Difference::TieJudgedAgain)
        } else if theirs.len() > 1 {
            Some(Difference::MembersDisagree)
        } else if options.two_node && scenario.votes.len() > 2 && members.len() <= 2 {
            Some(Difference::TwoNodeOfMore)
        } else if expected_varies {
            Some(Difference::HighestExpected)
        } else {
            None
        };
        found = found.or(Some(class?));
    }
    found
}

fn describe(scenario: &Scenario, after: usize, picture: &Picture, ours: &Cluster) -> String {
    let mut text = format!("seed {}: votes {:?}, {:?}\n", scenario.seed, scenario.votes, scenario.options);
    for step in scenario.steps.iter().take(after) {
        writeln!(text, "  {}", command(step)).unwrap();
    }
    writeln!(text, " ours:\n{ours} votequorum:").unwrap();
    for (node, shown) in picture {
        writeln!(text, "  {}:{node} quorate={} members={:?}", shown.partition, shown.quorate, shown.members).unwrap();
    }
    text
}

fn is_installed() -> bool {
    Command::new("corosync-vqsim").arg("-h").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[test]
fn votequorum_gives_the_same_answers() {
    if !is_installed() {
        println!("skipped: corosync-vqsim is not installed (Debian: apt-get install corosync-vqsim)");
        return;
    }
    let (first, count) = (number("HAKUDO_VQSIM_FIRST", 1), number("HAKUDO_VQSIM_SCENARIOS", 150));
    let next = AtomicU64::new(first);
    let outcomes: Vec<(u64, Outcome)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut outcomes = Vec::new();
                    loop {
                        let seed = next.fetch_add(1, Ordering::Relaxed);
                        if seed >= first + count {
                            return outcomes;
                        }
                        outcomes.push((seed, play_patiently(&scenario(seed))));
                    }
                })
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    report(outcomes);
}

/// The simulator's nodes are processes in real time: on a busy machine they may be late. Only what is there each time counts.
fn play_patiently(scenario: &Scenario) -> Outcome {
    let mut outcome = Outcome::Refused;
    for patience in [1000, 2500, 5000] {
        outcome = play(scenario, Duration::from_millis(patience));
        if matches!(outcome, Outcome::Same { .. } | Outcome::Refused | Outcome::Differs { class: Some(_), .. }) {
            break;
        }
    }
    outcome
}

fn report(outcomes: Vec<(u64, Outcome)>) {
    let (mut same, mut steps, mut formed_again, mut refused) = (0, 0, 0, 0);
    let mut listed: BTreeMap<Difference, Vec<u64>> = BTreeMap::new();
    let mut wrong = String::new();
    for (seed, outcome) in outcomes {
        match outcome {
            Outcome::Same { steps: n, late } => {
                (same, steps, formed_again) = (same + 1, steps + n, formed_again + late)
            }
            Outcome::Refused => refused += 1,
            Outcome::Differs { class: Some(class), text, .. } => {
                if std::env::var("HAKUDO_VQSIM_SHOW").is_ok() {
                    println!("{class:?}: {text}");
                }
                listed.entry(class).or_default().push(seed);
            }
            Outcome::Differs { class: None, text, .. } => wrong.push_str(&text),
            Outcome::Silent(why) => writeln!(wrong, "seed {seed}: vqsim did not answer, {why}").unwrap(),
        }
    }
    println!(
        "{same} scenarios with {steps} steps the same ({formed_again} after forming again), {refused} with options that are refused, listed: {listed:?}"
    );
    assert!(wrong.is_empty(), "differences that are not listed:\n{wrong}");
}
