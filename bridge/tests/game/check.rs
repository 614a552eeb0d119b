//! Provers that lie about the check that a claim ends with, against an honest challenger.

use alloy_primitives::B256;
use bitcoin::OutPoint;
use bitsect_bridge::game::challenger::Reply;
use bitsect_vm::chain::bridge::OutputId;
use bitsect_vm::check::check_advice;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::common::{ticket, ticket_id};
use crate::honest::{answer_of, reply_of};
use crate::on_bitcoin::OnBitcoin;
use crate::program::chain_of_checks;
use crate::referee::Referee;
use crate::world::World;

/// What judges: by values, and in transactions.
struct Court(Referee, OnBitcoin);

impl Court {
    fn new(ticket: Option<OutPoint>) -> Self {
        let mut world = chain_of_checks(&mut StdRng::seed_from_u64(40), 1);
        world.ticket = ticket;
        Self(Referee::new(&world), OnBitcoin::new(&world))
    }
}

/// Plays a prover that believes in its own chain, as long as it is, against the challenger that sees the true one; a defeat
/// happens on Bitcoin, too.
fn defeat(Court(referee, bitcoin): &Court, theirs: &World, ours: &World) -> Result<String, Reply> {
    let (mut theirs, count) = (theirs.clone(), theirs.inputs.len() as u32);
    let mut ours = ours.claimed(count);
    // Where its last unit has no result it makes one up.
    if theirs.states.len() == theirs.inputs.len() {
        theirs.states.push(B256::repeat_byte(0xee));
    }
    let mut position = theirs.branch(count, *theirs.states.last().unwrap());
    loop {
        position.publish(answer_of(&mut theirs, &position)).unwrap();
        if let Some(rule) = referee.refutes(&position) {
            bitcoin.slash(&position);
            return Ok(rule);
        }
        match reply_of(&mut ours, &position) {
            Reply::Choose(option) => position.choose(option).unwrap(),
            reply => return Err(reply),
        }
    }
}

/// The check of another ticket, one that has an assignment.
fn of_another() -> B256 {
    let mut other = ticket_id(&ticket(0));
    other[0] ^= 1;
    check_advice(&other)
}

/// A ticket that has no assignment.
fn unassigned() -> OutPoint {
    let (assigned, ticket) = (ticket_id(&ticket(0)), ticket(1));
    let last = |id: &OutputId| id[20..].to_vec();
    assert_ne!(last(&assigned), last(&ticket_id(&ticket)));
    ticket
}

#[test]
fn a_claim_that_ends_without_its_check_is_refuted() {
    let mut rng = StdRng::seed_from_u64(41);
    let court = Court::new(Some(ticket(0)));
    for count in [1, 2, 6, 15] {
        let chain = chain_of_checks(&mut rng, count - 1);
        let mut ordinary = chain.clone();
        ordinary.add_unit(B256::new(rng.random()));
        let mut other = chain.clone();
        other.add_unit(of_another());
        // Only the tag.
        let mut empty = chain.clone();
        empty.end_with(check_advice(&OutputId::ZERO));
        for theirs in [ordinary, other, empty] {
            assert_eq!(
                defeat(&court, &theirs, &chain),
                Ok("check/missing".to_owned()),
                "{count}"
            );
        }
    }
}

#[test]
fn a_check_before_the_end_is_refuted() {
    let mut rng = StdRng::seed_from_u64(42);
    let court = Court::new(Some(ticket(0)));
    for (before, after) in [(0, 0), (1, 0), (3, 4), (0, 13), (13, 0)] {
        for early in [check_advice(&ticket_id(&ticket(0))), of_another()] {
            let ours = chain_of_checks(&mut rng, before + 1 + after);
            let mut theirs = ours.clone();
            theirs.inputs.truncate(before);
            theirs.states.truncate(before + 1);
            theirs.add_unit(early);
            for _ in 0..after {
                theirs.add_unit(B256::new(rng.random()));
            }
            theirs.add_unit(ours.check().unwrap());
            let rule = defeat(&court, &theirs, &ours);
            assert_eq!(rule, Ok("check/early".to_owned()), "{before} {after}");
        }
    }
}

#[test]
fn a_check_that_does_not_hold_is_refuted() {
    let mut rng = StdRng::seed_from_u64(43);
    let court = Court::new(Some(unassigned()));
    for count in [1, 2, 7, 15] {
        let mut chain = chain_of_checks(&mut rng, count - 1);
        chain.ticket = Some(unassigned());
        let theirs = chain.claimed(count as u32);
        assert_eq!((theirs.inputs.len(), theirs.states.len()), (count, count));
        // The machine has trapped: what it claims is not its output.
        assert_eq!(
            defeat(&court, &theirs, &chain),
            Ok("link/output".to_owned()),
            "{count}"
        );
        // What it left in the output it cannot claim either.
        let mut left = theirs.clone();
        let output = left.run(*theirs.inputs.last().unwrap()).output();
        left.states.push(output);
        assert_eq!(
            defeat(&court, &left, &chain),
            Ok("path/not-halted".to_owned()),
            "{count}"
        );
    }
}

#[test]
fn a_true_claim_with_a_check_is_not_refuted() {
    let mut rng = StdRng::seed_from_u64(44);
    let court = Court::new(Some(ticket(0)));
    for count in 1..=15 {
        let chain = chain_of_checks(&mut rng, 14);
        let theirs = chain.claimed(count);
        assert_eq!(
            defeat(&court, &theirs, &chain),
            Err(Reply::NothingFalse),
            "{count}"
        );
    }
}
