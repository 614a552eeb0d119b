//! What a dispute costs on Bitcoin, and what its set-up takes.
//!
//! The longest game over 2^64 steps is played with real signatures; consensus takes every transaction. Sizes are exact, so
//! the same on every machine; times are of this one.

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::Instant;

use bitcoin::Weight;
use bitsect_bridge::game::{Go, Opening, Part, Stage, Subject};
use bitsect_bridge::graph::SlotGraph;
use bitsect_bridge::params::Rounds;
use bitsect_bridge::slot::{Move, MoveKind};
use common::play::Game;
use common::{Parties, outpoint, params, program};

/// 2^24 units of 2^40 steps.
const ROUNDS: Rounds = Rounds { units: 12, trace: 20 };
/// A child of a move: it spends the anchor and a taproot output, and gives change to one.
const CHILD: Weight = Weight::from_wu(4 * (10 + 41 + 41 + 43) + 2 + 1 + 66);

fn phase(played: &Move) -> &'static str {
    match played.kind {
        MoveKind::Claim => "claim",
        MoveKind::Ask(stage) | MoveKind::Answer(stage) => match stage {
            Stage::Units(_) => "units",
            Stage::Link => "link",
            Stage::Trace(_) => "trace",
            Stage::Step => "step",
            Stage::Content(_) | Stage::Path(..) | Stage::Final(_) => "path",
        },
        MoveKind::End(_) => "verdict",
        MoveKind::Main(_) => "",
    }
}

fn main() {
    let parties = Parties::new(1);
    let mut params = params(ROUNDS);
    params.dispute_window_blocks = 1_000;
    let started = Instant::now();
    let program = program(&[0x13; 16]);
    let spec = parties.spec(&params, [1; 24], outpoint(1), &[outpoint(2)]);
    let keys = started.elapsed();
    let bytes = spec.pairs[0].prover.encode(ROUNDS).len() + spec.claim.encode().len();
    let first = Instant::now();
    let graph = SlotGraph::build(&parties.secp, &program, params, spec.clone()).expect("a graph");
    let first = first.elapsed();
    let second = Instant::now();
    let graph_again = SlotGraph::build(&parties.secp, &program, params, spec).expect("a graph");
    let second = second.elapsed();
    let signing = Instant::now();
    let signatures = parties.sign(&graph_again);
    let signing = signing.elapsed();
    println!(
        "set-up of a slot and pair: {} signatures, {:.2} MB of keys",
        signatures.len(),
        bytes as f64 / 1e6
    );
    println!(
        "  keys {keys:.2?}, graph {first:.2?} (the first of a program), {second:.2?} (each other), one signer {signing:.2?}"
    );

    // The dearest way: a write, whose path has pairs of nodes.
    let mut options = vec![1; usize::from(ROUNDS.units)];
    options.push(Opening::Trace as u8);
    options.extend(vec![2; usize::from(ROUNDS.trace)]);
    options.extend([Subject::WriteRegister as u8, Go::Write as u8, 0, 2, 1]);
    let mut game = Game::new(&parties, &graph, &signatures);
    game.claim((1 << 24) - 1, [9; 24]);
    game.challenge(0);
    game.play(0, &options);
    let stage = game.stage(0);
    assert_eq!(stage, Stage::Final(Part::Step));
    let published = game.state.branches[0].published.clone();
    let win = game.actor().win(0, stage, &published).expect("a leaf wins");
    let verdict = game
        .actor()
        .verdict(0, stage, &win, &parties.challengers[0])
        .expect("a verdict");
    game.confirm(&verdict);

    let child = CHILD.to_vbytes_ceil() as usize;
    println!(
        "\n| phase | operator: transactions, vB | challenger: transactions, vB | children, vB |\n| --- | --- | --- | --- |"
    );
    let (mut total, mut sides) = (0, [0, 0]);
    for name in ["claim", "units", "link", "trace", "step", "path", "verdict"] {
        let moves: Vec<&Move> = game
            .state
            .moves
            .iter()
            .filter(|played| phase(played) == name)
            .collect();
        let side = |operator: bool| {
            let of: Vec<usize> = moves
                .iter()
                .filter(|played| matches!(played.kind, MoveKind::Claim | MoveKind::Answer(_)) == operator)
                .map(|played| played.vsize)
                .collect();
            (of.len(), of.iter().sum::<usize>())
        };
        let (operator, challenger) = (side(true), side(false));
        let lifted = if name == "verdict" { 0 } else { moves.len() * child };
        total += operator.1 + challenger.1 + lifted;
        sides[0] += operator.0;
        sides[1] += challenger.0;
        println!(
            "| {name} | {}, {} | {}, {} | {lifted} |",
            operator.0, operator.1, challenger.0, challenger.1
        );
    }
    println!("| all | {} | {} | {total} vB in all |", sides[0], sides[1]);
    let claim = game.state.moves[0].vsize;
    let end = graph.signed_finalise_fast(&signatures).expect("signed").vsize();
    println!(
        "\nundisputed claim: claim {claim} vB, end {end} vB, two children {} vB: {} vB",
        2 * child,
        claim + end + 2 * child
    );
    println!("verdict by {}: {} vB", win.name, verdict.vsize());
}
