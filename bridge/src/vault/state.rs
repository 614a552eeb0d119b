//! The vault as a fold over confirmed transactions: deposits, vault outputs, tickets.

use std::collections::{BTreeMap, BTreeSet};

use alloy_primitives::Address;
use bitcoin::{Amount, OutPoint, Transaction, TxIn, TxOut, Txid};
use bitsect_vm::derive::{
    MAX_OPEN_DEPOSITS, MAX_VAULT_OUTPUTS, assignment_script, deposit_keep, redemption_script,
    vault_spend_script,
};

use crate::chain::Counted;
use crate::convert::chain_outpoint;
use crate::transaction::Spent;
use crate::user::{Order, Terms};

/// How an output was spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spend {
    /// By which transaction.
    pub txid: Txid,
    /// In which L1 block.
    pub height: u32,
}

/// A deposit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenDeposit {
    /// What it says.
    pub order: Order,
    /// The output.
    pub output: TxOut,
    /// Its L1 block.
    pub height: u32,
    /// Its end.
    pub spent: Option<Spend>,
}

/// An output of the vault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VaultOutput {
    /// How much.
    pub amount: Amount,
    /// Its L1 block.
    pub height: u32,
    /// Its end.
    pub spent: Option<Spend>,
}

/// Everything about the vault that Bitcoin shows.
#[derive(Clone, Debug)]
pub struct VaultState {
    terms: Terms,
    tickets: Vec<Option<OutPoint>>,
    deposits: BTreeMap<OutPoint, OpenDeposit>,
    /// Those that derivation has open, by height.
    open: BTreeSet<(u32, OutPoint)>,
    outputs: BTreeMap<OutPoint, VaultOutput>,
    assignments: BTreeMap<OutPoint, Assigned>,
    /// Outputs that operators have redeemed credit with.
    redemptions: BTreeMap<OutPoint, Spend>,
}

/// What a ticket was spent for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The vault output that the transaction names, where it is one.
    pub output: Option<OutPoint>,
    /// By which transaction.
    pub spend: Spend,
}

impl VaultState {
    /// Begins behind the chain's start, with the slots' tickets.
    pub const fn new(terms: Terms, tickets: Vec<Option<OutPoint>>) -> Self {
        Self {
            terms,
            tickets,
            deposits: BTreeMap::new(),
            open: BTreeSet::new(),
            outputs: BTreeMap::new(),
            assignments: BTreeMap::new(),
            redemptions: BTreeMap::new(),
        }
    }

    /// Begins anew.
    pub fn restarted(&self) -> Self {
        Self::new(self.terms.clone(), self.tickets.clone())
    }

    /// Gives the chain's terms.
    pub const fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Gives deposits, also those that came to an end.
    pub fn deposits(&self) -> impl Iterator<Item = (&OutPoint, &OpenDeposit)> {
        self.deposits.iter()
    }

    /// Gives the deposits that derivation has open, in the order of their heights.
    pub fn open_deposits(&self) -> impl Iterator<Item = (&OutPoint, &OpenDeposit)> {
        let open = self.open.iter();
        open.filter_map(|(_, outpoint)| self.deposits.get_key_value(outpoint))
    }

    /// Gives a deposit, also one that came to an end.
    pub fn deposit(&self, outpoint: &OutPoint) -> Option<&OpenDeposit> {
        self.deposits.get(outpoint)
    }

    /// Gives the vault's outputs, also those that were spent.
    pub fn outputs(&self) -> impl Iterator<Item = (&OutPoint, &VaultOutput)> {
        self.outputs.iter()
    }

    /// Gives an output of the vault.
    pub fn output(&self, outpoint: &OutPoint) -> Option<&VaultOutput> {
        self.outputs.get(outpoint)
    }

    /// Tells what a slot's ticket was spent for.
    pub fn assigned(&self, slot: usize) -> Option<Assigned> {
        let ticket = self.tickets.get(slot)?.as_ref()?;
        self.assignments.get(ticket).copied()
    }

    /// Tells where credit was redeemed with an output of an operator's.
    pub fn redeemed(&self, outpoint: &OutPoint) -> Option<Spend> {
        self.redemptions.get(outpoint).copied()
    }

    /// Gives the sum of the outputs that are there.
    pub fn held(&self) -> Amount {
        self.there().map(|(_, output)| output.amount).sum()
    }

    /// Whether a ticket was spent for an output.
    pub fn is_named(&self, outpoint: &OutPoint) -> bool {
        self.last_named(outpoint).is_some()
    }

    /// Gives the L1 block in which a ticket was spent for an output last.
    fn last_named(&self, outpoint: &OutPoint) -> Option<u32> {
        let named = self.assignments.values();
        let named = named.filter(|assigned| assigned.output == Some(*outpoint));
        named.map(|assigned| assigned.spend.height).max()
    }

    fn there(&self) -> impl Iterator<Item = (&OutPoint, &VaultOutput)> {
        self.outputs.iter().filter(|(_, output)| output.spent.is_none())
    }

    /// Gives the outputs of the vault that are there, and that no ticket was spent for.
    pub fn free(&self) -> impl Iterator<Item = (&OutPoint, &VaultOutput)> {
        self.there().filter(|(outpoint, _)| !self.is_named(outpoint))
    }

    /// Gives the outputs that are there, and that tickets were spent for.
    pub fn named(&self) -> impl Iterator<Item = (&OutPoint, &VaultOutput)> {
        self.there().filter(|(outpoint, _)| self.is_named(outpoint))
    }

    /// Gives the outputs that tickets were spent for in vain: the chain has counted all of these, and has assigned the output to
    /// none. It is as free as before.
    pub fn refused<'a>(
        &'a self,
        counted: &'a Counted,
    ) -> impl Iterator<Item = (&'a OutPoint, &'a VaultOutput)> {
        let is_counted = |outpoint: &OutPoint| {
            let last = self.last_named(outpoint);
            last.is_some_and(|height| height <= counted.origin)
        };
        self.there()
            .filter(move |(outpoint, _)| counted.free.contains(outpoint) && is_counted(outpoint))
    }

    /// Gives an output of the vault to be spent.
    pub fn spendable(&self, outpoint: OutPoint, amount: Amount) -> Spent {
        let script_pubkey = self.terms.vault_script();
        let output = TxOut {
            value: amount,
            script_pubkey,
        };
        Spent::new(outpoint, output)
    }

    /// Takes in a confirmed transaction, in the order of the chain; tells whether it is about the vault. What is a deposit, and
    /// what its accept, derivation decides (docs/derivation.md): this is the same.
    pub fn apply(&mut self, transaction: &Transaction, height: u32) -> bool {
        if transaction.is_coinbase() {
            return false;
        }
        let txid = transaction.compute_txid();
        let mut concerns = false;
        let mut from_vault = false;
        for (index, input) in transaction.input.iter().enumerate() {
            let spent = &input.previous_output;
            let spend = Spend { txid, height };
            if let Some(output) = self.outputs.get_mut(spent) {
                output.spent = Some(spend);
                (concerns, from_vault) = (true, true);
            } else if self.tickets.contains(&Some(*spent)) {
                let output = self.assigned_by(transaction);
                self.assignments.insert(*spent, Assigned { output, spend });
                concerns = true;
            } else if let Some(deposit) = self.deposits.get_mut(spent) {
                deposit.spent = Some(spend);
                concerns = true;
                let is_open = self.open.remove(&(deposit.height, *spent));
                if is_open && let Some(amount) = self.accepted(transaction, index) {
                    self.add(txid, index, amount, height);
                }
            }
        }
        if let Some(spent) = self.redeems(transaction) {
            self.redemptions.insert(spent, Spend { txid, height });
            concerns = true;
        }
        if from_vault {
            self.moved(transaction, txid, height);
        }
        concerns | self.find_deposit(transaction, txid, height)
    }

    /// Gives what an accept moves into the vault for a deposit, by a key path and at the deposit's place.
    fn accepted(&self, transaction: &Transaction, index: usize) -> Option<Amount> {
        let (input, output) = (transaction.input.get(index)?, transaction.output.get(index)?);
        let is_accept = is_key_spend(input) && output.script_pubkey == self.terms.vault_script();
        is_accept.then_some(output.value)
    }

    /// Finds the operator's output by which a transaction redeems credit.
    fn redeems(&self, transaction: &Transaction) -> Option<OutPoint> {
        let spent = transaction.input.first()?.previous_output;
        let mut operators = self.tickets.iter().flatten().map(|ticket| ticket.txid);
        let is_tag = |script: &[u8]| {
            let to = script.last_chunk::<20>();
            to.is_some_and(|to| script == redemption_script(Address::from(*to)))
        };
        let mut scripts = transaction
            .output
            .iter()
            .map(|output| output.script_pubkey.as_bytes());
        (operators.any(|operator| operator == spent.txid) && scripts.any(is_tag)).then_some(spent)
    }

    /// Finds the vault output that an assignment names.
    fn assigned_by(&self, transaction: &Transaction) -> Option<OutPoint> {
        let tag = |outpoint: &OutPoint| assignment_script(&chain_outpoint(outpoint));
        let names = |outpoint: &&OutPoint| {
            let tag = tag(outpoint);
            transaction
                .output
                .iter()
                .any(|output| output.script_pubkey.as_bytes() == tag)
        };
        self.outputs.keys().find(names).copied()
    }

    /// Takes in what a transaction that spends vault outputs adds to the vault.
    fn moved(&mut self, transaction: &Transaction, txid: Txid, height: u32) {
        let tag = vault_spend_script();
        let is_tagged = transaction
            .output
            .iter()
            .any(|output| output.script_pubkey.as_bytes() == tag);
        let script = self.terms.vault_script();
        let to_vault = transaction.output.iter().enumerate();
        let to_vault: Vec<(usize, Amount)> = to_vault
            .filter(|(_, output)| output.script_pubkey == script)
            .map(|(vout, output)| (vout, output.value))
            .collect();
        if is_tagged && transaction.input.len() <= MAX_VAULT_OUTPUTS && to_vault.len() <= MAX_VAULT_OUTPUTS {
            for (vout, amount) in to_vault {
                self.add(txid, vout, amount, height);
            }
        }
    }

    fn add(&mut self, txid: Txid, vout: usize, amount: Amount, height: u32) {
        let outpoint = OutPoint::new(txid, vout as u32);
        self.outputs.insert(
            outpoint,
            VaultOutput {
                amount,
                height,
                spent: None,
            },
        );
    }

    fn find_deposit(&mut self, transaction: &Transaction, txid: Txid, height: u32) -> bool {
        let keep = deposit_keep(self.terms.refund_delay);
        let is_full = self.open.len() >= MAX_OPEN_DEPOSITS;
        let oldest = self.open.first().copied();
        let forgotten = oldest.filter(|(at, _)| is_full && height >= at.saturating_add(keep));
        if is_full && forgotten.is_none() {
            return false;
        }
        let Some(order) = Order::of_transaction(transaction) else {
            return false;
        };
        let script = order.address(&self.terms).script_pubkey();
        let least = self.terms.min_deposit;
        let mut outputs = (0..).zip(&transaction.output);
        let found = outputs.find(|(_, output)| output.script_pubkey == script && output.value >= least);
        let Some((vout, output)) = found else {
            return false;
        };
        let deposit = OpenDeposit {
            order,
            output: output.clone(),
            height,
            spent: None,
        };
        let outpoint = OutPoint::new(txid, vout);
        if let Some(forgotten) = forgotten {
            self.open.remove(&forgotten);
        }
        self.open.insert((height, outpoint));
        self.deposits.insert(outpoint, deposit);
        true
    }
}

/// Whether an input has the form of a key path's (BIP-0341), with an annex or without.
fn is_key_spend(input: &TxIn) -> bool {
    let witness: Vec<&[u8]> = input.witness.iter().collect();
    let signature = match witness.as_slice() {
        [signature] => signature,
        [signature, annex] if annex.first() == Some(&0x50) => signature,
        _ => return false,
    };
    matches!(signature.len(), 64 | 65)
}
