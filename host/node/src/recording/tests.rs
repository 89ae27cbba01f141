use super::*;
use hakudo_membership::ViewId;
use std::path::PathBuf;

/// A folder that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("hakudo-recording-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn header() -> Header {
    Header {
        program: "0".into(),
        node: NodeId(1),
        nodes: BTreeMap::from([(NodeId(1), "n1".into())]),
        persisted: None,
        seed: 7,
        begun_ms: 1_700_000_000_000,
    }
}

/// Drives a controller alone in its cluster until it has nothing to do, and records it.
fn record(folder: &Path) -> PathBuf {
    let header = header();
    let mut recorder = Recorder::begin(folder, &header);
    let mut controller = header.controller();
    let mut now = Instant::from_millis(5);
    let view = View {
        id: ViewId { epoch: 1, leader: 1 },
        members: vec![NodeId(1)],
        together: vec![NodeId(1)],
        left: Vec::new(),
        quorate: true,
        exclusive: true,
    };
    let mut waiting = vec![
        Input::Clock(UnixTime::from_millis(1_700_000_000_000).into()),
        Input::Executor(ExecutorInput::Connected { known: Vec::new(), newest_epoch: 0, first_call: 0 }),
        Input::View(view),
        Input::Request { client: 1, user: "root".into(), request: Request::Cib },
    ];
    waiting.reverse();
    for _ in 0..100 {
        now += std::time::Duration::from_millis(1);
        let input = match waiting.pop() {
            Some(input) => input,
            None => match controller.deadline() {
                Some(at) => {
                    now = now.max(at);
                    Input::Timer
                }
                None => break,
            },
        };
        let draft = Draft::new(now, &input);
        let mut effects = Vec::new();
        controller.handle(now, input, &mut effects);
        if let Some(bytes) = draft.finish(&effects) {
            recorder.append(&bytes);
        }
        for effect in effects {
            match effect {
                Effect::Broadcast(payload) => waiting.insert(0, Input::Deliver(Delivered { from: NodeId(1), payload })),
                Effect::Persist { token, .. } => waiting.insert(0, Input::Persisted { token, result: Ok(()) }),
                Effect::Plan { token, cib, now } => {
                    let plan = hakudo_scheduler::plan(&cib, now);
                    waiting.insert(0, Input::Planned { token, result: Ok(Box::new(plan.transition)) });
                }
                _ => {}
            }
        }
    }
    folder.join("00000001.recording")
}

fn replay(place: &Path) -> (Vec<Step>, Replay) {
    let mut replay = Replay::open(place).unwrap();
    let mut steps = Vec::new();
    while let Some(step) = replay.step().unwrap() {
        steps.push(step);
    }
    (steps, replay)
}

#[test]
fn a_replay_asks_for_the_same_effects() {
    let folder = Folder::new("same");
    let (steps, mut replay) = replay(&record(&folder.0));
    assert!(steps.iter().all(|step| step.same), "{steps:#?}");
    assert!(steps.iter().any(|step| step.effects.iter().any(|effect| matches!(effect, Effect::Plan { .. }))));
    assert!(steps.iter().all(|step| !step.told.contains("cib")), "a client that only looks is not recorded");
    assert!(steps[0].time.millis() >= 1_700_000_000_000);
    let cib = replay.cib().unwrap();
    assert!(cib.contains("<node_state id=\"1\" uname=\"n1\""), "{cib}");
}

#[test]
fn other_effects_are_noticed() {
    let folder = Folder::new("other");
    let place = record(&folder.0);
    let bytes = fs::read(&place).unwrap();
    let mut header = header();
    header.nodes.insert(NodeId(1), "x1".into());
    let old = frame(&postcard::to_stdvec(&self::header()).unwrap());
    let mut other = MAGIC.to_vec();
    other.extend(frame(&postcard::to_stdvec(&header).unwrap()));
    other.extend_from_slice(&bytes[MAGIC.len() + old.len()..]);
    fs::write(&place, other).unwrap();
    let mut replay = Replay::open(&place).unwrap();
    let same = std::iter::from_fn(|| replay.step().unwrap()).all(|step| step.same);
    assert!(!same);
}

#[test]
fn a_cut_end_is_an_end_and_damage_is_named() {
    let folder = Folder::new("damage");
    let place = record(&folder.0);
    let (steps, _) = replay(&place);
    let whole = fs::read(&place).unwrap();
    fs::write(&place, &whole[..whole.len() - 3]).unwrap();
    assert_eq!(replay(&place).0.len(), steps.len() - 1);
    let mut damaged = whole.clone();
    let first = MAGIC.len() + frame(&postcard::to_stdvec(&header()).unwrap()).len();
    damaged[first..first + 4].copy_from_slice(&u32::MAX.to_le_bytes());
    fs::write(&place, damaged).unwrap();
    let error = Replay::open(&place).unwrap().step().unwrap_err().to_string();
    assert!(error.contains(&format!("damaged at byte {first}")), "{error}");
    fs::write(&place, "<cib/>").unwrap();
    assert!(Replay::open(&place).err().unwrap().to_string().contains("is no recording"));
}

#[test]
fn only_the_newest_are_kept() {
    let folder = Folder::new("kept");
    for _ in 0..6 {
        Recorder::begin(&folder.0, &header());
    }
    let mut names: Vec<_> = fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["00000003.recording", "00000004.recording", "00000005.recording", "00000006.recording"]);
}
