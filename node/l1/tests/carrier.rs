//! The carrier against a real Bitcoin Core with its default policy: parents of version 3 without fee, large ones of version 2,
//! busy mempools, strangers on the anchor, rivals, time locks, reorgs, restarts. Needs bitcoind (`.ci/setup bitcoind`).

use std::{
    collections::{BTreeSet, HashSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use bitcoin::{
    Amount, FeeRate, Network, NetworkKind, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid,
    Witness,
    absolute::LockTime,
    key::{Keypair, Secp256k1},
    opcodes::all::{OP_CHECKSIG, OP_ENDIF, OP_IF},
    script::{Builder, PushBytesBuf},
    taproot::{TaprootBuilder, TaprootSpendInfo},
    transaction::Version,
};
use bitsect_l1::{
    BlockRef,
    carrier::{Carrier, CarrierConfig, CarrierError, Job, JobId, Parcel, Report, Why},
    follower::{Event, Follower, FollowerConfig},
    regtest::{Bitcoind, RegtestConfig},
    sender::FeePolicy,
    wallet::{Foreign, Funding, Keys, Wallet, sign_leaf},
};

const FLOOR: FeeRate = FeeRate::from_sat_per_vb_u32(2);
/// What strangers pay.
const BRISK: FeeRate = FeeRate::from_sat_per_vb_u32(10);
const CEILING: FeeRate = FeeRate::from_sat_per_vb_u32(100);
/// What a parent's input holds.
const STAKE: Amount = Amount::from_sat(1_000_000);
const SMALL_ANCHOR: Amount = Amount::from_sat(240);
/// Bytes that the second leaf has more.
const HEAVIER: usize = 20_000;
/// Deeper than any reorg here.
const DEPTH: u32 = 7;
const FAR: u32 = 100_000;

fn config() -> CarrierConfig {
    let fees = FeePolicy {
        target_blocks: 2,
        floor: FLOOR,
        ceiling: CEILING,
    };
    CarrierConfig {
        fees,
        depth: DEPTH,
        patience: 2,
    }
}

fn open_wallet(dir: &Path, name: &str, birthday: BlockRef) -> Arc<Wallet> {
    let keys = Keys::read_or_generate(&dir.join(format!("{name}.key")), NetworkKind::Test).unwrap();
    Arc::new(
        Wallet::open(
            &dir.join(format!("{name}.redb")),
            keys,
            Network::Regtest,
            birthday,
        )
        .unwrap(),
    )
}

/// Makes parents: each spends an output that is locked to a leaf with `bytes` bytes of data.
struct Parents {
    key: Keypair,
}

/// How a parent is made.
#[derive(Clone, Copy)]
struct Form {
    version: i32,
    fee: u64,
    /// Data in its leaf.
    bytes: usize,
    sequence: Sequence,
}

const TRUC: Form = Form {
    version: 3,
    fee: 0,
    bytes: 600,
    sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
};

impl Form {
    const fn large(vsize: usize, fee: u64) -> Self {
        Self {
            version: 2,
            fee,
            bytes: vsize * 4,
            ..TRUC
        }
    }
}

impl Parents {
    fn leaf(&self, bytes: usize) -> ScriptBuf {
        let mut script = Builder::new()
            .push_x_only_key(&self.key.x_only_public_key().0)
            .push_opcode(OP_CHECKSIG)
            .push_int(0)
            .push_opcode(OP_IF);
        for chunk in vec![7; bytes].chunks(520) {
            script = script.push_slice(PushBytesBuf::try_from(chunk.to_vec()).unwrap());
        }
        script.push_opcode(OP_ENDIF).into_script()
    }

    /// A second leaf gives the same transaction a heavier witness.
    fn tree(&self, bytes: usize) -> TaprootSpendInfo {
        let tree = TaprootBuilder::new()
            .add_leaf(1, self.leaf(bytes))
            .unwrap()
            .add_leaf(1, self.leaf(bytes + HEAVIER))
            .unwrap();
        tree.finalize(&Secp256k1::new(), self.key.x_only_public_key().0)
            .unwrap()
    }

    fn output(&self, form: Form) -> TxOut {
        let script_pubkey = ScriptBuf::new_p2tr_tweaked(self.tree(form.bytes).output_key());
        TxOut {
            value: STAKE,
            script_pubkey,
        }
    }

    /// A signed parent; `back` makes others of the same input.
    fn sign(&self, input: OutPoint, form: Form, back: &TxOut) -> Transaction {
        self.sign_by(self.leaf(form.bytes), input, form, back)
    }

    fn sign_by(&self, leaf: ScriptBuf, input: OutPoint, form: Form, back: &TxOut) -> Transaction {
        let anchor = if form.version == 3 {
            Amount::ZERO
        } else {
            SMALL_ANCHOR
        };
        let spend = TxIn {
            previous_output: input,
            script_sig: ScriptBuf::new(),
            sequence: form.sequence,
            witness: Witness::new(),
        };
        let value = STAKE - anchor - Amount::from_sat(form.fee);
        let outputs = vec![
            TxOut {
                value: anchor,
                script_pubkey: ScriptBuf::new_p2a(),
            },
            TxOut {
                value,
                ..back.clone()
            },
        ];
        let mut tx = Transaction {
            version: Version(form.version),
            lock_time: LockTime::ZERO,
            input: vec![spend],
            output: outputs,
        };
        let tree = self.tree(form.bytes);
        let spent = [self.output(form)];
        sign_leaf(&mut tx, 0, &spent, &tree, &leaf, &self.key).unwrap();
        tx
    }
}

struct Setup {
    node: Bitcoind,
    wallet: Arc<Wallet>,
    /// Makes the parents' inputs, and what strangers do.
    stranger: Arc<Wallet>,
    carrier: Carrier,
    parents: Parents,
    back: TxOut,
    start: BlockRef,
    /// What made the parents' inputs.
    sources: Vec<Transaction>,
    dir: tempfile::TempDir,
}

impl Setup {
    async fn new() -> Self {
        Self::with_args(&[]).await
    }

    /// A node with default policy, and two wallets with two coins of 50 BTC each.
    async fn with_args(args: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut core = RegtestConfig::new(dir.path().join("core"));
        core.args = ["-acceptnonstdtxn=0"]
            .iter()
            .chain(args)
            .map(|arg| (*arg).to_owned())
            .collect();
        let node = Bitcoind::start(core).await.unwrap();
        let start = node.tip().await.unwrap();
        let wallet = open_wallet(dir.path(), "wallet", start);
        let stranger = open_wallet(dir.path(), "stranger", start);
        node.mine_to(2, &stranger.receive_address().unwrap())
            .await
            .unwrap();
        node.fund(&wallet.receive_address().unwrap(), 2).await.unwrap();
        let client = node.client().clone();
        let carrier = Carrier::open(dir.path(), client, config(), wallet.clone(), start).unwrap();
        let parents = Parents {
            key: wallet.keys().key(0),
        };
        let back = TxOut {
            value: STAKE,
            script_pubkey: stranger.receive_address().unwrap().script_pubkey(),
        };
        let mut setup = Self {
            node,
            wallet,
            stranger,
            carrier,
            parents,
            back,
            start,
            sources: Vec::new(),
            dir,
        };
        setup.follow().await;
        setup
    }

    /// Feeds wallets and carrier up to the node's tip.
    async fn follow(&mut self) -> Vec<Report> {
        let tip = self.node.tip().await.unwrap();
        let known = [self.wallet.known(), self.stranger.known(), self.carrier.known()];
        let known = known.into_iter().min_by_key(|k| k.last().unwrap().height);
        let config = FollowerConfig {
            poll: Duration::from_millis(200),
            ..Default::default()
        };
        let mut follower = Follower::new(self.node.client().clone(), config, known.unwrap()).unwrap();
        let mut reports = Vec::new();
        loop {
            let event = follower.next().await.unwrap();
            self.wallet.apply(&event).unwrap();
            self.stranger.apply(&event).unwrap();
            reports.extend(self.carrier.apply(&event).unwrap());
            if matches!(event, Event::Tip { at, .. } if at == tip) {
                return reports;
            }
        }
    }

    async fn step(&mut self) -> Vec<Report> {
        let mut reports = self.follow().await;
        reports.extend(self.carrier.advance().await.unwrap());
        self.check().await;
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

    /// What holds at any time: no coin is in two jobs, and a child that is out is known.
    async fn check(&self) {
        let mut seen = HashSet::new();
        for job in self.carrier.jobs() {
            let inputs = job.children.iter().flat_map(|child| &child.tx.input);
            let coins: BTreeSet<OutPoint> = inputs
                .map(|input| input.previous_output)
                .filter(|o| *o != job.anchor())
                .collect();
            for coin in coins {
                assert!(seen.insert(coin), "{coin} is in two jobs");
            }
            for child in &job.children {
                assert_eq!(child.tx.version, job.tx.version);
                assert!(child.tx.weight().to_vbytes_ceil() <= 1_000);
            }
        }
    }

    /// Drops everything and opens it again, as after a crash.
    fn reopen(self) -> Self {
        let Self {
            node,
            wallet,
            stranger,
            carrier,
            parents,
            back,
            start,
            sources,
            dir,
        } = self;
        let jobs: Vec<Job> = carrier.jobs().cloned().collect();
        drop((carrier, wallet));
        let wallet = open_wallet(dir.path(), "wallet", start);
        let client = node.client().clone();
        let carrier = Carrier::open(dir.path(), client, config(), wallet.clone(), start).unwrap();
        assert_eq!(carrier.jobs().cloned().collect::<Vec<_>>(), jobs);
        Self {
            node,
            wallet,
            stranger,
            carrier,
            parents,
            back,
            start,
            sources,
            dir,
        }
    }

    /// Core is killed and comes back with its chain and without its mempool.
    async fn crash_core(&mut self) {
        self.node.client().flush().await.unwrap();
        self.node.kill();
        self.node.restart().await.unwrap();
        assert!(self.mempool().await.is_empty());
        // What made the inputs comes again; that is not the carrier's business.
        for tx in &self.sources {
            // The first output is a parent's input, which no block has spent where this is called.
            let first = OutPoint::new(tx.compute_txid(), 0);
            if self
                .node
                .client()
                .get_tx_out(&first, false)
                .await
                .unwrap()
                .is_none()
            {
                self.node.client().send_raw_transaction(tx).await.unwrap();
            }
        }
    }

    async fn mempool(&self) -> Vec<Txid> {
        self.node.client().get_raw_mempool().await.unwrap()
    }

    /// The stranger pays; returns the unconfirmed transaction.
    async fn pay(&self, outputs: Vec<TxOut>) -> Transaction {
        let funded = self.stranger.fund(&Funding::new(BRISK, outputs)).unwrap();
        let signed = self.stranger.finish(funded).unwrap();
        self.node.client().send_raw_transaction(&signed.tx).await.unwrap();
        self.stranger.sent([&signed.tx]).unwrap();
        signed.tx
    }

    /// Confirmed inputs for so many parents of a form.
    async fn inputs(&mut self, form: Form, count: usize) -> Vec<OutPoint> {
        let tx = self.pay(vec![self.parents.output(form); count]).await;
        self.node.mine_with(&[&tx]).await.unwrap();
        self.follow().await;
        let txid = tx.compute_txid();
        self.sources.push(tx);
        (0..count as u32).map(|vout| OutPoint::new(txid, vout)).collect()
    }

    /// A parent of a confirmed input.
    async fn parent(&mut self, form: Form) -> Transaction {
        let input = self.inputs(form, 1).await[0];
        self.parents.sign(input, form, &self.back)
    }

    fn submit(&mut self, tx: &Transaction, fee: u64, blocks: u32) -> JobId {
        let parcel = Parcel {
            label: "move".into(),
            tx: tx.clone(),
            fee: Amount::from_sat(fee),
            deadline: self.carrier.tip().height + blocks,
        };
        self.carrier.submit(parcel).unwrap()
    }

    fn job(&self, id: JobId) -> &Job {
        self.carrier.job(id).unwrap()
    }

    fn newest(&self, id: JobId) -> Txid {
        self.job(id).children.last().unwrap().tx.compute_txid()
    }

    async fn rate_of(&self, tx: &Transaction) -> FeeRate {
        let entry = self
            .node
            .client()
            .get_mempool_entry(&tx.compute_txid())
            .await
            .unwrap();
        entry.unwrap().mining_rate()
    }

    /// A stranger's child on the anchor, with `bytes` of data and so much fee.
    fn strange_child(&self, parent: &Transaction, bytes: usize, fee: u64) -> Transaction {
        let data = PushBytesBuf::try_from(vec![9; bytes]).unwrap();
        let data = TxOut {
            value: Amount::ZERO,
            script_pubkey: ScriptBuf::new_op_return(data),
        };
        let mut request = Funding::new(FeeRate::ZERO, vec![data]);
        request.version = parent.version;
        let anchor = OutPoint::new(parent.compute_txid(), 0);
        request.foreign = vec![Foreign::anchor(anchor, parent.output[0].value)];
        request.coins = vec![self.stranger.confirmed_coins().last().unwrap().0];
        let funded = self
            .stranger
            .fund_exactly(&request, Amount::from_sat(fee))
            .unwrap();
        let tx = self.stranger.finish(funded).unwrap().tx;
        self.stranger.sent([&tx]).unwrap();
        tx
    }

    async fn submit_package(&self, parent: &Transaction, child: &Transaction) {
        let result = self.node.client().submit_package(&[parent, child]).await.unwrap();
        assert_eq!(result.message, "success", "{result:?}");
    }
}

fn confirmed(reports: &[Report]) -> Option<(u32, Option<Txid>)> {
    reports.iter().find_map(|r| match r {
        Report::Confirmed { at, child, .. } => Some((at.height, *child)),
        _ => None,
    })
}

fn done(reports: &[Report]) -> bool {
    reports.iter().any(|r| matches!(r, Report::Done { .. }))
}

fn bumps(reports: &[Report]) -> usize {
    reports
        .iter()
        .filter(|r| matches!(r, Report::Bumped { .. }))
        .count()
}

fn waits(reports: &[Report], is: impl Fn(&Why) -> bool) -> usize {
    reports
        .iter()
        .filter(|r| matches!(r, Report::Waiting { why, .. } if is(why)))
        .count()
}

#[tokio::test]
async fn a_parent_without_fee_is_carried_by_a_child() {
    let mut setup = Setup::new().await;
    let parent = setup.parent(TRUC).await;
    let id = setup.submit(&parent, 0, 144);
    let before = setup.wallet.spendable();
    let reports = setup.step().await;
    let child = setup.newest(id);
    let txid = parent.compute_txid();
    assert!(reports.contains(&Report::Sent { job: id, txid }), "{reports:?}");
    assert_eq!(bumps(&reports), 1);
    let mut mempool = setup.mempool().await;
    mempool.sort();
    let mut expected = vec![txid, child];
    expected.sort();
    assert_eq!(mempool, expected);
    let rate = setup.rate_of(&parent).await;
    assert!(rate >= FLOOR && rate < FeeRate::from_sat_per_vb_u32(3), "{rate}");
    // The rate suffices: nothing more is done, however often one looks.
    assert!(setup.step().await.is_empty());
    let reports = setup.mine_and_step(1).await;
    assert_eq!(confirmed(&reports).unwrap().1, Some(child), "{reports:?}");
    assert!(!done(&setup.mine_and_step(DEPTH - 2).await));
    let fee = setup.job(id).children[0].fee;
    assert!(done(&setup.mine_and_step(1).await));
    assert_eq!(setup.carrier.jobs().count(), 0);
    // Only the fee is gone: the child gives change.
    assert_eq!(setup.wallet.spendable(), before - fee);
}

#[tokio::test]
async fn a_parent_with_a_fee_goes_alone_and_is_lifted_when_it_waits() {
    let mut setup = Setup::new().await;
    let form = Form::large(20_000, 10_000);
    let parent = setup.parent(form).await;
    assert!(parent.weight().to_vbytes_ceil() > 20_000);
    let id = setup.submit(&parent, form.fee, 144);
    let reports = setup.step().await;
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert!(setup.job(id).children.is_empty());
    assert_eq!(setup.mempool().await, vec![parent.compute_txid()]);
    // Half a satoshi a vB is below the floor, but it may be lucky for two blocks.
    assert_eq!(bumps(&setup.mine_empty_and_step(1).await), 0);
    assert_eq!(bumps(&setup.mine_empty_and_step(1).await), 1);
    assert!(setup.rate_of(&parent).await >= FLOOR);
    let child = setup.newest(id);
    let reports = setup.mine_and_step(1).await;
    assert_eq!(confirmed(&reports).unwrap().1, Some(child));
    assert!(done(&setup.mine_and_step(DEPTH).await));
}

#[tokio::test]
async fn the_largest_parent_is_lifted_to_the_highest_rate_at_the_end() {
    let mut setup = Setup::new().await;
    let form = Form::large(99_000, 99_800);
    let parent = setup.parent(form).await;
    let id = setup.submit(&parent, form.fee, 3);
    setup.step().await;
    // Two blocks are left: the child pays for both, at a rate of its own far above what Core's guard would let through.
    let reports = setup.mine_empty_and_step(1).await;
    assert_eq!(bumps(&reports), 1, "{reports:?}");
    assert!(setup.rate_of(&parent).await >= CEILING);
    let child = &setup.job(id).children[0];
    assert!(child.fee.to_sat() / child.tx.vsize() as u64 > 10_000);
    let reports = setup.mine_and_step(1).await;
    assert!(confirmed(&reports).is_some());
}

#[tokio::test]
async fn below_the_mempools_minimum_a_child_comes_at_once() {
    let mut setup = Setup::with_args(&["-minrelaytxfee=0.00005"]).await;
    let (small, form) = (setup.parent(TRUC).await, Form::large(20_000, 40_000));
    let large = setup.parent(form).await;
    let ids = [setup.submit(&small, 0, 144), setup.submit(&large, form.fee, 144)];
    let reports = setup.step().await;
    assert_eq!(bumps(&reports), 2, "{reports:?}");
    for tx in [&small, &large] {
        assert!(setup.rate_of(tx).await >= FeeRate::from_sat_per_vb_u32(5));
    }
    assert!(ids.iter().all(|id| setup.job(*id).children.len() == 1));
    let reports = setup.mine_and_step(DEPTH + 1).await;
    assert!(done(&reports));
}

/// Ten of what [`fill`] makes leave room for less than a parent and its child in a block of 998,000 vB.
const FILLING: usize = 99_770;

/// Large transactions at a rate, as many as there are coins for it.
async fn fill(setup: &Setup, coins: &[OutPoint], rate: u64) {
    for coin in coins {
        let data = PushBytesBuf::try_from(vec![9; FILLING - 130]).unwrap();
        let data = TxOut {
            value: Amount::ZERO,
            script_pubkey: ScriptBuf::new_op_return(data),
        };
        let mut request = Funding::new(FeeRate::ZERO, vec![data]);
        request.coins = vec![*coin];
        let fee = Amount::from_sat(rate * FILLING as u64);
        let funded = setup.stranger.fund_exactly(&request, fee).unwrap();
        let tx = setup.stranger.finish(funded).unwrap().tx;
        assert_eq!(tx.vsize(), FILLING);
        setup.node.client().send_raw_transaction(&tx).await.unwrap();
        setup.stranger.sent([&tx]).unwrap();
    }
}

/// Coins of the stranger for [`fill`].
async fn ammunition(setup: &mut Setup, count: usize) -> Vec<OutPoint> {
    let script_pubkey = setup.stranger.receive_address().unwrap().script_pubkey();
    let value = Amount::from_sat(8_000_000);
    let tx = setup.pay(vec![TxOut { value, script_pubkey }; count]).await;
    setup.node.mine(1).await.unwrap();
    setup.follow().await;
    let txid = tx.compute_txid();
    let coins: Vec<OutPoint> = (0..count as u32).map(|vout| OutPoint::new(txid, vout)).collect();
    setup.stranger.hold(coins.iter().copied().collect());
    coins
}

#[tokio::test]
async fn a_fee_spike_is_outbid_before_the_deadline() {
    let mut setup = Setup::new().await;
    let coins = ammunition(&mut setup, 60).await;
    let (small, form) = (setup.parent(TRUC).await, Form::large(20_000, 40_000));
    let large = setup.parent(form).await;
    let ids = [setup.submit(&small, 0, 12), setup.submit(&large, form.fee, 12)];
    let deadline = setup.job(ids[0]).deadline;
    let mut reports = setup.step().await;
    // Six blocks full of what pays ten times as much. Once a block of it is mined, the estimate follows.
    fill(&setup, &coins, 20).await;
    let mut blocks = 0;
    while setup.carrier.jobs().any(|job| job.confirmed.is_none()) {
        reports.extend(setup.mine_and_step(1).await);
        blocks += 1;
    }
    assert!((2..6).contains(&blocks), "{blocks}: {reports:?}");
    assert_eq!(bumps(&reports), 3, "{reports:?}");
    for id in ids {
        assert!(setup.job(id).confirmed.unwrap().height <= deadline);
        assert!(setup.job(id).rate() > FeeRate::from_sat_per_vb_u32(20));
    }
    assert!(!reports.iter().any(|r| matches!(r, Report::Overdue { .. })));
}

#[tokio::test]
async fn the_fee_rises_as_the_deadline_comes_nearer() {
    let mut setup = Setup::new().await;
    let parent = setup.parent(TRUC).await;
    let id = setup.submit(&parent, 0, 16);
    let mut reports = setup.step().await;
    let mut rates = vec![setup.rate_of(&parent).await];
    for _ in 0..17 {
        reports.extend(setup.mine_empty_and_step(1).await);
        rates.push(setup.rate_of(&parent).await);
    }
    let at = |left: usize| rates[16 - left];
    assert!(
        rates.is_sorted() && at(16) >= FLOOR && at(15) == at(16),
        "{rates:?}"
    );
    // Twice at half of the blocks, four times at a quarter, the highest for the last three; steps of a quarter may be missing.
    let close = |rate: FeeRate, vb: u32| {
        let wanted = FeeRate::from_sat_per_vb_u32(vb).to_sat_per_kwu();
        (wanted * 4 / 5..=wanted + 10).contains(&rate.to_sat_per_kwu())
    };
    assert!(close(at(8), 4) && close(at(4), 8), "{rates:?}");
    assert!(at(3) >= CEILING && at(0) == at(3), "{rates:?}");
    assert_eq!(bumps(&reports), setup.job(id).children.len());
    // Late, it is still sent, and it is said once.
    assert_eq!(
        reports
            .iter()
            .filter(|r| **r == Report::Overdue { job: id })
            .count(),
        1
    );
    assert!(confirmed(&setup.mine_and_step(1).await).is_some());
}

#[tokio::test]
async fn a_full_mempool_is_entered_above_its_minimum() {
    let mut setup = Setup::with_args(&["-maxmempool=5"]).await;
    let coins = ammunition(&mut setup, 80).await;
    let (small, form) = (setup.parent(TRUC).await, Form::large(20_000, 40_000));
    let large = setup.parent(form).await;
    let ids = [setup.submit(&small, 0, 144), setup.submit(&large, form.fee, 144)];
    setup.step().await;
    // What comes in throws out what pays less: our parents, too.
    fill(&setup, &coins[..40], 5).await;
    fill(&setup, &coins[40..], 12).await;
    let lowest = setup
        .node
        .client()
        .get_mempool_info()
        .await
        .unwrap()
        .lowest_rate();
    assert!(lowest > FeeRate::from_sat_per_vb_u32(4), "{lowest}");
    assert!(!setup.mempool().await.contains(&small.compute_txid()));
    let reports = setup.step().await;
    assert_eq!(bumps(&reports), 2, "{reports:?}");
    for tx in [&small, &large] {
        assert!(setup.rate_of(tx).await >= lowest);
    }
    let reports = setup.mine_and_step(DEPTH + 8).await;
    assert_eq!(
        reports
            .iter()
            .filter(|r| matches!(r, Report::Done { .. }))
            .count(),
        2
    );
    assert!(ids.iter().all(|id| setup.carrier.job(*id).is_none()));
}

#[tokio::test]
async fn a_strangers_cheap_child_is_replaced_and_a_dear_one_is_left() {
    let mut setup = Setup::new().await;
    let parent = setup.parent(TRUC).await;
    // 990 vB at 1 sat/vB: as much as version 3 lets anybody put in the way.
    let pin = setup.strange_child(&parent, 830, 1_000);
    assert!((980..=1_000).contains(&pin.vsize()), "{}", pin.vsize());
    setup.submit_package(&parent, &pin).await;
    let id = setup.submit(&parent, 0, 144);
    let reports = setup.step().await;
    assert_eq!(bumps(&reports), 1, "{reports:?}");
    let mempool = setup.mempool().await;
    assert!(mempool.contains(&setup.newest(id)) && !mempool.contains(&pin.compute_txid()));
    assert!(setup.rate_of(&parent).await >= FLOOR);
    // He comes back with more than ours, which is fine: the parent is mined for his money.
    setup.stranger.forget([pin.compute_txid()]).unwrap();
    let gift = setup.strange_child(&parent, 10, 20_000);
    setup.submit_package(&parent, &gift).await;
    assert!(setup.step().await.is_empty());
    let before = setup.wallet.confirmed_coins().len();
    let reports = setup.mine_and_step(1).await;
    assert_eq!(confirmed(&reports).unwrap().1, Some(gift.compute_txid()));
    // At the end the coin of our child is free again.
    assert!(done(&setup.mine_and_step(DEPTH).await));
    assert_eq!(setup.wallet.confirmed_coins().len(), before + 1);
}

#[tokio::test]
async fn a_strangers_heavier_witness_of_the_parent_is_paid_for() {
    let mut setup = Setup::new().await;
    let input = setup.inputs(TRUC, 1).await[0];
    let ours = setup.parents.sign(input, TRUC, &setup.back);
    let leaf = setup.parents.leaf(TRUC.bytes + HEAVIER);
    let heavy = setup.parents.sign_by(leaf, input, TRUC, &setup.back);
    assert_eq!(heavy.compute_txid(), ours.compute_txid());
    assert!(heavy.vsize() > ours.vsize() + 4_000);
    let pin = setup.strange_child(&heavy, 10, 3_000);
    setup.submit_package(&heavy, &pin).await;
    let id = setup.submit(&ours, 0, 144);
    let reports = setup.step().await;
    assert_eq!(bumps(&reports), 1, "{reports:?}");
    assert!(setup.rate_of(&ours).await >= FLOOR);
    assert!(setup.step().await.is_empty());
    let reports = setup.mine_and_step(1).await;
    assert_eq!(confirmed(&reports).unwrap().1, Some(setup.newest(id)));
}

#[tokio::test]
async fn a_large_cheap_child_on_a_valued_anchor_is_replaced() {
    let mut setup = Setup::new().await;
    let form = Form::large(20_000, 20_300);
    let parent = setup.parent(form).await;
    let id = setup.submit(&parent, form.fee, 144);
    setup.step().await;
    // 79 kvB at 1 sat/vB and a child of that: the cluster is full, and all of it has to be paid for.
    let pin = setup.strange_child(&parent, 78_000, 79_000);
    setup.submit_package(&parent, &pin).await;
    let change = OutPoint::new(pin.compute_txid(), 1);
    let mut more = Funding::new(FeeRate::ZERO, Vec::new());
    more.coins = vec![change];
    let more = setup.stranger.fund_exactly(&more, Amount::from_sat(900)).unwrap();
    let more = setup.stranger.finish(more).unwrap().tx;
    setup.node.client().send_raw_transaction(&more).await.unwrap();
    assert_eq!(setup.mempool().await.len(), 3);
    let reports = setup.mine_empty_and_step(2).await;
    assert_eq!(bumps(&reports), 1, "{reports:?}");
    let mut mempool = setup.mempool().await;
    mempool.sort();
    let mut expected = vec![parent.compute_txid(), setup.newest(id)];
    expected.sort();
    assert_eq!(mempool, expected);
    assert!(setup.job(id).children[0].fee > Amount::from_sat(79_900));
    let reports = setup.mine_and_step(1).await;
    assert_eq!(confirmed(&reports).unwrap().1, Some(setup.newest(id)));
}

#[tokio::test]
async fn a_rival_in_the_mempool_is_outbid_as_a_package() {
    let mut setup = Setup::new().await;
    for form in [TRUC, Form::large(20_000, 10_000)] {
        let input = setup.inputs(form, 1).await[0];
        let ours = setup.parents.sign(input, form, &setup.back);
        let other_back = TxOut {
            script_pubkey: setup.wallet.receive_address().unwrap().script_pubkey(),
            ..setup.back.clone()
        };
        let rival = setup.parents.sign(input, form, &other_back);
        let child = setup.strange_child(&rival, 10, 20_000);
        setup.submit_package(&rival, &child).await;
        let id = setup.submit(&ours, form.fee, 144);
        let reports = setup.step().await;
        assert_eq!(bumps(&reports), 1, "{reports:?}");
        let mempool = setup.mempool().await;
        assert!(mempool.contains(&ours.compute_txid()) && mempool.contains(&setup.newest(id)));
        assert!(!mempool.contains(&rival.compute_txid()));
        setup.stranger.forget([child.compute_txid()]).unwrap();
        let reports = setup.mine_and_step(1).await;
        assert!(confirmed(&reports).is_some());
    }
}

#[tokio::test]
async fn two_jobs_for_one_input_do_not_bid_against_each_other() {
    let mut setup = Setup::new().await;
    let input = setup.inputs(TRUC, 1).await[0];
    let first = setup.parents.sign(input, TRUC, &setup.back);
    let other_back = TxOut {
        script_pubkey: setup.wallet.receive_address().unwrap().script_pubkey(),
        ..setup.back.clone()
    };
    let second = setup.parents.sign(input, TRUC, &other_back);
    let ids = [setup.submit(&first, 0, 144), setup.submit(&second, 0, 144)];
    let reports = setup.step().await;
    assert_eq!(bumps(&reports), 1);
    assert_eq!(
        waits(&reports, |why| *why == Why::OtherJob { job: ids[0] }),
        1,
        "{reports:?}"
    );
    let reports = setup.mine_and_step(DEPTH).await;
    let lost = reports.iter().any(
        |r| matches!(r, Report::Lost { job, to, depth: DEPTH } if job.id == ids[1] && to.txid == first.compute_txid()),
    );
    assert!(lost && done(&reports), "{reports:?}");
}

#[tokio::test]
async fn what_is_not_valid_yet_waits_without_a_child() {
    let mut setup = Setup::new().await;
    let form = Form {
        sequence: Sequence::from_height(5),
        ..TRUC
    };
    let locked = setup.parent(form).await;
    // The other's input is not there at all, and then only in the mempool.
    let funded = setup
        .stranger
        .fund(&Funding::new(FLOOR, vec![setup.parents.output(TRUC)]))
        .unwrap();
    let source = setup.stranger.finish(funded).unwrap().tx;
    setup.stranger.sent([&source]).unwrap();
    let input = OutPoint::new(source.compute_txid(), 0);
    let early = setup.parents.sign(input, TRUC, &setup.back);
    let ids = [setup.submit(&locked, 0, 144), setup.submit(&early, 0, 144)];
    let reports = setup.step().await;
    assert_eq!(
        waits(&reports, |why| matches!(why, Why::Premature { .. })),
        1,
        "{reports:?}"
    );
    assert_eq!(waits(&reports, |why| *why == Why::InputMissing { input }), 1);
    assert_eq!(reports.len(), 2);
    // It is said once.
    assert!(setup.step().await.is_empty());
    setup.node.client().send_raw_transaction(&source).await.unwrap();
    let reports = setup.mine_empty_and_step(1).await;
    assert!(reports.is_empty(), "{reports:?}");
    assert!(ids.iter().all(|id| setup.job(*id).children.is_empty()));
    let reports = setup.mine_and_step(1).await;
    assert!(
        reports.contains(&Report::Sent {
            job: ids[1],
            txid: early.compute_txid()
        }),
        "{reports:?}"
    );
    // The input has 3 confirmations now; with the 4th the next block is the 5th.
    assert!(setup.job(ids[0]).children.is_empty());
    let mut reports = Vec::new();
    while setup.job(ids[0]).sent_at.is_none() {
        reports.extend(setup.mine_and_step(1).await);
    }
    let block = setup
        .node
        .client()
        .get_tx_out(&locked.input[0].previous_output, false)
        .await;
    assert_eq!(block.unwrap().unwrap().confirmations, 5);
    assert!(
        reports.contains(&Report::Sent {
            job: ids[0],
            txid: locked.compute_txid()
        }),
        "{reports:?}"
    );
    assert!(confirmed(&setup.mine_and_step(1).await).is_some());
}

#[tokio::test]
async fn a_conflict_is_reported_and_lost_at_its_depth_unless_it_is_reorged_away() {
    for comes_back in [false, true] {
        let mut setup = Setup::new().await;
        let input = setup.inputs(TRUC, 1).await[0];
        let ours = setup.parents.sign(input, TRUC, &setup.back);
        let plain = Form { fee: 0, ..TRUC };
        let other_back = TxOut {
            script_pubkey: setup.wallet.receive_address().unwrap().script_pubkey(),
            ..setup.back.clone()
        };
        let other = setup.parents.sign(input, plain, &other_back);
        let id = setup.submit(&ours, 0, 144);
        setup.step().await;
        let coins = setup.wallet.confirmed_coins().len();
        setup.node.mine_with(&[&other]).await.unwrap();
        let reports = setup.step().await;
        let by = setup.job(id).conflict.unwrap();
        assert_eq!(by.txid, other.compute_txid());
        assert!(
            reports.contains(&Report::Conflicted { job: id, by }),
            "{reports:?}"
        );
        setup.mine_and_step(DEPTH - 2).await;
        if comes_back {
            setup.node.reorg(DEPTH - 1, DEPTH).await.unwrap();
            let reports = setup.step().await;
            assert!(reports.contains(&Report::Unconfirmed { job: id }), "{reports:?}");
            // Core took the other one back into its mempool, without a fee: it is outbid.
            assert!(
                setup.mempool().await.contains(&ours.compute_txid()),
                "{reports:?}"
            );
            let reports = setup.mine_and_step(DEPTH).await;
            assert!(done(&reports), "{reports:?}");
            continue;
        }
        assert!(setup.carrier.job(id).is_some());
        let reports = setup.mine_and_step(1).await;
        assert!(
            reports
                .iter()
                .any(|r| matches!(r, Report::Lost { to, depth: DEPTH, .. } if *to == by)),
            "{reports:?}"
        );
        // The coin, and what the other one pays to the wallet.
        assert_eq!(setup.wallet.confirmed_coins().len(), coins + 2);
    }
}

#[tokio::test]
async fn crashes_at_each_point_change_nothing() {
    let mut setup = Setup::new().await;
    setup.carrier.prepare(2, Amount::from_sat(100_000)).await.unwrap();
    // A task of its own may run it.
    fn spawned(future: impl Future + Send) -> impl Future + Send {
        future
    }
    drop(spawned(setup.carrier.advance()));
    setup = setup.reopen();
    setup.step().await;
    setup = setup.reopen();
    setup.mine_and_step(1).await;
    setup = setup.reopen();
    assert_eq!(setup.carrier.ready().free, 2);
    let parent = setup.parent(TRUC).await;
    let id = setup.submit(&parent, 0, 12);
    setup = setup.reopen();
    // Signed and sent; Core forgets it.
    setup.step().await;
    let child = setup.newest(id);
    setup.crash_core().await;
    setup = setup.reopen();
    let reports = setup.step().await;
    assert_eq!(bumps(&reports), 0, "the same child is sent again: {reports:?}");
    assert!(setup.mempool().await.contains(&child));
    setup = setup.reopen();
    // Bumped; the new child has not reached Core.
    let reports = setup.mine_empty_and_step(6).await;
    assert!(bumps(&reports) > 0);
    let newest = setup.newest(id);
    assert_ne!(newest, child);
    setup.crash_core().await;
    setup = setup.reopen();
    setup.step().await;
    assert!(setup.mempool().await.contains(&newest));
    // Confirmed while everything was down.
    setup.node.mine(1).await.unwrap();
    setup = setup.reopen();
    let reports = setup.step().await;
    assert_eq!(confirmed(&reports).unwrap().1, Some(newest));
    setup = setup.reopen();
    setup.node.reorg(1, 2).await.unwrap();
    setup.crash_core().await;
    setup = setup.reopen();
    let reports = setup.step().await;
    assert!(reports.contains(&Report::Unconfirmed { job: id }), "{reports:?}");
    // The deadline is nearer now, so it is a new child.
    assert!(setup.mempool().await.contains(&setup.newest(id)), "{reports:?}");
    for _ in 0..DEPTH {
        setup = setup.reopen();
        setup.mine_and_step(1).await;
    }
    assert_eq!(setup.carrier.jobs().count(), 0);
}

#[tokio::test]
async fn an_older_child_counts_when_it_is_mined() {
    let mut setup = Setup::new().await;
    let parent = setup.parent(TRUC).await;
    let id = setup.submit(&parent, 0, 12);
    setup.step().await;
    let older = setup.job(id).children[0].tx.clone();
    setup.mine_empty_and_step(6).await;
    assert!(setup.job(id).children.len() > 1);
    setup.node.mine_with(&[&parent, &older]).await.unwrap();
    let reports = setup.step().await;
    assert_eq!(confirmed(&reports).unwrap().1, Some(older.compute_txid()));
    let mut setup = setup.reopen();
    assert!(done(&setup.mine_and_step(DEPTH).await));
    // Coins and change: the older child's are what the wallet has.
    assert!(setup.wallet.is_confirmed(&older.compute_txid()));
    assert_eq!(setup.wallet.balance().untrusted_pending, Amount::ZERO);
}

#[tokio::test]
async fn reorgs_of_any_depth_bring_it_out_again() {
    for depth in 1..=6 {
        let mut setup = Setup::new().await;
        setup.carrier.prepare(3, Amount::from_sat(50_000)).await.unwrap();
        setup.step().await;
        setup.mine_and_step(1).await;
        let input = setup.inputs(TRUC, 1).await[0];
        // So far down that only the deepest reorgs reach input and fee outputs.
        setup.mine_and_step(2).await;
        let parent = setup.parents.sign(input, TRUC, &setup.back);
        // Before anything was sent.
        let id = setup.submit(&parent, 0, 144);
        setup.node.reorg(depth, depth + 1).await.unwrap();
        setup.step().await;
        if depth >= 3 {
            // Its input is only in the mempool now.
            assert!(setup.job(id).children.is_empty());
        }
        setup.mine_and_step(1).await;
        setup.step().await;
        // While it is in the mempool.
        setup.node.reorg(depth.min(2), depth + 1).await.unwrap();
        setup.step().await;
        setup.mine_and_step(1).await;
        setup.step().await;
        let mut blocks = 0;
        while setup.job(id).confirmed.is_none() {
            setup.mine_and_step(1).await;
            blocks += 1;
            assert!(blocks < 5);
        }
        // While it is `depth` deep in the chain, with and without a Core that remembers it.
        for forgets in [false, true] {
            let deep = setup.carrier.tip().height + 1 - setup.job(id).confirmed.unwrap().height;
            setup.mine_and_step(depth.saturating_sub(deep)).await;
            setup.node.reorg(depth, depth + 1).await.unwrap();
            if forgets {
                setup.crash_core().await;
                setup = setup.reopen();
            }
            let reports = setup.step().await;
            assert!(
                reports.contains(&Report::Unconfirmed { job: id }),
                "depth {depth}: {reports:?}"
            );
            assert!(setup.job(id).confirmed.is_none());
            let mut blocks = 0;
            while setup.job(id).confirmed.is_none() {
                setup.mine_and_step(1).await;
                blocks += 1;
                assert!(blocks < 5, "depth {depth}");
            }
        }
    }
}

#[tokio::test]
async fn fee_outputs_are_kept_ready_and_each_job_has_its_own() {
    let mut setup = Setup::new().await;
    let value = Amount::from_sat(60_000);
    let ready = setup.carrier.prepare(3, value).await.unwrap();
    assert_eq!((ready.free, ready.pending), (0, 3));
    // Asked again, nothing more is made.
    assert_eq!(setup.carrier.prepare(3, value).await.unwrap(), ready);
    setup.step().await;
    assert_eq!(setup.mempool().await.len(), 1);
    setup.mine_and_step(1).await;
    assert_eq!(
        (setup.carrier.ready().free, setup.carrier.ready().pending),
        (3, 0)
    );
    // Others that pay from the wallet do not take them.
    let pay = TxOut {
        value: Amount::from_sat(50_000),
        ..setup.back.clone()
    };
    let funded = setup.wallet.fund(&Funding::new(FLOOR, vec![pay])).unwrap();
    assert!(
        funded
            .psbt
            .inputs
            .iter()
            .all(|i| i.witness_utxo.as_ref().unwrap().value != value)
    );
    setup.wallet.release(&funded.psbt.unsigned_tx);
    let inputs = setup.inputs(TRUC, 4).await;
    let back = setup.back.clone();
    let parents: Vec<_> = inputs
        .iter()
        .map(|input| setup.parents.sign(*input, TRUC, &back))
        .collect();
    let ids: Vec<JobId> = parents[..3].iter().map(|tx| setup.submit(tx, 0, 144)).collect();
    let reports = setup.step().await;
    assert_eq!(bumps(&reports), 3, "{reports:?}");
    let short = reports
        .iter()
        .any(|r| matches!(r, Report::TooFewReady { ready } if ready.free == 0 && ready.wanted == 3));
    assert!(short, "{reports:?}");
    for id in &ids {
        assert_eq!(setup.job(*id).children[0].tx.input.len(), 2);
    }
    assert_eq!(setup.mempool().await.len(), 6);
    assert_eq!(setup.carrier.prepare(3, value).await.unwrap().pending, 3);
    let reports = setup.mine_and_step(1).await;
    assert!(
        !reports.iter().any(|r| matches!(r, Report::TooFewReady { .. })),
        "{reports:?}"
    );
    let bad = setup.carrier.prepare(201, value).await;
    assert!(matches!(bad, Err(CarrierError::Target { .. })));
    let bad = setup.carrier.prepare(1, Amount::from_sat(999)).await;
    assert!(matches!(bad, Err(CarrierError::Target { .. })));
    // A transaction of several fee outputs is sent, raised and finished like any other.
    assert!(done(&setup.mine_and_step(DEPTH).await));
}

#[tokio::test]
async fn a_wallet_without_coins_is_reported_and_the_job_goes_on_when_it_has_some() {
    let mut setup = Setup::new().await;
    // Everything is spent, and the change is not confirmed.
    let mut all = Funding::new(FLOOR, Vec::new());
    all.coins = setup
        .wallet
        .confirmed_coins()
        .into_iter()
        .map(|(coin, _)| coin)
        .collect();
    let all = setup.wallet.fund_exactly(&all, Amount::from_sat(1_000)).unwrap();
    let all = setup.wallet.finish(all).unwrap().tx;
    setup.wallet.sent([&all]).unwrap();
    let parent = setup.parent(TRUC).await;
    let id = setup.submit(&parent, 0, 144);
    let reports = setup.step().await;
    assert_eq!(
        waits(&reports, |why| matches!(why, Why::TooFewCoins { .. })),
        1,
        "{reports:?}"
    );
    assert!(setup.mempool().await.is_empty());
    setup.node.mine_with(&[&all]).await.unwrap();
    let reports = setup.step().await;
    assert_eq!(bumps(&reports), 1, "{reports:?}");
    assert_eq!(setup.job(id).children.len(), 1);
}

#[tokio::test]
async fn cancelled_jobs_end_once_they_are_out_of_the_mempool() {
    let mut setup = Setup::new().await;
    let form = Form {
        sequence: Sequence::from_height(50),
        ..TRUC
    };
    let (locked, free) = (setup.parent(form).await, setup.parent(TRUC).await);
    let ids = [setup.submit(&locked, 0, 144), setup.submit(&free, 0, 144)];
    setup.step().await;
    for id in ids {
        assert!(setup.carrier.cancel(id).unwrap());
    }
    let reports = setup.step().await;
    assert!(
        reports
            .iter()
            .any(|r| matches!(r, Report::Cancelled { job } if job.id == ids[0])),
        "{reports:?}"
    );
    assert_eq!(
        setup.carrier.jobs().map(|job| job.id).collect::<Vec<_>>(),
        [ids[1]]
    );
    assert!(!setup.carrier.cancel(ids[0]).unwrap());
    // Wanted again, under the same name.
    assert_eq!(setup.submit(&free, 0, 200), ids[1]);
    assert!(!setup.job(ids[1]).cancelled);
    setup.carrier.cancel(ids[1]).unwrap();
    setup.crash_core().await;
    let coins = setup.wallet.confirmed_coins().len();
    let reports = setup.step().await;
    assert!(
        reports.iter().any(|r| matches!(r, Report::Cancelled { .. })),
        "{reports:?}"
    );
    assert!(setup.mempool().await.is_empty());
    assert_eq!(setup.wallet.confirmed_coins().len(), coins + 1);
}

#[tokio::test]
async fn a_parent_that_core_refuses_is_a_fault_and_the_others_go_on() {
    let mut setup = Setup::new().await;
    let (mut bad, good) = (setup.parent(TRUC).await, setup.parent(TRUC).await);
    // Another signature's witness.
    bad.input[0].witness = good.input[0].witness.clone();
    let ids = [setup.submit(&bad, 0, 10), setup.submit(&good, 0, 144)];
    let reports = setup.step().await;
    assert_eq!(
        waits(&reports, |why| matches!(why, Why::Refused { .. })),
        1,
        "{reports:?}"
    );
    assert!(
        reports.contains(&Report::Sent {
            job: ids[1],
            txid: good.compute_txid()
        }),
        "{reports:?}"
    );
    let late = setup.mine_and_step(11).await;
    assert!(late.contains(&Report::Overdue { job: ids[0] }), "{late:?}");
    assert!(done(&late));
}

#[tokio::test]
async fn a_parent_that_was_confirmed_before_is_found() {
    let mut setup = Setup::new().await;
    let parent = setup.parent(TRUC).await;
    let child = setup.strange_child(&parent, 10, 20_000);
    setup.submit_package(&parent, &child).await;
    setup.mine_and_step(3).await;
    let id = setup.submit(&parent, 0, FAR);
    let reports = setup.step().await;
    assert!(confirmed(&reports).is_some(), "{reports:?}");
    assert!(setup.job(id).children.is_empty());
    assert!(done(&setup.mine_and_step(DEPTH - 3).await));
}
