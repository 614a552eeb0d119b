//! What commands of a member need: its files, and Bitcoin Core.

use std::path::PathBuf;

use bitcoin::Network;
use bitsect_l1::BlockRef;
use bitsect_l1::follower::FollowerConfig;
use bitsect_l1::rpc::{Client, RpcConfig};
use clap::Args;
use eyre::{WrapErr, bail};

use super::config::{Config, ConfigError};
use crate::committee::{Deployment, MemberKeys};
use crate::setup::funding_address;

/// Arguments of `address`.
#[derive(Debug, Args)]
pub(super) struct AddressArgs {
    /// The Bitcoin network: bitcoin, testnet4, signet, regtest.
    #[arg(long)]
    network: Network,
}

/// Prints the address at which a member's wallet is funded.
pub(super) fn show_address(args: AddressArgs, config: &Config) -> eyre::Result<()> {
    println!("{}", funding_address(&read_keys(config)?, args.network));
    Ok(())
}

/// Gives an option that a command cannot do without.
pub(super) fn given<'a, T>(value: &'a Option<T>, option: &'static str) -> Result<&'a T, ConfigError> {
    value.as_ref().ok_or(ConfigError::Missing { option })
}

pub(super) fn read_deployment(config: &Config) -> eyre::Result<Deployment> {
    let path = given(&config.layer.deployment, "deployment")?;
    let deployment = Deployment::read(path).wrap_err("failed to read the deployment")?;
    verify_chain(config, &deployment)?;
    Ok(deployment)
}

/// Checks that a deployment is of the chain whose file the options name, if they do.
pub(super) fn verify_chain(config: &Config, deployment: &Deployment) -> eyre::Result<()> {
    let Some(path) = &config.layer.chain_file else {
        return Ok(());
    };
    let verified = deployment.verify_chain(path);
    verified.wrap_err("failed to use the deployment for this chain")
}

pub(super) fn read_keys(config: &Config) -> eyre::Result<MemberKeys> {
    let path = given(&config.layer.key, "key")?;
    MemberKeys::read(path).wrap_err("failed to read the key")
}

pub(super) fn read_program(config: &Config) -> eyre::Result<Vec<u8>> {
    let path = given(&config.layer.program, "program")?;
    std::fs::read(path).wrap_err_with(|| format!("failed to read the program {}", path.display()))
}

pub(super) fn data_dir(config: &Config) -> Result<&PathBuf, ConfigError> {
    given(&config.layer.data_dir, "data_dir")
}

/// Makes the client of Bitcoin Core, which has to be on the deployment's network.
pub(super) async fn client(config: &Config, network: Network) -> eyre::Result<Client> {
    let auth = given(&config.l1_auth, "l1_cookie_file")?;
    let url = given(&config.layer.l1_url, "l1_url")?;
    let client = Client::new(RpcConfig::new(url.clone(), auth.clone()));
    let client = client.wrap_err("failed to use the option l1_url")?;
    client
        .check_network(network)
        .await
        .wrap_err("failed to find Bitcoin Core on the deployment's network")?;
    Ok(client)
}

pub(super) fn follower(config: &Config, network: Network) -> FollowerConfig {
    FollowerConfig {
        network: Some(network),
        poll: config.l1_poll,
        ..FollowerConfig::default()
    }
}

/// Gives the block of the best chain at a height.
pub(super) async fn block_at(client: &Client, field: &str, height: u32) -> eyre::Result<BlockRef> {
    let hash = client.get_block_hash(height).await;
    match hash.wrap_err("failed to ask Bitcoin Core for a block")? {
        Some(hash) => Ok(BlockRef::new(height, hash)),
        None => bail!("failed to use {field}: Bitcoin Core has no block at height {height} yet"),
    }
}

/// Gives the block above which a member's wallet looks for coins.
pub(super) async fn birthday(config: &Config, client: &Client, start: u32) -> eyre::Result<BlockRef> {
    match config.layer.wallet_start_height {
        Some(height) => block_at(client, "wallet_start_height", height).await,
        None => block_at(client, "start_height", start).await,
    }
}
