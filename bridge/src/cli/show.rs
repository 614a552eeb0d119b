//! `vault`: the vault as Bitcoin stands, without a daemon.

use std::collections::BTreeMap;

use bitcoin::OutPoint;
use clap::Args;
use eyre::{WrapErr, bail};
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::member::{client, read_deployment};
use super::scan::scan_vault;
use super::user::{Output, optional_node, read_terms, verify_start};
use crate::committee::{
    Aggregate, Deployment, MemberId, Store, ask_contribution, contributions as stored_contributions,
};
use crate::setup::{Section, tickets};
use crate::user::Terms;
use crate::vault::VaultView;

/// Arguments of `vault`.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct VaultArgs {
    #[command(flatten)]
    output: Output,
}

pub(super) async fn show_vault(
    args: VaultArgs,
    config: &Config,
    stop: &CancellationToken,
) -> eyre::Result<()> {
    let work = async { args.output.print(&look(config).await?) };
    args.output.run(work, stop).await
}

async fn look(config: &Config) -> eyre::Result<VaultView> {
    let terms = read_terms(config)?;
    let deployment = read_deployment(config)?;
    verify_key(&deployment, &terms)?;
    let section = Section::of(&deployment)?;
    let contributed = contributions(config, &deployment, &section).await?;
    let tickets = tickets(&deployment, &contributed).wrap_err("failed to find the slots' tickets")?;
    let names = section.slots.iter().map(|slot| slot.operator.clone());
    let slots: Vec<(String, Option<OutPoint>)> = names.zip(tickets.iter().copied()).collect();
    let client = client(config, terms.network).await?;
    verify_start(&client, &terms).await?;
    let (tip, vault) = scan_vault(&client, &terms, &tickets).await?;
    let asked = "failed to ask the node";
    let node = optional_node(config, &terms).await?;
    let counted = match &node {
        Some(node) => Some(node.chain().counted().await.wrap_err(asked)?),
        None => None,
    };
    let mut view = VaultView::new(&vault, &section.vault, &slots, (tip, counted.as_ref()));
    let outpoints: Vec<OutPoint> = view.outputs.iter().map(|output| output.outpoint).collect();
    let failed = "failed to ask Bitcoin Core for its mempool";
    if !outpoints.is_empty() {
        let spending = client
            .get_tx_spending_prevout(&outpoints)
            .await
            .wrap_err(failed)?;
        for (output, spending) in view.outputs.iter_mut().zip(spending) {
            output.spent_in_mempool_by = spending.spending_txid;
        }
    }
    if let Some(node) = node {
        for operator in &mut view.operators {
            let credit = node.chain().credit(&operator.txid).await;
            operator.credit_sats = Some(credit.wrap_err(asked)?);
        }
        view.chain = Some(node.chain().vault_sums().await.wrap_err(asked)?);
    }
    Ok(view)
}

/// Checks that the chain's vault is the members'.
fn verify_key(deployment: &Deployment, terms: &Terms) -> eyre::Result<()> {
    let key = Aggregate::new(deployment)
        .wrap_err("failed to aggregate the members' keys")?
        .key();
    if key != terms.vault_key {
        let got = terms.vault_key;
        bail!("failed to use the chain: expected the vault key of the members, {key}, got {got}");
    }
    Ok(())
}

/// Gives what operators have contributed: as the member's folder has it, or, where there is none or its daemon has it open, as
/// the operators serve it.
async fn contributions(
    config: &Config,
    deployment: &Deployment,
    section: &Section,
) -> eyre::Result<BTreeMap<MemberId, Vec<u8>>> {
    if let Some(folder) = &config.layer.data_dir {
        match Store::open(folder, &deployment.hash()?) {
            Ok(store) => {
                return stored_contributions(&store, deployment)
                    .wrap_err_with(|| format!("failed to read the folder {}", folder.display()));
            }
            Err(error) if error.is_in_use() => {
                tracing::debug!("the folder is in use: operators are asked");
            }
            Err(error) => {
                return Err(error).wrap_err_with(|| format!("failed to use the folder {}", folder.display()));
            }
        }
    }
    let mut contributions = BTreeMap::new();
    for member in deployment.ids() {
        if section.operates(deployment, member).is_empty() {
            continue;
        }
        let name = &deployment.member(member).name;
        let asked = ask_contribution(deployment, member).await;
        let asked = asked.wrap_err_with(|| format!("failed to ask {name} for its tickets"))?;
        contributions.insert(member, asked);
    }
    Ok(contributions)
}
