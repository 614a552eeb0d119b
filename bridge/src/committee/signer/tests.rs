//! Desks without a network: lists and messages in any order, old ones again, requests that come and go, and crashes.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use tempfile::TempDir;
use tokio::sync::watch;

use super::fetch::{Fetched, Orders};
use super::input::Input;
use super::*;
use crate::committee::message::HEADER;
use crate::committee::peer::Event;
use crate::committee::tests::harness::{deployment, keys};
use crate::committee::{Deployment, MemberStatus, Tweak};

const MEMBERS: u8 = 3;
const LISTS: usize = 3;

#[derive(Clone, Debug)]
enum Action {
    /// A member asks for a list.
    Ask { by: u8, list: usize },
    /// A member stops asking for a list.
    Cancel { by: u8, list: usize },
    /// A member reads another's status and list.
    Read { by: u8, from: u8 },
    /// A member reads one message that it wants of another.
    Fetch {
        by: u8,
        from: u8,
        which: prop::sample::Index,
    },
    /// Somebody brings a member an old list or message.
    Replay { by: u8, which: prop::sample::Index },
    /// A member crashes and comes back, and asks for nothing yet.
    Crash { member: u8 },
}

fn action() -> impl Strategy<Value = Action> {
    let (member, list, which) = (0..MEMBERS, 0..LISTS, any::<prop::sample::Index>());
    let two = (member.clone(), member.clone());
    prop_oneof![
        12 => (member.clone(), list.clone()).prop_map(|(by, list)| Action::Ask { by, list }),
        2 => (member.clone(), list).prop_map(|(by, list)| Action::Cancel { by, list }),
        30 => two.clone().prop_map(|(by, from)| Action::Read { by, from }),
        40 => (two, which.clone()).prop_map(|((by, from), which)| Action::Fetch { by, from, which }),
        2 => (member.clone(), which).prop_map(|(by, which)| Action::Replay { by, which }),
        1 => member.prop_map(|member| Action::Crash { member }),
    ]
}

/// What was once published: of a plan, or a list.
type Published = (Option<Digest>, Kind, Vec<u8>);
type Answer = oneshot::Receiver<Result<Vec<Signature>, SignError>>;

struct Node {
    board: Arc<Board>,
    desk: Desk,
    orders: BTreeMap<MemberId, watch::Receiver<Orders>>,
    answers: BTreeMap<usize, Answer>,
}

struct World {
    deployment: Arc<Deployment>,
    hash: Digest,
    plans: Vec<Arc<Plan>>,
    dirs: Vec<TempDir>,
    nodes: Vec<Option<Node>>,
    history: Vec<Published>,
    /// Which lists each member has ever asked for.
    wanted: BTreeSet<(u8, usize)>,
}

fn plan(hash: &Digest, aggregate: &Aggregate, list: usize) -> Arc<Plan> {
    let signing = |index: usize| Signing {
        label: format!("{list}/{index}"),
        message: Digest::tagged("test/desk", &[&[list as u8, index as u8]]).0,
        tweak: if index == 0 {
            Tweak::Leaf
        } else {
            Tweak::KeyPath(None)
        },
    };
    let signings = (0..=list).map(signing).collect();
    Arc::new(Plan::of_list(hash, signings, aggregate).unwrap())
}

impl World {
    fn new() -> Self {
        let deployment = Arc::new(deployment(MEMBERS));
        let hash = deployment.hash().unwrap();
        let aggregate = Aggregate::new(&deployment).unwrap();
        let mut world = Self {
            hash,
            plans: (0..LISTS).map(|list| plan(&hash, &aggregate, list)).collect(),
            deployment,
            dirs: (0..MEMBERS).map(|_| tempfile::tempdir().unwrap()).collect(),
            nodes: (0..MEMBERS).map(|_| None).collect(),
            history: Vec::new(),
            wanted: BTreeSet::new(),
        };
        for member in 0..MEMBERS {
            world.start(member);
        }
        world
    }

    fn start(&mut self, number: u8) {
        let place = usize::from(number);
        // The old process has to be gone before its store can be opened.
        self.nodes[place] = None;
        let id = MemberId(number.into());
        let store = Store::open_or_create(self.dirs[place].path(), &self.hash, id).unwrap();
        let keys = keys(number);
        let contribution = Envelope::sign(Kind::Contribution, self.hash, id, Digest([0; 32]), vec![1], &keys);
        store.put_contribution(id, &contribution.encode()).unwrap();
        store.put_signatures(&Digest([5; 32]), &[6; 64]).unwrap();
        let store = Arc::new(store);
        let board = Arc::new(Board::with_archive(store.clone()));
        let identity = Arc::new(Identity {
            deployment: self.deployment.clone(),
            hash: self.hash,
            id,
            keys,
        });
        let (desk, orders) = Desk::open(identity, store, board.clone()).unwrap();
        self.nodes[place] = Some(Node {
            board,
            desk,
            orders: orders.into_iter().collect(),
            answers: BTreeMap::new(),
        });
        self.record(number);
    }

    fn node(&mut self, member: u8) -> &mut Node {
        self.nodes[usize::from(member)].as_mut().unwrap()
    }

    fn record(&mut self, member: u8) {
        let board = self.node(member).board.clone();
        let mut published = vec![(None, Kind::Sessions, board.get(Kind::Sessions).unwrap().to_vec())];
        for plan in &self.plans {
            for kind in [Kind::Nonces, Kind::Ready, Kind::Partials, Kind::Signatures] {
                if let Some(bytes) = board.get_of(&plan.digest(), kind).unwrap() {
                    published.push((Some(plan.digest()), kind, bytes.to_vec()));
                }
            }
        }
        for message in published {
            if !self.history.contains(&message) {
                self.history.push(message);
            }
        }
    }

    fn give(&mut self, by: u8, input: Input) {
        let desk = &mut self.node(by).desk;
        desk.handle(input).unwrap();
        desk.advance().unwrap();
        self.record(by);
    }

    fn open(&self, kind: Kind, bytes: &[u8]) -> Envelope {
        let member = Envelope::decode(bytes, kind).unwrap().member;
        Envelope::open(bytes, kind, &self.deployment, &self.hash, member).unwrap()
    }

    fn ask(&mut self, by: u8, list: usize) {
        if self.node(by).answers.contains_key(&list) {
            return;
        }
        let (reply, answer) = oneshot::channel();
        let (name, plan) = (format!("list {list}"), self.plans[list].clone());
        self.node(by).answers.insert(list, answer);
        self.wanted.insert((by, list));
        self.give(by, Input::Command(Command::Ask(Ask { name, plan, reply })));
    }

    fn cancel(&mut self, by: u8, list: usize) {
        if self.node(by).answers.remove(&list).is_some() {
            let plan = self.plans[list].digest();
            self.give(by, Input::Command(Command::Look(plan)));
        }
    }

    fn read(&mut self, by: u8, from: u8) {
        if by == from {
            return;
        }
        let [status, list] =
            [Kind::Status, Kind::Sessions].map(|kind| self.node(from).board.get(kind).unwrap());
        let status: MemberStatus = serde_json::from_slice(&status[HEADER..]).unwrap();
        self.give(by, Input::Peer(Event::Status(MemberId(from.into()), status)));
        let list = self.open(Kind::Sessions, &list);
        self.give(by, Input::Peer(Event::Message(list)));
    }

    /// What a member wants of another.
    fn orders(&mut self, by: u8, from: u8) -> Vec<(Digest, Kind)> {
        let orders = self.node(by).orders.get(&MemberId(from.into()));
        orders.map_or(vec![], |orders| {
            orders
                .borrow()
                .wanted
                .keys()
                .map(|(_, plan, kind)| (*plan, *kind))
                .collect()
        })
    }

    fn fetch(&mut self, by: u8, from: u8, (plan, kind): (Digest, Kind)) {
        // It may be gone by now.
        if let Some(bytes) = self.node(from).board.get_of(&plan, kind).unwrap() {
            self.deliver(by, plan, kind, &bytes);
        }
    }

    fn deliver(&mut self, by: u8, plan: Digest, kind: Kind, bytes: &[u8]) {
        let envelope = self.open(kind, bytes);
        let fetched = Fetched {
            member: envelope.member,
            plan,
            kind,
            result: Ok(envelope),
        };
        self.give(by, Input::Fetched(fetched));
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Ask { by, list } => self.ask(by, list),
            Action::Cancel { by, list } => self.cancel(by, list),
            Action::Read { by, from } => self.read(by, from),
            Action::Fetch { by, from, which } => {
                let orders = self.orders(by, from);
                if !orders.is_empty() {
                    self.fetch(by, from, orders[which.index(orders.len())]);
                }
            }
            Action::Replay { by, which } => {
                let (plan, kind, bytes) = self.history[which.index(self.history.len())].clone();
                match plan {
                    Some(plan) => self.deliver(by, plan, kind, &bytes),
                    None => {
                        let list = self.open(kind, &bytes);
                        self.give(by, Input::Peer(Event::Message(list)));
                    }
                }
            }
            Action::Crash { member } => self.start(member),
        }
    }

    /// Everybody asks for everything, reads everything, and gets everything.
    fn settle(&mut self) {
        for (by, list) in (0..MEMBERS).flat_map(|by| (0..LISTS).map(move |list| (by, list))) {
            self.ask(by, list);
        }
        for _ in 0..12 {
            for (by, from) in (0..MEMBERS).flat_map(|by| (0..MEMBERS).map(move |from| (by, from))) {
                self.read(by, from);
                for order in self.orders(by, from) {
                    self.fetch(by, from, order);
                }
            }
        }
        for (by, list) in (0..MEMBERS).flat_map(|by| (0..LISTS).map(move |list| (by, list))) {
            let plan = self.plans[list].clone();
            let signed = self.node(by).answers.get_mut(&list).unwrap().try_recv();
            let signatures = signed
                .unwrap_or_else(|_| panic!("list {list} is not signed by {by}"))
                .unwrap();
            assert_eq!(plan.wrong_signature(&signatures), None);
        }
    }

    /// Every point in every nonce is new, each set of nonces has signed one session at most, and nobody has said
    /// anything of a list before everybody has asked for it.
    fn check(&self) {
        let mut points = BTreeSet::new();
        let mut signed: BTreeMap<(MemberId, u64), Digest> = BTreeMap::new();
        let mut rounds: BTreeMap<Digest, Vec<u64>> = BTreeMap::new();
        for (plan, kind, bytes) in &self.history {
            let payload = &bytes[HEADER..];
            let envelope = Envelope::decode(bytes, *kind).unwrap();
            if let Some(plan) = plan {
                let list = self.plans.iter().position(|one| one.digest() == *plan).unwrap();
                assert!((0..MEMBERS).all(|by| self.wanted.contains(&(by, list))));
            }
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
            world.check();
        }
        world.settle();
        world.check();
    }
}

/// A member that cannot keep its word: it wants more than a list may name.
#[test]
fn a_list_that_is_too_long_is_named_and_the_old_one_stands() {
    let mut world = World::new();
    for by in 0..MEMBERS {
        world.ask(by, 0);
    }
    world.read(0, 1);
    let payload: Vec<u8> = (0..=MAX_PENDING as u32)
        .flat_map(|number| [&number.to_be_bytes()[..], &[0; 156]].concat())
        .collect();
    let (id, hash) = (MemberId(1), world.hash);
    let list = Envelope::sign(Kind::Sessions, hash, id, Digest([0; 32]), payload, &keys(1));
    world.give(0, Input::Peer(Event::Message(list)));
    let status = world.node(0).board.get(Kind::Status).unwrap();
    let status: MemberStatus = serde_json::from_slice(&status[HEADER..]).unwrap();
    let named: Vec<_> = status
        .faults
        .into_iter()
        .map(|fault| (fault.member, fault.what))
        .collect();
    let what = "payload: expected at most 512 pending sessions, got 513".to_owned();
    assert_eq!(named, [("member-1".to_owned(), what)]);
    assert_eq!(status.sessions.unwrap().oldest[0].missing, ["member-2"]);
    world.settle();
    world.check();
}
