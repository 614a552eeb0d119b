//! Vault care by members that sign together: on a real Bitcoin Core with its default policy, and against assignments. Needs
//! bitcoind (`.ci/setup bitcoind`).

#[path = "../common/elf.rs"]
mod elf;
mod world;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::key::Secp256k1;
use bitcoin::{Amount, FeeRate, OutPoint, Transaction, TxOut, Txid};
use bitsect_bridge::chain::Counted;
use bitsect_bridge::committee::{SignRequest, Signing as ToSign, Store, ask_contribution};
use bitsect_bridge::connector::Funds;
use bitsect_bridge::daemon::{Core, CoreConfig, DaemonStore, Pledge};
use bitsect_bridge::graph::VaultGraph;
use bitsect_bridge::setup::{deployment_hash, open_wallet, sync, tickets, tweak};
use bitsect_bridge::transaction::vault_spend;
use bitsect_bridge::vault::{
    ABANDONED_BLOCKS, CARE_BLOCKS, Keeper, VaultState, due_moves, moves_of, send_redemption, usable,
};
use bitsect_l1::BlockRef;
use bitsect_l1::carrier::CarrierConfig;
use bitsect_l1::follower::FollowerConfig;
use bitsect_l1::regtest::{Bitcoind, RegtestConfig};
use bitsect_l1::wallet::{Funding, Wallet};
use bitsect_vm::derive::redemption_script;
use tokio::sync::Notify;
use world::{DEPTH, PARAMS, Seat, World};

/// How long members may take for what they do.
const PATIENCE: Duration = Duration::from_secs(120);
const LARGE: u64 = 5_000_000;
const SMALL: u64 = 200_000;

/// What is signed of the graph of a vault output.
fn signings(seat: &Seat, vault: &VaultState, outpoint: OutPoint, amount: Amount) -> Vec<ToSign> {
    let graphs = seat.slots.iter().map(|slot| slot.graph.as_ref());
    let graph = VaultGraph::build(&Secp256k1::new(), graphs, vault.spendable(outpoint, amount)).unwrap();
    let signings = graph.signings().into_iter();
    signings
        .map(|signing| ToSign {
            label: format!("{:?}", signing.id),
            message: signing.message,
            tweak: tweak(signing.path),
        })
        .collect()
}

/// A member with its wallet and its part that deals with Bitcoin.
struct Running {
    core: Core,
    keeper: Keeper,
    nudge: Arc<Notify>,
}

struct OnBitcoin {
    world: World,
    bitcoind: Bitcoind,
    members: Vec<Running>,
    _dir: tempfile::TempDir,
}

impl OnBitcoin {
    async fn new() -> Self {
        let world = World::new().await;
        let dir = tempfile::tempdir().unwrap();
        let mut config = RegtestConfig::new(dir.path().join("core"));
        // As on mainnet: what is not standard is not relayed.
        config.args.push("-acceptnonstdtxn=0".to_owned());
        let bitcoind = Bitcoind::start(config).await.unwrap();
        bitcoind.mine(1).await.unwrap();
        let start = bitcoind.tip().await.unwrap();
        for seat in &world.seats {
            let wallet = open_wallet(&seat.folder, &seat.keys, world.terms.network, start).unwrap();
            let address = wallet.receive_address().unwrap();
            bitcoind.mine_to(4, &address).await.unwrap();
        }
        bitcoind.mine(100).await.unwrap();
        let mut members = Vec::new();
        for seat in &world.seats {
            let nudge = Arc::new(Notify::new());
            let keeper = world.keeper(seat, nudge.clone());
            let core = open_core(&world, seat, &bitcoind, start).await;
            members.push(Running { core, keeper, nudge });
        }
        let mut on_bitcoin = Self {
            world,
            bitcoind,
            members,
            _dir: dir,
        };
        // Outputs that pay for children.
        on_bitcoin.turn().await;
        on_bitcoin.mine(1).await;
        on_bitcoin
    }

    /// All members do what is due.
    async fn turn(&mut self) {
        for Running { core, keeper, .. } in &mut self.members {
            keeper.turn(core).unwrap();
            core.prepare(12, Amount::from_sat(100_000)).await.unwrap();
            core.advance().await.unwrap();
        }
    }

    async fn mine(&mut self, blocks: u32) {
        for _ in 0..blocks {
            self.bitcoind.mine(1).await.unwrap();
            self.follow().await;
        }
    }

    /// Mines a block of these transactions alone.
    async fn mine_with(&mut self, transactions: &[&Transaction]) {
        self.bitcoind.mine_with(transactions).await.unwrap();
        self.follow().await;
    }

    /// All members take in what there is, and do what is due.
    async fn follow(&mut self) {
        let tip = self.bitcoind.tip().await.unwrap().height;
        for member in &mut self.members {
            while member.core.tip() < tip {
                member.core.next_tip().await.unwrap();
            }
        }
        self.turn().await;
    }

    async fn mempool(&self) -> Vec<Transaction> {
        let client = self.bitcoind.client();
        let mut transactions = Vec::new();
        for txid in client.get_raw_mempool().await.unwrap() {
            transactions.extend(client.get_raw_transaction(&txid).await.unwrap());
        }
        transactions
    }

    /// Waits until all these outputs are spent in the mempool, and gives what spends them.
    async fn spent(&mut self, outputs: &[OutPoint]) -> Vec<Transaction> {
        let work = async {
            loop {
                let wanted: BTreeSet<OutPoint> = outputs.iter().copied().collect();
                let spends = |tx: &Transaction| tx.input.iter().any(|i| wanted.contains(&i.previous_output));
                let mut found = self.mempool().await;
                found.retain(spends);
                let spent: BTreeSet<OutPoint> = found
                    .iter()
                    .flat_map(|tx| tx.input.iter().map(|input| input.previous_output))
                    .collect();
                if wanted.is_subset(&spent) {
                    return found;
                }
                let [olga, carl] = [0, 1].map(|number: usize| self.members[number].nudge.clone());
                tokio::select! {
                    () = olga.notified() => {}
                    () = carl.notified() => {}
                }
                self.turn().await;
            }
        };
        tokio::time::timeout(PATIENCE, work).await.expect("members sign")
    }

    /// Pays deposits of some sats into one block, and gives their outputs.
    async fn deposit(&mut self, sats: &[u64]) -> Vec<OutPoint> {
        let wallet = Arc::clone(self.members[0].core.wallet().unwrap());
        let mut deposits = Vec::new();
        for (number, sats) in (0..).zip(sats) {
            let outputs = self.world.deposit(number, *sats);
            let funded = wallet.fund(&Funding::new(FeeRate::BROADCAST_MIN, outputs));
            let signed = wallet.finish(funded.unwrap()).unwrap();
            self.bitcoind
                .client()
                .send_raw_transaction(&signed.tx)
                .await
                .unwrap();
            wallet.sent([&signed.tx]).unwrap();
            let script = self.world.deposit(number, *sats)[0].script_pubkey.clone();
            let vout = signed
                .tx
                .output
                .iter()
                .position(|out| out.script_pubkey == script);
            deposits.push(OutPoint::new(signed.tx.compute_txid(), vout.unwrap() as u32));
        }
        deposits
    }

    fn vault(&self, member: usize) -> &VaultState {
        self.members[member].core.vault().unwrap()
    }

    /// What is there, as all members see it: sats, ascending.
    fn held(&self) -> Vec<u64> {
        let free = |member| {
            let free = self.vault(member).free();
            let mut sats: Vec<u64> = free.map(|(_, output)| output.amount.to_sat()).collect();
            sats.sort_unstable();
            sats
        };
        assert_eq!(free(0), free(1));
        free(0)
    }
}

async fn open_core(world: &World, seat: &Seat, bitcoind: &Bitcoind, start: BlockRef) -> Core {
    let wallet: Wallet = open_wallet(&seat.folder, &seat.keys, world.terms.network, start).unwrap();
    let client = bitcoind.client().clone();
    sync(client.clone(), FollowerConfig::default(), &wallet)
        .await
        .unwrap();
    let config = CoreConfig {
        vault: Some(world.terms.clone()),
        client,
        follower: FollowerConfig::default(),
        carrier: CarrierConfig::default(),
        start,
    };
    let hash = deployment_hash(&world.deployment).unwrap();
    let opened = Core::open(&seat.folder, config, hash, seat.slots.clone(), Arc::new(wallet));
    let (mut core, _) = opened.unwrap();
    core.next_tip().await.unwrap();
    core
}

/// From deposits to outputs of the size that the deployment wants: each step is taken by Bitcoin Core, and each output that is
/// made has its ways out.
#[tokio::test(flavor = "multi_thread")]
async fn outputs_are_split_and_merged() {
    let mut world = OnBitcoin::new().await;
    let sats: Vec<u64> = [&[LARGE][..], &[SMALL; 8]].concat();
    let deposits = world.deposit(&sats).await;
    // Members look at what is deep, and not before.
    world.mine(1).await;
    assert_eq!(world.held(), Vec::<u64>::new());
    world.mine(1).await;
    let accepts = world.spent(&deposits).await;
    assert_eq!(accepts.len(), 9);
    world.mine(1).await;
    let before = world.held();
    assert_eq!(before, [&[SMALL; 8][..], &[LARGE]].concat());
    world.mine(1).await;
    let outputs: Vec<OutPoint> = world.vault(0).free().map(|(outpoint, _)| *outpoint).collect();
    let moves = world.spent(&outputs).await;
    assert_eq!(moves.len(), 2);
    let mempool = world.mempool().await;
    for one in &moves {
        // Each has a child that pays.
        let txid = one.compute_txid();
        let pays = |tx: &&Transaction| tx.input.iter().any(|input| input.previous_output.txid == txid);
        assert_eq!(mempool.iter().filter(pays).count(), 1);
        assert_eq!(one.version.0, 3);
    }
    world.mine(1).await;
    assert_eq!(world.held(), [SMALL * 8, 1_666_666, 1_666_667, 1_666_667]);
    world.mine(1).await;
    let made: BTreeSet<Txid> = moves.iter().map(Transaction::compute_txid).collect();
    for (member, seat) in world.world.seats.iter().enumerate() {
        let vault = world.vault(member);
        for (outpoint, output) in vault.free() {
            assert!(made.contains(&outpoint.txid));
            let signings = signings(seat, vault, *outpoint, output.amount);
            let stored = seat.signing.signer.stored(signings).await.unwrap();
            assert!(stored.is_some(), "{outpoint}");
        }
        // Then they are left as they are, and operators may use them.
        let (store, tip) = (
            world.members[member].core.store(),
            world.members[member].core.tip(),
        );
        assert_eq!(moves_of(vault, &PARAMS, store).unwrap(), []);
        let at = (tip, DEPTH, &Counted::default());
        assert_eq!(usable(vault, &PARAMS, store, at).unwrap().assignable.len(), 4);
    }
    world.world.stop.cancel();
}

/// Where the refund is possible an accept stands in its way: members pay for it no more.
#[tokio::test(flavor = "multi_thread")]
async fn an_accept_is_given_up_where_the_refund_is_possible() {
    let mut world = OnBitcoin::new().await;
    let deposits = world.deposit(&[SMALL]).await;
    world.mine(DEPTH).await;
    let accept = world.spent(&deposits).await[0].compute_txid();
    let deposit = world.vault(0).deposit(&deposits[0]).unwrap();
    let end = world.world.terms.refund_height(deposit.height) - 1;
    while world.members[0].core.tip() < end {
        world.mine_with(&[]).await;
        let carries = |member: &&Running| {
            let mut open = member.core.open_transactions();
            open.any(|transaction| transaction.compute_txid() == accept)
        };
        let (tip, carry) = (
            world.members[0].core.tip(),
            world.members.iter().filter(carries).count(),
        );
        assert_eq!(carry > 0, tip < end, "{tip}");
    }
    world.world.stop.cancel();
}

/// A redemption is kept before it is sent: where it is lost it is sent again.
#[tokio::test(flavor = "multi_thread")]
async fn a_redemption_that_was_lost_is_sent_again() {
    let mut world = OnBitcoin::new().await;
    let client = world.bitcoind.client().clone();
    let (wallet, store) = {
        let core = &world.members[0].core;
        (Arc::clone(core.wallet().unwrap()), core.store().clone())
    };
    let tag = TxOut {
        value: Amount::ZERO,
        script_pubkey: redemption_script([5; 20].into()).into(),
    };
    let funded = wallet.fund(&Funding::new(FeeRate::BROADCAST_MIN, vec![tag]));
    let signed = wallet.finish(funded.unwrap()).unwrap();
    let (spent, txid) = (signed.tx.input[0].previous_output, signed.tx.compute_txid());
    assert_eq!(store.keep_redemption(spent, &signed.tx, 10).unwrap(), None);
    let kept = store.redemption(&spent).unwrap().unwrap();
    for _ in 0..2 {
        assert!(send_redemption(&client, &kept).await.unwrap());
        assert!(client.get_mempool_entry(&txid).await.unwrap().is_some());
        assert!(!send_redemption(&client, &kept).await.unwrap());
        // What is only in the mempool does not survive this; blocks do.
        client.flush().await.unwrap();
        world.bitcoind.kill();
        world.bitcoind.restart().await.unwrap();
        assert!(client.get_mempool_entry(&txid).await.unwrap().is_none());
    }
    assert!(send_redemption(&client, &kept).await.unwrap());
    world.bitcoind.mine(1).await.unwrap();
    assert!(!send_redemption(&client, &kept).await.unwrap());
    world.world.stop.cancel();
}

/// While a daemon has a member's folder open, operators say which tickets are theirs.
#[tokio::test(flavor = "multi_thread")]
async fn operators_show_their_tickets() {
    let world = World::new().await;
    let [olga, carl] = [0, 1].map(|number: usize| &world.seats[number]);
    let error = Store::open(&carl.folder, &world.deployment.hash().unwrap()).unwrap_err();
    assert!(error.is_in_use(), "{error}");
    let asked = ask_contribution(&world.deployment, olga.id).await.unwrap();
    let shown = tickets(&world.deployment, &[(olga.id, asked)].into()).unwrap();
    assert_eq!(shown, [carl.slots[0].graph.spec.ticket]);
    // Nobody else can say it.
    let asked = ask_contribution(&world.deployment, carl.id).await.unwrap();
    assert!(tickets(&world.deployment, &[(carl.id, asked)].into()).is_err());
    world.stop.cancel();
}

/// An operator that has asked for a move has its input not assigned until that is abandoned, whatever happens; one that has it
/// assigned asks for no move of it.
#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_moved_is_not_assigned_and_the_other_way_round() {
    let world = World::new().await;
    let [olga, carl] = [0, 1].map(|number: usize| &world.seats[number]);
    let joined = 10;
    let vault = world.vault(&[(LARGE, joined)]);
    let (large, _) = vault
        .free()
        .map(|(outpoint, output)| (*outpoint, *output))
        .next()
        .unwrap();
    let hash = deployment_hash(&world.deployment).unwrap();
    let open = |seat: &Seat| DaemonStore::open(&seat.folder.join("test.redb"), hash).unwrap();
    let (store, other) = (open(olga), open(carl));
    let assignable = |store: &DaemonStore, tip| {
        usable(&vault, &PARAMS, store, (tip, DEPTH, &Counted::default()))
            .unwrap()
            .assignable
    };
    let mut keeper = world.keeper(olga, Arc::new(Notify::new()));
    let tip = joined + DEPTH - 1;
    // Not deep enough: nothing is asked for.
    assert_eq!(keeper.look(&vault, &store, tip - 1).unwrap(), []);
    assert_eq!(keeper.look(&vault, &store, tip).unwrap(), []);
    // The other member asks for the ways out of what the split makes. Before it has, nothing is let be moved.
    let free = vault.free().map(|(outpoint, output)| (*outpoint, *output));
    let [split] = <[_; 1]>::try_from(due_moves(&PARAMS, free)).unwrap();
    let funds = Funds::new(&Secp256k1::new(), world.terms.vault_key);
    let spent = vault.spendable(large, Amount::from_sat(LARGE));
    let planned = vault_spend(vec![spent], &split.outputs, &funds).unwrap();
    for (vout, amount) in (0..).zip(&split.outputs) {
        assert_eq!(store.pledged(&large).unwrap(), None);
        let made = OutPoint::new(planned.txid(), vout);
        let request = SignRequest {
            name: "the same by another name".to_owned(),
            signings: signings(carl, &vault, made, *amount),
        };
        carl.signing.signer.sign(request).await.unwrap();
    }
    let pledged = async {
        while store.pledged(&large).unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, pledged)
        .await
        .expect("the split is asked for");
    assert_eq!(store.pledged(&large).unwrap(), Some(Pledge::Move));
    // What will be of use is counted before.
    let parts = usable(&vault, &PARAMS, &store, (tip, DEPTH, &Counted::default())).unwrap();
    assert_eq!((parts.assignable, parts.amounts), (vec![], split.outputs.clone()));
    // Who has not asked leaves it alone for a while, and then it is of use again; who has asked leaves it longer.
    let end = joined + DEPTH + CARE_BLOCKS;
    assert_eq!(assignable(&other, end - 1), []);
    assert_eq!(assignable(&other, end), [(large, Amount::from_sat(LARGE))]);
    assert_eq!(assignable(&store, end), []);
    let abandoned = tip + ABANDONED_BLOCKS;
    assert_eq!(assignable(&store, abandoned - 1), []);
    assert_eq!(assignable(&store, abandoned), [(large, Amount::from_sat(LARGE))]);
    drop((keeper, store));
    let mut held = None;
    let reopened = async {
        // The task that was given up has the file until it is gone.
        while held.is_none() {
            held = DaemonStore::open(&olga.folder.join("test.redb"), hash).ok();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, reopened)
        .await
        .expect("the file is closed");
    let store = held.unwrap();
    assert_eq!(assignable(&store, end), []);
    assert_eq!(
        store.pledge(&[large], Pledge::Assignment, 10).unwrap(),
        Some((large, Pledge::Move))
    );
    // The other way round.
    assert_eq!(other.pledge(&[large], Pledge::Assignment, 10).unwrap(), None);
    assert_eq!(moves_of(&vault, &PARAMS, &other).unwrap(), []);
    assert_eq!(assignable(&other, tip), [(large, Amount::from_sat(LARGE))]);
    let mut keeper = world.keeper(carl, Arc::new(Notify::new()));
    assert_eq!(keeper.look(&vault, &other, tip).unwrap(), []);
    world.stop.cancel();
}
