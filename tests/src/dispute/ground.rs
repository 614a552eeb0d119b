//! What an arena stands on.

use std::path::Path;

use bitcoin::Network as BitcoinNetwork;
use bitsect_l1::BlockRef;
use bitsect_l1::wallet::{Keys, Wallet};
use bitsect_node::devnet::USER_DIR;
use bitsect_node::purse::Purse;

use crate::Network;

/// Shows the daemons' log with a test that fails: BITSECT_TEST_LOG says how much, as for tracing's EnvFilter.
pub(super) fn log() {
    let filter = std::env::var("BITSECT_TEST_LOG").unwrap_or_else(|_| "info".to_owned());
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_test_writer();
    // Another test of this process may have done it.
    let _ = subscriber.try_init();
}

/// The wallet in a folder, with a key of its own; it has no coins from before a block.
pub(super) fn wallet(folder: &Path, birthday: BlockRef) -> Wallet {
    std::fs::create_dir_all(folder).expect("a folder");
    let network = BitcoinNetwork::Regtest;
    let keys = Keys::read_or_generate(&folder.join("wallet.key"), network.into()).expect("a key");
    Wallet::open(&folder.join("wallet.redb"), keys, network, birthday).expect("a wallet")
}

/// The wallet of the devnet's user, which pays for everything.
pub(super) async fn purse(network: &Network) -> Purse {
    let folder = network.dir().join(USER_DIR);
    let genesis = bitcoin::constants::genesis_block(BitcoinNetwork::Regtest).block_hash();
    let client = network.core.client().clone();
    let key = folder.join("user.key");
    let purse = Purse::open(
        client,
        BitcoinNetwork::Regtest,
        &folder,
        &key,
        BlockRef::new(0, genesis),
    );
    let purse = purse.expect("the user's wallet");
    purse.sync().await.expect("the wallet reads the chain");
    purse
}
