//! Fee outputs: confirmed outputs of the wallet, one for each job that may come.

use std::collections::HashSet;

use bitcoin::{Amount, OutPoint, TxOut};

use super::{Carrier, CarrierError, Job, Report, advance::Market};
use crate::{
    ledger::JobFile,
    sender::{self, Draft, DraftTx, Rebuild, Terms},
    store::StoreError,
    wallet::{FundError, Funding, SignedTx, Wallet},
};

/// Fee outputs at most, so that making them fits into one transaction of some 10 kvB.
const MOST: u32 = 200;
/// The smallest fee output: below, its input costs a good part of it at a few sat/vB.
const SMALLEST: Amount = Amount::from_sat(1_000);
/// Names of the target's numbers in the file.
const COUNT: &str = "ready-count";
const VALUE: &str = "ready-value";

/// How many fee outputs shall be ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    count: u32,
    value: Amount,
}

impl Target {
    pub(super) fn read(file: &JobFile<Job>) -> Result<Self, StoreError> {
        Ok(Self {
            count: file
                .number(COUNT)?
                .map_or(0, |count| u32::try_from(count).unwrap_or(MOST)),
            value: file.number(VALUE)?.map_or(SMALLEST, Amount::from_sat),
        })
    }
}

/// How many fee outputs there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Outputs that shall be ready.
    pub wanted: u32,
    /// The value of each.
    pub value: Amount,
    /// Outputs that are confirmed and that no job uses.
    pub free: u32,
    /// Outputs on their way.
    pub pending: u32,
}

impl Carrier {
    /// Keeps `count` fee outputs of at least `value` each ready, and makes those that are missing. Durable when it returns; what
    /// is made is sent by the next [`Carrier::advance`].
    ///
    /// A job whose child spends one needs another one for the next job. Nothing else is paid from them, unless it names them.
    /// An output of twice the value or more is not one of them.
    ///
    /// # Errors
    /// [`CarrierError::Target`] when they cannot be so many or so small; [`CarrierError::Fund`] when the wallet has too little.
    /// The target stays then, and is reported.
    pub async fn prepare(&mut self, count: u32, value: Amount) -> Result<Ready, CarrierError> {
        let bad = |rule| Err(CarrierError::Target { count, value, rule });
        if count > MOST {
            return bad("at most 200");
        }
        if value < SMALLEST {
            return bad("at least 1000 sats each");
        }
        self.file
            .set_numbers(&[(COUNT, count.into()), (VALUE, value.to_sat())])?;
        self.target = Target { count, value };
        self.hold_ready();
        let ready = self.ready();
        let missing = count.saturating_sub(ready.free + ready.pending);
        if missing == 0 {
            return Ok(ready);
        }
        let market = Market::read(&self.client, &self.config.fees).await?;
        let script_pubkey = self.wallet.receive_address()?.script_pubkey();
        let outputs = vec![TxOut { value, script_pubkey }; missing as usize];
        let mut request = Funding::new(market.base, outputs);
        request.unconfirmed = false;
        let signed = self.wallet.finish(self.wallet.fund(&request)?)?;
        self.splits.submit(Draft {
            label: "fee outputs".into(),
            data: missing.to_le_bytes().to_vec(),
            txs: vec![DraftTx {
                signed,
                parent: None,
                replaceable: true,
            }],
            ride: false,
        })?;
        Ok(self.ready())
    }

    /// Returns how many fee outputs there are.
    pub fn ready(&self) -> Ready {
        let on_their_way = self.splits.jobs().filter(|job| {
            let slot = &job.slots[0];
            slot.confirmed.is_none() && slot.conflict.is_none()
        });
        Ready {
            wanted: self.target.count,
            value: self.target.value,
            free: self.free_outputs().len() as u32,
            pending: on_their_way.map(|job| count_of(&job.data)).sum(),
        }
    }

    /// Returns the fee outputs that are confirmed and that no job uses.
    fn free_outputs(&self) -> Vec<OutPoint> {
        let value = self.target.value;
        let fits = |output: &TxOut| output.value >= value && output.value.to_sat() / 2 < value.to_sat();
        let busy = self.busy(None);
        let coins = self.wallet.confirmed_coins().into_iter();
        let free = coins.filter(|(outpoint, output)| fits(output) && !busy.contains(outpoint));
        free.map(|(outpoint, _)| outpoint).collect()
    }

    /// Keeps the fee outputs from being spent for something else.
    pub(super) fn hold_ready(&self) {
        let held: HashSet<OutPoint> = self
            .free_outputs()
            .into_iter()
            .take(self.target.count as usize)
            .collect();
        self.wallet.hold(held);
    }

    /// Counts the fee outputs, and reports when they are too few.
    pub(super) fn look_at_ready(&mut self) {
        self.hold_ready();
        let ready = self.ready();
        let too_few = ready.free + ready.pending < ready.wanted;
        if too_few && self.said_ready != Some(ready) {
            self.reports.push(Report::TooFewReady { ready });
        }
        self.said_ready = Some(ready);
    }

    /// Sends what makes fee outputs.
    pub(super) async fn advance_splits(&mut self) -> Result<(), CarrierError> {
        let splitter = Splitter { wallet: &self.wallet };
        let reports = self.splits.advance(&splitter).await?;
        self.reports.extend(reports.into_iter().map(Report::Split));
        Ok(())
    }
}

/// Returns how many fee outputs a sender's job makes.
fn count_of(data: &[u8]) -> u32 {
    data.try_into().map_or(0, u32::from_le_bytes)
}

/// Builds the transactions that make fee outputs anew, for a higher fee.
struct Splitter<'a> {
    wallet: &'a Wallet,
}

impl Rebuild for Splitter<'_> {
    fn rebuild(
        &self,
        job: &sender::Job,
        slot: usize,
        terms: &Terms,
    ) -> Result<Vec<(usize, SignedTx)>, Box<dyn std::error::Error + Send + Sync>> {
        let old = &job.current(slot).tx;
        // Without the change, which comes last.
        let outputs = old.output.iter().take(count_of(&job.data) as usize).cloned();
        let mut request =
            Funding::new(terms.rate, outputs.collect()).replace(self.wallet, &[old], terms.min_fee);
        request.unconfirmed = false;
        let funded = self.wallet.fund(&request)?;
        let signed: Result<SignedTx, FundError> = self.wallet.finish(funded);
        Ok(vec![(slot, signed?)])
    }
}
