//! The dispute as Bitcoin shows it, move by move.

use std::collections::BTreeMap;

use bitsect_bridge::daemon::{ReadySlot, Shown};
use bitsect_bridge::slot::{BranchEnd, Main, Move, MoveKind, SlotState};
use bitsect_bridge::transaction::REWARD_OUTPUT;
use eyre::{WrapErr, bail};
use tokio::sync::watch;

/// Prints each move as it confirms, until the claim is over; gives the slot as it stands then.
pub(super) async fn follow(shown: &mut watch::Receiver<Shown>) -> eyre::Result<SlotState> {
    let mut printed = 0;
    loop {
        let slot = shown.borrow_and_update().slots.first().cloned();
        if let Some(state) = slot {
            for played in state.moves.iter().skip(printed) {
                println!("  {}", line(played));
            }
            printed = printed.max(state.moves.len());
            match state.main {
                Main::Bonded | Main::Claimed => {}
                Main::Slashed { .. } => return Ok(state),
                other => bail!("failed to defeat the claim: {other:?}"),
            }
        }
        shown
            .changed()
            .await
            .wrap_err("the operator ended before its claim did")?;
    }
}

fn who(played: &Move) -> &'static str {
    match played.kind {
        MoveKind::Claim | MoveKind::Answer(_) | MoveKind::End(BranchEnd::Forfeit) => "operator",
        MoveKind::Ask(_) | MoveKind::End(_) => "challenger",
        MoveKind::Main(_) => "",
    }
}

fn what(played: &Move) -> String {
    let detail = played.detail.as_deref().unwrap_or_default();
    match played.kind {
        MoveKind::Claim => format!("claims {detail}"),
        MoveKind::Ask(stage) if detail.is_empty() => format!("challenges: asks {stage:?}"),
        MoveKind::Ask(stage) => format!("chooses {detail}: asks {stage:?}"),
        MoveKind::Answer(stage) => format!("answers {stage:?}"),
        MoveKind::End(end) => format!("{end:?} {detail}"),
        MoveKind::Main(main) => format!("the bond: {main:?}"),
    }
}

fn line(played: &Move) -> String {
    let (who, what, txid) = (who(played), what(played), played.txid);
    format!(
        "block {:>5}  {who:<10}  {what:<40} {:>6} vB  {txid}",
        played.height, played.vsize
    )
}

/// Prints how it ended: the verdict, the leaf, what became of the bond, and what it took.
pub(super) fn table(slot: &ReadySlot, state: &SlotState) {
    let mut sides: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for played in state.moves.iter().filter(|played| !who(played).is_empty()) {
        let side = sides.entry(who(played)).or_default();
        side.0 += 1;
        side.1 += played.vsize;
    }
    println!("\n  side        transactions      vB");
    for (side, (count, vsize)) in sides {
        println!("  {side:<10}  {count:>12}  {vsize:>6}");
    }
    let ended = state
        .moves
        .iter()
        .find(|played| matches!(played.kind, MoveKind::End(_)));
    if let Some(played) = ended {
        println!("\n  verdict  {}", played.txid);
        println!(
            "  leaf     {}",
            played
                .detail
                .as_deref()
                .unwrap_or("none: the operator was silent")
        );
        let verdicts = slot.graph.pairs.iter().flat_map(|pair| pair.stages.values());
        let planned = verdicts
            .flat_map(|stage| stage.verdict.iter().chain([&stage.timeout]))
            .find(|planned| planned.txid() == played.txid);
        if let Some(planned) = planned {
            let reward = planned.transaction.output[REWARD_OUTPUT as usize].value;
            println!(
                "  bond     {} slashed: the challenger has {reward} with its stake, the rest is burnt",
                slot.graph.claim.spent[0].value
            );
        }
    }
}
