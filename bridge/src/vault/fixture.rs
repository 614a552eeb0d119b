//! A vault for tests, and a member's file.

use alloy_primitives::{Address, B256};
use bitcoin::hashes::Hash;
use bitcoin::key::{Keypair, Secp256k1};
use bitcoin::{Amount, BlockHash, Network, OutPoint, ScriptBuf, Transaction, TxIn, TxOut, Txid, Witness};
use bitsect_l1::BlockRef;
use bitsect_vm::derive::assignment_script;

use super::state::VaultState;
use crate::convert::chain_outpoint;
use crate::daemon::DaemonStore;
use crate::user::{Order, Terms};

pub(super) struct Fixture {
    pub vault: VaultState,
    pub store: DaemonStore,
    _dir: tempfile::TempDir,
}

pub(super) fn outpoint(number: u8, vout: u32) -> OutPoint {
    OutPoint::new(Txid::from_byte_array([number; 32]), vout)
}

/// A transaction that spends an output by a key path.
pub(super) fn spending(spent: OutPoint, output: Vec<TxOut>) -> Transaction {
    Transaction {
        version: bitcoin::transaction::Version::TWO,
        lock_time: bitcoin::absolute::LockTime::ZERO,
        input: vec![TxIn {
            previous_output: spent,
            witness: Witness::from_slice(&[[1; 64]]),
            ..TxIn::default()
        }],
        output,
    }
}

/// An output that tells the chain.
pub(super) fn tag(script: Vec<u8>) -> TxOut {
    TxOut {
        value: Amount::ZERO,
        script_pubkey: ScriptBuf::from_bytes(script),
    }
}

impl Fixture {
    pub(super) fn new(tickets: Vec<Option<OutPoint>>) -> Self {
        let key = Keypair::from_seckey_slice(&Secp256k1::new(), &[7; 32]).unwrap();
        let terms = Terms {
            name: "test".to_owned(),
            chain_id: 7,
            network: Network::Regtest,
            vault_key: key.x_only_public_key().0,
            refund_delay: 200,
            sequencing_window: 50,
            min_deposit: Amount::from_sat(10_000),
            start: BlockRef::new(3, BlockHash::all_zeros()),
        };
        let dir = tempfile::tempdir().unwrap();
        Self {
            vault: VaultState::new(terms, tickets),
            store: DaemonStore::open(&dir.path().join("daemon.redb"), B256::ZERO).unwrap(),
            _dir: dir,
        }
    }

    /// A deposit, and its output.
    pub(super) fn deposit(&mut self, number: u8, sats: u64, height: u32) -> OutPoint {
        let terms = self.vault.terms();
        let order = Order::new(Address::repeat_byte(number), &terms.vault_key, None).unwrap();
        let outputs = order.outputs(terms, Amount::from_sat(sats));
        let deposit = spending(outpoint(number, 0), outputs);
        assert!(self.vault.apply(&deposit, height));
        OutPoint::new(deposit.compute_txid(), 0)
    }

    /// The accept of a deposit, and the vault output.
    pub(super) fn accept(&mut self, deposit: OutPoint, sats: u64, height: u32) -> OutPoint {
        let output = TxOut {
            value: Amount::from_sat(sats),
            script_pubkey: self.vault.terms().vault_script(),
        };
        let accept = spending(deposit, vec![output]);
        assert!(self.vault.apply(&accept, height));
        OutPoint::new(accept.compute_txid(), 0)
    }

    /// An assignment of a vault output to a ticket.
    pub(super) fn assign(&mut self, ticket: OutPoint, output: OutPoint, height: u32) {
        let names = tag(assignment_script(&chain_outpoint(&output)));
        assert!(self.vault.apply(&spending(ticket, vec![names]), height));
    }
}
