//! The bytes of a slot's graph that members compare: all that it is made of, and all that is signed.

use super::contribution::put_outpoint;
use crate::graph::SlotGraph;
use crate::keys::encode_locks;

fn put(bytes: &[u8], out: &mut Vec<u8>) {
    out.extend((bytes.len() as u64).to_le_bytes());
    out.extend(bytes);
}

/// Adds a slot: fields of a fixed length as they are, others with their length before them.
pub(super) fn put_slot(graph: &SlotGraph, out: &mut Vec<u8>) {
    let (spec, params) = (&graph.spec, &graph.params);
    let rounds = params.rounds;
    out.extend([rounds.units, rounds.trace]);
    for blocks in [
        params.move_timeout_blocks,
        params.challenge_window_blocks,
        params.dispute_window_blocks,
    ] {
        out.extend(blocks.to_le_bytes());
    }
    for sats in [
        params.bond_sats,
        params.stake_sats,
        params.reward_sats,
        params.verdict_fee_sats,
    ] {
        out.extend(sats.to_le_bytes());
    }
    out.extend(spec.committee.serialize());
    out.extend(spec.operator.serialize());
    put(spec.payout.as_bytes(), out);
    put_outpoint(&spec.bond, out);
    out.push(spec.ticket.is_some().into());
    if let Some(ticket) = &spec.ticket {
        put_outpoint(ticket, out);
    }
    out.extend(spec.start);
    out.extend(spec.claim.encode());
    out.extend((spec.pairs.len() as u64).to_le_bytes());
    for pair in &spec.pairs {
        out.extend(pair.key.serialize());
        put(pair.payout.as_bytes(), out);
        put_outpoint(&pair.stake.0, out);
        out.extend(pair.stake.1.value.to_sat().to_le_bytes());
        put(pair.stake.1.script_pubkey.as_bytes(), out);
        out.extend(encode_locks(&pair.locks, rounds));
        out.extend(pair.prover.encode(rounds));
    }
    let signings = graph.signings();
    out.extend((signings.len() as u64).to_le_bytes());
    out.extend(signings.iter().flat_map(|signing| signing.message));
}
