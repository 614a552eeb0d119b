//! Where withdrawals stand.

use std::fmt;

use alloy_primitives::{Address as L2Address, B256};
use bitcoin::{Address, Amount, Txid};
use serde::Serialize;

use super::node::{Node, WithdrawalAnswer};
use super::{Terms, UserError};

/// L1 blocks after which a withdrawal without a payout is late.
pub const PAYOUT_WINDOW: u32 = 144;

/// How far the block of a request is from what cannot change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum BlockState {
    /// It is sequenced.
    Latest,
    /// Its batch is in Bitcoin.
    Safe,
    /// Its batch is deep enough in Bitcoin.
    Finalized,
}

/// Where a withdrawal stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "stage", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum WithdrawStage {
    /// It waits for an operator's payout.
    WaitingForPayout {
        /// L1 blocks since it was asked for.
        l1_blocks_since: u32,
        /// L1 blocks after which it is late.
        payout_window: u32,
        /// Whether it is late. It stays open to any operator.
        late: bool,
        /// L1 blocks until it is late.
        blocks_left: u32,
    },
    /// The end: it was paid, and the operator has credit for it.
    Paid {
        /// The operator, by its first transaction.
        operator: String,
        /// The payout.
        txid: Txid,
        /// The height of its block.
        paid_l1_height: u32,
        /// Its confirmations, as far as the node has followed Bitcoin.
        confirmations: u32,
    },
}

/// A withdrawal, as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WithdrawView {
    /// Its id.
    pub id: u64,
    /// Who asked.
    pub sender: L2Address,
    /// Where it is paid; none where the script has no address.
    pub to: Option<String>,
    /// What left L2, in sats.
    #[serde(rename = "amountSats", with = "bitcoin::amount::serde::as_sat")]
    pub amount: Amount,
    /// What of it the operator keeps, in sats.
    #[serde(rename = "feeSats", with = "bitcoin::amount::serde::as_sat")]
    pub fee: Amount,
    /// The L2 block in which it was asked for.
    pub block: Option<u64>,
    /// How far that block is from what cannot change.
    pub block_state: Option<BlockState>,
    /// The L2 transaction that asked for it.
    pub transaction_hash: Option<B256>,
    /// The L1 height when it was asked for.
    pub l1_height: u32,
    /// Where it stands.
    #[serde(flatten)]
    pub stage: WithdrawStage,
}

impl WithdrawView {
    /// Asks the node for a withdrawal.
    ///
    /// # Errors
    /// [`UserError::Refused`] where there is none with this id; where the node cannot be asked.
    pub async fn ask(node: &Node, terms: &Terms, id: u64) -> Result<Self, UserError> {
        let Some(answer) = node.withdrawal(id).await? else {
            return Err(UserError::refused("id", "that of a withdrawal", id));
        };
        let heads = node.heads().await?;
        let block_state = answer.block.as_ref().map(|block| match block.number {
            number if number <= heads.finalized.number => BlockState::Finalized,
            number if number <= heads.safe.number => BlockState::Safe,
            _ => BlockState::Latest,
        });
        Ok(Self::new(terms, answer, block_state, heads.l1_processed.height))
    }

    fn new(terms: &Terms, answer: WithdrawalAnswer, block_state: Option<BlockState>, l1: u32) -> Self {
        let script = answer.script();
        let stage = match answer.paid {
            Some(paid) => WithdrawStage::Paid {
                operator: paid.operator,
                txid: paid.txid,
                paid_l1_height: paid.l1_height,
                confirmations: l1.saturating_add(1).saturating_sub(paid.l1_height),
            },
            None => {
                let since = l1.saturating_sub(answer.l1_height);
                WithdrawStage::WaitingForPayout {
                    l1_blocks_since: since,
                    payout_window: PAYOUT_WINDOW,
                    late: since > PAYOUT_WINDOW,
                    blocks_left: (PAYOUT_WINDOW + 1).saturating_sub(since),
                }
            }
        };
        Self {
            id: answer.id,
            sender: answer.sender,
            to: Address::from_script(&script, terms.network)
                .ok()
                .map(|address| address.to_string()),
            amount: Amount::from_sat(answer.amount_sats),
            fee: Amount::from_sat(answer.fee_sats),
            block: answer.block.as_ref().map(|block| block.number),
            block_state,
            transaction_hash: answer.block.map(|block| block.transaction_hash),
            l1_height: answer.l1_height,
            stage,
        }
    }
}

impl fmt::Display for WithdrawView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let to = self.to.as_deref().unwrap_or("a script without an address");
        writeln!(
            f,
            "withdrawal {} of {} to {to}, fee {}",
            self.id, self.amount, self.fee
        )?;
        if let (Some(block), Some(state)) = (self.block, self.block_state) {
            let state = match state {
                BlockState::Latest => "not in Bitcoin yet",
                BlockState::Safe => "safe: its batch is in Bitcoin",
                BlockState::Finalized => "finalized",
            };
            writeln!(
                f,
                "  requested in L2 block {block} ({state}) at L1 height {}",
                self.l1_height
            )?;
        }
        match &self.stage {
            WithdrawStage::WaitingForPayout {
                l1_blocks_since,
                payout_window,
                late,
                blocks_left,
            } => {
                write!(
                    f,
                    "  waiting for an operator's payout, {l1_blocks_since} L1 blocks since: "
                )?;
                match late {
                    true => write!(
                        f,
                        "late, more than {payout_window}; it stays open to any operator"
                    ),
                    false => write!(f, "late in {blocks_left} blocks"),
                }
            }
            WithdrawStage::Paid {
                operator,
                txid,
                paid_l1_height,
                confirmations,
            } => write!(
                f,
                "  paid in transaction {txid} at L1 height {paid_l1_height}, {confirmations} deep; credited to operator {operator}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use alloy_primitives::hex;

    use super::super::node::Payout;
    use super::super::terms::tests::terms;
    use super::*;

    #[test]
    fn withdrawals_become_late_and_paid() {
        let answer = WithdrawalAnswer {
            id: 1,
            sender: L2Address::ZERO,
            amount_sats: 10_000,
            fee_sats: 100,
            l1_height: 1_000,
            script_pub_key: hex!("0014751e76e8199196d454941c45d1b3a323f1433bd6").into(),
            block: None,
            paid: None,
        };
        let view = |answer: &WithdrawalAnswer, l1| WithdrawView::new(&terms(), answer.clone(), None, l1);
        let shown = view(&answer, 1_144);
        assert_eq!(
            shown.to.as_deref(),
            Some("bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080")
        );
        assert!(
            shown
                .to_string()
                .ends_with("144 L1 blocks since: late in 1 blocks"),
            "{shown}"
        );
        let late = view(&answer, 1_145).to_string();
        assert!(late.contains("late, more than 144; it stays open"), "{late}");
        let paid = WithdrawalAnswer {
            paid: Some(Payout {
                operator: "ab".repeat(32),
                txid: "cd".repeat(32).parse().unwrap(),
                l1_height: 1_200,
            }),
            ..answer
        };
        let json = serde_json::to_value(view(&paid, 1_202)).unwrap();
        assert_eq!(json["stage"], "paid");
        assert_eq!(
            (&json["l1Height"], &json["paidL1Height"]),
            (&1_000.into(), &1_200.into())
        );
        assert_eq!(json["confirmations"], 3);
        assert_eq!(json["amountSats"], 10_000);
    }
}
