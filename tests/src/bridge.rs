//! A bridge as its users have it: a devnet, members as processes, and the CLI.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use bitcoin::{Amount, TxOut};
use bitsect_bridge::params::VaultParams;
use bitsect_l1::regtest::fresh_burn_address;
use bitsect_l1::rpc::Client;
use bitsect_node::devnet::committee::{Committee, Links, Member, Role, Terms};
use bitsect_node::devnet::pay;
use bitsect_node::devnet::program::{Running, output};
use eyre::WrapErr;
use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use crate::network::NetworkOptions;
use crate::{ChallengerListener, Node, Rpc, until};

/// Time between two Bitcoin blocks. With more than five a second blocks would run ahead of the clock.
const BLOCK_INTERVAL: Duration = Duration::from_millis(300);

/// How a bridge is made.
#[derive(Clone, Debug)]
pub struct BridgeOptions {
    /// Who the members are.
    pub members: Vec<Member>,
    /// What each gets for bonds, stakes, fees and payouts.
    pub money: Amount,
    /// How many slots each operator has.
    pub slots: u32,
    /// The smallest vault output that operators claim, in sats.
    pub least_claim_sats: u32,
    /// Whether other Bitcoin Cores can connect.
    pub listen: bool,
    /// Blocks for a move.
    pub move_timeout_blocks: u16,
    /// Blocks within which a claim is challenged.
    pub challenge_window_blocks: u16,
    /// Blocks behind which a deposit can be taken back; members sign its accept in the first half of them.
    pub refund_delay: u16,
    /// How members care for the vault.
    pub vault: VaultParams,
}

impl Default for BridgeOptions {
    fn default() -> Self {
        Self {
            members: Member::PAIR.to_vec(),
            money: Amount::ONE_BTC,
            slots: 2,
            least_claim_sats: 10_000,
            listen: false,
            move_timeout_blocks: 6,
            challenge_window_blocks: 6,
            refund_delay: 288,
            vault: VaultParams::default(),
        }
    }
}

impl BridgeOptions {
    /// Has times in which a debug build's challenger finds a lie.
    pub fn slow_disputes() -> Self {
        Self {
            move_timeout_blocks: 60,
            challenge_window_blocks: 90,
            ..Self::default()
        }
    }

    fn terms(&self) -> Vec<String> {
        let times = [
            ("--move-timeout-blocks", self.move_timeout_blocks),
            ("--challenge-window-blocks", self.challenge_window_blocks),
        ];
        let times = times.map(|(name, blocks)| (name, Some(u64::from(blocks))));
        let care = [
            ("--split-above-sats", self.vault.split_above_sats),
            ("--merge-below-sats", self.vault.merge_below_sats),
            ("--max-vault-sats", self.vault.max_vault_sats),
        ];
        let numbers = times.into_iter().chain(care);
        let numbers = numbers.filter_map(|(name, number)| Some([name.to_owned(), number?.to_string()]));
        let stakes = TERMS.map(str::to_owned);
        numbers.flatten().chain(stakes).collect()
    }
}

/// What is at stake.
const TERMS: [&str; 8] = [
    "--bond-sats",
    "2000000",
    "--reward-sats",
    "500000",
    "--stake-sats",
    "200000",
    "--verdict-fee-sats",
    "200000",
];

/// Mines blocks until it is dropped.
#[derive(Debug)]
struct Miner(tokio::task::JoinHandle<()>);

impl Miner {
    fn start(client: Client, every: Duration) -> Self {
        Self(tokio::spawn(async move {
            let nobody = fresh_burn_address();
            let mut ticks = tokio::time::interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let mined = client.generate_to_address(1, &nobody).await;
                mined.expect("a block is mined");
            }
        }))
    }
}

impl Drop for Miner {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn answer(mut command: Command, args: &[&str]) -> eyre::Result<Value> {
    command.args(args).arg("--json");
    let text = output(command)?;
    serde_json::from_str(&text).wrap_err_with(|| format!("failed to read {text:?}"))
}

/// The bridge.
#[derive(Debug)]
pub struct BridgeNet {
    miner: Option<Miner>,
    running: Vec<(Member, Running)>,
    /// The sequencer, while it runs.
    pub sequencer: Option<Node>,
    verifier: Option<Node>,
    /// The members' files.
    pub committee: Committee,
    /// How programs reach the chain.
    pub links: Links,
    /// Bitcoin Core, and the chain.
    pub network: crate::Network,
}

impl BridgeNet {
    /// Starts everything, and waits until the committee has signed its slots. `guest` is the program as `.ci/guest` builds it.
    /// Blocks are mined all the time, until [`Self::stand_still`].
    ///
    /// # Errors
    /// Where a program fails.
    pub async fn start(guest: &Path, options: &BridgeOptions) -> eyre::Result<Self> {
        // Below the network's folder everything is; it is there before the chain, which needs the committee's key.
        let keys = tempfile::tempdir().wrap_err("failed to make a folder")?;
        let committee = Committee::open(keys.path(), &options.members, 0)?;
        let network = crate::Network::start(NetworkOptions {
            vault_key: Some(committee.vault_key()?),
            listen: options.listen,
            refund_delay: Some(options.refund_delay),
            ..NetworkOptions::default()
        })
        .await;
        let folder = network.dir().join("bridge");
        std::fs::rename(keys.keep(), &folder).wrap_err("failed to move the members' folder")?;
        let mut committee = Committee::open(&folder, &options.members, 0)?;
        committee.least_claim_sats = options.least_claim_sats;
        let (sequencer, verifier) = (network.sequencer().await, network.verifier("verifier").await);
        let links = Links {
            l1_url: network.core.rpc_url(),
            l1_cookie: network.core.cookie(),
            chain_file: network.chain_path().to_owned(),
            sequencer: sequencer.rpc.url().to_owned(),
            verifier: verifier.rpc.url().to_owned(),
            guest: Some(guest.to_owned()),
        };
        let mut net = Self {
            miner: None,
            running: Vec::new(),
            sequencer: Some(sequencer),
            verifier: Some(verifier),
            committee,
            links,
            network,
        };
        net.committee.configure(&net.links)?;
        net.go_on();
        net.set_up(options).await?;
        net.start_members().await?;
        Ok(net)
    }

    /// Starts all members, and waits until they answer: blocks come fast here, and deposits are signed for some only.
    async fn start_members(&mut self) -> eyre::Result<()> {
        let members: Vec<Member> = self.committee.members().collect();
        for member in members {
            self.start_member(member)?;
        }
        for (member, running) in &self.running {
            let listener = self.listener(*member);
            let what = format!("{member} to answer");
            let answers = until(&what, || async { listener.get("status").await.map(drop) });
            tokio::select! {
                () = answers => {}
                () = running.ended() => eyre::bail!("{member} has ended:\n{}", self.logged(*member)),
            }
        }
        Ok(())
    }

    async fn set_up(&self, options: &BridgeOptions) -> eyre::Result<()> {
        let info = self.client().get_blockchain_info().await;
        let start_height = info.wrap_err("failed to ask Bitcoin Core")?.blocks;
        let members = self.committee.members();
        let outputs = members.map(|member| self.committee.funding(member, options.money));
        self.pay(outputs.collect::<eyre::Result<_>>()?).await?;
        let first = self.rpc().get("rollup_chainStateAt", json!([0])).await;
        let state = first["chainState"].as_str().unwrap_or_default();
        self.committee.deploy(&Terms {
            start_height,
            start: (0, state.parse().wrap_err("failed to read the first state")?),
            slots: options.slots,
            options: options.terms(),
        })?;
        self.committee.sign().await
    }

    /// Mines no more blocks by itself.
    pub fn stand_still(&mut self) {
        self.miner = None;
    }

    /// Mines blocks again.
    pub fn go_on(&mut self) {
        self.miner = Some(Miner::start(self.client().clone(), BLOCK_INTERVAL));
    }

    /// Gives Bitcoin Core.
    pub fn client(&self) -> &Client {
        self.network.core.client()
    }

    /// Gives the verifier.
    ///
    /// # Panics
    /// While nodes start again.
    pub fn rpc(&self) -> &Rpc {
        &self.verifier.as_ref().expect("the verifier runs").rpc
    }

    /// Has a verifier with an empty folder in place of both nodes. Members have to be stopped.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub async fn fresh_verifier(&mut self, name: &str) -> eyre::Result<()> {
        drop((self.sequencer.take(), self.verifier.take()));
        let verifier = self.network.verifier(name).await;
        self.links.sequencer = verifier.rpc.url().to_owned();
        self.links.verifier = verifier.rpc.url().to_owned();
        self.verifier = Some(verifier);
        self.committee.configure(&self.links)
    }

    /// Kills sequencer, verifier and all members, and starts them again.
    ///
    /// # Errors
    /// Where a program does not start.
    pub async fn crash(&mut self) -> eyre::Result<()> {
        self.running.clear();
        drop((self.sequencer.take(), self.verifier.take()));
        let (sequencer, verifier) = (
            self.network.sequencer().await,
            self.network.verifier("verifier").await,
        );
        self.links.sequencer = sequencer.rpc.url().to_owned();
        self.links.verifier = verifier.rpc.url().to_owned();
        (self.sequencer, self.verifier) = (Some(sequencer), Some(verifier));
        self.committee.configure(&self.links)?;
        self.start_members().await
    }

    /// Makes a command of a user's, whose files are under this name.
    ///
    /// # Errors
    /// Where a program is not built, or a file cannot be written.
    pub fn user_command(&self, name: &str) -> eyre::Result<Command> {
        self.committee.add_user(name, &self.links)?;
        Committee::bridge(&self.committee.user_config(name))
    }

    /// Runs a command of a user's, and gives what it prints.
    ///
    /// # Errors
    /// Where it fails; with its exit code and what it said.
    pub fn user(&self, name: &str, args: &[&str]) -> eyre::Result<Value> {
        answer(self.user_command(name)?, args)
    }

    /// Runs a command of a member's, and gives what it prints.
    ///
    /// # Errors
    /// Where it fails; with its exit code and what it said.
    pub fn member(&self, member: Member, args: &[&str]) -> eyre::Result<Value> {
        answer(Committee::bridge(&self.committee.config(member))?, args)
    }

    /// Pays from the devnet's wallet of coins, and waits for the block.
    ///
    /// # Errors
    /// Where Bitcoin Core refuses it.
    pub async fn pay(&self, outputs: Vec<TxOut>) -> eyre::Result<()> {
        pay(self.client(), self.network.dir(), outputs).await
    }

    /// Gives what a member's daemon has logged.
    pub fn logged(&self, member: Member) -> String {
        std::fs::read_to_string(self.committee.log(member)).unwrap_or_default()
    }

    /// Gives what all members have logged.
    pub fn all_logged(&self) -> String {
        let members = self.committee.members();
        let logs = members.map(|member| format!("{member}:\n{}\n", self.logged(member)));
        logs.collect()
    }

    /// Asks a member's daemon how it is.
    ///
    /// # Panics
    /// Where it does not run.
    pub async fn status(&self, member: Member) -> Value {
        let (_, text) = self
            .listener(member)
            .get("status")
            .await
            .expect("the member answers");
        serde_json::from_str(&text).expect("a status")
    }

    fn listener(&self, member: Member) -> ChallengerListener {
        ChallengerListener::new(self.committee.status_address(member))
    }

    /// Starts a member's daemon.
    ///
    /// # Errors
    /// Where it does not start.
    pub fn start_member(&mut self, member: Member) -> eyre::Result<()> {
        let running = self.committee.start(member)?;
        self.running.push((member, running));
        Ok(())
    }

    /// Ends a member's daemon.
    pub fn stop_member(&mut self, member: Member) {
        self.running.retain(|(running, _)| *running != member);
    }

    /// Gives the first operator.
    pub fn operator(&self) -> Member {
        let mut members = self.committee.members();
        let found = members.find(|member| member.role == Role::Operator);
        found.expect("a committee has an operator")
    }
}
