//! The vault as people and scripts see it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bitcoin::{Amount, OutPoint, Txid};
use serde::{Deserialize, Serialize};

use super::care::due_moves;
use super::state::VaultState;
use crate::chain::{Counted, VaultSums};
use crate::params::VaultParams;

/// What becomes of a vault output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum OutputState {
    /// It can be assigned.
    Free,
    /// It is assigned to a slot.
    Assigned,
    /// Members split it.
    Split,
    /// Members merge it with others.
    Merge,
}

/// A vault output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputView {
    /// The output.
    pub outpoint: OutPoint,
    /// How much.
    pub sats: u64,
    /// The L1 block that made it.
    pub height: u32,
    /// What becomes of it.
    pub state: OutputState,
    /// The slot that it is assigned to, or was in vain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<usize>,
    /// The operator of that slot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operator: Option<String>,
    /// Whether the chain refused its assignment, so that it is free again.
    #[serde(default)]
    pub assignment_refused: bool,
    /// What spends it in the mempool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spent_in_mempool_by: Option<Txid>,
}

/// An operator, as the chain knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatorView {
    /// Its name.
    pub name: String,
    /// The transaction that made its tickets.
    pub txid: Txid,
    /// Slots whose ticket is not spent.
    pub free_slots: usize,
    /// Its credit; none where no node was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credit_sats: Option<u64>,
}

/// The vault.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VaultView {
    /// The last L1 block that was looked at.
    pub tip: u32,
    /// The sum of all outputs, in sats.
    pub held_sats: u64,
    /// Of these, what is assigned.
    pub assigned_sats: u64,
    /// Deposits that may be accepted still.
    pub open_deposits: usize,
    /// What these hold.
    pub open_deposit_sats: u64,
    /// Outputs above are split.
    pub split_above_sats: Option<u64>,
    /// Outputs below are merged.
    pub merge_below_sats: Option<u64>,
    /// What the vault may hold.
    pub max_vault_sats: Option<u64>,
    /// The outputs, in the order of the chain.
    pub outputs: Vec<OutputView>,
    /// The operators, in the order of the deployment.
    pub operators: Vec<OperatorView>,
    /// What the chain says; none where no node was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chain: Option<VaultSums>,
}

impl VaultView {
    /// Shows the vault. `slots` has of each slot its operator's name and its ticket; `counted` what the chain says, where a node was
    /// asked.
    pub fn new(
        vault: &VaultState,
        params: &VaultParams,
        slots: &[(String, Option<OutPoint>)],
        (tip, counted): (u32, Option<&Counted>),
    ) -> Self {
        let free = vault.free().map(|(outpoint, output)| (*outpoint, *output));
        let moves = due_moves(params, free);
        let mut moved = BTreeMap::new();
        for one in &moves {
            let state = match one.inputs.len() {
                1 => OutputState::Split,
                _ => OutputState::Merge,
            };
            moved.extend(one.inputs.iter().map(|(outpoint, _)| (*outpoint, state)));
        }
        let refused: BTreeSet<OutPoint> = counted
            .into_iter()
            .flat_map(|counted| vault.refused(counted).map(|(outpoint, _)| *outpoint))
            .collect();
        let assigned = assigned_slots(vault, slots, counted);
        let there = vault.outputs().filter(|(_, output)| output.spent.is_none());
        let mut outputs: Vec<OutputView> = there
            .map(|(outpoint, output)| {
                let slot = assigned.get(outpoint).copied();
                let assignment_refused = refused.contains(outpoint);
                let state = match slot {
                    Some(_) if assignment_refused => OutputState::Free,
                    Some(_) => OutputState::Assigned,
                    None => moved.get(outpoint).copied().unwrap_or(OutputState::Free),
                };
                OutputView {
                    outpoint: *outpoint,
                    sats: output.amount.to_sat(),
                    height: output.height,
                    state,
                    slot,
                    operator: slot.map(|slot| slots[slot].0.clone()),
                    assignment_refused,
                    spent_in_mempool_by: None,
                }
            })
            .collect();
        outputs.sort_by_key(|output| (output.height, output.outpoint));
        let is_assigned = |output: &&OutputView| output.state == OutputState::Assigned;
        let open: Vec<Amount> = vault
            .open_deposits()
            .map(|(_, deposit)| deposit.output.value)
            .collect();
        Self {
            tip,
            held_sats: vault.held().to_sat(),
            assigned_sats: outputs.iter().filter(is_assigned).map(|output| output.sats).sum(),
            open_deposits: open.len(),
            open_deposit_sats: open.into_iter().sum::<Amount>().to_sat(),
            split_above_sats: params.split_above_sats,
            merge_below_sats: params.merge_below_sats,
            max_vault_sats: params.max_vault_sats,
            outputs,
            operators: operators(vault, slots),
            chain: None,
        }
    }
}

/// Gives the slot that each output is assigned to: of several that of the ticket that the chain has it assigned to, else the last.
fn assigned_slots(
    vault: &VaultState,
    slots: &[(String, Option<OutPoint>)],
    counted: Option<&Counted>,
) -> BTreeMap<OutPoint, usize> {
    let holds = |slot: usize| {
        let ticket = slots[slot].1.as_ref();
        ticket
            .zip(counted)
            .is_some_and(|(ticket, counted)| counted.tickets.contains(ticket))
    };
    let mut named: Vec<(bool, u32, usize, OutPoint)> = (0..slots.len())
        .filter_map(|slot| {
            let assigned = vault.assigned(slot)?;
            Some((holds(slot), assigned.spend.height, slot, assigned.output?))
        })
        .collect();
    named.sort_unstable();
    named
        .into_iter()
        .map(|(_, _, slot, outpoint)| (outpoint, slot))
        .collect()
}

fn operators(vault: &VaultState, slots: &[(String, Option<OutPoint>)]) -> Vec<OperatorView> {
    let mut operators: Vec<OperatorView> = Vec::new();
    for (slot, (name, ticket)) in slots.iter().enumerate() {
        let Some(ticket) = ticket else { continue };
        let is_free = usize::from(vault.assigned(slot).is_none());
        match operators.iter_mut().find(|operator| operator.txid == ticket.txid) {
            Some(operator) => operator.free_slots += is_free,
            None => operators.push(OperatorView {
                name: name.clone(),
                txid: ticket.txid,
                free_slots: is_free,
                credit_sats: None,
            }),
        }
    }
    operators
}

impl fmt::Display for OutputView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            outpoint,
            sats,
            height,
            ..
        } = self;
        write!(f, "{outpoint}: {sats} sats since block {height}, ")?;
        match (self.state, self.slot, &self.operator) {
            (OutputState::Assigned, Some(slot), Some(operator)) => {
                write!(f, "assigned to slot {slot} of {operator}")?;
            }
            (OutputState::Free, Some(slot), Some(operator)) => {
                write!(
                    f,
                    "free: the chain refused its assignment to slot {slot} of {operator}"
                )?;
            }
            (OutputState::Split, ..) => f.write_str("to be split")?,
            (OutputState::Merge, ..) => f.write_str("to be merged")?,
            _ => f.write_str("free")?,
        }
        match &self.spent_in_mempool_by {
            Some(txid) => write!(f, ", spent in the mempool by {txid}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for VaultView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            tip,
            held_sats,
            assigned_sats,
            open_deposits,
            open_deposit_sats,
            ..
        } = self;
        write!(
            f,
            "the vault at Bitcoin's block {tip}: {held_sats} sats in {} outputs, {assigned_sats} assigned\n\
             open deposits: {open_deposits}, {open_deposit_sats} sats",
            self.outputs.len(),
        )?;
        let limit = |sats: Option<u64>| sats.map_or("none".to_owned(), |sats| format!("{sats} sats"));
        write!(
            f,
            "\nsplit above: {}, merged below: {}, at most: {}",
            limit(self.split_above_sats),
            limit(self.merge_below_sats),
            limit(self.max_vault_sats),
        )?;
        if let Some(sums) = &self.chain {
            write!(
                f,
                "\nthe chain: vault {}, pending {}, credit {}, in flight {} sats; its rules {}",
                sums.vault_sats,
                sums.pending_sats,
                sums.credit_sats,
                sums.in_flight_sats,
                if sums.holds { "hold" } else { "DO NOT HOLD" },
            )?;
        }
        for operator in &self.operators {
            let OperatorView {
                name,
                txid,
                free_slots,
                ..
            } = operator;
            write!(f, "\noperator {name}, {txid}: {free_slots} free slots")?;
            if let Some(credit) = operator.credit_sats {
                write!(f, ", credit {credit} sats")?;
            }
        }
        self.outputs.iter().try_for_each(|output| write!(f, "\n{output}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::{Fixture, outpoint};
    use super::*;

    #[test]
    fn an_assignment_that_the_chain_refused_is_shown() {
        let tickets = [Some(outpoint(0x70, 2)), Some(outpoint(0x71, 2))];
        let mut world = Fixture::new(tickets.to_vec());
        let deposit = world.deposit(1, 50_000, 10);
        let output = world.accept(deposit, 50_000, 12);
        let names = ["olga", "oleg"].map(str::to_owned);
        let slots: Vec<_> = names.into_iter().zip(tickets).collect();
        let shown = |world: &Fixture, counted: Option<&Counted>| {
            let view = VaultView::new(&world.vault, &VaultParams::default(), &slots, (30, counted));
            let output = view.outputs[0].clone();
            (
                output.state,
                output.assignment_refused,
                view.assigned_sats,
                output.to_string(),
            )
        };
        world.assign(outpoint(0x71, 2), output, 20);
        let mut counted = Counted {
            origin: 20,
            free: [output].into(),
            ..Counted::default()
        };
        let (state, refused, assigned, text) = shown(&world, Some(&counted));
        assert_eq!((state, refused, assigned), (OutputState::Free, true, 0));
        assert!(
            text.ends_with(", free: the chain refused its assignment to slot 1 of oleg"),
            "{text}"
        );
        // Without a node nobody knows.
        let (state, refused, assigned, _) = shown(&world, None);
        assert_eq!((state, refused, assigned), (OutputState::Assigned, false, 50_000));
        // Then it is the other one's.
        world.assign(outpoint(0x70, 2), output, 22);
        counted.free.clear();
        counted.tickets.insert(outpoint(0x70, 2));
        let (state, refused, _, text) = shown(&world, Some(&counted));
        assert_eq!((state, refused), (OutputState::Assigned, false));
        assert!(text.ends_with(", assigned to slot 0 of olga"), "{text}");
    }

    #[test]
    fn outputs_are_shown_with_what_becomes_of_them() {
        let tickets = [Some(outpoint(0x70, 2)), Some(outpoint(0x70, 3)), None];
        let mut world = Fixture::new(tickets.to_vec());
        let mut outputs = Vec::new();
        for (number, sats) in (1..).zip([50_000, 900_000, 60_000, 12_000]) {
            let deposit = world.deposit(number, sats, 10);
            outputs.push(world.accept(deposit, sats, 10 + u32::from(number)));
        }
        world.deposit(9, 70_000, 20);
        world.assign(outpoint(0x70, 3), outputs[0], 16);
        let params = VaultParams {
            split_above_sats: Some(800_000),
            merge_below_sats: Some(100_000),
            max_vault_sats: None,
        };
        let names = ["olga", "olga", "oleg"].map(str::to_owned);
        let slots: Vec<_> = names.into_iter().zip(tickets).collect();
        let view = VaultView::new(&world.vault, &params, &slots, (21, None));
        assert_eq!((view.held_sats, view.assigned_sats), (1_022_000, 50_000));
        assert_eq!((view.open_deposits, view.open_deposit_sats), (1, 70_000));
        let shown: Vec<_> = view
            .outputs
            .iter()
            .map(|output| (output.outpoint, output.state))
            .collect();
        let states = [
            OutputState::Assigned,
            OutputState::Split,
            OutputState::Free,
            OutputState::Free,
        ];
        assert_eq!(shown, outputs.iter().copied().zip(states).collect::<Vec<_>>());
        assert_eq!(
            (view.outputs[0].slot, view.outputs[0].operator.as_deref()),
            (Some(1), Some("olga"))
        );
        assert_eq!(view.operators.len(), 1);
        assert_eq!(view.operators[0].free_slots, 1);
        let text = view.to_string();
        assert!(
            text.contains("50000 sats since block 11, assigned to slot 1 of olga"),
            "{text}"
        );
        assert!(text.contains("900000 sats since block 12, to be split"), "{text}");
        let json = serde_json::to_value(&view).unwrap();
        assert_eq!(json["outputs"][1]["state"], "split");
        assert_eq!(serde_json::from_value::<VaultView>(json).unwrap(), view);
        // With more small ones all of them are merged.
        for number in 20..26 {
            let deposit = world.deposit(number, 20_000, 30);
            world.accept(deposit, 20_000, 30);
        }
        let view = VaultView::new(&world.vault, &params, &slots, (31, None));
        let merged = view
            .outputs
            .iter()
            .filter(|output| output.state == OutputState::Merge);
        assert_eq!(merged.count(), 8);
    }
}
