//! What is made of slots as they stand: alarms, status, metrics, explanations' input. A slot of two challengers and a small
//! program, moved by hand.

use std::sync::Arc;

use alloy_primitives::B256;
use bitcoin::hashes::Hash;
use bitcoin::key::{Keypair, Secp256k1, TapTweak};
use bitcoin::{Amount, OutPoint, ScriptBuf, TxOut, Txid};
use bitsect_bridge::daemon::{Judged, Judgement, Names, Outgoing, ReadySlot, Shown};
use bitsect_bridge::game::Stage;
use bitsect_bridge::graph::{PairSpec, Signatures, SlotGraph, SlotSpec};
use bitsect_bridge::keys::{ClaimKeys, ProverKeys, locks};
use bitsect_bridge::leaf::Program;
use bitsect_bridge::params::{Params, Rounds};
use bitsect_bridge::secret::{PairPath, PartySeed};
use bitsect_bridge::slot::{BranchEnd, Claimed, Main, Move, MoveKind, Position, SlotState, Turn};
use bitsect_challenger::alarm::Event;
use bitsect_challenger::dispute::{Deployed, DisputeGauges, DisputeStatus, Mode, Seen, View, alarms};
use bitsect_challenger::explain::published;
use bitsect_machine::Program as Elf;
use prometheus::{Registry, TextEncoder};
use tokio::sync::watch;

const ROUNDS: Rounds = Rounds { units: 2, trace: 2 };
const PARAMS: Params = Params {
    rounds: ROUNDS,
    move_timeout_blocks: 6,
    challenge_window_blocks: 10,
    dispute_window_blocks: 300,
    bond_sats: 1_000_000,
    stake_sats: 100_000,
    reward_sats: 200_000,
    verdict_fee_sats: 50_000,
};
/// The block of the claim.
const CLAIMED: u32 = 100;
const CLAIM: Claimed = Claimed {
    count: 9,
    state: [7; 24],
    height: CLAIMED,
};

fn graph() -> SlotGraph {
    const START: u32 = 0x1_0000;
    let secp = Secp256k1::new();
    let key = |byte: u8| Keypair::from_seckey_slice(&secp, &[byte; 32]).unwrap();
    let outpoint = |byte: u8| OutPoint::new(Txid::from_byte_array([byte; 32]), 0);
    let operator = PartySeed::new([3; 32]);
    let path = |pair: u32| PairPath {
        deployment: B256::repeat_byte(9),
        slot: 0,
        pair,
    };
    let payout = |byte| ScriptBuf::new_p2tr(&secp, key(byte).x_only_public_key().0, None);
    let pairs = [0_u8, 1].map(|pair| {
        let own = key(10 + pair).x_only_public_key().0;
        let stake = TxOut {
            value: Amount::from_sat(PARAMS.stake_sats),
            script_pubkey: ScriptBuf::new_p2tr_tweaked(own.tap_tweak(&secp, None).0),
        };
        PairSpec {
            key: own,
            payout: payout(10 + pair),
            stake: (outpoint(20 + pair), stake),
            locks: locks(&PartySeed::new([100 + pair; 32]), &path(pair.into()), ROUNDS),
            prover: ProverKeys::derive(&operator, &path(pair.into()), ROUNDS),
        }
    });
    let spec = SlotSpec {
        committee: key(1).x_only_public_key().0,
        operator: key(2).x_only_public_key().0,
        payout: payout(2),
        bond: outpoint(1),
        ticket: None,
        start: [1; 24],
        claim: ClaimKeys::derive(&operator, &path(0)),
        pairs: pairs.into(),
    };
    let elf = Elf {
        segments: vec![(START, vec![0x13; 64])],
        entry: START,
        text: START..START + 64,
        symbols: Vec::new(),
    };
    SlotGraph::build(&secp, &Program::of(elf).unwrap(), PARAMS, spec).unwrap()
}

/// A slot whose operator has claimed.
fn claimed(graph: &SlotGraph) -> SlotState {
    let mut state = SlotState::new(graph);
    state.claim = Some(CLAIM);
    state.main = Main::Claimed;
    state
}

fn made(pair: Option<usize>, kind: MoveKind, byte: u8) -> Move {
    Move {
        pair,
        kind,
        detail: None,
        txid: Txid::from_byte_array([byte; 32]),
        height: CLAIMED + 1,
        vsize: 500,
    }
}

fn waiting(turn: Turn, stage: Stage, since: u32) -> Position {
    Position::Waiting { turn, stage, since }
}

fn seen(judgement: Judgement) -> Seen {
    let expected = (judgement != Judgement::Unknown).then_some(B256::repeat_byte(8));
    Seen {
        claim: CLAIM,
        judged: Judged { judgement, expected },
    }
}

/// The kinds of the alarms that a slot gives rise to, for our pair.
fn kinds(graph: &SlotGraph, pair: Option<usize>, state: &SlotState, seen: &Seen, tip: u32) -> Vec<String> {
    let alarms = alarms(graph, (0, pair), state, Some(seen), tip);
    let kind = |event: &Event| {
        serde_json::to_value(event).unwrap()["event"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    alarms.iter().map(|(_, event)| kind(event)).collect()
}

#[test]
fn a_claim_is_told_by_what_it_is() {
    let graph = graph();
    let state = claimed(&graph);
    let of = |judgement, tip| kinds(&graph, Some(0), &state, &seen(judgement), tip);
    assert_eq!(of(Judgement::True, CLAIMED), ["claim-seen"]);
    assert_eq!(of(Judgement::False, CLAIMED), ["claim-seen", "claim-false"]);
    // Derivation may be a moment behind the claim's block; a block later it is news.
    assert_eq!(of(Judgement::Unknown, CLAIMED), [""; 0]);
    assert_eq!(of(Judgement::Unknown, CLAIMED + 1), ["claim-seen"]);
    // What was made of another claim, before a reorg, says nothing of this one.
    let mut other = seen(Judgement::False);
    other.claim.count = 8;
    assert_eq!(kinds(&graph, Some(0), &state, &other, CLAIMED), [""; 0]);
    let nothing = SlotState::new(&graph);
    assert_eq!(kinds(&graph, None, &nothing, &other, CLAIMED), [""; 0]);
}

#[test]
fn the_time_for_a_challenge_is_told_at_half_and_at_its_end() {
    let graph = graph();
    let mut state = claimed(&graph);
    let late = |state: &SlotState, pair, tip| {
        let all = kinds(&graph, pair, state, &seen(Judgement::False), tip);
        all.into_iter()
            .filter(|kind| kind.starts_with("deadline"))
            .collect::<Vec<_>>()
    };
    for pair in [None, Some(0)] {
        assert_eq!(late(&state, pair, CLAIMED + 4), [""; 0]);
        assert_eq!(late(&state, pair, CLAIMED + 5), ["deadline-half"]);
        assert_eq!(late(&state, pair, CLAIMED + 9), ["deadline-half"]);
        assert_eq!(late(&state, pair, CLAIMED + 10), ["deadline-missed"]);
    }
    // Somebody's challenge is enough for those who watch, not for one that has a branch.
    state.branches[1].position = waiting(Turn::Challenger, Stage::Units(0), CLAIMED + 5);
    assert_eq!(late(&state, None, CLAIMED + 5), [""; 0]);
    assert_eq!(late(&state, Some(0), CLAIMED + 5), ["deadline-half"]);
    assert_eq!(late(&state, Some(1), CLAIMED + 5), [""; 0]);
}

#[test]
fn moves_and_their_clocks_are_told() {
    let graph = graph();
    let mut state = claimed(&graph);
    let challenge = made(Some(0), MoveKind::Ask(Stage::Units(0)), 1);
    state.moves.push(challenge.clone());
    state.branches[0].position = waiting(Turn::Prover, Stage::Units(0), 101);
    let all = alarms(&graph, (3, Some(0)), &state, Some(&seen(Judgement::False)), 103);
    let (_, event) = all.iter().find(|(line, _)| line.starts_with("made")).unwrap();
    let expected = Event::ChallengeMade {
        slot: 3,
        challenger: 0,
        ours: true,
        transaction: challenge.txid.to_string(),
    };
    assert_eq!(*event, expected);
    let half = all.iter().find(|(line, _)| line.starts_with("late"));
    assert_eq!(half, None, "three of six blocks are left only in block 104");
    let all = alarms(&graph, (3, Some(1)), &state, Some(&seen(Judgement::False)), 104);
    let expected = Event::DeadlineHalf {
        slot: 3,
        challenger: Some(0),
        ours: false,
        turn: "operator",
        stage: "Units(0)".to_owned(),
        blocks_left: 3,
    };
    assert!(all.iter().any(|(_, event)| *event == expected), "{all:?}");
    // Once main is gone the operator has nothing to lose by silence.
    state.main = Main::Slashed { pair: 1 };
    let all = kinds(&graph, Some(0), &state, &seen(Judgement::False), 104);
    assert!(!all.contains(&"deadline-half".to_owned()), "{all:?}");
}

#[test]
fn ends_are_told_and_each_once() {
    let graph = graph();
    let mut state = claimed(&graph);
    state.moves = vec![
        made(None, MoveKind::Main(Main::FinalisedFast), 1),
        made(Some(0), MoveKind::End(BranchEnd::Finalised), 1),
        made(Some(1), MoveKind::End(BranchEnd::Verdict), 2),
        made(Some(1), MoveKind::End(BranchEnd::Forfeit), 3),
        made(Some(1), MoveKind::Answer(Stage::Link), 4),
    ];
    state.main = Main::FinalisedFast;
    for branch in &mut state.branches {
        branch.position = Position::Ended(BranchEnd::Finalised);
    }
    let expected = ["dispute-ended", "dispute-ended", "dispute-moved"];
    let of = |judgement| kinds(&graph, Some(1), &state, &seen(judgement), 200).split_off(1);
    assert_eq!(of(Judgement::True), expected);
    let all = of(Judgement::False);
    assert_eq!(all[..2], ["claim-false", "false-claim-finalised"]);
    assert_eq!(all[2..], expected);
    // The same slots give the same lines; another block gives no new ones.
    let lines = |tip| -> Vec<String> {
        let all = alarms(&graph, (0, Some(1)), &state, Some(&seen(Judgement::False)), tip);
        all.into_iter().map(|(line, _)| line).collect()
    };
    assert_eq!(lines(200), lines(201));
    let mut unique = lines(200);
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), lines(200).len());
}

/// A view of one slot, and what it sees.
fn view(mode: Mode, state: SlotState, seen: Seen, withheld: Vec<Outgoing>) -> View {
    let ready = ReadySlot {
        graph: Arc::new(graph()),
        signatures: Arc::new(Signatures::default()),
        start_unit: 1_000,
    };
    let names = Names {
        operator: "alice".into(),
        challengers: vec!["bob".into(), "carol".into()],
    };
    let shown = Shown {
        tip: 104,
        slots: vec![state],
        withheld,
        ..Shown::default()
    };
    View {
        mode,
        deployed: Arc::new(Deployed {
            hash: B256::repeat_byte(9),
            slots: vec![ready],
            names: vec![names],
            start_height: 90,
        }),
        pairs: vec![Some(0)].into(),
        shown: watch::channel(shown).1,
        seen: watch::channel(vec![Some(seen)]).1,
    }
}

#[test]
fn the_status_reads_as_written_and_the_metrics_count() {
    let graph = graph();
    let mut state = claimed(&graph);
    state.moves = vec![
        made(None, MoveKind::Claim, 1),
        made(Some(0), MoveKind::Ask(Stage::Units(0)), 2),
        made(Some(0), MoveKind::Answer(Stage::Units(0)), 3),
        made(Some(1), MoveKind::End(BranchEnd::Forfeit), 4),
    ];
    state.branches[0].position = waiting(Turn::Challenger, Stage::Units(0), 102);
    state.branches[1].position = Position::Ended(BranchEnd::Forfeit);
    let outgoing = Outgoing {
        label: "choice".into(),
        why: "it is false".into(),
        transaction: graph.claim.transaction.clone(),
        fee: Amount::ZERO,
        deadline: 107,
    };
    let view = view(Mode::DryRun, state, seen(Judgement::False), vec![outgoing]);
    let status = view.status();
    let read: DisputeStatus = serde_json::from_str(&serde_json::to_string(&status).unwrap()).unwrap();
    assert_eq!(read, status);
    assert_eq!(
        (status.tip, status.slots[0].ours.as_deref()),
        (Some(104), Some("bob"))
    );
    assert_eq!(status.slots[0].view.branches[0].blocks_left, Some(4));
    let text = status.to_string();
    for part in [
        "disputes   dry run, at L1 block 104",
        "slot 0 of alice, behind unit 1000: claimed; 9 units",
        "the claim is false: 0x0808",
        "bob: waiting for bob at Units(0), 4 blocks left",
        "carol: forfeit",
        "would publish choice: ",
        "until block 107: it is false",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let registry = Registry::new();
    let gauges = DisputeGauges::register(&registry).unwrap();
    gauges.refresh(&view);
    let text = TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
    for line in [
        "bitsect_claims{judgement=\"false\"} 1",
        "bitsect_claims{judgement=\"true\"} 0",
        "bitsect_branches{turn=\"challenger\"} 1",
        "bitsect_branches{turn=\"operator\"} 0",
        "bitsect_deadline_blocks{turn=\"challenger\"} 4",
        "bitsect_deadline_blocks{turn=\"operator\"} -1",
        "bitsect_moves_published 1",
        "bitsect_disputes_ended{end=\"forfeit\"} 1",
        "bitsect_stakes_lost 0",
    ] {
        assert!(text.lines().any(|got| got == line), "{line}: {text}");
    }
}

#[test]
fn a_claim_alone_says_what_it_says() {
    let view = view(Mode::Watch, claimed(&graph()), seen(Judgement::Unknown), vec![]);
    let state = view.shown.borrow().slots[0].clone();
    let said = published(&view.deployed.slots[0], &state);
    let [(None, claimed)] = said.as_slice() else {
        panic!("{said:?}");
    };
    assert_eq!(
        (claimed.start, claimed.units, claimed.height),
        (1_000, 9, Some(CLAIMED))
    );
    assert!(claimed.states.is_empty() && claimed.trace.is_none());
}
