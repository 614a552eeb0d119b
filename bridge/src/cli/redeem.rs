//! `operator redeem`: credit that no slot is left for becomes BTC on L2 again.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use alloy_primitives::Address as L2Address;
use alloy_primitives::B256;
use bitcoin::key::Secp256k1;
use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, TxOut, Txid};
use bitsect_l1::carrier::{Carrier, CarrierConfig};
use bitsect_l1::rpc::Client;
use bitsect_l1::wallet::{Foreign, FundError, Funding, SignedTx, Wallet, sign_key_path};
use bitsect_vm::derive::redemption_script;
use eyre::{WrapErr, bail};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::member::{birthday, block_at, client, data_dir, follower, read_deployment, read_keys};
use super::scan::scan_vault;
use super::user::{Output, node, read_terms, verify_start};
use crate::chain::Counted;
use crate::committee::{Deployment, MemberKeys, Store, contributions};
use crate::daemon::{DaemonStore, STORE_FILE};
use crate::setup::{
    PartySecrets, Seat, Section, funding_address, made_tickets, open_wallet, redemption_output, seat,
    setup_transaction, sync,
};
use crate::user::{Terms, UserError, parse_l2_address};
use crate::vault::{Payouts, VaultState, redemption_under_way, unspent_tickets, verify_redeemable};

/// What was sent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RedeemView {
    txid: Txid,
    /// The operator as the chain knows it.
    operator: Txid,
    to: L2Address,
    /// The credit when it was sent: what there is when the chain records it is redeemed.
    credit_sats: u64,
    fee_sats: u64,
    /// The output of the set-up that it spends.
    spent: OutPoint,
    /// How many such outputs are left.
    left: usize,
}

impl fmt::Display for RedeemView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            txid,
            operator,
            to,
            credit_sats,
            fee_sats,
            spent,
            left,
        } = self;
        write!(
            f,
            "sent {txid}: {credit_sats} sats of operator {operator} to {to}\n\
             fee {fee_sats} sats; it spends {spent}, {left} such outputs are left"
        )
    }
}

/// Who redeems.
struct Operator {
    deployment: Deployment,
    section: Section,
    keys: MemberKeys,
    seat: Seat,
    terms: Terms,
    /// The tickets of all slots.
    tickets: Vec<Option<OutPoint>>,
    /// The transaction that made its own.
    setup: Transaction,
}

/// The operator's files: one process at a time has them.
struct Files {
    wallet: Arc<Wallet>,
    store: DaemonStore,
    carrier: Carrier,
}

pub(super) async fn run(
    to: &str,
    output: Output,
    config: &Config,
    stop: &CancellationToken,
) -> eyre::Result<()> {
    let work = async { output.print(&redeem(to, config).await?) };
    output.run(work, stop).await
}

async fn redeem(to: &str, config: &Config) -> eyre::Result<RedeemView> {
    let to = parse_l2_address("to", to)?;
    let operator = Operator::read(config)?;
    let ours = operator.redemptions()?;
    if ours.is_empty() {
        let rule = "an output for redemptions in the set-up's transaction, as set-ups make them";
        let got = format!("none in {}", operator.setup.compute_txid());
        return Err(UserError::refused("outputs", rule, got).into());
    }
    let node = node(config, &operator.terms).await?;
    let client = client(config, operator.terms.network).await?;
    verify_start(&client, &operator.terms).await?;
    let files = operator.open(config, &client).await?;
    let (tip, vault) = scan_vault(&client, &operator.terms, &operator.tickets).await?;
    let txid = operator.setup.compute_txid();
    let failed = "failed to ask the node";
    // In this order: the credit is without what is counted.
    let counted = node.chain().counted().await.wrap_err(failed)?;
    let credit = node.chain().credit(&txid).await.wrap_err(failed)?;
    verify_redeemable(&vault, credit, &operator.own_tickets(), &counted)?;
    operator
        .verify_idle((&client, &files), (&vault, &counted))
        .await?;
    let mut free = Vec::new();
    for (outpoint, output) in ours {
        let there = client.get_tx_out(&outpoint, true).await;
        let there = there.wrap_err("failed to ask Bitcoin Core for an output")?;
        // The first one: where a redemption by it was sent and lost, it is made again by the same output.
        free.extend(there.map(|_| (outpoint, output)));
    }
    let Some((spent, output)) = free.first().cloned() else {
        let rule = "one for redemptions that is not spent";
        return Err(UserError::refused("outputs", rule, "none").into());
    };
    let signed = operator
        .sign(config, &client, &files.wallet, (spent, output, to))
        .await?;
    send(&client, &files, (&signed.tx, spent), tip).await?;
    Ok(RedeemView {
        txid: signed.tx.compute_txid(),
        operator: txid,
        to,
        credit_sats: credit,
        fee_sats: signed.fee.to_sat(),
        spent,
        left: free.len() - 1,
    })
}

/// Keeps what is sent, and sends it.
async fn send(
    client: &Client,
    files: &Files,
    (tx, spent): (&Transaction, OutPoint),
    tip: u32,
) -> eyre::Result<()> {
    let failed = "failed to ask Bitcoin Core whether it takes the redemption";
    let tested = client.test_mempool_accept(&[tx]).await.wrap_err(failed)?;
    if let Some(reason) = tested.into_iter().find_map(|answer| answer.reject_reason) {
        files.wallet.release(tx);
        let what = "the redemption";
        return Err(UserError::NotTaken { what, reason }.into());
    }
    // From here on the daemon has nothing assigned until the chain has counted it, and sends it again where it is lost.
    if let Some(pledge) = files.store.keep_redemption(spent, tx, tip)? {
        bail!("failed to use {spent}: it is for {pledge:?}");
    }
    files.wallet.sent([tx]).wrap_err("failed to use the wallet")?;
    let sent = client.send_raw_transaction(tx).await;
    sent.wrap_err("failed to send the redemption; `operator run` sends it again")?;
    Ok(())
}

fn in_use(folder: &Path) -> String {
    let folder = folder.display();
    format!("failed to open the folder {folder}: one process at a time has it; end `operator run` first")
}

impl Operator {
    fn read(config: &Config) -> eyre::Result<Self> {
        let deployment = read_deployment(config)?;
        let (keys, terms) = (read_keys(config)?, read_terms(config)?);
        let section = Section::of(&deployment)?;
        let seat = seat(&deployment, &keys).wrap_err("failed to find our seat")?;
        if seat.operates.is_empty() {
            let name = &deployment.member(seat.member).name;
            bail!("failed to redeem: {name} has no slot in the deployment");
        }
        let folder = data_dir(config)?;
        let setup = setup_transaction(folder, &deployment.hash()?);
        let setup = setup.wrap_err("failed to read the transaction of the set-up")?;
        let Some(setup) = setup else {
            bail!("failed to redeem: the folder {} has no set-up", folder.display());
        };
        let store = Store::open(folder, &deployment.hash()?).wrap_err_with(|| in_use(folder))?;
        let contributed = contributions(&store, &deployment);
        let contributed =
            contributed.wrap_err_with(|| format!("failed to read the folder {}", folder.display()))?;
        let tickets =
            made_tickets(&deployment, &contributed).wrap_err("failed to find the slots' tickets")?;
        Ok(Self {
            deployment,
            section,
            keys,
            seat,
            terms,
            tickets,
            setup,
        })
    }

    fn secrets(&self) -> eyre::Result<PartySecrets> {
        Ok(PartySecrets::derive(&self.keys, &self.deployment.hash()?))
    }

    /// Gives the tickets of the operator's slots.
    fn own_tickets(&self) -> Vec<(usize, OutPoint)> {
        let slots = self.seat.operates.iter();
        slots
            .filter_map(|slot| Some((*slot, self.tickets[*slot]?)))
            .collect()
    }

    /// Gives the outputs that are for redemptions: behind bonds and tickets.
    fn redemptions(&self) -> eyre::Result<Vec<(OutPoint, TxOut)>> {
        let key = self.secrets()?.key.x_only_public_key().0;
        let wanted = redemption_output(&Secp256k1::new(), key);
        let txid = self.setup.compute_txid();
        let outputs = (0..).zip(&self.setup.output);
        let ours = outputs
            .skip(2 * self.seat.operates.len())
            .filter(|(_, output)| **output == wanted);
        Ok(ours
            .map(|(vout, output)| (OutPoint::new(txid, vout), output.clone()))
            .collect())
    }

    /// Opens the files of the operator's folder, and brings the wallet up to date.
    async fn open(&self, config: &Config, client: &Client) -> eyre::Result<Files> {
        let folder = data_dir(config)?;
        let failed = || in_use(folder);
        let hash = self.deployment.hash()?;
        let network = self.terms.network;
        let store = DaemonStore::open(&folder.join(STORE_FILE), B256::new(hash.0)).wrap_err_with(failed)?;
        let birthday = birthday(config, client, self.section.start_height).await?;
        let wallet = open_wallet(folder, &self.keys, network, birthday).wrap_err_with(failed)?;
        let wallet = Arc::new(wallet);
        let synced = sync(client.clone(), follower(config, network), &wallet).await;
        synced.wrap_err("failed to bring the wallet up to date")?;
        // Both tell the wallet which coins are spent by what they send.
        let start = block_at(client, "start_height", self.section.start_height).await?;
        let carrying = CarrierConfig::default();
        let carrier = Carrier::open(folder, client.clone(), carrying, Arc::clone(&wallet), start);
        let carrier = carrier.wrap_err_with(failed)?;
        let payouts = Payouts::open(folder, &hash, self.setup.compute_txid(), config.fees);
        let payouts = payouts.wrap_err_with(failed)?;
        payouts.restore(&wallet).wrap_err("failed to use the wallet")?;
        Ok(Files {
            wallet,
            store,
            carrier,
        })
    }

    /// Checks that neither an assignment nor a redemption is on its way.
    async fn verify_idle(
        &self,
        (client, files): (&Client, &Files),
        (vault, counted): (&VaultState, &Counted),
    ) -> eyre::Result<()> {
        let under_way = |what, txid: Txid| {
            let rule = "none on its way";
            Err(UserError::refused(what, rule, format!("transaction {txid}")).into())
        };
        let tickets = unspent_tickets(vault, &self.own_tickets());
        let ours: Vec<OutPoint> = self
            .redemptions()?
            .into_iter()
            .map(|(outpoint, _)| outpoint)
            .collect();
        let spends = |tx: &Transaction| {
            let mut inputs = tx.input.iter();
            inputs.any(|input| tickets.contains(&input.previous_output))
        };
        let mut jobs = files.carrier.jobs();
        let waiting = jobs.find(|job| job.confirmed.is_none() && job.conflict.is_none() && spends(&job.tx));
        if let Some(job) = waiting {
            return under_way("assignments", job.txid());
        }
        let failed = "failed to ask Bitcoin Core for its mempool";
        for (what, outpoints) in [("assignments", &tickets), ("redemptions", &ours)] {
            if outpoints.is_empty() {
                continue;
            }
            let spending = client.get_tx_spending_prevout(outpoints).await.wrap_err(failed)?;
            if let Some(txid) = spending.into_iter().find_map(|spending| spending.spending_txid) {
                return under_way(what, txid);
            }
        }
        // One that was pledged and is not on Bitcoin was lost: it is sent again. One that is has to be counted.
        match redemption_under_way(vault, &files.store, counted.origin)? {
            Some(outpoint) if vault.redeemed(&outpoint).is_some() => {
                let got = format!("one that spends {outpoint}");
                Err(UserError::refused("redemptions", "the last one counted by the chain", got).into())
            }
            _ => Ok(()),
        }
    }

    /// Makes the transaction: the set-up's output first, then coins of the wallet for the fee.
    async fn sign(
        &self,
        config: &Config,
        client: &Client,
        wallet: &Wallet,
        (spent, output, to): (OutPoint, TxOut, L2Address),
    ) -> eyre::Result<SignedTx> {
        let rate = config.fees.rate(client).await;
        let rate = rate.wrap_err("failed to ask Bitcoin Core for its fee rate")?;
        let tag = TxOut {
            value: Amount::ZERO,
            script_pubkey: ScriptBuf::from_bytes(redemption_script(to)),
        };
        let mut request = Funding::new(rate, vec![tag]);
        request.foreign = vec![Foreign::key_path(spent, output)];
        let funded = wallet.fund(&request).map_err(|error| match error {
            FundError::Insufficient { needed, available } => UserError::Coins {
                needed,
                available,
                address: Box::new(funding_address(&self.keys, self.terms.network)),
            },
            other => other.into(),
        });
        let mut funded = funded?;
        sign_key_path(&mut funded.psbt, 0, &self.secrets()?.key, None)
            .wrap_err("failed to sign the redemption")?;
        let signed = wallet.finish(funded).wrap_err("failed to sign the redemption")?;
        if signed.fee > config.max_fee {
            wallet.release(&signed.tx);
            let rule = format!("at most {} (max_fee_sats)", config.max_fee);
            return Err(UserError::refused("fee", rule, signed.fee).into());
        }
        Ok(signed)
    }
}
