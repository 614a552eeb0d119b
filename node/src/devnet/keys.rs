//! Keys that everybody knows.

use alloy_primitives::{Address, address};

/// The devnet's EIP-155 chain id.
pub const CHAIN_ID: u64 = 84_100;
/// What each account has at the start, in BTC.
pub const BALANCE: u64 = 10_000;
/// The secret of the committee's key on a devnet.
pub const VAULT_SECRET: [u8; 32] = *b"bitsect devnet vault, not secret";

/// A funded account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Account {
    /// The address.
    pub address: Address,
    /// The private key, in hexadecimal.
    pub secret: &'static str,
}

const fn account(address: Address, secret: &'static str) -> Account {
    Account { address, secret }
}

/// The words that Anvil and Hardhat have too, so that their examples run unchanged.
pub const MNEMONIC: &str = "test test test test test test test test test test test junk";

/// The first ten accounts of [`MNEMONIC`].
pub const ACCOUNTS: [Account; 10] = [
    account(
        address!("f39Fd6e51aad88F6F4ce6aB8827279cffFb92266"),
        "ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
    ),
    account(
        address!("70997970C51812dc3A010C7d01b50e0d17dc79C8"),
        "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
    ),
    account(
        address!("3C44CdDdB6a900fa2b585dd299e03d12FA4293BC"),
        "5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
    ),
    account(
        address!("90F79bf6EB2c4f870365E785982E1f101E93b906"),
        "7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
    ),
    account(
        address!("15d34AAf54267DB7D7c367839AAf71A00a2C6A65"),
        "47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
    ),
    account(
        address!("9965507D1a55bcC2695C58ba16FB37d819B0A4dc"),
        "8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
    ),
    account(
        address!("976EA74026E726554dB657fA54763abd0C3a0aa9"),
        "92db14e403b83dfe3df233f83dfa3a0d7096f21ca9b0d6d6b8d88b2b4ec1564e",
    ),
    account(
        address!("14dC79964da2C08b23698B3D3cc7Ca32193d9955"),
        "4bbbf85ce3377467afe5d46f804f221813b2bb87f24d81f60f1fcdbf7cbf4356",
    ),
    account(
        address!("23618e81E3f5cdF7f54C3d65f7FBc0aBf5B21E8f"),
        "dbda1821b80551c9d65939329250298aa3472ba22feea921c0cf5d620ea67b97",
    ),
    account(
        address!("a0Ee7A142d267C1f36714E4a8F75612F20a79720"),
        "2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
    use std::str::FromStr;

    #[test]
    fn addresses_are_those_of_the_keys() {
        let secp = Secp256k1::new();
        for account in &ACCOUNTS {
            let secret = SecretKey::from_str(account.secret).unwrap();
            let public = PublicKey::from_secret_key(&secp, &secret).serialize_uncompressed();
            assert_eq!(Address::from_raw_public_key(&public[1..]), account.address);
        }
        assert!(SecretKey::from_slice(&VAULT_SECRET).is_ok());
    }
}
