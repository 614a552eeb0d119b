//! A Bitcoin Core, a chain file, and users with folders who run the binary.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bitcoin::address::NetworkUnchecked;
use bitcoin::hashes::Hash;
use bitcoin::key::{Keypair, Secp256k1};
use bitcoin::script::PushBytesBuf;
use bitcoin::{Address, Amount, FeeRate, Network, OutPoint, Psbt, ScriptBuf, Transaction, TxOut, Txid};
use bitsect_bridge::user::{
    DepositRequest, Order, Session, SessionConfig, Terms, UserKeys, parse_l2_address,
};
use bitsect_l1::follower::FollowerConfig;
use bitsect_l1::regtest::{Bitcoind, RegtestConfig};
use bitsect_l1::sender::FeePolicy;
use bitsect_l1::wallet::{Funding, sign_key_path};
use serde_json::{Value, json};
use warp::Filter;
use warp::http::StatusCode;
use warp::hyper::body::Bytes;

use crate::SATS;

pub const DELAY: u32 = 20;
pub const NEEDED: u32 = 3;
pub const TO: &str = "0x52908400098527886E0F7030069857D2E4169EE7";

/// A deposit for [`TO`].
pub fn request(amount: Amount) -> DepositRequest {
    DepositRequest {
        to: parse_l2_address("to", TO).unwrap(),
        amount,
        call: None,
    }
}

pub struct World {
    pub dir: PathBuf,
    pub core: Bitcoind,
    pub vault: Keypair,
}

/// What a command did.
#[derive(Debug)]
pub struct Done {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Done {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The output of a command that succeeded.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// A refusal with a code and words.
    pub fn refused(self, code: i32, words: &str) -> Self {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.contains(words), "{words:?} in {}", self.err);
        self
    }
}

fn run(arguments: &[String], input: Option<&Path>) -> Done {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bitsect-bridge"));
    command.args(arguments).env_clear();
    command.stdin(match input {
        Some(path) => Stdio::from(std::fs::File::open(path).unwrap()),
        None => Stdio::null(),
    });
    let output = command.output().unwrap();
    Done {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// What a node answers.
pub enum Reply {
    Result(Value),
    Error(i32, &'static str),
    /// HTTP status 503.
    Down,
}

/// Serves a node that answers so, and gives its URL.
pub async fn serve(answer: impl Fn(&Value) -> Value + Clone + Send + Sync + 'static) -> String {
    serve_replies(move |request| Reply::Result(answer(request))).await
}

/// Serves a node that answers or refuses so, and gives its URL.
pub async fn serve_replies(answer: impl Fn(&Value) -> Reply + Clone + Send + Sync + 'static) -> String {
    let route = warp::post().and(warp::body::json()).map(move |request: Value| {
        let mut body = json!({ "jsonrpc": "2.0", "id": request["id"] });
        let mut status = StatusCode::OK;
        match answer(&request) {
            Reply::Result(result) => body["result"] = result,
            Reply::Error(code, message) => body["error"] = json!({ "code": code, "message": message }),
            Reply::Down => status = StatusCode::SERVICE_UNAVAILABLE,
        }
        warp::reply::with_status(warp::reply::json(&body), status)
    });
    listen(route.boxed()).await
}

/// What a way to Core does with a call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Open,
    /// The call does not arrive.
    Lost,
    /// The answer does not arrive.
    Unanswered,
}

async fn listen<T: warp::Reply + 'static>(route: warp::filters::BoxedFilter<(T,)>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(warp::serve(route).incoming(listener).run());
    format!("http://{address}")
}

impl World {
    /// A chain from the tip on, and the user `ann` with 50 BTC.
    pub async fn new(dir: &Path) -> Self {
        let mut config = RegtestConfig::new(dir.join("core"));
        // As on mainnet: what is not standard is not relayed.
        config.args.push("-acceptnonstdtxn=0".to_owned());
        let core = Bitcoind::start(config).await.unwrap();
        core.mine(3).await.unwrap();
        let vault = Keypair::from_seckey_slice(&Secp256k1::new(), &[7; 32]).unwrap();
        let world = Self {
            dir: dir.to_owned(),
            core,
            vault,
        };
        let start = world.core.tip().await.unwrap();
        let hash = hex::encode(start.hash.to_byte_array());
        let key = vault.x_only_public_key().0;
        let chain = format!(
            "version = 1\nname = \"test\"\n[execution]\nchain_id = 77\n[derive]\nnetwork = \"regtest\"\n\
             vault_key = \"0x{key}\"\nrefund_delay = {DELAY}\nmin_deposit = 10000\nsequencing_window = 50\n\
             [derive.genesis_l1]\nheight = {}\nhash = \"0x{hash}\"\n",
            start.height
        );
        std::fs::write(world.file("chain.toml"), chain).unwrap();
        world.add_user("ann").await;
        world
    }

    /// Makes a key file, and pays 50 BTC to its first address.
    pub async fn add_user(&self, name: &str) {
        let made = self.run(name, "key new --json").ok().json();
        let address: Address<NetworkUnchecked> = made["bitcoinAddress"].as_str().unwrap().parse().unwrap();
        self.core.fund(&address.assume_checked(), 1).await.unwrap();
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn arguments(&self, name: &str, command: &str) -> Vec<String> {
        let mut arguments: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        let options = format!(
            "--chain-file {} --key {} --data-dir {} --l1-url {} --l1-cookie-file {} \
             --deposit-confirmations-blocks {NEEDED}",
            self.file("chain.toml").display(),
            self.file(&format!("{name}.key")).display(),
            self.file(name).display(),
            self.core.rpc_url(),
            self.core.cookie().display(),
        );
        arguments.extend(options.split_whitespace().map(str::to_owned));
        arguments
    }

    pub fn run(&self, name: &str, command: &str) -> Done {
        run(&self.arguments(name, command), None)
    }

    /// Runs a command that asks Core by another way.
    pub fn run_by(&self, url: &str, name: &str, command: &str) -> Done {
        let mut arguments = self.arguments(name, command);
        let place = arguments.iter().position(|one| one == "--l1-url").unwrap();
        arguments[place + 1] = url.to_owned();
        run(&arguments, None)
    }

    /// Serves a way to Core on which calls of a method get lost, and gives its URL.
    pub async fn way(&self, way: impl Fn(&str) -> Way + Clone + Send + Sync + 'static) -> String {
        let (url, client) = (self.core.rpc_url(), reqwest::Client::new());
        let route = warp::post()
            .and(warp::header::<String>("authorization"))
            .and(warp::body::bytes())
            .then(move |login: String, body: Bytes| {
                let call: Value = serde_json::from_slice(&body).unwrap();
                let way = way(call["method"].as_str().unwrap_or_default());
                let request = client
                    .post(&url)
                    .header("authorization", login)
                    .body(body.to_vec());
                async move {
                    let bad = (StatusCode::BAD_GATEWAY, Vec::new());
                    if way == Way::Lost {
                        return bad;
                    }
                    let answer = request.send().await.unwrap();
                    let status = StatusCode::from_u16(answer.status().as_u16()).unwrap();
                    let body = answer.bytes().await.unwrap().to_vec();
                    match way {
                        Way::Unanswered => bad,
                        _ => (status, body),
                    }
                }
            })
            .map(|(status, body)| warp::reply::with_status(body, status));
        listen(route.boxed()).await
    }

    /// Has Core lose its mempool, and start with more arguments.
    pub async fn lose_mempool(&mut self, args: &[&str]) {
        self.core.stop().await.unwrap();
        std::fs::remove_file(self.file("core/regtest/mempool.dat")).unwrap();
        let mut config = RegtestConfig::new(self.file("core"));
        config.args = std::iter::once("-acceptnonstdtxn=0")
            .chain(args.iter().copied())
            .map(str::to_owned)
            .collect();
        self.core = Bitcoind::start(config).await.unwrap();
        assert!(self.mempool().await.is_empty());
    }

    pub fn run_with_input(&self, name: &str, command: &str, input: &Path) -> Done {
        run(&self.arguments(name, command), Some(input))
    }

    pub fn terms(&self) -> Terms {
        Terms::read(&self.file("chain.toml")).unwrap()
    }

    /// A user's folder, opened here instead of by a command.
    pub async fn session(&self, name: &str) -> Session {
        let terms = self.terms();
        let keys = UserKeys::read(&self.file(&format!("{name}.key")), Network::Regtest).unwrap();
        let config = SessionConfig {
            client: self.core.client().clone(),
            follower: FollowerConfig::default(),
            fees: FeePolicy::default(),
            max_fee: Amount::from_sat(50_000),
            birthday: terms.start,
        };
        let mut session = Session::open(&self.file(name), terms, keys, config).unwrap();
        session.next_tip().await.unwrap();
        session
    }

    pub async fn mempool(&self) -> Vec<Txid> {
        self.core.client().get_raw_mempool().await.unwrap()
    }

    pub async fn in_mempool(&self, txid: Txid) -> Transaction {
        let tx = self.core.client().get_raw_transaction(&txid).await.unwrap();
        tx.unwrap()
    }

    /// Has a user's wallet pay 50,000 sats as `deposit address` has shown it, the tag first.
    pub async fn pay(&self, name: &str, shown: &Value) -> Transaction {
        let to: Address<NetworkUnchecked> = shown["address"].as_str().unwrap().parse().unwrap();
        let data = hex::decode(shown["opReturn"].as_str().unwrap()).unwrap();
        let data = PushBytesBuf::try_from(data).unwrap();
        let output = |value, script_pubkey| TxOut { value, script_pubkey };
        let outputs = vec![
            output(Amount::ZERO, ScriptBuf::new_op_return(data)),
            output(SATS, to.assume_checked().script_pubkey()),
        ];
        let session = self.session(name).await;
        let request = Funding::new(FeeRate::from_sat_per_vb_u32(2), outputs);
        let paid = session.wallet().finish(session.wallet().fund(&request).unwrap());
        let paid = paid.unwrap().tx;
        self.core.client().send_raw_transaction(&paid).await.unwrap();
        paid
    }

    /// Sends a deposit of 50,000 sats and gives its place.
    pub fn deposit(&self, name: &str) -> OutPoint {
        let sent = self.run(name, &format!("deposit send --json --to {TO} --amount 50000sats"));
        sent.ok().json()["outpoint"].as_str().unwrap().parse().unwrap()
    }

    pub fn status(&self, name: &str, outpoint: OutPoint) -> Value {
        self.run(name, &format!("deposit status --json {outpoint}"))
            .ok()
            .json()
    }

    /// The members' accept of a deposit, signed, as docs/bridge.md has it.
    pub fn accept(&self, outpoint: OutPoint, order: &Order, amount: Amount) -> Transaction {
        use bitcoin::transaction::Version;
        use bitcoin::{ScriptBuf, Sequence, TxIn, Witness, absolute::LockTime};
        let terms = self.terms();
        let output = |value, script_pubkey| TxOut { value, script_pubkey };
        let accept = Transaction {
            version: Version(3),
            lock_time: LockTime::ZERO,
            input: vec![TxIn {
                previous_output: outpoint,
                script_sig: ScriptBuf::new(),
                sequence: Sequence::ENABLE_RBF_NO_LOCKTIME,
                witness: Witness::new(),
            }],
            output: vec![
                output(amount, terms.vault_script()),
                output(Amount::ZERO, ScriptBuf::new_p2a()),
            ],
        };
        let mut psbt = Psbt::from_unsigned_tx(accept).unwrap();
        psbt.inputs[0].witness_utxo = Some(output(amount, order.address(&terms).script_pubkey()));
        let root = order.spend_info(&terms).merkle_root();
        sign_key_path(&mut psbt, 0, &self.vault, root).unwrap();
        psbt.extract_tx_unchecked_fee_rate()
    }
}
