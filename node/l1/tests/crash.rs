//! `kill -9` at random moments: what the sender and the wallet acknowledged is there afterwards. The killed program is this
//! test program itself, started again with a folder to work in. Needs no bitcoind.

use std::{
    collections::HashSet,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bitcoin::{
    Amount, BlockHash, Network, NetworkKind, OutPoint, ScriptBuf, Sequence, Transaction, TxIn, TxOut, Txid,
    Witness, absolute::LockTime, hashes::Hash, transaction::Version,
};
use bitsect_l1::{
    BlockRef,
    rpc::{Auth, Client, RpcConfig},
    sender::{Draft, DraftTx, Sender, SenderConfig},
    wallet::{Keys, SignedTx, Wallet},
};

const FOLDER: &str = "BITSECT_L1_CRASH_TEST";
const ROUNDS: u64 = 20;

fn open(dir: &Path) -> (Arc<Wallet>, Sender) {
    let genesis = BlockRef::new(
        0,
        bitcoin::constants::genesis_block(Network::Regtest).block_hash(),
    );
    let keys = Keys::read_or_generate(&dir.join("key"), NetworkKind::Test).unwrap();
    let wallet = Wallet::open(&dir.join("wallet"), keys, Network::Regtest, genesis).unwrap();
    let wallet = Arc::new(wallet);
    let client = Client::new(RpcConfig::new(
        "http://127.0.0.1:9",
        Auth::user_password("u", "p"),
    ))
    .unwrap();
    let start = BlockRef::new(7, BlockHash::all_zeros());
    let path = dir.join("sender");
    let sender = Sender::open(
        &path,
        client,
        SenderConfig::default(),
        Some(wallet.clone()),
        start,
    )
    .unwrap();
    (wallet, sender)
}

/// Pays to the wallet from nowhere; `number` makes it another transaction each time.
fn transaction(wallet: &Wallet, number: u64) -> Transaction {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&number.to_be_bytes());
    let input = TxIn {
        previous_output: OutPoint::new(Txid::from_byte_array(hash), 0),
        script_sig: ScriptBuf::new(),
        sequence: Sequence::MAX,
        witness: Witness::new(),
    };
    let script_pubkey = wallet.receive_address().unwrap().script_pubkey();
    Transaction {
        version: Version::TWO,
        lock_time: LockTime::ZERO,
        input: vec![input],
        output: vec![TxOut {
            value: Amount::from_sat(1000),
            script_pubkey,
        }],
    }
}

/// Is what is killed; as a test of its own it does nothing.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(FOLDER) else {
        return;
    };
    let (wallet, mut sender) = open(Path::new(&dir));
    for number in sender.jobs().count() as u64.. {
        let tx = transaction(&wallet, number);
        let signed = SignedTx {
            tx: tx.clone(),
            fee: Amount::from_sat(9),
        };
        let txs = vec![DraftTx {
            signed,
            parent: None,
            replaceable: false,
        }];
        let label = number.to_string();
        let id = sender
            .submit(Draft {
                label,
                data: vec![1; 1000],
                txs,
                ride: true,
            })
            .unwrap();
        println!("\nacknowledged {} {}", id.0, tx.compute_txid());
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9() {
    if std::env::var_os(FOLDER).is_some() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged: HashSet<(u64, String)> = HashSet::new();
    for round in 0..ROUNDS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(FOLDER, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Half of the rounds hit the opening, half the work.
        let mut take = |line: String| {
            let fields = line.strip_prefix("acknowledged ").and_then(|l| l.split_once(' '));
            // The last line may be cut.
            let (id, txid) = fields.filter(|(_, txid)| txid.len() == 64)?;
            acknowledged.insert((id.parse().unwrap(), txid.to_owned()));
            Some(())
        };
        if round % 2 == 0 {
            lines.next().unwrap().unwrap();
        } else {
            lines
                .by_ref()
                .map_while(Result::ok)
                .find_map(&mut take)
                .expect("the child gets to work");
        }
        std::thread::sleep(Duration::from_millis(round * 7 % 60));
        child.kill().unwrap();
        child.wait().unwrap();
        lines.map_while(Result::ok).filter_map(take).for_each(drop);
        let (wallet, sender) = open(dir.path());
        let jobs: HashSet<(u64, String)> = sender
            .jobs()
            .map(|job| (job.id.0, job.current(0).tx.compute_txid().to_string()))
            .collect();
        assert!(
            acknowledged.is_subset(&jobs),
            "lost: {:?}",
            acknowledged.difference(&jobs)
        );
        assert_eq!(
            jobs.len(),
            sender.jobs().map(|job| job.id).collect::<HashSet<_>>().len()
        );
        let unconfirmed = Amount::from_sat(1000 * jobs.len() as u64);
        assert_eq!(wallet.balance().untrusted_pending, unconfirmed);
    }
    // Half of the rounds waited for one.
    assert!(acknowledged.len() as u64 >= ROUNDS / 2);
}
