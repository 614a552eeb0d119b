//! What of the chain file a user's commands need.

use std::path::Path;

use alloy_primitives::B256;
use bitcoin::hashes::Hash;
use bitcoin::{Amount, BlockHash, Network, ScriptBuf, XOnlyPublicKey, key::Secp256k1};
use bitsect_l1::BlockRef;
use bitsect_vm::chain::L1Network;
use serde::Deserialize;

use super::UserError;
use crate::committee::Digest;

/// The form of the file that is read.
const VERSION: u32 = 1;

/// The terms of a chain's bridge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// What people call the chain.
    pub name: String,
    /// The chain's id on L2.
    pub chain_id: u64,
    /// The Bitcoin network.
    pub network: Network,
    /// The key of all members.
    pub vault_key: XOnlyPublicKey,
    /// L1 blocks after which a deposit can be taken back.
    pub refund_delay: u16,
    /// L1 blocks within which what is forced by Bitcoin is on L2.
    pub sequencing_window: u32,
    /// The smallest deposit that mints.
    pub min_deposit: Amount,
    /// The last L1 block before the chain.
    pub start: BlockRef,
}

/// The file, as far as it is read; all of it is for the node to check (`node/src/chain_file.rs`).
#[derive(Deserialize)]
struct FileForm {
    version: u32,
    name: String,
    execution: ExecutionForm,
    derive: DeriveForm,
}

#[derive(Deserialize)]
struct ExecutionForm {
    chain_id: u64,
}

#[derive(Deserialize)]
struct DeriveForm {
    network: L1Network,
    vault_key: B256,
    refund_delay: u16,
    sequencing_window: u32,
    min_deposit: u64,
    genesis_l1: CursorForm,
}

#[derive(Deserialize)]
struct CursorForm {
    height: u32,
    hash: B256,
}

impl Terms {
    /// Reads the chain file.
    ///
    /// # Errors
    /// [`UserError::ChainFile`].
    pub fn read(path: &Path) -> Result<Self, UserError> {
        let failed = |reason: String| UserError::ChainFile {
            path: path.to_owned(),
            reason,
        };
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        Self::of_toml(&text).map_err(failed)
    }

    fn of_toml(text: &str) -> Result<Self, String> {
        let FileForm {
            version,
            name,
            execution,
            derive,
        } = toml::from_str(text).map_err(|error| error.to_string())?;
        if version != VERSION {
            return Err(format!("version: expected {VERSION}, got {version}"));
        }
        let vault_key = XOnlyPublicKey::from_slice(derive.vault_key.as_slice()).map_err(|_| {
            format!(
                "derive.vault_key: expected an x-only public key, got {}",
                derive.vault_key
            )
        })?;
        let hash = BlockHash::from_byte_array(derive.genesis_l1.hash.0);
        Ok(Self {
            name,
            chain_id: execution.chain_id,
            network: match derive.network {
                L1Network::Bitcoin => Network::Bitcoin,
                L1Network::Testnet4 => Network::Testnet4,
                L1Network::Signet => Network::Signet,
                L1Network::Regtest => Network::Regtest,
            },
            vault_key,
            refund_delay: derive.refund_delay,
            sequencing_window: derive.sequencing_window,
            min_deposit: Amount::from_sat(derive.min_deposit),
            start: BlockRef::new(derive.genesis_l1.height, hash),
        })
    }

    /// Gives what a file of this chain's deposits is known by.
    pub fn hash(&self) -> Digest {
        let (id, height) = (self.chain_id.to_be_bytes(), self.start.height.to_be_bytes());
        let parts: [&[u8]; 4] = [
            &id,
            &height,
            self.start.hash.as_byte_array(),
            &self.vault_key.serialize(),
        ];
        Digest::tagged("bitsect/user/chain", &parts)
    }

    /// Gives the last height at which members ask for the accept of a deposit of this height: one that is signed then has as long
    /// again before it races with the refund.
    pub fn accept_until(&self, deposit: u32) -> u32 {
        deposit.saturating_add(u32::from(self.refund_delay) / 2)
    }

    /// Gives the height of the first block that may hold the refund of a deposit of this height.
    pub fn refund_height(&self, deposit: u32) -> u32 {
        deposit.saturating_add(self.refund_delay.into())
    }

    /// Gives the script of vault outputs.
    pub fn vault_script(&self) -> ScriptBuf {
        ScriptBuf::new_p2tr(&Secp256k1::verification_only(), self.vault_key, None)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Terms on regtest, of a key that nobody uses.
    pub(crate) fn terms() -> Terms {
        Terms {
            name: "test".to_owned(),
            chain_id: 7,
            network: Network::Regtest,
            vault_key: "cc8a4bc64d897bddc5fbc2f670f7a8ba0b386779106cf1223c6fc5d7cd6fc115"
                .parse()
                .unwrap(),
            refund_delay: 200,
            sequencing_window: 50,
            min_deposit: Amount::from_sat(10_000),
            start: BlockRef::new(3, BlockHash::all_zeros()),
        }
    }

    #[test]
    fn vault_outputs_are_what_derivation_takes_them_for() {
        let key = terms().vault_key.serialize().into();
        let script = bitsect_vm::derive::bitcoin::key_spend_script(&key).unwrap();
        assert_eq!(terms().vault_script().into_bytes(), script);
    }

    #[test]
    fn files_that_are_no_chain_files_are_refused_by_name() {
        let error = Terms::of_toml("version = 1").unwrap_err();
        assert!(error.contains("missing field `name`"), "{error}");
        let dir = tempfile::tempdir().unwrap();
        let error = Terms::read(&dir.path().join("none.toml")).unwrap_err();
        assert!(error.to_string().contains("none.toml"), "{error}");
    }
}
