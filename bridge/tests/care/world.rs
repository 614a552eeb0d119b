//! Two members that have set up a slot together and sign for the vault over HTTP: an operator and a challenger.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use bitcoin::absolute::LockTime;
use bitcoin::hashes::Hash;
use bitcoin::transaction::Version;
use bitcoin::{Amount, BlockHash, Network, OutPoint, Transaction, TxIn, TxOut, Txid, Witness};
use bitsect_bridge::committee::{
    Aggregate, Deployment, Digest, Member, MemberId, MemberKeys, Progress, Role, RunOptions, Seed, run,
};
use bitsect_bridge::daemon::ReadySlot;
use bitsect_bridge::params::{Params, Rounds, VaultParams};
use bitsect_bridge::setup::{
    PartySecrets, Section, SetupBuilder, SlotEntry, payout_address, program_hash, ready,
};
use bitsect_bridge::user::{Order, Terms};
use bitsect_bridge::vault::{Keeper, Signing, Turns, VaultState};
use bitsect_l1::BlockRef;
use bitsect_l1::regtest::free_port;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::elf::elf_file;

pub const NAMES: [&str; 2] = ["olga", "carl"];
/// Confirmations at which members look.
pub const DEPTH: u32 = 2;
pub const PARAMS: VaultParams = VaultParams {
    split_above_sats: Some(2_000_000),
    merge_below_sats: Some(250_000),
    max_vault_sats: None,
};

const GAME: Params = Params {
    rounds: Rounds { units: 2, trace: 1 },
    move_timeout_blocks: 3,
    challenge_window_blocks: 6,
    dispute_window_blocks: 100,
    bond_sats: 1_000_000,
    stake_sats: 100_000,
    reward_sats: 200_000,
    verdict_fee_sats: 50_000,
};

/// A member after its set-up.
pub struct Seat {
    pub id: MemberId,
    pub keys: MemberKeys,
    pub folder: PathBuf,
    pub slots: Vec<ReadySlot>,
    pub signing: Signing,
}

pub struct World {
    pub deployment: Deployment,
    pub terms: Terms,
    pub seats: Vec<Seat>,
    /// Ends the signing services.
    pub stop: CancellationToken,
    _dir: tempfile::TempDir,
}

fn keys(number: usize) -> MemberKeys {
    MemberKeys::from_seed(Seed::new([1 + number as u8; 32]))
}

fn deployment(listeners: &[TcpListener]) -> Deployment {
    let section = Section {
        program: program_hash(&program()),
        start_height: 0,
        params: GAME,
        vault: PARAMS,
        slots: vec![SlotEntry {
            operator: NAMES[0].to_owned(),
            start_unit: 0,
            start_state: Digest([1; 32]),
            vault: true,
        }],
    };
    let roles = [Role::Operator, Role::Challenger];
    let members = listeners.iter().enumerate().map(|(number, listener)| Member {
        name: NAMES[number].to_owned(),
        role: roles[number],
        identity: keys(number).identity(),
        signing: keys(number).signing(),
        url: format!("http://{}", listener.local_addr().unwrap()),
    });
    Deployment {
        network: Network::Regtest,
        chain: Digest([7; 32]),
        members: members.collect(),
        graph: section.to_table().unwrap(),
    }
}

fn program() -> Vec<u8> {
    elf_file(0x1_0000, &[0x13; 16])
}

/// What a member contributes. The slot's own outputs are nowhere: nothing here is about them.
fn builder(deployment: &Deployment, number: usize) -> SetupBuilder {
    let id = deployment.find(&keys(number)).unwrap();
    let secrets = PartySecrets::derive(&keys(number), &deployment.hash().unwrap());
    let mut builder = SetupBuilder::new(deployment, &program()).unwrap();
    let wanted = 0..builder.wanted(id, &secrets).len() as u32;
    let txid = Txid::from_byte_array([0x70 + number as u8; 32]);
    let made: Vec<OutPoint> = wanted.map(|vout| OutPoint::new(txid, vout)).collect();
    let payout = payout_address(&keys(number), Network::Regtest);
    builder.contribute(id, &secrets, payout, &made).unwrap();
    builder
}

/// Sets up, all members together.
async fn set_up(deployment: &Deployment, folders: &[PathBuf], listeners: Vec<TcpListener>) {
    let stop = CancellationToken::new();
    let (mut members, mut shown) = (Vec::new(), Vec::new());
    for (number, (listener, folder)) in listeners.into_iter().zip(folders).enumerate() {
        let options = RunOptions {
            deployment: deployment.clone(),
            keys: keys(number),
            data_dir: folder.clone(),
        };
        let (sender, progress) = watch::channel(Progress::default());
        let member = run(
            options,
            builder(deployment, number),
            listener,
            sender,
            stop.clone(),
        );
        members.push(tokio::spawn(member));
        shown.push(progress);
    }
    let all = |progress: &Progress| progress.members_complete == NAMES.len();
    for mut progress in shown {
        drop(progress.wait_for(all).await.unwrap());
    }
    stop.cancel();
    for member in members {
        member.await.unwrap().unwrap();
    }
}

impl World {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut listeners = Vec::new();
        for _ in NAMES {
            let address = (Ipv4Addr::LOCALHOST, free_port().unwrap());
            listeners.push(TcpListener::bind(address).await.unwrap());
        }
        let addresses: Vec<_> = listeners.iter().map(|one| one.local_addr().unwrap()).collect();
        let deployment = deployment(&listeners);
        let folders: Vec<PathBuf> = NAMES.iter().map(|name| dir.path().join(name)).collect();
        folders
            .iter()
            .for_each(|folder| std::fs::create_dir(folder).unwrap());
        set_up(&deployment, &folders, listeners).await;
        let stop = CancellationToken::new();
        let mut seats = Vec::new();
        for (number, (folder, address)) in folders.into_iter().zip(addresses).enumerate() {
            let slots = ready(&deployment, &folder, &program()).unwrap();
            let files = (deployment.clone(), keys(number), folder.clone());
            let listener = TcpListener::bind(address).await.unwrap();
            seats.push(Seat {
                id: deployment.find(&keys(number)).unwrap(),
                keys: keys(number),
                signing: Signing::start(files, listener, stop.clone()).await.unwrap(),
                folder,
                slots,
            });
        }
        let terms = Terms {
            name: "test".to_owned(),
            chain_id: 7,
            network: Network::Regtest,
            vault_key: Aggregate::new(&deployment).unwrap().key(),
            refund_delay: 200,
            sequencing_window: 50,
            min_deposit: Amount::from_sat(10_000),
            start: BlockRef::new(0, BlockHash::all_zeros()),
        };
        Self {
            deployment,
            terms,
            seats,
            stop,
            _dir: dir,
        }
    }

    /// A member's part that signs for the vault.
    pub fn keeper(&self, seat: &Seat, nudge: Arc<Notify>) -> Keeper {
        let turns = Turns::of(&self.deployment, seat.id);
        let signer = seat.signing.signer.clone();
        Keeper::new(signer, seat.slots.clone(), PARAMS, (DEPTH, turns), nudge)
    }

    /// The outputs of a deposit of some sats.
    pub fn deposit(&self, number: u8, sats: u64) -> Vec<TxOut> {
        let order = Order::new([number; 20].into(), &self.terms.vault_key, None).unwrap();
        order.outputs(&self.terms, Amount::from_sat(sats))
    }

    /// The vault with outputs that deposits of some sats made in an L1 block each.
    pub fn vault(&self, made: &[(u64, u32)]) -> VaultState {
        let ticket = self.seats[0].slots[0].graph.spec.ticket;
        let mut vault = VaultState::new(self.terms.clone(), vec![ticket]);
        for (number, (sats, height)) in (0_u8..).zip(made) {
            let deposit = signed(
                OutPoint::new(Txid::from_byte_array([number; 32]), 0),
                self.deposit(number, *sats),
            );
            assert!(vault.apply(&deposit, *height));
            let output = TxOut {
                value: Amount::from_sat(*sats),
                script_pubkey: self.terms.vault_script(),
            };
            let accept = signed(OutPoint::new(deposit.compute_txid(), 0), vec![output]);
            assert!(vault.apply(&accept, *height));
        }
        vault
    }
}

/// A transaction that spends an output by a key path, as the fold looks at it.
fn signed(spent: OutPoint, output: Vec<TxOut>) -> Transaction {
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![TxIn {
            previous_output: spent,
            witness: Witness::from_slice(&[[1; 64]]),
            ..TxIn::default()
        }],
        output,
    }
}
