//! The set-up without a network: messages in any order, old ones again, and crashes in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use tempfile::TempDir;
use tokio::sync::watch;

use super::cluster::{builder, forge};
use super::harness::{TestBuilder, deployment, keys};
use crate::committee::board::Board;
use crate::committee::message::HEADER;
use crate::committee::peer::Event;
use crate::committee::setup::Setup;
use crate::committee::{Deployment, Digest, Envelope, Kind, MemberId, MemberStatus, Progress, Store};

const MEMBERS: u8 = 3;

#[derive(Clone, Debug)]
enum Action {
    /// A member reads what another has published, of one kind.
    Read { by: u8, from: u8, kind: Kind },
    /// Somebody brings a member an old message.
    Replay { by: u8, which: prop::sample::Index },
    /// A member crashes and comes back.
    Crash { member: u8 },
}

fn action() -> impl Strategy<Value = Action> {
    let kind = prop::sample::select(Kind::ALL[1..].to_vec());
    prop_oneof![
        40 => (0..MEMBERS, 0..MEMBERS, kind).prop_map(|(by, from, kind)| Action::Read { by, from, kind }),
        2 => (0..MEMBERS, any::<prop::sample::Index>()).prop_map(|(by, which)| Action::Replay { by, which }),
        1 => (0..MEMBERS).prop_map(|member| Action::Crash { member }),
    ]
}

struct Node {
    board: Arc<Board>,
    setup: Setup<TestBuilder>,
    progress: watch::Receiver<Progress>,
}

struct World {
    deployment: Arc<Deployment>,
    hash: Digest,
    dirs: Vec<TempDir>,
    nodes: Vec<Option<Node>>,
    /// Every message that was ever published.
    history: Vec<(Kind, Vec<u8>)>,
}

impl World {
    fn new() -> Self {
        let deployment = Arc::new(deployment(MEMBERS));
        let mut world = Self {
            hash: deployment.hash().unwrap(),
            deployment,
            dirs: (0..MEMBERS).map(|_| tempfile::tempdir().unwrap()).collect(),
            nodes: (0..MEMBERS).map(|_| None).collect(),
            history: Vec::new(),
        };
        for member in 0..MEMBERS {
            world.start(member);
        }
        world
    }

    fn start(&mut self, member: u8) {
        let place = usize::from(member);
        // The old process has to be gone before its store can be opened.
        self.nodes[place] = None;
        let id = MemberId(member.into());
        let store = Store::open_or_create(self.dirs[place].path(), &self.hash, id).unwrap();
        let builder = builder(member, 4, 10);
        let board = Arc::new(Board::new());
        let sender = watch::Sender::new(Progress::default());
        let progress = sender.subscribe();
        let deployment = self.deployment.clone();
        let mut setup = Setup::open(deployment, keys(member), builder, store, board.clone(), sender).unwrap();
        setup.advance().unwrap();
        self.nodes[place] = Some(Node {
            board,
            setup,
            progress,
        });
        self.record(member);
    }

    fn node(&mut self, member: u8) -> &mut Node {
        self.nodes[usize::from(member)].as_mut().unwrap()
    }

    fn record(&mut self, member: u8) {
        for kind in &Kind::ALL[1..] {
            if let Some(bytes) = self.node(member).board.get(*kind) {
                let message = (*kind, bytes.to_vec());
                if !self.history.contains(&message) {
                    self.history.push(message);
                }
            }
        }
    }

    fn deliver(&mut self, by: u8, kind: Kind, bytes: &[u8]) {
        let member = Envelope::decode(bytes, kind).unwrap().member;
        let envelope = Envelope::open(bytes, kind, &self.deployment, &self.hash, member).unwrap();
        self.node(by).setup.handle(Event::Message(envelope)).unwrap();
        self.record(by);
    }

    fn read(&mut self, by: u8, from: u8, kind: Kind) {
        if by != from
            && let Some(bytes) = self.node(from).board.get(kind)
        {
            self.deliver(by, kind, &bytes);
        }
    }

    /// What a member finds wrong with others.
    fn faults(&mut self, member: u8) -> Vec<String> {
        let status = self.node(member).board.get(Kind::Status).unwrap();
        let status: MemberStatus = serde_json::from_slice(&status[HEADER..]).unwrap();
        status.faults.into_iter().map(|fault| fault.what).collect()
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Read { by, from, kind } => self.read(by, from, kind),
            Action::Replay { by, which } => {
                let (kind, bytes) = self.history[which.index(self.history.len())].clone();
                self.deliver(by, kind, &bytes);
            }
            Action::Crash { member } => self.start(member),
        }
    }

    /// Everybody reads everything from everybody, until everybody is complete.
    fn settle(&mut self) {
        for _ in 0..10 {
            for by in 0..MEMBERS {
                for from in 0..MEMBERS {
                    for kind in &Kind::ALL[1..] {
                        self.read(by, from, *kind);
                    }
                }
            }
        }
        for member in 0..MEMBERS {
            let progress = self.node(member).progress.borrow().clone();
            assert!(progress.complete, "member {member}: {progress:?}");
        }
    }

    /// Every point in every nonce is new, and each set of nonces has signed one session at most.
    fn check(&self) {
        let mut points = BTreeSet::new();
        let mut signed: BTreeMap<(MemberId, u64), Digest> = BTreeMap::new();
        let mut rounds: BTreeMap<Digest, Vec<u64>> = BTreeMap::new();
        for (kind, bytes) in &self.history {
            let payload = &bytes[HEADER..];
            let envelope = Envelope::decode(bytes, *kind).unwrap();
            match kind {
                Kind::Nonces => {
                    for point in payload[8..].chunks(33) {
                        assert!(points.insert(point.to_vec()));
                    }
                }
                Kind::Ready => {
                    let counter = |place: &[u8]| u64::from_le_bytes(place[..8].try_into().unwrap());
                    rounds.insert(envelope.session, payload.chunks(40).map(counter).collect());
                }
                Kind::Partials => {
                    let counter = rounds[&envelope.session][envelope.member.index()];
                    let before = signed.insert((envelope.member, counter), envelope.session);
                    assert_eq!(before, None, "one set of nonces signed twice");
                }
                _ => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn any_order_ends_and_no_nonce_signs_twice(actions in prop::collection::vec(action(), 0..250)) {
        let mut world = World::new();
        for action in actions {
            world.act(action);
        }
        world.settle();
        world.check();
    }
}

/// A session that everybody was ready for, and that two of three have signed, when the third comes back with new nonces.
#[test]
fn a_session_left_behind_is_signed_anew() {
    let mut world = World::new();
    let exchange = |world: &mut World, kind| {
        for by in 0..MEMBERS {
            for from in 0..MEMBERS {
                world.read(by, from, kind);
            }
        }
    };
    for kind in [Kind::Contribution, Kind::Graph, Kind::Nonces] {
        exchange(&mut world, kind);
    }
    for (by, from) in [(0, 1), (0, 2), (1, 0), (1, 2)] {
        world.read(by, from, Kind::Ready);
    }
    for member in [0, 1] {
        assert_eq!(world.node(member).progress.borrow().partials, 1);
    }
    assert_eq!(world.node(2).progress.borrow().partials, 0);
    world.start(2);
    world.settle();
    world.check();
    let counters = (0..MEMBERS).map(|member| world.node(member).progress.borrow().round);
    assert_eq!(counters.collect::<Vec<_>>(), [2, 2, 2]);
}

/// A member that comes back with its counter of old, because it lost its store, and one that has two daemons.
#[test]
fn counters_that_go_back_or_repeat_are_named() {
    let mut world = World::new();
    for kind in [Kind::Contribution, Kind::Graph, Kind::Nonces] {
        for (by, from) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
            world.read(by, from, kind);
        }
    }
    let first = world.node(2).board.get(Kind::Nonces).unwrap();
    let twice = forge(Kind::Nonces, &first, 2, |payload| {
        let other = payload[8..74].to_vec();
        payload[74..140].copy_from_slice(&other);
    });
    let newer = forge(Kind::Nonces, &first, 2, |payload| payload[0] = 9);
    for (message, named) in [
        (twice, Some("nonces: two sets under the counter 1")),
        (newer, None),
        (
            first.to_vec(),
            Some("nonces: counter 1 after 9; if its store was lost, restart the other members"),
        ),
    ] {
        world.deliver(0, Kind::Nonces, &message);
        let named: Vec<_> = named.into_iter().map(String::from).collect();
        assert_eq!(world.faults(0), named);
    }
}

/// A `ready` for our session whose payload is that of another: whoever signs upon it completes, and forgets the lie.
#[test]
fn nobody_signs_upon_a_ready_that_is_refused() {
    let lies: [(fn(&mut Vec<u8>), &str); 2] = [
        (
            |payload| payload[9] ^= 1,
            "ready: other nonces of member 0 under the counter 1 than we have",
        ),
        (|payload| payload[0] ^= 8, "session: expected"),
    ];
    for (change, named) in lies {
        let mut world = World::new();
        for kind in [Kind::Contribution, Kind::Graph, Kind::Nonces] {
            for (by, from) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
                world.read(by, from, kind);
            }
        }
        let truth = world.node(2).board.get(Kind::Ready).unwrap();
        let lie = forge(Kind::Ready, &truth, 2, change);
        world.deliver(0, Kind::Ready, &lie);
        world.read(0, 1, Kind::Ready);
        let progress = world.node(0).progress.borrow().clone();
        assert_eq!((progress.ready, progress.partials), (2, 0), "{named}");
        let faults = world.faults(0);
        assert!(
            matches!(&faults[..], [fault] if fault.starts_with(named)),
            "{faults:?}"
        );
        world.deliver(0, Kind::Ready, &truth);
        let progress = world.node(0).progress.borrow().clone();
        assert_eq!((progress.ready, progress.partials), (3, 1), "{named}");
        assert!(world.faults(0).is_empty());
        world.settle();
        world.check();
    }
}
