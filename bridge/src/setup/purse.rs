//! A member's wallet: from the same key file as everything else of it.

use std::path::Path;

use bitcoin::{Address, Network};
use bitsect_l1::BlockRef;
use bitsect_l1::wallet::{Keys, Wallet, WalletError};

use crate::committee::MemberKeys;

/// The wallet's file in a member's folder.
const FILE: &str = "wallet.redb";
/// The receiving address that a member is funded at.
const FUNDING: u16 = 0;
/// The receiving address that the graph pays a member at. It is fixed: a contribution must come out the same twice.
const PAYOUT: u16 = 1;

/// Gives the keys of a member's wallet.
pub fn wallet_keys(keys: &MemberKeys, network: Network) -> Keys {
    Keys::from_seed(keys.wallet_seed().expose(), network.into())
}

/// Opens the wallet in a member's folder, or makes it. A new one looks at the blocks above `birthday`.
///
/// # Errors
/// Where the file cannot be used, also because another process has it open.
pub fn open_wallet(
    folder: &Path,
    keys: &MemberKeys,
    network: Network,
    birthday: BlockRef,
) -> Result<Wallet, WalletError> {
    Wallet::open(&folder.join(FILE), wallet_keys(keys, network), network, birthday)
}

/// Gives the address at which a member is funded.
pub fn funding_address(keys: &MemberKeys, network: Network) -> Address {
    wallet_keys(keys, network).receive_address(FUNDING, network)
}

/// Gives the address at which the graph pays a member.
pub fn payout_address(keys: &MemberKeys, network: Network) -> Address {
    wallet_keys(keys, network).receive_address(PAYOUT, network)
}
