//! `kill -9` at random moments of the carrier's work with a real Bitcoin Core: whatever Core got is known afterwards, and no coin
//! is in two jobs. The killed program is this test program itself, started again. Needs bitcoind (`.ci/setup bitcoind`).

use std::{
    collections::{HashMap, HashSet},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bitcoin::{
    Address, Amount, FeeRate, Network, NetworkKind, OutPoint, Psbt, ScriptBuf, Sequence, Transaction, TxIn,
    TxOut, Txid, Witness,
    absolute::LockTime,
    key::{Keypair, Secp256k1},
    psbt,
    transaction::Version,
};
use bitsect_l1::{
    BlockRef,
    carrier::{Carrier, CarrierConfig, Parcel},
    follower::{Event, Follower, FollowerConfig},
    regtest::{Bitcoind, RegtestConfig},
    rpc::{Auth, Client, RpcConfig},
    sender::FeePolicy,
    wallet::{Funding, Keys, Wallet, sign_key_path},
};

const FOLDER: &str = "BITSECT_L1_CARRIER_KILL";
const URL: &str = "BITSECT_L1_CARRIER_KILL_URL";
const COOKIE: &str = "BITSECT_L1_CARRIER_KILL_COOKIE";
const SOURCE: &str = "BITSECT_L1_CARRIER_KILL_SOURCE";
const ROUNDS: u64 = 16;
const PARENTS: u32 = 24;
const STAKE: Amount = Amount::from_sat(20_000);
const DEADLINE: u32 = 400;

struct Party {
    wallet: Arc<Wallet>,
    carrier: Carrier,
    client: Client,
}

impl Party {
    fn open(dir: &Path, client: Client, start: BlockRef) -> Self {
        let keys = Keys::read_or_generate(&dir.join("key"), NetworkKind::Test).unwrap();
        let wallet = Wallet::open(&dir.join("wallet"), keys, Network::Regtest, start).unwrap();
        let wallet = Arc::new(wallet);
        let floor = FeeRate::from_sat_per_vb_u32(1);
        let ceiling = FeeRate::from_sat_per_vb_u32(200);
        let fees = FeePolicy {
            target_blocks: 2,
            floor,
            ceiling,
        };
        let config = CarrierConfig {
            fees,
            ..CarrierConfig::default()
        };
        let carrier = Carrier::open(dir, client.clone(), config, wallet.clone(), start).unwrap();
        Self {
            wallet,
            carrier,
            client,
        }
    }

    async fn follow(&mut self) {
        let info = self.client.get_blockchain_info().await.unwrap();
        let known = std::cmp::min_by_key(self.wallet.known(), self.carrier.known(), |k| {
            k.last().unwrap().height
        });
        let config = FollowerConfig {
            poll: Duration::from_millis(200),
            ..Default::default()
        };
        let mut follower = Follower::new(self.client.clone(), config, known).unwrap();
        loop {
            let event = follower.next().await.unwrap();
            self.wallet.apply(&event).unwrap();
            self.carrier.apply(&event).unwrap();
            if matches!(event, Event::Tip { at, .. } if at.hash == info.best_block_hash) {
                return;
            }
        }
    }

    /// No coin is in two jobs; what Core has on an anchor of ours is a child that is known.
    async fn check(&self) {
        let mut coins: HashMap<OutPoint, u64> = HashMap::new();
        for job in self.carrier.jobs() {
            let children: HashSet<Txid> = job.children.iter().map(|c| c.tx.compute_txid()).collect();
            for input in job
                .children
                .iter()
                .flat_map(|child| child.tx.input.iter().skip(1))
            {
                let other = coins.insert(input.previous_output, job.id.0);
                assert!(other.is_none_or(|other| other == job.id.0));
            }
            let spending = self
                .client
                .get_tx_spending_prevout(&[job.anchor()])
                .await
                .unwrap();
            if let Some(child) = spending[0].spending_txid {
                assert!(
                    children.contains(&child),
                    "Core got {child}, which is not in the file"
                );
            }
        }
    }
}

/// A key of the wallet's seed that is not the wallet's.
fn stake(key: &Keypair) -> TxOut {
    let address = Address::p2tr(
        &Secp256k1::new(),
        key.x_only_public_key().0,
        None,
        Network::Regtest,
    );
    TxOut {
        value: STAKE,
        script_pubkey: address.script_pubkey(),
    }
}

fn parent(source: Txid, vout: u32, key: &Keypair) -> Transaction {
    let input = TxIn {
        previous_output: OutPoint::new(source, vout),
        script_sig: ScriptBuf::new(),
        sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
        witness: Witness::new(),
    };
    let anchor = TxOut {
        value: Amount::ZERO,
        script_pubkey: ScriptBuf::new_p2a(),
    };
    let tx = Transaction {
        version: Version(3),
        lock_time: LockTime::ZERO,
        input: vec![input],
        output: vec![stake(key), anchor],
    };
    let mut psbt = Psbt::from_unsigned_tx(tx).unwrap();
    psbt.inputs[0] = psbt::Input {
        witness_utxo: Some(stake(key)),
        ..Default::default()
    };
    sign_key_path(&mut psbt, 0, key, None).unwrap();
    psbt.extract_tx_unchecked_fee_rate()
}

/// Is what is killed; as a test of its own it does nothing.
#[tokio::test]
async fn child() {
    let Some(dir) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        return;
    };
    let of = |name: &str| std::env::var(name).unwrap();
    let client = Client::new(RpcConfig::new(of(URL), Auth::Cookie(of(COOKIE).into()))).unwrap();
    let genesis = client.get_block_hash(0).await.unwrap().unwrap();
    let mut party = Party::open(&dir, client, BlockRef::new(0, genesis));
    let (source, key) = (of(SOURCE).parse().unwrap(), party.wallet.keys().key(0));
    loop {
        party.follow().await;
        let next = party.carrier.jobs().count() as u32;
        // The last one is submitted again and again, which changes nothing.
        let tx = parent(source, next.min(PARENTS - 1), &key);
        let txid = tx.compute_txid();
        let parcel = Parcel {
            label: "move".into(),
            tx,
            fee: Amount::ZERO,
            deadline: DEADLINE,
        };
        let id = party.carrier.submit(parcel).unwrap();
        println!("\nacknowledged {} {txid}", id.0);
        party.carrier.advance().await.unwrap();
    }
}

#[tokio::test]
async fn what_core_got_is_known_after_kill_9() {
    if std::env::var_os(FOLDER).is_some() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let node = Bitcoind::start(RegtestConfig::new(dir.path().join("core")))
        .await
        .unwrap();
    let start = node.tip().await.unwrap();
    let open = || Party::open(dir.path(), node.client().clone(), start);
    let mut party = open();
    node.fund(&party.wallet.receive_address().unwrap(), 2)
        .await
        .unwrap();
    party.follow().await;
    party
        .carrier
        .prepare(PARENTS, Amount::from_sat(40_000))
        .await
        .unwrap();
    let outputs = vec![stake(&party.wallet.keys().key(0)); PARENTS as usize];
    let mut request = Funding::new(FeeRate::from_sat_per_vb_u32(5), outputs);
    request.unconfirmed = false;
    let source = party
        .wallet
        .finish(party.wallet.fund(&request).unwrap())
        .unwrap()
        .tx;
    node.client().send_raw_transaction(&source).await.unwrap();
    party.wallet.sent([&source]).unwrap();
    party.carrier.advance().await.unwrap();
    node.mine(1).await.unwrap();
    party.follow().await;
    assert_eq!(party.carrier.ready().free, PARENTS);
    drop(party);

    let mut acknowledged: HashSet<(u64, String)> = HashSet::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(FOLDER, dir.path())
            .env(URL, node.rpc_url())
            .env(COOKIE, node.cookie())
            .env(SOURCE, source.compute_txid().to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut take = |line: String| {
            let fields = line.strip_prefix("acknowledged ").and_then(|l| l.split_once(' '));
            // The last line may be cut.
            let (id, txid) = fields.filter(|(_, txid)| txid.len() == 64)?;
            acknowledged.insert((id.parse().unwrap(), txid.to_owned()));
            Some(())
        };
        // A quarter of the rounds hit the opening, the others the work.
        if round % 4 == 0 {
            lines.next().unwrap().unwrap();
        } else {
            lines
                .by_ref()
                .map_while(Result::ok)
                .find_map(&mut take)
                .expect("the child gets to work");
        }
        std::thread::sleep(Duration::from_millis(round * 37 % 200));
        child.kill().unwrap();
        child.wait().unwrap();
        lines.map_while(Result::ok).filter_map(take).for_each(drop);
        let party = open();
        let jobs: HashSet<_> = party
            .carrier
            .jobs()
            .map(|job| (job.id.0, job.txid().to_string()))
            .collect();
        assert!(
            acknowledged.is_subset(&jobs),
            "lost: {:?}",
            acknowledged.difference(&jobs)
        );
        party.check().await;
        drop(party);
        // Nothing is mined, and the deadline comes nearer: the next one has to raise fees.
        for _ in 0..12 {
            node.mine_with(&[]).await.unwrap();
        }
    }
    assert!(acknowledged.len() > 4, "{}", acknowledged.len());
    let mut party = open();
    party.follow().await;
    party.carrier.advance().await.unwrap();
    party.check().await;
    assert!(party.carrier.jobs().any(|job| job.children.len() > 1));
    node.mine(1).await.unwrap();
    party.follow().await;
    assert!(party.carrier.jobs().all(|job| job.confirmed.is_some()));
}
