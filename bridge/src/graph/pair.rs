//! A challenger's branch of a slot.

use std::collections::BTreeMap;

use bitcoin::key::{Secp256k1, TapTweak};
use bitcoin::secp256k1::All;
use bitcoin::{Amount, ScriptBuf};

use super::{GraphError, SlotSpec, balanced};
use crate::connector::{Answered, Asked};
use crate::game::Stage;
use crate::leaf::{PairKeys, Program};
use crate::params::Params;
use crate::transaction::{
    NEXT_OUTPUT, Planned, Spent, answer, ask, challenge, connector_output, timeout, verdict,
};

/// A stage's outputs and transactions.
#[derive(Debug)]
pub struct StageGraph {
    /// The output that waits for the answer.
    pub asked: Asked,
    /// The output that waits for the challenger.
    pub answered: Answered,
    /// The transaction that asks: of the first stage the challenge.
    pub ask: Planned,
    /// The transaction that answers.
    pub answer: Planned,
    /// The slash where no answer comes.
    pub timeout: Planned,
    /// The slash by a leaf that wins; none where no leaf does.
    pub verdict: Option<Planned>,
}

/// A branch.
#[derive(Debug)]
pub struct PairGraph {
    /// Keys and locks.
    pub keys: PairKeys,
    /// Where the challenger is paid.
    pub payout: ScriptBuf,
    /// The stages.
    pub stages: BTreeMap<Stage, StageGraph>,
}

impl PairGraph {
    pub(super) fn build(
        secp: &Secp256k1<All>,
        program: &Program,
        params: &Params,
        spec: &SlotSpec,
        claim: &Planned,
        pair: usize,
    ) -> Result<Self, GraphError> {
        let side = &spec.pairs[pair];
        let keys = PairKeys {
            rounds: params.rounds,
            committee: spec.committee,
            operator: spec.operator,
            challenger: side.key,
            check: spec.check(),
            claim: spec.claim.clone(),
            prover: side.prover.clone(),
            choices: side.locks.clone(),
        };
        let mut branch = Self {
            keys,
            payout: side.payout.clone(),
            stages: BTreeMap::new(),
        };
        let stake = stake(secp, params, spec, pair)?;
        let connector = claim.output(connector_output(pair as u32));
        for stage in Stage::all(params.rounds) {
            let asked = Asked::new(secp, &branch.keys, stage, params.move_timeout());
            let ask = match stage.previous(params.rounds) {
                None => challenge(params, connector.clone(), stake.clone(), &asked),
                Some(previous) => {
                    let answered = branch.stages[&previous].answer.output(NEXT_OUTPUT);
                    ask(answered, &asked)
                }
            };
            let ask = balanced("ask", ask)?;
            let keys = &branch.keys;
            let answered = Answered::new(secp, program, keys, &spec.start, stage, params.move_timeout());
            let graph = Self::stage(params, claim, &branch.payout, (asked, answered), ask)?;
            branch.stages.insert(stage, graph);
        }
        Ok(branch)
    }

    fn stage(
        params: &Params,
        claim: &Planned,
        payout: &ScriptBuf,
        (asked, answered): (Asked, Answered),
        ask: Planned,
    ) -> Result<StageGraph, GraphError> {
        let main = claim.output(NEXT_OUTPUT);
        let asked_output = ask.output(NEXT_OUTPUT);
        let answer = balanced("answer", answer(asked_output.clone(), &answered))?;
        let timeout = balanced("timeout", timeout(params, asked_output, main.clone(), payout))?;
        let answered_output = answer.output(NEXT_OUTPUT);
        let verdict = answered
            .has_verdicts()
            .then(|| balanced("verdict", verdict(params, answered_output, main, payout)));
        Ok(StageGraph {
            asked,
            answered,
            ask,
            answer,
            timeout,
            verdict: verdict.transpose()?,
        })
    }
}

/// Checks the challenger's stake: its own key path output, of the value that the parameters say.
fn stake(secp: &Secp256k1<All>, params: &Params, spec: &SlotSpec, pair: usize) -> Result<Spent, GraphError> {
    let side = &spec.pairs[pair];
    let (outpoint, output) = side.stake.clone();
    let failed = |field, expected: String, got: String| GraphError::Stake {
        pair,
        field,
        expected,
        got,
    };
    let value = Amount::from_sat(params.stake_sats);
    if output.value != value {
        return Err(failed("value", value.to_string(), output.value.to_string()));
    }
    let (key, _) = side.key.tap_tweak(secp, None);
    let script = ScriptBuf::new_p2tr_tweaked(key);
    if output.script_pubkey != script {
        let got = output.script_pubkey.to_hex_string();
        return Err(failed("script", script.to_hex_string(), got));
    }
    Ok(Spent::new(outpoint, output))
}
