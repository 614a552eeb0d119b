//! `deployment`: the file that all members have, made of their entries.

use std::path::PathBuf;
use std::str::FromStr;

use bitcoin::Network;
use clap::Args;
use eyre::WrapErr;
use serde::Deserialize;

use super::config::Config;
use super::member::{given, read_program};
use crate::committee::{Aggregate, Deployment, Digest, Member, chain_file_hash};
use crate::params::{Params, Rounds, VaultParams};
use crate::setup::{Section, SlotEntry, program_hash};

/// Arguments of `deployment`.
#[derive(Debug, Args)]
pub(super) struct DeploymentArgs {
    /// The Bitcoin network: bitcoin, testnet4, signet, regtest.
    #[arg(long)]
    network: Network,
    /// Files with what `committee keygen` printed, in the order of the members.
    #[arg(long = "members", required = true, num_args = 1..)]
    members: Vec<PathBuf>,
    /// An L1 block before the deployment's first output.
    #[arg(long)]
    start_height: u32,
    /// Slots: the operator's name, the unit that it starts behind, the chain state there.
    #[arg(long = "slot", required = true, value_name = "OPERATOR:UNIT:STATE")]
    slots: Vec<SlotArg>,
    /// Let claims be about the chain's state alone: they take nothing of the vault.
    #[arg(long)]
    no_vault: bool,
    #[command(flatten)]
    params: ParamsArgs,
}

/// What the parties agree on. The defaults are for Bitcoin: a day a move.
#[derive(Debug, Args)]
struct ParamsArgs {
    /// Rounds of the search over units: even.
    #[arg(long, default_value_t = 14)]
    unit_rounds: u8,
    /// Rounds of the search over steps.
    #[arg(long, default_value_t = 20)]
    trace_rounds: u8,
    /// Blocks for each move.
    #[arg(long, default_value_t = 144)]
    move_timeout_blocks: u16,
    /// Blocks within which a challenge has to confirm.
    #[arg(long, default_value_t = 1_008)]
    challenge_window_blocks: u16,
    /// Blocks after which an upheld claim finalises [default: as few as the longest game allows].
    #[arg(long)]
    dispute_window_blocks: Option<u16>,
    /// What a claim puts at stake, in sats.
    #[arg(long, default_value_t = 20_000_000)]
    bond_sats: u64,
    /// What a challenger puts at stake, in sats.
    #[arg(long, default_value_t = 2_000_000)]
    stake_sats: u64,
    /// What a challenger gets of the bond when it wins, in sats.
    #[arg(long, default_value_t = 10_000_000)]
    reward_sats: u64,
    /// The fee that a verdict has out of the bond, in sats.
    #[arg(long, default_value_t = 400_000)]
    verdict_fee_sats: u64,
    /// Vault outputs of more than this are split, in sats [default: none].
    #[arg(long)]
    split_above_sats: Option<u64>,
    /// Vault outputs of less than this are merged, in sats [default: none].
    #[arg(long)]
    merge_below_sats: Option<u64>,
    /// What the vault may hold: members accept no deposit that would bring it above, in sats [default: no limit].
    #[arg(long)]
    max_vault_sats: Option<u64>,
}

#[derive(Clone, Debug)]
struct SlotArg(SlotEntry);

impl SlotArg {
    fn entry(self, vault: bool) -> SlotEntry {
        SlotEntry { vault, ..self.0 }
    }
}

impl FromStr for SlotArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let failed = || "expected OPERATOR:UNIT:STATE, the state 64 hexadecimal digits".to_owned();
        let mut parts = text.splitn(3, ':');
        let mut part = || parts.next().ok_or_else(failed);
        let (operator, unit, state) = (part()?.to_owned(), part()?, part()?);
        let mut bytes = [0; 32];
        let digits = state.strip_prefix("0x").unwrap_or(state);
        hex::decode_to_slice(digits, &mut bytes).map_err(|_| failed())?;
        Ok(Self(SlotEntry {
            operator,
            start_unit: unit.parse().map_err(|_| failed())?,
            start_state: Digest(bytes),
            vault: true,
        }))
    }
}

/// A member's entry, as `keygen` prints it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    member: Vec<Member>,
}

impl ParamsArgs {
    fn params(&self) -> Params {
        let rounds = Rounds {
            units: self.unit_rounds,
            trace: self.trace_rounds,
        };
        let game = rounds.moves() * u32::from(self.move_timeout_blocks);
        let least = game + u32::from(self.challenge_window_blocks) + 1;
        // One that is too large is refused by name when the parameters are checked.
        let least = u16::try_from(least).unwrap_or(u16::MAX);
        Params {
            rounds,
            move_timeout_blocks: self.move_timeout_blocks,
            challenge_window_blocks: self.challenge_window_blocks,
            dispute_window_blocks: self.dispute_window_blocks.unwrap_or(least),
            bond_sats: self.bond_sats,
            stake_sats: self.stake_sats,
            reward_sats: self.reward_sats,
            verdict_fee_sats: self.verdict_fee_sats,
        }
    }

    const fn vault(&self) -> VaultParams {
        VaultParams {
            split_above_sats: self.split_above_sats,
            merge_below_sats: self.merge_below_sats,
            max_vault_sats: self.max_vault_sats,
        }
    }
}

/// Arguments of `vault-key`.
#[derive(Debug, Args)]
pub(super) struct VaultKeyArgs {
    /// Files with what `committee keygen` printed.
    #[arg(long = "members", required = true, num_args = 1..)]
    members: Vec<PathBuf>,
}

/// Prints the members' key, 64 hexadecimal digits.
pub(super) fn show_vault_key(args: &VaultKeyArgs) -> eyre::Result<()> {
    let keys = read_members(&args.members)?;
    let key = Aggregate::of_keys(keys.into_iter().map(|member| member.signing));
    println!("{}", key.wrap_err("failed to aggregate the members' keys")?.key());
    Ok(())
}

fn read_members(paths: &[PathBuf]) -> eyre::Result<Vec<Member>> {
    let mut members = Vec::new();
    for path in paths {
        let failed = || format!("failed to read the entry {}", path.display());
        let text = std::fs::read_to_string(path).wrap_err_with(failed)?;
        let entry: Entry = toml::from_str(&text).wrap_err_with(failed)?;
        members.extend(entry.member);
    }
    Ok(members)
}

/// Prints the file.
pub(super) fn make(args: DeploymentArgs, config: &Config) -> eyre::Result<()> {
    let program = read_program(config)?;
    let chain = chain_file_hash(given(&config.layer.chain_file, "chain_file")?);
    let chain = chain.wrap_err("failed to make the deployment")?;
    let members = read_members(&args.members)?;
    let section = Section {
        program: program_hash(&program),
        start_height: args.start_height,
        params: args.params.params(),
        vault: args.params.vault(),
        slots: args
            .slots
            .into_iter()
            .map(|slot| slot.entry(!args.no_vault))
            .collect(),
    };
    let deployment = Deployment {
        network: args.network,
        chain,
        members,
        graph: section.to_table()?,
    };
    deployment.verify().wrap_err("failed to make the deployment")?;
    Section::of(&deployment).wrap_err("failed to make the deployment")?;
    print!("{}", deployment.to_toml()?);
    Ok(())
}
