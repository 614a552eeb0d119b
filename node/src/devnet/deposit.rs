//! A deposit on a devnet: the tagged output, and its acceptance, for which everybody knows the committee's key here.

use std::path::Path;

use alloy_primitives::{Address, B256};
use bitcoin::taproot::{LeafVersion, TapLeafHash, TapNodeHash};
use bitcoin::{Amount, Network, OutPoint, ScriptBuf, TxOut};
use bitsect_l1::rpc::{Auth, Client, RpcConfig, default_cookie};
use bitsect_l1::wallet::{Foreign, sign_key_path};
use bitsect_vm::derive::{DepositTag, vault_script};
use eyre::{WrapErr, ensure, eyre};

use super::{L1_URL_FILE, setup};
use crate::chain_file::ChainFile;

/// Where a deposit is on Bitcoin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// The tagged output.
    pub deposit: OutPoint,
    /// The vault output that it became.
    pub accept: OutPoint,
}

/// Gives a client for the Bitcoin Core of a running devnet.
pub(super) fn client(dir: &Path) -> eyre::Result<Client> {
    let path = dir.join(L1_URL_FILE);
    let url = std::fs::read_to_string(&path)
        .wrap_err_with(|| format!("failed to read {}: is a devnet running there?", path.display()))?;
    let auth = Auth::Cookie(default_cookie(&dir.join("bitcoin"), Network::Regtest));
    Client::new(RpcConfig::new(url.trim(), auth)).wrap_err("failed to use the devnet's RPC address")
}

/// Deposits `sats` for an L2 address on the devnet in a folder, and accepts the deposit as the committee. It counts once
/// both transactions are mined.
///
/// # Errors
/// When the devnet does not run, or the wallet has too little.
pub async fn deposit(dir: &Path, to: Address, sats: u64) -> eyre::Result<Placed> {
    let file = ChainFile::read(&dir.join(setup::CHAIN_FILE))?;
    let params = &file.params.derive;
    if sats < params.min_deposit {
        return Err(eyre!(
            "failed to deposit: expected at least {} sats, got {sats}",
            params.min_deposit
        ));
    }
    let key = setup::vault_key();
    ensure!(
        params.vault_key == setup::known_key(),
        "failed to deposit: this devnet has a committee, which accepts deposits; make them with bitsect-bridge deposit send"
    );
    let purse = setup::user_purse(&client(dir)?, dir, setup::first_block())?;
    purse.sync().await?;
    let refund_key = B256::new(purse.wallet().keys().key(0).x_only_public_key().0.serialize());
    let call = None;
    let tag = DepositTag { to, refund_key, call };
    let script = tag
        .output_script(params)
        .ok_or_else(|| eyre!("failed to use the chain's vault key"))?;
    let value = Amount::from_sat(sats);
    let output = TxOut {
        value,
        script_pubkey: ScriptBuf::from_bytes(script),
    };
    let tagged = TxOut {
        value: Amount::ZERO,
        script_pubkey: ScriptBuf::from_bytes(tag.script()),
    };
    let tx = purse
        .pay(vec![output.clone(), tagged], Vec::new(), |_| Ok(()))
        .await?;
    let deposit = OutPoint {
        txid: tx.compute_txid(),
        vout: 0,
    };
    let vault = vault_script(params).ok_or_else(|| eyre!("failed to use the chain's vault key"))?;
    // The wallet pays the fee, so that the vault gets the whole deposit.
    let kept = TxOut {
        value,
        script_pubkey: ScriptBuf::from_bytes(vault),
    };
    let leaf = ScriptBuf::from_bytes(tag.refund_script(params.refund_delay));
    let root = TapNodeHash::from(TapLeafHash::from_script(&leaf, LeafVersion::TapScript));
    let accept = purse
        .pay(vec![kept], vec![Foreign::key_path(deposit, output)], |funded| {
            sign_key_path(&mut funded.psbt, 0, &key, Some(root)).wrap_err("failed to sign as the committee")
        })
        .await?;
    Ok(Placed {
        deposit,
        accept: OutPoint {
            txid: accept.compute_txid(),
            vout: 0,
        },
    })
}
