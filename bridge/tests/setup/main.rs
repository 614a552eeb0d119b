//! A deployment from its key files to a challenged claim: three members by the command line, on a real Bitcoin Core with its
//! default policy. Needs bitcoind (`.ci/setup bitcoind`).

#[path = "../common/elf.rs"]
mod elf;
mod node;
#[allow(dead_code, reason = "shared with the tests of users")]
mod process;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bitcoin::address::NetworkUnchecked;
use bitcoin::hashes::Hash;
use bitcoin::{Address, Amount, Network, Txid};
use bitsect_bridge::committee::{Deployment, MemberKeys};
use bitsect_bridge::daemon::{Core, CoreConfig, Outgoing, ReadySlot};
use bitsect_bridge::game::Stage;
use bitsect_bridge::setup::{
    PartySecrets, deployment_hash, hand, open_wallet, ready, seat, sync, verify_outputs,
};
use bitsect_l1::BlockRef;
use bitsect_l1::carrier::CarrierConfig;
use bitsect_l1::follower::FollowerConfig;
use bitsect_l1::regtest::{Bitcoind, RegtestConfig, free_port};
use bitsect_vm::derive::redemption_script;
use process::{Daemon, output};
use serde_json::Value;

const NAMES: [&str; 3] = ["olga", "carl", "cora"];
/// The unit that both slots start behind, and units that are claimed.
const START: u64 = 5;
const UNITS: u64 = 7;
const WINDOW: u32 = 6;

struct World {
    dir: PathBuf,
    core: Bitcoind,
    listen: Vec<String>,
    start: BlockRef,
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

impl World {
    async fn new(dir: &Path) -> Self {
        let mut config = RegtestConfig::new(dir.join("core"));
        // As on mainnet: what is not standard is not relayed.
        config.args.push("-acceptnonstdtxn=0".to_owned());
        let core = Bitcoind::start(config).await.unwrap();
        core.mine(1).await.unwrap();
        Self {
            dir: dir.to_owned(),
            start: core.tip().await.unwrap(),
            core,
            listen: (0..4)
                .map(|_| format!("127.0.0.1:{}", free_port().unwrap()))
                .collect(),
        }
    }

    fn file(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    /// A command of a member.
    fn member(&self, name: &str, command: &str) -> Vec<String> {
        let place = NAMES.iter().position(|member| *member == name).unwrap();
        let mut arguments = words(command);
        arguments.extend(words(&format!(
            "--deployment {} --key {} --data-dir {} --program {} --l1-url {} --l1-cookie-file {} \
             --committee-listen {} --confirmations-blocks 2",
            self.file("deployment.toml"),
            self.file(&format!("{name}.key")),
            self.file(name),
            self.file("program"),
            self.core.rpc_url(),
            self.core.cookie().display(),
            self.listen[place],
        )));
        arguments
    }

    /// Key files, entries, coins, and the deployment file.
    async fn prepare(&self) {
        let program = elf::elf_file(0x1_0000, &[0x13; 16]);
        std::fs::write(self.file("program"), program).unwrap();
        let mut entries = Vec::new();
        for (name, listen) in NAMES.iter().zip(&self.listen) {
            let role = if *name == "olga" { "operator" } else { "challenger" };
            let keygen = format!("committee keygen --name {name} --role {role} --url http://{listen}");
            let entry = output(&self.member(name, &keygen)).unwrap();
            std::fs::write(self.file(&format!("{name}.toml")), entry).unwrap();
            entries.push(self.file(&format!("{name}.toml")));
            let address = output(&self.member(name, "address --network regtest")).unwrap();
            let address: Address<NetworkUnchecked> = address.trim().parse().unwrap();
            self.core.mine_to(1, &address.assume_checked()).await.unwrap();
        }
        self.write_chain(&entries);
        let state = hex::encode(node::state(START));
        let line = format!(
            "deployment --no-vault --network regtest --chain-file {} --start-height {} --slot olga:{START}:{state} \
             --slot olga:{START}:{state} --unit-rounds 2 --trace-rounds 1 --move-timeout-blocks 10 \
             --challenge-window-blocks {WINDOW} --bond-sats 1000000 --stake-sats 100000 --reward-sats 200000 \
             --verdict-fee-sats 50000 --members {}",
            self.file("chain"),
            self.start.height,
            entries.join(" "),
        );
        let text = output(&self.member("olga", &line)).unwrap();
        std::fs::write(self.file("deployment.toml"), text).unwrap();
        // A file of another chain: nobody contributes to a deployment that is not of it.
        let other = format!("committee run --chain-file {}", self.file("olga.toml"));
        let error = output(&self.member("olga", &other)).unwrap_err();
        assert!(error.contains("deployment file: chain: expected"), "{error}");
        // Coins of blocks that are not old enough cannot be spent.
        let error = output(&self.member("olga", "committee run")).unwrap_err();
        assert!(error.contains("balance: expected at least 0.02"), "{error}");
        self.core.mine(100).await.unwrap();
        let run = "committee run --max-funding-fee-sats 1";
        let error = output(&self.member("olga", run)).unwrap_err();
        assert!(
            error.contains("stakes: expected at most 0.00000001 BTC, got "),
            "{error}"
        );
        assert!(self.mempool().await.is_empty());
    }

    /// The chain file, as far as commands of members read it.
    fn write_chain(&self, entries: &[String]) {
        let key = output(&words(&format!("vault-key --members {}", entries.join(" ")))).unwrap();
        let (height, hash) = (self.start.height, hex::encode(self.start.hash.to_byte_array()));
        let chain = format!(
            "version = 1\nname = \"test\"\n[execution]\nchain_id = 77\n[derive]\nnetwork = \"regtest\"\n\
             vault_key = \"0x{}\"\nrefund_delay = 20\nsequencing_window = 50\nmin_deposit = 10000\n\
             [derive.genesis_l1]\nheight = {height}\nhash = \"0x{hash}\"\n",
            key.trim(),
        );
        std::fs::write(self.file("chain"), chain).unwrap();
    }

    fn run(&self, name: &str) -> Daemon {
        Daemon::start(&self.member(name, "committee run --json"))
    }

    async fn mempool(&self) -> BTreeSet<Txid> {
        let txids = self.core.client().get_raw_mempool().await.unwrap();
        txids.into_iter().collect()
    }

    fn deployment(&self) -> Deployment {
        Deployment::read(&self.dir.join("deployment.toml")).unwrap()
    }

    fn keys(&self, name: &str) -> MemberKeys {
        MemberKeys::read(&self.dir.join(format!("{name}.key"))).unwrap()
    }

    fn ready(&self, name: &str) -> Vec<ReadySlot> {
        let program = std::fs::read(self.file("program")).unwrap();
        ready(&self.deployment(), &self.dir.join(name), &program).unwrap()
    }
}

/// All pay, are killed meanwhile, lose files, and go on: each pays once. Then they set up.
async fn set_up(world: &World) {
    let mut daemons: Vec<Daemon> = NAMES.iter().map(|name| world.run(name)).collect();
    daemons
        .iter_mut()
        .for_each(|daemon| drop(daemon.wait("have 0 of 2 confirmations")));
    let paid = world.mempool().await;
    assert_eq!(paid.len(), 3);
    daemons.into_iter().for_each(Daemon::kill);
    // Killed before it was handed to the sender.
    std::fs::remove_file(world.dir.join("carl/sends.redb")).unwrap();
    let mut daemons: Vec<Daemon> = NAMES.iter().map(|name| world.run(name)).collect();
    daemons
        .iter_mut()
        .for_each(|daemon| drop(daemon.wait("have 0 of 2 confirmations")));
    assert_eq!(world.mempool().await, paid);
    world.core.mine(1).await.unwrap();
    daemons
        .iter_mut()
        .for_each(|daemon| drop(daemon.wait("have 1 of 2 confirmations")));
    // All files but the key are lost: what was paid is found on Bitcoin.
    daemons.pop().unwrap().kill();
    std::fs::remove_dir_all(world.dir.join("cora")).unwrap();
    let mut cora = world.run("cora");
    cora.wait("bonds and stakes were found on Bitcoin");
    cora.wait("have 1 of 2 confirmations");
    daemons.push(cora);
    assert!(world.mempool().await.is_empty());
    world.core.mine(1).await.unwrap();
    for daemon in &mut daemons {
        daemon.wait("\"members_complete\":3");
    }
    daemons.into_iter().for_each(Daemon::stop);
    assert!(world.mempool().await.is_empty());
    for slot in world.ready("olga") {
        let spec = &slot.graph.spec;
        let stakes = spec.pairs.iter().map(|pair| pair.stake.0);
        assert!(
            stakes
                .chain([spec.bond])
                .all(|outpoint| paid.contains(&outpoint.txid))
        );
    }
}

/// A challenger's part that deals with Bitcoin.
async fn challenger(world: &World, name: &str) -> (Core, bitcoin::key::Keypair) {
    let (deployment, keys) = (world.deployment(), world.keys(name));
    let folder = world.dir.join(name);
    let wallet = open_wallet(&folder, &keys, Network::Regtest, world.start).unwrap();
    let client = world.core.client().clone();
    sync(client.clone(), FollowerConfig::default(), &wallet)
        .await
        .unwrap();
    let config = CoreConfig {
        vault: None,
        client,
        follower: FollowerConfig::default(),
        carrier: CarrierConfig::default(),
        start: world.start,
    };
    let hash = deployment_hash(&deployment).unwrap();
    let slots = world.ready(name);
    let (core, store) = Core::open(&folder, config, hash, slots, Arc::new(wallet)).unwrap();
    let hand = hand(&deployment, &keys, store).unwrap();
    let secrets = PartySecrets::derive(&keys, &deployment.hash().unwrap());
    assert_eq!(hand.key(), &secrets.key);
    (core, *hand.key())
}

async fn challenge(world: &World, name: &str) -> Txid {
    let (mut core, key) = challenger(world, name).await;
    let pair = seat(&world.deployment(), &world.keys(name)).unwrap().pairs[0].unwrap();
    core.next_tip().await.unwrap();
    core.prepare(1, Amount::from_sat(100_000)).await.unwrap();
    core.advance().await.unwrap();
    world.core.mine(1).await.unwrap();
    core.next_tip().await.unwrap();
    let transaction = core.actor(0).challenge(pair, &key).unwrap();
    let (txid, deadline) = (transaction.compute_txid(), core.tip() + WINDOW);
    core.submit(Outgoing {
        label: "challenge".to_owned(),
        why: "a test".to_owned(),
        transaction,
        fee: Amount::ZERO,
        deadline,
    })
    .unwrap();
    core.advance().await.unwrap();
    assert!(world.mempool().await.contains(&txid));
    txid
}

/// The vault as members see it, by their folder or by what the operator serves; and credit that is redeemed, once.
async fn show_and_redeem(world: &World, operate: &[String], node: &str) {
    let options = format!(
        "--chain-file {} --node-url http://{node} --json",
        world.file("chain")
    );
    let vault = |name: &str| json(&world.member(name, &format!("vault {options}")));
    let shown = vault("cora");
    assert_eq!(
        (&shown["heldSats"], &shown["chain"]["holds"]),
        (&0.into(), &true.into())
    );
    let redeem = format!("operator redeem --to 0x52908400098527886E0F7030069857D2E4169EE7 {options}");
    let redeem = world.member("olga", &redeem);
    let refused = |words: &str| {
        let error = output(&redeem).unwrap_err();
        assert!(error.contains(words), "{words:?} in {error}");
    };
    let operator = Daemon::start(operate);
    status(world).await;
    refused("one process at a time has it; end `operator run` first");
    assert_eq!(vault("olga"), shown);
    operator.stop();
    refused("credit: expected at least 1 sat, got 0 sats");
    let before = world.mempool().await;
    node::CREDIT.store(70_000, Ordering::Relaxed);
    let sent = json(&redeem);
    assert_eq!((&sent["creditSats"], &sent["left"]), (&70_000.into(), &1.into()));
    let txid: Txid = sent["txid"].as_str().unwrap().parse().unwrap();
    let mempool = world.mempool().await;
    assert_eq!(mempool.difference(&before).collect::<Vec<_>>(), [&txid]);
    let client = world.core.client();
    let redemption = client.get_raw_transaction(&txid).await.unwrap().unwrap();
    let bond = world.ready("olga")[0].graph.spec.bond;
    // Two bonds and two tickets are before it.
    let spent = redemption.input[0].previous_output;
    assert_eq!((spent.txid, spent.vout), (bond.txid, 4));
    let to = sent["to"].as_str().unwrap().parse().unwrap();
    assert_eq!(
        redemption.output[0].script_pubkey.as_bytes(),
        redemption_script(to)
    );
    refused(&format!(
        "redemptions: expected none on its way, got transaction {txid}"
    ));
    world.core.mine(1).await.unwrap();
    refused("redemptions: expected the last one counted by the chain");
    let tip = world.core.tip().await.unwrap().height;
    node::ORIGIN.store(tip, Ordering::Relaxed);
    assert_eq!(json(&redeem)["left"], 0);
}

fn json(arguments: &[String]) -> Value {
    serde_json::from_str(&output(arguments).unwrap()).unwrap()
}

async fn get(world: &World, path: &str) -> String {
    let url = format!("http://{}/{path}", world.listen[3]);
    let response = reqwest::get(url).await.unwrap().error_for_status().unwrap();
    response.text().await.unwrap()
}

/// Gives the operator's status once it has done what it has to at Bitcoin's tip.
async fn status(world: &World) -> Value {
    let tip = world.core.tip().await.unwrap().height;
    loop {
        let url = format!("http://{}/status", world.listen[3]);
        // It listens once its files are open.
        if let Ok(response) = reqwest::get(url).await {
            let status: Value = response.json().await.unwrap();
            if status["l1Height"] == tip {
                return status;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Mines until the operator's slot is so.
async fn mine_until(world: &World, slot: usize, is_so: impl Fn(&Value) -> bool) -> Value {
    for _ in 0..20 {
        let status = status(world).await;
        if is_so(&status["slots"][slot]) {
            return status;
        }
        world.core.mine(1).await.unwrap();
    }
    panic!("slot {slot} stays {}", status(world).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn members_pay_once_set_up_claim_and_challenge() {
    let dir = tempfile::tempdir().unwrap();
    let world = World::new(dir.path()).await;
    world.prepare().await;
    set_up(&world).await;
    for name in NAMES {
        let verified = output(&world.member(name, "committee verify")).unwrap();
        assert!(
            verified.contains(" verify; the committee's key is "),
            "{verified}"
        );
    }
    let slots = world.ready("carl");
    let faults = verify_outputs(world.core.client(), &slots).await.unwrap();
    assert!(faults.is_empty(), "{faults:?}");
    let node = node::serve().await.to_string();
    let operate = format!(
        "operator run --listen {} --node-url http://{node} --claim-after-units {UNITS}",
        world.listen[3],
    );
    let operate = world.member("olga", &operate);
    let operator = Daemon::start(&operate);
    let is_claimed = |slot: &Value| slot["main"] == "claimed";
    mine_until(&world, 0, is_claimed).await;
    mine_until(&world, 1, is_claimed).await;
    let faults = verify_outputs(world.core.client(), &slots).await.unwrap();
    let said: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[0].starts_with("bond of slot 0") && said[0].contains("spent"));

    let challenge = challenge(&world, "carl").await;
    world.core.mine(1).await.unwrap();
    status(&world).await;
    let answer = &slots[0].graph.pairs[0].stages[&Stage::Units(0)].answer;
    assert!(world.mempool().await.contains(&answer.txid()));
    let is_final = |slot: &Value| slot["main"] == "finalised fast";
    let shown = mine_until(&world, 1, is_final).await;
    let slot = &shown["slots"][0];
    assert_eq!(slot["claim"]["units"], UNITS);
    assert_eq!(
        slot["claim"]["state"],
        hex::encode(&node::state(START + UNITS)[..24])
    );
    let (branch, moves) = (&slot["branches"][0], slot["moves"].as_array().unwrap());
    assert_eq!(
        (&branch["turn"], &branch["stage"]),
        (&"carl".into(), &"Units(0)".into())
    );
    assert_eq!(slot["branches"][1]["position"], "unchallenged");
    let txids: Vec<&str> = moves.iter().map(|done| done["txid"].as_str().unwrap()).collect();
    let expected = [slots[0].graph.claim.txid(), challenge, answer.txid()];
    assert_eq!(txids, expected.map(|txid| txid.to_string()));
    let clocks = slot["clocks"].as_array().unwrap();
    let running = |what: &str| clocks.iter().any(|clock| clock["what"] == what);
    assert!(
        running("dispute window") && running("move behind Units(0)"),
        "{clocks:?}"
    );

    assert_eq!(get(&world, "healthz").await, "ok\n");
    let metrics = get(&world, "metrics").await;
    assert!(
        metrics.contains("bitsect_bridge_slots{bond=\"claimed\"} 1"),
        "{metrics}"
    );
    let claims = json(&world.member("cora", "claims --json"));
    assert_eq!(claims["slots"], shown["slots"]);
    assert_eq!(claims["faults"], serde_json::json!([]));
    operator.stop();
    let operator = Daemon::start(&operate);
    assert_eq!(status(&world).await["slots"], shown["slots"]);
    let listen = format!("operator status --listen {}", world.listen[3]);
    let text = output(&world.member("olga", &listen)).unwrap();
    assert!(text.contains("carl: waiting for carl at Units(0)"), "{text}");
    operator.stop();
    show_and_redeem(&world, &operate, &node).await;
}
