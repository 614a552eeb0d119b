//! The start of a devnet's chain: coins, the first baton, the chain file.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use alloy_primitives::{B256, U256};
use bitcoin::key::{Keypair, Secp256k1};
use bitcoin::{Network, OutPoint, TxOut};
use bitsect_l1::BlockRef;
use bitsect_l1::regtest::{Bitcoind, COINBASE_MATURITY};
use bitsect_l1::rpc::Client;
use bitsect_vm::chain::L1Network;
use eyre::WrapErr;

use super::keys::{ACCOUNTS, BALANCE, CHAIN_ID, VAULT_SECRET};
use crate::convert;
use crate::genesis::NewChain;
use crate::poster::{BATON_VALUE, Builder};
use crate::purse::Purse;

/// The chain file's name below the devnet's folder.
pub const CHAIN_FILE: &str = "bitsect.chain.toml";
/// The wallet that `devnet-deposit` and `force` pay from, below the devnet's folder.
pub const USER_DIR: &str = "user";
/// Blocks whose coinbase each wallet gets, 50 BTC each.
const COINBASES: u32 = 20;
/// Seconds that the first blocks are dated back. Mined at once, they would date themselves ahead of the clock, and
/// L2 blocks with them.
const BACKDATE: u64 = 600;
/// How long Bitcoin Core is asked at once to wait for a block.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
const ASKING: &str = "failed to ask Bitcoin Core";

/// Gives the committee's key pair.
pub(super) fn vault_key() -> Keypair {
    Keypair::from_seckey_slice(&Secp256k1::new(), &VAULT_SECRET).expect("a test checks that it is a key")
}

pub(super) fn known_key() -> B256 {
    B256::new(vault_key().x_only_public_key().0.serialize())
}

/// Opens the wallet that users' commands pay from.
pub(super) fn user_purse(client: &Client, dir: &Path, first: BlockRef) -> eyre::Result<Purse> {
    let folder = dir.join(USER_DIR);
    Purse::open(
        client.clone(),
        Network::Regtest,
        &folder,
        &folder.join("user.key"),
        first,
    )
}

/// Gives Bitcoin's block 0, below which no wallet has anything.
pub(super) fn first_block() -> BlockRef {
    BlockRef::new(
        0,
        bitcoin::constants::genesis_block(Network::Regtest).block_hash(),
    )
}

/// Pays outputs from the users' wallet. Gives the place of the first one.
///
/// # Errors
/// When the wallet has too little or is in use, or Bitcoin Core fails.
pub(super) async fn send(client: &Client, dir: &Path, outputs: Vec<TxOut>) -> eyre::Result<OutPoint> {
    let purse = user_purse(client, dir, first_block())?;
    purse.sync().await?;
    let paid = purse.pay(outputs, vec![], |_| Ok(())).await?;
    Ok(OutPoint::new(paid.compute_txid(), 0))
}

/// Waits for the block that has an output which nobody spends: somebody has to mine it.
///
/// # Errors
/// When Bitcoin Core fails.
pub(super) async fn confirmed(client: &Client, output: &OutPoint) -> eyre::Result<()> {
    loop {
        let tip = client.get_best_block_hash().await.wrap_err(ASKING)?;
        if client.get_tx_out(output, false).await.wrap_err(ASKING)?.is_some() {
            return Ok(());
        }
        client
            .wait_for_new_block(&tip, LONGEST_WAIT)
            .await
            .wrap_err(ASKING)?;
    }
}

/// Pays outputs from the users' wallet, and waits for the block that has them.
///
/// # Errors
/// When the wallet has too little or is in use, or Bitcoin Core fails.
pub async fn pay(client: &Client, dir: &Path, outputs: Vec<TxOut>) -> eyre::Result<()> {
    confirmed(client, &send(client, dir, outputs).await?).await
}

/// Mines the first coins, makes the baton, and writes the chain file last: until then a start begins again.
///
/// # Errors
/// When Bitcoin Core refuses something, or a file cannot be written.
pub async fn start_chain(bitcoind: &Bitcoind, dir: &Path, vault_key: Option<B256>) -> eyre::Result<()> {
    let client = bitcoind.client();
    let folder = dir.join("sequencer");
    let sequencer = Purse::open(
        client.clone(),
        Network::Regtest,
        &folder,
        &folder.join("sequencer.key"),
        first_block(),
    )?;
    let user = user_purse(client, dir, first_block())?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    client.set_mock_time(now.saturating_sub(BACKDATE)).await?;
    for purse in [&sequencer, &user] {
        bitcoind
            .mine_to(COINBASES, &purse.wallet().receive_address()?)
            .await?;
    }
    bitcoind.mine(COINBASE_MATURITY).await?;
    sequencer.sync().await?;
    user.sync().await?;
    let builder = Builder::new(sequencer.wallet().keys().key(0));
    let output = TxOut {
        value: BATON_VALUE,
        script_pubkey: builder.baton_script(),
    };
    let baton = sequencer
        .pay_one(output)
        .await
        .wrap_err("failed to make the baton")?;
    bitcoind.mine(1).await?;
    client.set_mock_time(0).await?;
    let wei = U256::from(BALANCE) * U256::from(10).pow(U256::from(18));
    let chain = NewChain {
        name: "devnet".into(),
        chain_id: CHAIN_ID,
        network: L1Network::Regtest,
        baton: convert::chain_outpoint(&baton),
        vault_key: vault_key.unwrap_or_else(known_key),
        fee_vault_owner: ACCOUNTS[0].address,
        balances: ACCOUNTS.iter().map(|account| (account.address, wei)).collect(),
        gas_limit: 60_000_000,
        // A devnet that was stopped for a day goes on at once.
        max_drift: 2 * 86_400,
        sequencing_window: 144,
        claim_maturity: 3,
    };
    let tip = bitcoind.tip().await?;
    let file = chain.chain_file(client, tip.height).await?;
    Ok(file.write_new(&dir.join(CHAIN_FILE))?)
}
