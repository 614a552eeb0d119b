//! The sender against a real Bitcoin Core, with batches as the poster makes them: a commit that spends a baton, and reveals
//! by script path. Needs bitcoind (`.ci/setup bitcoind`).

use std::{path::Path, sync::Arc, time::Duration};

use bitcoin::{
    Address, Amount, FeeRate, Network, NetworkKind, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut,
    Txid, Witness,
    absolute::LockTime,
    key::{Keypair, Secp256k1},
    opcodes::all::{OP_CHECKSIG, OP_ENDIF, OP_IF},
    script::{Builder, PushBytesBuf},
    taproot::{TaprootBuilder, TaprootSpendInfo},
    transaction::Version,
};
use bitsect_l1::{
    follower::{Event, Follower, FollowerConfig},
    regtest::{Bitcoind, RegtestConfig, fresh_burn_address},
    sender::{Draft, DraftTx, FeePolicy, Job, JobId, Rebuild, Report, Sender, SenderConfig, Terms},
    wallet::{Foreign, Funding, Keys, SignedTx, Wallet, sign_key_path, sign_leaf},
};

const LOW: FeeRate = FeeRate::from_sat_per_vb_u32(2);
/// What a data output holds: enough for its reveal several times over.
const HEADROOM: Amount = Amount::from_sat(2_000_000);

/// Builds batches. Frames are `frame` bytes long.
struct Poster {
    wallet: Arc<Wallet>,
    baton: OutPoint,
    baton_out: TxOut,
    key: Keypair,
    reveals: usize,
    frame: usize,
    back: Address,
}

impl Poster {
    fn leaf(&self, index: usize) -> ScriptBuf {
        let mut script = Builder::new()
            .push_x_only_key(&self.key.x_only_public_key().0)
            .push_opcode(OP_CHECKSIG)
            .push_int(0)
            .push_opcode(OP_IF);
        for chunk in vec![index as u8; self.frame].chunks(520) {
            script = script.push_slice(PushBytesBuf::try_from(chunk.to_vec()).unwrap());
        }
        script.push_opcode(OP_ENDIF).into_script()
    }

    fn tree(&self, index: usize) -> TaprootSpendInfo {
        let tree = TaprootBuilder::new().add_leaf(0, self.leaf(index)).unwrap();
        tree.finalize(&Secp256k1::new(), self.key.x_only_public_key().0)
            .unwrap()
    }

    fn data_output(&self, index: usize) -> TxOut {
        let script_pubkey = ScriptBuf::new_p2tr_tweaked(self.tree(index).output_key());
        TxOut {
            value: HEADROOM,
            script_pubkey,
        }
    }

    fn commit(&self, rate: FeeRate, old: Option<(&Job, Amount)>) -> SignedTx {
        let mut outputs = vec![self.baton_out.clone()];
        outputs.extend((0..self.reveals).map(|i| self.data_output(i)));
        let mut request = Funding::new(rate, outputs);
        request
            .foreign
            .push(Foreign::key_path(self.baton, self.baton_out.clone()));
        if let Some((job, min_fee)) = old {
            let old: Vec<&Transaction> = (0..job.slots.len()).map(|slot| &job.current(slot).tx).collect();
            request = request.replace(&self.wallet, &old, min_fee);
        }
        let mut funded = self.wallet.fund(&request).unwrap();
        sign_key_path(&mut funded.psbt, 0, &self.key, None).unwrap();
        self.wallet.finish(funded).unwrap()
    }

    fn reveal(&self, commit: &Transaction, index: usize, rate: FeeRate, min_fee: Amount) -> SignedTx {
        let data = self.data_output(index);
        let build = |fee: Amount| {
            let previous_output = OutPoint::new(commit.compute_txid(), index as u32 + 1);
            let sequence = Sequence::ENABLE_RBF_NO_LOCKTIME;
            let input = TxIn {
                previous_output,
                sequence,
                script_sig: ScriptBuf::new(),
                witness: Witness::new(),
            };
            let output = TxOut {
                value: data.value - fee,
                script_pubkey: self.back.script_pubkey(),
            };
            let mut tx = Transaction {
                version: Version::TWO,
                lock_time: LockTime::ZERO,
                input: vec![input],
                output: vec![output],
            };
            let (tree, leaf) = (self.tree(index), self.leaf(index));
            sign_leaf(&mut tx, 0, std::slice::from_ref(&data), &tree, &leaf, &self.key).unwrap();
            tx
        };
        let fee = rate
            .fee_vb(build(Amount::ZERO).vsize() as u64)
            .unwrap()
            .max(min_fee);
        SignedTx { tx: build(fee), fee }
    }

    fn draft(&self, rate: FeeRate, ride: bool) -> Draft {
        let commit = self.commit(rate, None);
        let reveals: Vec<_> = (0..self.reveals)
            .map(|i| self.reveal(&commit.tx, i, rate, Amount::ZERO))
            .collect();
        let mut txs = vec![DraftTx {
            signed: commit,
            parent: None,
            replaceable: true,
        }];
        txs.extend(reveals.into_iter().map(|signed| DraftTx {
            signed,
            parent: Some(0),
            replaceable: true,
        }));
        Draft {
            label: "batch".into(),
            data: vec![7; 40],
            txs,
            ride,
        }
    }
}

impl Rebuild for Poster {
    fn rebuild(
        &self,
        job: &Job,
        slot: usize,
        terms: &Terms,
    ) -> Result<Vec<(usize, SignedTx)>, Box<dyn std::error::Error + Send + Sync>> {
        assert_eq!(job.data, vec![7; 40]);
        if slot > 0 {
            let commit = job.current(0).tx.clone();
            return Ok(vec![(
                slot,
                self.reveal(&commit, slot - 1, terms.rate, terms.min_fee),
            )]);
        }
        let commit = self.commit(terms.rate, Some((job, terms.min_fee)));
        let mut all = vec![(0, commit.clone())];
        for index in 0..self.reveals {
            all.push((
                index + 1,
                self.reveal(&commit.tx, index, terms.rate, Amount::ZERO),
            ));
        }
        Ok(all)
    }
}

struct Setup {
    node: Bitcoind,
    wallet: Arc<Wallet>,
    sender: Sender,
    poster: Poster,
    dir: tempfile::TempDir,
}

fn sender_config() -> SenderConfig {
    let ceiling = FeeRate::from_sat_per_vb_u32(100);
    SenderConfig {
        fees: FeePolicy {
            target_blocks: 2,
            floor: LOW,
            ceiling,
        },
        depth: 4,
        bump_after: 2,
    }
}

fn open_wallet(dir: &Path, birthday: bitsect_l1::BlockRef) -> Arc<Wallet> {
    let keys = Keys::read_or_generate(&dir.join("wallet.key"), NetworkKind::Test).unwrap();
    Arc::new(Wallet::open(&dir.join("wallet.redb"), keys, Network::Regtest, birthday).unwrap())
}

impl Setup {
    /// A node, a wallet with two coins of 50 BTC, and a baton that is confirmed.
    async fn new(reveals: usize, frame: usize) -> Self {
        Self::with_args(reveals, frame, &[]).await
    }

    async fn with_args(reveals: usize, frame: usize, args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = RegtestConfig::new(dir.path().join("core"));
        config.args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let node = Bitcoind::start(config).await.unwrap();
        let start = node.tip().await.unwrap();
        let wallet = open_wallet(dir.path(), start);
        node.fund(&wallet.receive_address().unwrap(), 2).await.unwrap();
        let key = wallet.keys().key(0);
        let address = Address::p2tr(
            &Secp256k1::new(),
            key.x_only_public_key().0,
            None,
            Network::Regtest,
        );
        let baton_out = TxOut {
            value: Amount::from_sat(10_000),
            script_pubkey: address.script_pubkey(),
        };
        let client = node.client().clone();
        let path = dir.path().join("sender.redb");
        let sender = Sender::open(&path, client, sender_config(), Some(wallet.clone()), start).unwrap();
        let poster = Poster {
            wallet: wallet.clone(),
            baton: OutPoint::null(),
            baton_out: baton_out.clone(),
            key,
            reveals,
            frame,
            back: wallet.receive_address().unwrap(),
        };
        let mut setup = Self {
            node,
            wallet,
            sender,
            poster,
            dir,
        };
        setup.follow().await;
        let rate = FeeRate::from_sat_per_vb_u32(20);
        let first = setup.wallet.fund(&Funding::new(rate, vec![baton_out])).unwrap();
        let first = setup.wallet.finish(first).unwrap();
        setup.node.client().send_raw_transaction(&first.tx).await.unwrap();
        setup.wallet.sent([&first.tx]).unwrap();
        setup.poster.baton = OutPoint::new(first.tx.compute_txid(), 0);
        setup.node.mine(1).await.unwrap();
        setup.follow().await;
        setup
    }

    /// Feeds wallet and sender up to the node's tip.
    async fn follow(&mut self) -> Vec<Report> {
        let tip = self.node.tip().await.unwrap();
        let known = std::cmp::min_by_key(self.wallet.known(), self.sender.known(), |k| {
            k.last().unwrap().height
        });
        let config = FollowerConfig {
            poll: Duration::from_millis(200),
            ..Default::default()
        };
        let mut follower = Follower::new(self.node.client().clone(), config, known).unwrap();
        let mut reports = Vec::new();
        loop {
            let event = follower.next().await.unwrap();
            self.wallet.apply(&event).unwrap();
            reports.extend(self.sender.apply(&event).unwrap());
            if matches!(event, Event::Tip { at, .. } if at == tip) {
                return reports;
            }
        }
    }

    /// Feeds, and then does what is due.
    async fn step(&mut self) -> Vec<Report> {
        let mut reports = self.follow().await;
        reports.extend(self.sender.advance(&self.poster).await.unwrap());
        reports
    }

    async fn mine_and_step(&mut self, blocks: u32) -> Vec<Report> {
        let mut reports = Vec::new();
        for _ in 0..blocks {
            self.node.mine(1).await.unwrap();
            reports.extend(self.step().await);
        }
        reports
    }

    async fn mine_empty_and_step(&mut self, blocks: u32) -> Vec<Report> {
        let mut reports = Vec::new();
        for _ in 0..blocks {
            self.node.mine_with(&[]).await.unwrap();
            reports.extend(self.step().await);
        }
        reports
    }

    /// Closes the sender and the wallet and opens them again, as after a restart.
    fn reopen(self) -> Self {
        let Self {
            node,
            wallet,
            sender,
            poster,
            dir,
        } = self;
        let Poster {
            wallet: last,
            baton,
            baton_out,
            key,
            reveals,
            frame,
            back,
        } = poster;
        let start = sender.tip();
        drop((sender, wallet, last));
        let wallet = open_wallet(dir.path(), start);
        let poster = Poster {
            wallet: wallet.clone(),
            baton,
            baton_out,
            key,
            reveals,
            frame,
            back,
        };
        let path = dir.path().join("sender.redb");
        let client = node.client().clone();
        let sender = Sender::open(&path, client, sender_config(), Some(wallet.clone()), start).unwrap();
        Self {
            node,
            wallet,
            sender,
            poster,
            dir,
        }
    }

    /// Core is killed and comes back with its chain and without its mempool.
    async fn crash_core(&mut self) {
        self.node.client().flush().await.unwrap();
        self.node.kill();
        self.node.restart().await.unwrap();
        assert!(self.mempool().await.is_empty());
    }

    async fn mempool(&self) -> Vec<Txid> {
        self.node.client().get_raw_mempool().await.unwrap()
    }

    fn txid(&self, job: JobId, slot: usize) -> Txid {
        self.sender.job(job).unwrap().current(slot).tx.compute_txid()
    }

    fn submit(&mut self, ride: bool) -> JobId {
        let draft = self.poster.draft(LOW, ride);
        self.sender.submit(draft).unwrap()
    }
}

fn done(reports: &[Report]) -> Option<&Job> {
    reports.iter().find_map(|r| {
        if let Report::Done { job } = r {
            Some(&**job)
        } else {
            None
        }
    })
}

#[tokio::test]
async fn a_batch_goes_out_and_is_done_at_its_depth() {
    let mut setup = Setup::new(3, 5_000).await;
    let job = setup.submit(true);
    let sent = setup.step().await;
    assert_eq!(sent.len(), 4, "{sent:?}");
    assert_eq!(setup.mempool().await.len(), 4);
    assert!(setup.step().await.is_empty());
    let confirmed = setup.mine_and_step(1).await;
    assert_eq!(
        confirmed
            .iter()
            .filter(|r| matches!(r, Report::Confirmed { .. }))
            .count(),
        4
    );
    assert!(done(&setup.mine_and_step(2).await).is_none());
    let reports = setup.mine_and_step(1).await;
    assert_eq!(done(&reports).unwrap().id, job);
    assert_eq!(setup.sender.jobs().count(), 0);
}

#[tokio::test]
async fn what_was_submitted_survives_restarts_of_both() {
    let mut setup = Setup::new(2, 2_000).await;
    let job = setup.submit(true);
    let txids: Vec<Txid> = (0..3).map(|slot| setup.txid(job, slot)).collect();
    // Nothing was sent yet.
    let mut setup = setup.reopen();
    assert_eq!(
        (0..3).map(|slot| setup.txid(job, slot)).collect::<Vec<_>>(),
        txids
    );
    assert_eq!(setup.step().await.len(), 3);
    // Core forgets its mempool.
    setup.crash_core().await;
    let before = setup.wallet.balance();
    let mut setup = setup.reopen();
    assert_eq!(setup.wallet.balance(), before);
    setup.step().await;
    assert_eq!(setup.mempool().await.len(), 3);
    assert!(done(&setup.mine_and_step(4).await).is_some());
}

#[tokio::test]
async fn a_reorg_brings_it_out_again() {
    let mut setup = Setup::new(2, 2_000).await;
    let job = setup.submit(true);
    setup.step().await;
    setup.mine_and_step(2).await;
    setup.node.reorg(2, 3).await.unwrap();
    // Core takes the transactions back by itself; without them in the mempool the sender has to.
    setup.crash_core().await;
    let reports = setup.step().await;
    assert_eq!(
        reports
            .iter()
            .filter(|r| matches!(r, Report::Unconfirmed { .. }))
            .count(),
        3,
        "{reports:?}"
    );
    assert_eq!(setup.mempool().await.len(), 3);
    let reports = setup.mine_and_step(4).await;
    assert_eq!(done(&reports).unwrap().id, job);
}

#[tokio::test]
async fn an_unlatched_commit_is_replaced_and_any_version_counts() {
    for old_confirms in [false, true] {
        let mut setup = Setup::new(2, 2_000).await;
        let job = setup.submit(false);
        setup.step().await;
        let first = setup.sender.job(job).unwrap().current(0).tx.clone();
        assert_eq!(setup.mempool().await, vec![first.compute_txid()]);
        let reports = setup.mine_empty_and_step(2).await;
        let second = setup.txid(job, 0);
        assert!(
            reports.contains(&Report::Replaced {
                job,
                slot: 0,
                txid: second
            }),
            "{reports:?}"
        );
        assert_eq!(setup.mempool().await, vec![second]);
        // After a restart the replacement is still what counts.
        let mut setup = setup.reopen();
        assert_eq!(setup.txid(job, 0), second);
        if old_confirms {
            setup.node.mine_with(&[&first]).await.unwrap();
            let reports = setup.step().await;
            let is_first =
                |r: &Report| matches!(r, Report::Confirmed { txid, .. } if *txid == first.compute_txid());
            assert!(reports.iter().any(is_first), "{reports:?}");
            assert_eq!(setup.txid(job, 0), first.compute_txid());
        } else {
            setup.mine_and_step(1).await;
            assert_eq!(setup.txid(job, 0), second);
        }
        // Its reveals, which spend that version, are out now.
        let mut expected = vec![setup.txid(job, 1), setup.txid(job, 2)];
        let mut mempool = setup.mempool().await;
        expected.sort();
        mempool.sort();
        assert_eq!(mempool, expected);
        assert!(done(&setup.mine_and_step(4).await).is_some());
    }
}

#[tokio::test]
async fn a_latched_commit_is_lifted_and_never_replaced() {
    let mut setup = Setup::new(1, 2_000).await;
    let job = setup.submit(true);
    setup.step().await;
    assert!(setup.sender.job(job).unwrap().slots[0].latched);
    let commit = setup.txid(job, 0);
    let mut lifts = 0;
    let mut replaced_reveals = 0;
    for _ in 0..5 {
        for report in setup.mine_empty_and_step(1).await {
            match report {
                Report::Lifted { slot: 0, .. } => lifts += 1,
                Report::Replaced { slot: 1, .. } => replaced_reveals += 1,
                Report::Replaced { slot: 0, .. } => panic!("a latched commit was replaced"),
                other => assert!(matches!(other, Report::Sent { .. }), "{other:?}"),
            }
        }
        assert_eq!(setup.txid(job, 0), commit);
        assert!(setup.mempool().await.contains(&commit));
    }
    assert_eq!((lifts, replaced_reveals), (2, 2));
    assert_eq!(setup.mempool().await.len(), 3);
    let reports = setup.mine_and_step(4).await;
    assert!(done(&reports).is_some(), "{reports:?}");
}

/// Later jobs build on what is confirmed: another version of it, or a lift in place of one that they spend, would take
/// them out of the mempool for good.
#[tokio::test]
async fn what_was_confirmed_once_is_not_replaced_after_a_reorg() {
    let mut setup = Setup::new(1, 2_000).await;
    let job = setup.submit(false);
    setup.step().await;
    setup.mine_and_step(1).await;
    let commit = setup.txid(job, 0);
    assert!(!setup.sender.job(job).unwrap().slots[0].latched);
    setup.node.reorg(1, 3).await.unwrap();
    let raised = |r: &Report| matches!(r, Report::Replaced { .. } | Report::Lifted { .. });
    let reports = setup.step().await;
    assert!(
        reports.contains(&Report::Unconfirmed { job, slot: 0 }),
        "{reports:?}"
    );
    assert!(!reports.iter().any(raised), "it has not waited yet: {reports:?}");
    let reports = setup.mine_empty_and_step(2).await;
    let lifted = |r: &Report| matches!(r, Report::Lifted { slot: 0, .. });
    assert!(reports.iter().any(lifted), "{reports:?}");
    assert_eq!(setup.txid(job, 0), commit);
    assert!(setup.mempool().await.contains(&commit));
    // What somebody builds on the lift keeps it where it is.
    setup.mine_and_step(1).await;
    let lift = setup.sender.job(job).unwrap().slots[0].lifts[0].tx.compute_txid();
    let mut spending = Funding::new(LOW, vec![setup.poster.baton_out.clone()]);
    spending.coins = vec![OutPoint::new(lift, 0)];
    let spending = setup.wallet.fund(&spending).unwrap();
    let spending = setup.wallet.finish(spending).unwrap().tx;
    setup.node.client().send_raw_transaction(&spending).await.unwrap();
    setup.wallet.sent([&spending]).unwrap();
    setup.node.reorg(1, 2).await.unwrap();
    let reports = setup.mine_empty_and_step(4).await;
    assert!(!reports.iter().any(lifted), "{reports:?}");
    let mempool = setup.mempool().await;
    for txid in [commit, lift, spending.compute_txid()] {
        assert!(mempool.contains(&txid), "{txid} of {mempool:?}: {reports:?}");
    }
}

#[tokio::test]
async fn full_reveals_wait_for_room() {
    // Three reveals of almost 400,000 weight units: one fits beside an unconfirmed commit.
    let mut setup = Setup::new(3, 380_000).await;
    let job = setup.submit(true);
    let sent = setup.step().await;
    assert_eq!(sent.len(), 2, "{sent:?}");
    let heavy = setup.sender.job(job).unwrap().current(1).tx.weight().to_wu();
    assert!((380_000..400_000).contains(&heavy), "{heavy}");
    let sent = setup.mine_and_step(1).await;
    assert_eq!(
        sent.iter().filter(|r| matches!(r, Report::Sent { .. })).count(),
        2,
        "{sent:?}"
    );
    assert!(done(&setup.mine_and_step(4).await).is_some());
}

#[tokio::test]
async fn a_baton_spent_by_another_loses_the_job_and_frees_the_coins() {
    let mut setup = Setup::new(1, 2_000).await;
    // Somebody with the same key spends the baton first.
    let mut request = Funding::new(
        LOW,
        vec![TxOut {
            value: Amount::from_sat(9_000),
            ..setup.poster.baton_out.clone()
        }],
    );
    request.foreign.push(Foreign::key_path(
        setup.poster.baton,
        setup.poster.baton_out.clone(),
    ));
    let mut other = setup.wallet.fund(&request).unwrap();
    sign_key_path(&mut other.psbt, 0, &setup.poster.key, None).unwrap();
    let other = setup.wallet.finish(other).unwrap();
    let before = setup.wallet.spendable();
    let job = setup.submit(true);
    setup.step().await;
    setup.node.mine_with(&[&other.tx]).await.unwrap();
    let reports = setup.step().await;
    assert!(done(&reports).is_none());
    assert!(setup.sender.job(job).unwrap().slots[0].conflict.is_some());
    let reports = setup.mine_and_step(3).await;
    let lost = reports.iter().find_map(|r| {
        if let Report::Lost { to, .. } = r {
            Some(to.txid)
        } else {
            None
        }
    });
    assert_eq!(lost, Some(other.tx.compute_txid()));
    assert_eq!(setup.sender.jobs().count(), 0);
    // Only the other transaction's fee is gone (it spent a coin of this wallet too), and what a coinbase gave.
    assert_eq!(
        setup.wallet.spendable(),
        before - other.fee - Amount::from_sat(9_000) + Amount::from_sat(10_000)
    );
}

#[tokio::test]
async fn a_conflict_that_is_reorged_away_is_forgotten() {
    let mut setup = Setup::new(1, 2_000).await;
    let mut request = Funding::new(LOW, vec![setup.poster.baton_out.clone()]);
    request.foreign.push(Foreign::key_path(
        setup.poster.baton,
        setup.poster.baton_out.clone(),
    ));
    let mut other = setup.wallet.fund(&request).unwrap();
    sign_key_path(&mut other.psbt, 0, &setup.poster.key, None).unwrap();
    let other = setup.wallet.finish(other).unwrap();
    let job = setup.submit(true);
    setup.node.mine_with(&[&other.tx]).await.unwrap();
    setup.step().await;
    assert!(setup.sender.job(job).unwrap().slots[0].conflict.is_some());
    let commit = setup.sender.job(job).unwrap().current(0).tx.clone();
    setup.node.roll_back(1).await.unwrap();
    setup.node.mine_with(&[&commit]).await.unwrap();
    setup.node.mine_with(&[]).await.unwrap();
    let reports = setup.step().await;
    assert!(
        reports
            .iter()
            .any(|r| matches!(r, Report::Confirmed { slot: 0, .. })),
        "{reports:?}"
    );
    assert!(done(&setup.mine_and_step(5).await).is_some());
}

#[tokio::test]
async fn below_the_mempools_minimum_it_pays_more_at_once() {
    for ride in [false, true] {
        let mut setup = Setup::with_args(1, 2_000, &["-minrelaytxfee=0.00005"]).await;
        let mut draft = setup.poster.draft(LOW, ride);
        // A pre-signed transaction cannot be replaced: its child has to pay.
        draft.txs[0].replaceable = !ride;
        let job = setup.sender.submit(draft).unwrap();
        let reports = setup.step().await;
        let lifted = reports
            .iter()
            .any(|r| matches!(r, Report::Lifted { slot: 0, .. }));
        let replaced = reports
            .iter()
            .any(|r| matches!(r, Report::Replaced { slot: 0, .. }));
        assert_eq!((lifted, replaced), (ride, !ride), "{reports:?}");
        setup.step().await;
        setup.step().await;
        assert!(setup.mempool().await.contains(&setup.txid(job, 0)));
        assert!(done(&setup.mine_and_step(6).await).is_some());
    }
}

#[tokio::test]
async fn a_block_not_seen_yet_is_not_mistaken_for_a_failure() {
    let mut setup = Setup::new(1, 2_000).await;
    let job = setup.submit(true);
    setup.step().await;
    setup.node.mine(1).await.unwrap();
    // The sender has not been fed the block: Core answers -27 or "missing inputs", and nothing is concluded.
    let reports = setup.sender.advance(&setup.poster).await.unwrap();
    assert!(
        !reports
            .iter()
            .any(|r| matches!(r, Report::Replaced { .. } | Report::Lifted { .. })),
        "{reports:?}"
    );
    assert!(
        setup
            .sender
            .job(job)
            .unwrap()
            .slots
            .iter()
            .all(|s| s.versions.len() == 1 && s.confirmed.is_none())
    );
    assert!(done(&setup.mine_and_step(4).await).is_some());
}

#[tokio::test]
async fn drafts_that_do_not_fit_are_refused() {
    let mut setup = Setup::new(1, 100).await;
    let good = setup.poster.draft(LOW, true);
    let mut swapped = good.clone();
    swapped.txs.swap(0, 1);
    let mut stranger = good.clone();
    let burn = TxOut {
        value: Amount::from_sat(500),
        script_pubkey: fresh_burn_address().script_pubkey(),
    };
    stranger.txs[0].signed.tx.output = vec![burn];
    let empty = Draft {
        txs: vec![],
        ..good.clone()
    };
    for draft in [swapped, stranger, empty] {
        assert!(setup.sender.submit(draft).is_err());
    }
    assert_eq!(setup.sender.jobs().count(), 0);
    setup.sender.submit(good).unwrap();
}
