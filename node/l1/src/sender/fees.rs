//! What a transaction pays, and what the mempool takes.

use bitcoin::{Amount, FeeRate, Weight};

use crate::rpc::{Client, MempoolInfo, RpcError};

/// The first version of Core with cluster limits.
const CLUSTER_VERSION: u32 = 310_000;
/// Ancestors and descendants that Core up to 30 allows, the transaction included.
const PACKAGE_COUNT: u64 = 25;
/// Transactions in a cluster of Core from 31 on.
const CLUSTER_COUNT: u64 = 64;
/// The size of both, in vB.
const PACKAGE_VSIZE: u64 = 101_000;

/// Which fee rate to pay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeePolicy {
    /// In how many blocks a transaction shall confirm.
    pub target_blocks: u16,
    /// The lowest rate paid, also used when Core has no estimate.
    pub floor: FeeRate,
    /// The highest rate paid.
    pub ceiling: FeeRate,
}

impl Default for FeePolicy {
    fn default() -> Self {
        Self {
            target_blocks: 2,
            floor: FeeRate::from_sat_per_vb_u32(1),
            ceiling: FeeRate::from_sat_per_vb_u32(500),
        }
    }
}

impl FeePolicy {
    /// Asks Core for the rate: at least the floor and what the mempool takes, at most the ceiling.
    ///
    /// # Errors
    /// [`RpcError`].
    pub async fn rate(&self, client: &Client) -> Result<FeeRate, RpcError> {
        let estimate = client.estimate_smart_fee(self.target_blocks).await?.fee_rate;
        Ok(self.choose(estimate, &client.get_mempool_info().await?))
    }

    /// Asks Core for the rate of what replaces or lifts a transaction of rate `paid`: half as much again at least. None
    /// where the ceiling is below what relaying it takes (BIP-0125).
    ///
    /// # Errors
    /// [`RpcError`].
    pub async fn raised(
        &self,
        client: &Client,
        paid: FeeRate,
        limits: &Limits,
    ) -> Result<Option<FeeRate>, RpcError> {
        Ok(self.raise(self.rate(client).await?, paid, limits))
    }

    fn raise(&self, rate: FeeRate, paid: FeeRate, limits: &Limits) -> Option<FeeRate> {
        let per_kwu = paid.to_sat_per_kwu();
        let more = FeeRate::from_sat_per_kwu(per_kwu.saturating_mul(3) / 2 + 1);
        let least = per_kwu.saturating_add(limits.incremental.to_sat_per_kwu());
        let least = FeeRate::from_sat_per_kwu(least);
        let raised = rate.max(more).max(least).min(self.ceiling);
        (raised >= least).then_some(raised)
    }

    /// Returns the rate for an estimate and the state of the mempool.
    pub(crate) fn choose(&self, estimate: Option<FeeRate>, info: &MempoolInfo) -> FeeRate {
        self.bound(estimate.unwrap_or(self.floor).max(info.lowest_rate()))
    }

    /// Returns the rate within floor and ceiling.
    pub fn bound(&self, rate: FeeRate) -> FeeRate {
        rate.max(self.floor).min(self.ceiling)
    }
}

/// How much may hang together unconfirmed, as the node in use allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Transactions, the first one included.
    pub count: u64,
    /// Their size, in vB.
    pub vsize: u64,
    /// What a replacement pays on top for its own size.
    pub incremental: FeeRate,
}

impl Limits {
    /// Reads the limits from the node.
    ///
    /// # Errors
    /// [`RpcError`].
    pub async fn read(client: &Client) -> Result<Self, RpcError> {
        let info = client.get_mempool_info().await?;
        let version = client.get_network_info().await?.version;
        let clusters = version >= CLUSTER_VERSION || info.cluster_count.is_some();
        let count = if clusters { CLUSTER_COUNT } else { PACKAGE_COUNT };
        Ok(Self {
            count: info.cluster_count.unwrap_or(count),
            vsize: info.cluster_size.unwrap_or(PACKAGE_VSIZE),
            incremental: info.incremental_relay_fee,
        })
    }

    /// Returns the least fee of what replaces transactions of a fee, by one of a size (BIP-0125, rules 3 and 4).
    pub fn replacing(&self, fees: Amount, weight: Weight) -> Amount {
        let relay = crate::wallet::fee(self.incremental, weight);
        fees.checked_add(relay).unwrap_or(Amount::MAX_MONEY)
    }
}

/// Returns the rate of a fee, rounded down.
pub fn rate_of(fee: Amount, weight: Weight) -> FeeRate {
    let vsize = weight.to_vbytes_ceil().max(1);
    FeeRate::from_sat_per_kwu(fee.to_sat().saturating_mul(250) / vsize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_stay_within_bounds() {
        let rate = |vb: u32| FeeRate::from_sat_per_vb_u32(vb);
        let policy = FeePolicy {
            target_blocks: 1,
            floor: rate(2),
            ceiling: rate(9),
        };
        assert_eq!(policy.bound(rate(1)), rate(2));
        assert_eq!(policy.bound(rate(5)), rate(5));
        assert_eq!(policy.bound(rate(50)), rate(9));
        assert_eq!(rate_of(Amount::from_sat(200), Weight::from_wu(397)), rate(2));
    }

    #[test]
    fn a_raise_pays_half_as_much_again_and_what_relay_asks() {
        let rate = |vb: u32| FeeRate::from_sat_per_vb_u32(vb);
        let policy = FeePolicy {
            target_blocks: 1,
            floor: rate(1),
            ceiling: rate(9),
        };
        let limits = Limits {
            count: 1,
            vsize: 1,
            incremental: rate(1),
        };
        let raise = |now, paid| policy.raise(rate(now), rate(paid), &limits);
        assert_eq!(raise(1, 1), Some(rate(2)));
        assert_eq!(raise(1, 4), Some(FeeRate::from_sat_per_kwu(1_501)));
        assert_eq!(raise(7, 4), Some(rate(7)));
        assert_eq!(raise(1, 8), Some(rate(9)));
        assert_eq!(raise(20, 9), None);
        let fee = limits.replacing(Amount::from_sat(150), Weight::from_wu(397));
        assert_eq!(fee, Amount::from_sat(250));
    }
}
