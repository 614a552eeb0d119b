//! Making transactions: which coins, how much fee, what change.

use std::collections::HashSet;

use bdk_wallet::{
    KeychainKind, LocalOutput, Utxo, WeightedUtxo,
    chain::{BlockId, ChainPosition},
    coin_selection::{BranchAndBoundCoinSelection, CoinSelectionAlgorithm, SingleRandomDraw},
};
use bitcoin::{
    Amount, FeeRate, OutPoint, Psbt, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid, Weight, Witness,
    absolute::LockTime, psbt, secp256k1::rand::rngs::OsRng, transaction::Version,
};

use super::{Inner, KeyError, PersistError, Wallet, WalletError};

/// Weight of a taproot key-path witness: item count, length, signature of 64 bytes.
pub const KEY_PATH_WITNESS: Weight = Weight::from_wu(1 + 1 + 64);
/// Weight of no witness: its item count.
pub(crate) const EMPTY_WITNESS: Weight = Weight::from_wu(1);
/// Marker and flag of a transaction with witnesses.
const SEGWIT_MARKER: Weight = Weight::from_wu(2);
/// Confirmations that a coinbase output needs before it can be spent.
const COINBASE_MATURITY: u32 = 100;
/// Smallest change made. Policy calls a taproot output below 330 sat dust.
pub(crate) const SMALLEST_CHANGE: Amount = Amount::from_sat(330);
/// How often coins are selected again with a higher rate to reach a lowest fee. Each time it comes closer.
const FEE_ATTEMPTS: u32 = 8;
/// Coins that one transaction takes at most: about 60 kvB of inputs would not leave room for a package.
const MAX_COINS: usize = 500;

/// A transaction cannot be funded or finished.
#[derive(Debug, thiserror::Error)]
pub enum FundError {
    /// The wallet has too little that it may spend now.
    #[error("the wallet has {available}, needed are {needed}")]
    Insufficient {
        /// What is needed, with fees.
        needed: Amount,
        /// What can be spent.
        available: Amount,
    },
    /// The request contradicts itself.
    #[error("cannot fund: {reason}")]
    Request {
        /// What is wrong.
        reason: String,
    },
    /// A signature is missing or failed.
    #[error(transparent)]
    Sign(#[from] KeyError),
    /// The file failed.
    #[error("wallet file: {0}")]
    Persist(#[from] PersistError),
}

impl From<WalletError> for FundError {
    fn from(error: WalletError) -> Self {
        match error {
            WalletError::Persist(error) => Self::Persist(error),
            other => Self::Request {
                reason: other.to_string(),
            },
        }
    }
}

/// An input that is not the wallet's.
#[derive(Clone, Debug)]
pub struct Foreign {
    /// The output spent.
    pub outpoint: OutPoint,
    /// The same, in full.
    pub output: TxOut,
    /// The weight of the input's whole witness, with its item count.
    pub witness: Weight,
    /// The input's sequence number.
    pub sequence: Sequence,
}

impl Foreign {
    /// Makes an input spent by a taproot key path, replaceable.
    pub fn key_path(outpoint: OutPoint, output: TxOut) -> Self {
        Self {
            outpoint,
            output,
            witness: KEY_PATH_WITNESS,
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        }
    }

    /// Makes an input that spends a pay-to-anchor output, which anybody can, without a witness.
    pub fn anchor(outpoint: OutPoint, value: Amount) -> Self {
        let script_pubkey = ScriptBuf::new_p2a();
        Self {
            outpoint,
            output: TxOut { value, script_pubkey },
            witness: EMPTY_WITNESS,
            sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        }
    }
}

/// What a transaction shall do.
#[derive(Clone, Debug)]
pub struct Funding {
    /// The rate to pay.
    pub rate: FeeRate,
    /// The least fee, whatever the rate.
    pub min_fee: Amount,
    /// The first inputs, in order. The wallet's coins follow.
    pub foreign: Vec<Foreign>,
    /// The first outputs, in order. The change follows when there is any.
    pub outputs: Vec<TxOut>,
    /// Coins of the wallet that must be spent.
    pub coins: Vec<OutPoint>,
    /// Transactions that this one replaces, with what depends on them: the wallet's coins that they spend
    /// must be named in `coins` to be used again, and their outputs are not used.
    pub replaces: Vec<Txid>,
    /// Whether a change output is required.
    pub need_change: bool,
    /// Whether change of the wallet's own unconfirmed transactions may be spent.
    pub unconfirmed: bool,
    /// The transaction's version: 2, or 3 for one that spends an unconfirmed output of version 3.
    pub version: Version,
    /// Whether the change is left alone until it is confirmed, so that nothing is built on a transaction that may be
    /// replaced.
    pub quiet_change: bool,
}

impl Funding {
    /// Makes a request that pays a rate for some outputs, from confirmed coins and own change.
    pub fn new(rate: FeeRate, outputs: Vec<TxOut>) -> Self {
        Self {
            rate,
            min_fee: Amount::ZERO,
            foreign: Vec::new(),
            outputs,
            coins: Vec::new(),
            replaces: Vec::new(),
            need_change: false,
            unconfirmed: true,
            version: Version::TWO,
            quiet_change: false,
        }
    }

    /// Makes it a replacement of an earlier transaction: the wallet's coins in it are spent again, and the fee
    /// is higher by at least what relaying the new one costs.
    ///
    /// `replaced` is the transaction and then all that depend on it; `min_fee` is that of
    /// [`Terms`](crate::sender::Terms).
    pub fn replace(mut self, wallet: &Wallet, replaced: &[&Transaction], min_fee: Amount) -> Self {
        let foreign: HashSet<OutPoint> = self.foreign.iter().map(|f| f.outpoint).collect();
        self.replaces.extend(replaced.iter().map(|tx| tx.compute_txid()));
        if let Some(first) = replaced.first() {
            let own = wallet.spent_by(first);
            let coins = own
                .into_iter()
                .filter(|(outpoint, output)| !foreign.contains(outpoint) && wallet.is_mine(output));
            self.coins.extend(coins.map(|(outpoint, _)| outpoint));
        }
        self.min_fee = self.min_fee.max(min_fee);
        self
    }
}

/// A transaction that lacks signatures. Its coins are reserved.
#[derive(Clone, Debug)]
pub struct Funded {
    /// The transaction; foreign inputs come first, each with its `witness_utxo`.
    pub psbt: Psbt,
    /// The fee.
    pub fee: Amount,
    /// The index of the change output.
    pub change: Option<u32>,
}

/// A signed transaction and its fee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTx {
    /// The transaction.
    pub tx: Transaction,
    /// The fee.
    pub fee: Amount,
}

impl Wallet {
    /// Selects coins and change for a request, and reserves the coins.
    ///
    /// # Errors
    /// [`FundError`]; nothing is reserved then.
    pub fn fund(&self, request: &Funding) -> Result<Funded, FundError> {
        let inner = &mut *self.inner.lock();
        let change = inner.change_script(request)?;
        let (required, optional) = inner.candidates(request)?;
        let mut rate = request.rate;
        for _ in 0..FEE_ATTEMPTS {
            let draft = select(request, rate, &required, &optional, &change)?;
            if draft.fee >= request.min_fee {
                return inner.make_psbt(request, draft);
            }
            // Rounded up twice, so that the next attempt reaches it unless the number of coins changes.
            let per_kwu = request
                .min_fee
                .to_sat()
                .saturating_mul(1000)
                .div_ceil(draft.weight.to_wu().max(1));
            rate = FeeRate::from_sat_per_kwu(per_kwu.max(rate.to_sat_per_kwu().saturating_add(1)));
        }
        Err(FundError::Request {
            reason: format!("the fee of {} is not reached", request.min_fee),
        })
    }

    /// Spends the coins that a request names, and no others, for exactly a fee; the rest is change. Reserves the coins.
    ///
    /// The request's rate and least fee do not count.
    ///
    /// # Errors
    /// [`FundError`]; nothing is reserved then. [`FundError::Insufficient`] when not enough is left for change.
    pub fn fund_exactly(&self, request: &Funding, fee: Amount) -> Result<Funded, FundError> {
        let inner = &mut *self.inner.lock();
        let script_pubkey = inner.change_script(request)?;
        let (coins, _) = inner.candidates(request)?;
        let given = coins.iter().map(|coin| coin.txout.value);
        let given = given.chain(request.foreign.iter().map(|f| f.output.value));
        let paid = request.outputs.iter().map(|output| output.value);
        let needed = paid.chain([fee, SMALLEST_CHANGE]);
        let (available, needed) = (sum(given)?, sum(needed)?);
        let Some(more) = available.checked_sub(needed) else {
            return Err(FundError::Insufficient { needed, available });
        };
        let value = more + SMALLEST_CHANGE;
        let change = TxOut { value, script_pubkey };
        let weight = weight(request, &coins, Some(&change.script_pubkey));
        let change = Some(change);
        inner.make_psbt(
            request,
            Draft {
                coins,
                change,
                fee,
                weight,
            },
        )
    }

    /// Returns the confirmed outputs that can be spent now, smallest first.
    pub fn confirmed_coins(&self) -> Vec<(OutPoint, TxOut)> {
        let inner = self.inner.lock();
        let tip = inner.bdk.latest_checkpoint().block_id();
        let free = inner.bdk.list_output().filter(|output| {
            !output.is_spent
                && !inner.reserved.contains(&output.outpoint)
                && inner.may_spend(output, tip, false)
        });
        let mut coins: Vec<_> = free.map(|output| (output.outpoint, output.txout)).collect();
        coins.sort_unstable_by_key(|(outpoint, output)| (output.value, *outpoint));
        coins
    }

    /// Keeps coins for those that name them: no others are selected from them. Takes the place of what was held before.
    pub fn hold(&self, coins: HashSet<OutPoint>) {
        self.inner.lock().held = coins;
    }

    /// Signs the wallet's inputs and returns the transaction, when the foreign inputs are signed.
    ///
    /// # Errors
    /// [`FundError::Sign`] when a signature is missing. The coins stay reserved.
    pub fn finish(&self, mut funded: Funded) -> Result<SignedTx, FundError> {
        // An error here is about an input that is not ours; what is missing shows below.
        let _foreign = funded.psbt.sign(&self.keys.master(), self.keys.secp());
        for (index, input) in funded.psbt.inputs.iter_mut().enumerate() {
            if input.final_script_witness.is_some() || input.final_script_sig.is_some() {
                continue;
            }
            let Some(signature) = input.tap_key_sig else {
                let reason = "its signature is missing".into();
                return Err(KeyError::Sign { input: index, reason }.into());
            };
            input.final_script_witness = Some(Witness::p2tr_key_spend(&signature));
        }
        // The rate is the caller's to judge; the estimator has a ceiling.
        Ok(SignedTx {
            tx: funded.psbt.extract_tx_unchecked_fee_rate(),
            fee: funded.fee,
        })
    }

    /// Makes a child that spends the wallet's outputs of an unconfirmed transaction and lifts both to a rate.
    ///
    /// `old` is an earlier such child, which this one replaces. Returns none when the parent has no output
    /// of the wallet that can be used, or when something was built on the earlier child, which would be lost with it.
    ///
    /// # Errors
    /// [`FundError`].
    pub fn lift(
        &self,
        parent: &SignedTx,
        rate: FeeRate,
        old: Option<(&SignedTx, FeeRate)>,
    ) -> Result<Option<SignedTx>, FundError> {
        let txid = parent.tx.compute_txid();
        let old_txid = old.map(|(old, _)| old.tx.compute_txid());
        if old_txid.is_some_and(|old| self.child_of(&old).is_some()) {
            return Ok(None);
        }
        let coins: Vec<OutPoint> = {
            let inner = self.inner.lock();
            let mine = inner.bdk.list_output().filter(|o| o.outpoint.txid == txid);
            let free = mine.filter(|o| !o.is_spent || old_txid.is_some_and(|old| inner.is_spent_by(o, old)));
            free.map(|o| o.outpoint).collect()
        };
        if coins.is_empty() {
            return Ok(None);
        }
        let mut request = Funding::new(rate, Vec::new());
        request.coins = coins;
        request.need_change = true;
        // An input that is unconfirmed elsewhere would have to be lifted too.
        request.unconfirmed = false;
        request.replaces.extend(old_txid);
        let mut min_fee = Amount::ZERO;
        if let Some((old, incremental)) = old {
            request = request.replace(self, &[&old.tx], Amount::ZERO);
            request.coins.sort_unstable();
            request.coins.dedup();
            min_fee = old.fee + fee(incremental, old.tx.weight());
        }
        // What the child has to add for its parent; its own part comes with the rate.
        let missing = fee(rate, parent.tx.weight())
            .checked_sub(parent.fee)
            .unwrap_or(Amount::ZERO);
        let alone = self.fund(&request)?;
        self.release(&alone.psbt.unsigned_tx);
        request.min_fee = min_fee.max(alone.fee + missing);
        let funded = self.fund(&request)?;
        self.finish(funded).map(Some)
    }
}

/// Returns the fee of a size at a rate, as the mempool counts: by whole vB.
pub(crate) fn fee(rate: FeeRate, weight: Weight) -> Amount {
    let weight = Weight::from_vb(weight.to_vbytes_ceil()).unwrap_or(Weight::MAX);
    rate.fee_wu(weight).unwrap_or(Amount::MAX_MONEY)
}

/// Coins and change, before it becomes a PSBT.
struct Draft {
    coins: Vec<LocalOutput>,
    change: Option<TxOut>,
    fee: Amount,
    weight: Weight,
}

impl Inner {
    /// Returns a script for change. Durable when it returns.
    fn change_script(&mut self, request: &Funding) -> Result<ScriptBuf, FundError> {
        // Unconfirmed outputs of the keychain for receiving are not spent.
        let keychain = match request.quiet_change {
            true => KeychainKind::External,
            false => KeychainKind::Internal,
        };
        let script = self.bdk.next_unused_address(keychain).script_pubkey();
        self.save()?;
        Ok(script)
    }

    fn is_spent_by(&self, output: &LocalOutput, txid: Txid) -> bool {
        let spender = self.bdk.tx_graph().get_tx(txid);
        spender.is_some_and(|tx| tx.input.iter().any(|i| i.previous_output == output.outpoint))
    }

    /// Returns the coins that must and those that can be spent.
    fn candidates(&self, request: &Funding) -> Result<(Vec<LocalOutput>, Vec<LocalOutput>), FundError> {
        let foreign: HashSet<OutPoint> = request.foreign.iter().map(|f| f.outpoint).collect();
        let tip = self.bdk.latest_checkpoint().block_id();
        let (mut required, mut optional) = (Vec::new(), Vec::new());
        for output in self.bdk.list_output() {
            if foreign.contains(&output.outpoint) || request.replaces.contains(&output.outpoint.txid) {
                continue;
            }
            if request.coins.contains(&output.outpoint) {
                required.push(output);
            } else if !output.is_spent
                && !self.reserved.contains(&output.outpoint)
                && !self.held.contains(&output.outpoint)
                && self.may_spend(&output, tip, request.unconfirmed)
            {
                optional.push(output);
            }
        }
        if let Some(absent) = request
            .coins
            .iter()
            .find(|c| required.iter().all(|r| r.outpoint != **c))
        {
            return Err(FundError::Request {
                reason: format!("the wallet does not have {absent}"),
            });
        }
        // Many small coins: the largest ones reach furthest.
        optional.sort_unstable_by_key(|coin| std::cmp::Reverse(coin.txout.value));
        optional.truncate(MAX_COINS);
        Ok((required, optional))
    }

    fn may_spend(&self, output: &LocalOutput, tip: BlockId, unconfirmed: bool) -> bool {
        match &output.chain_position {
            ChainPosition::Confirmed { anchor, .. } => {
                let depth = tip
                    .height
                    .saturating_sub(anchor.block_id.height)
                    .saturating_add(1);
                let tx = self.bdk.tx_graph().get_tx(output.outpoint.txid);
                let coinbase = tx.is_none_or(|tx| tx.is_coinbase());
                // The spending transaction is in the next block at the earliest.
                !coinbase || depth >= COINBASE_MATURITY
            }
            // Somebody else's payment may be replaced; our own change may not, except by us.
            ChainPosition::Unconfirmed { .. } => unconfirmed && output.keychain == KeychainKind::Internal,
        }
    }

    fn make_psbt(&mut self, request: &Funding, draft: Draft) -> Result<Funded, FundError> {
        let tx = unsigned(request, &draft.coins, draft.change.as_ref());
        let outpoints: Vec<OutPoint> = draft.coins.iter().map(|c| c.outpoint).collect();
        let change = draft.change.is_some().then_some(request.outputs.len() as u32);
        let bad = |e: &dyn std::fmt::Display| FundError::Request {
            reason: e.to_string(),
        };
        let mut psbt = Psbt::from_unsigned_tx(tx).map_err(|e| bad(&e))?;
        let mut inputs = Vec::new();
        for foreign in &request.foreign {
            // An anchor asks for no witness, so it is signed already.
            let anchor = foreign.output.script_pubkey == ScriptBuf::new_p2a();
            inputs.push(psbt::Input {
                witness_utxo: Some(foreign.output.clone()),
                final_script_witness: anchor.then(Witness::new),
                ..Default::default()
            });
        }
        for coin in draft.coins {
            inputs.push(self.bdk.get_psbt_input(coin, None, true).map_err(|e| bad(&e))?);
        }
        psbt.inputs = inputs;
        self.reserved.extend(outpoints);
        Ok(Funded {
            psbt,
            fee: draft.fee,
            change,
        })
    }
}

fn sum(mut values: impl Iterator<Item = Amount>) -> Result<Amount, FundError> {
    values
        .try_fold(Amount::ZERO, |sum, value| sum.checked_add(value))
        .ok_or_else(|| FundError::Request {
            reason: "the amounts exceed all money".into(),
        })
}

/// Selects coins at a rate. The fee is exact for the witnesses that are announced.
fn select(
    request: &Funding,
    rate: FeeRate,
    required: &[LocalOutput],
    optional: &[LocalOutput],
    change: &ScriptBuf,
) -> Result<Draft, FundError> {
    let paid = sum(request.outputs.iter().map(|o| o.value))?;
    let given = sum(request.foreign.iter().map(|f| f.output.value))?;
    let coins_of = |selected: Vec<Utxo>| {
        let local = selected.into_iter().filter_map(|utxo| match utxo {
            Utxo::Local(coin) => Some(coin),
            Utxo::Foreign { .. } => None,
        });
        local.collect::<Vec<_>>()
    };
    // What BDK has to reach: outputs, the fee for everything but its coins, and change when it is a must.
    let fixed = fee(rate, weight(request, &[], request.need_change.then_some(change)));
    let least_change = if request.need_change {
        SMALLEST_CHANGE
    } else {
        Amount::ZERO
    };
    let goal = sum([paid, fixed, least_change].into_iter())?;
    let target = goal.checked_sub(given).unwrap_or(Amount::ZERO);
    let weigh = |coin: &LocalOutput| WeightedUtxo {
        satisfaction_weight: KEY_PATH_WITNESS,
        utxo: Utxo::Local(coin.clone()),
    };
    let coins = if target == Amount::ZERO && required.is_empty() {
        Vec::new()
    } else {
        let algorithm = BranchAndBoundCoinSelection::<SingleRandomDraw>::default();
        let result = algorithm.coin_select(
            required.iter().map(weigh).collect(),
            optional.iter().map(weigh).collect(),
            rate,
            target,
            change,
            &mut OsRng,
        );
        coins_of(
            result
                .map_err(|e| FundError::Insufficient {
                    needed: e.needed,
                    available: e.available,
                })?
                .selected,
        )
    };
    let total = sum(coins.iter().map(|c| c.txout.value).chain([given]))?;
    let (with, without) = (
        weight(request, &coins, Some(change)),
        weight(request, &coins, None),
    );
    let left = |cost: Amount| total.checked_sub(paid).and_then(|rest| rest.checked_sub(cost));
    // A lowest fee may be above what the rate gives.
    if let Some(value) = left(fee(rate, with)).filter(|value| *value >= SMALLEST_CHANGE) {
        let change = TxOut {
            value,
            script_pubkey: change.clone(),
        };
        return Ok(Draft {
            coins,
            change: Some(change),
            fee: fee(rate, with),
            weight: with,
        });
    }
    match left(fee(rate, without)) {
        // What is too small for change goes to the miner.
        Some(rest) if !request.need_change => Ok(Draft {
            coins,
            change: None,
            fee: fee(rate, without) + rest,
            weight: without,
        }),
        _ => Err(FundError::Insufficient {
            needed: paid + fee(rate, with) + SMALLEST_CHANGE,
            available: total,
        }),
    }
}

fn unsigned(request: &Funding, coins: &[LocalOutput], change: Option<&TxOut>) -> Transaction {
    let input = |previous_output, sequence| TxIn {
        previous_output,
        script_sig: ScriptBuf::new(),
        sequence,
        witness: Witness::new(),
    };
    let foreign = request.foreign.iter().map(|f| input(f.outpoint, f.sequence));
    let own = coins
        .iter()
        .map(|c| input(c.outpoint, Sequence::ENABLE_RBF_NO_LOCKTIME));
    Transaction {
        version: request.version,
        lock_time: LockTime::ZERO,
        input: foreign.chain(own).collect(),
        output: request.outputs.iter().chain(change).cloned().collect(),
    }
}

/// Returns the weight of the signed transaction.
fn weight(request: &Funding, coins: &[LocalOutput], change: Option<&ScriptBuf>) -> Weight {
    let change = change.map(|script| TxOut {
        value: Amount::ZERO,
        script_pubkey: script.clone(),
    });
    let base = unsigned(request, coins, change.as_ref()).weight();
    let foreign: Weight = request.foreign.iter().map(|f| f.witness).sum();
    base + SEGWIT_MARKER + foreign + KEY_PATH_WITNESS * coins.len() as u64
}
