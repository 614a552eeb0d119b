//! A devnet's bridge: a committee, set up on the first start, and a user with bitcoin.

use std::path::Path;

use alloy_primitives::B256;
use bitcoin::Amount;
use bitsect_l1::rpc::Client;
use eyre::{WrapErr, bail, ensure};
use serde_json::json;

use super::DevnetArgs;
use super::committee::{Committee, Links, Member, Terms, paying};
use super::keys::{ACCOUNTS, MNEMONIC};
use super::program::{find_program, output, output_of};
use super::setup::{CHAIN_FILE, confirmed, send};
use crate::unit::export::ask;

/// The bridge's folder below the devnet's.
pub(super) const BRIDGE_DIR: &str = "bridge";
/// The user's name.
const USER: &str = "user";
/// What everybody gets: the operator has to pay what a user withdraws.
const OPERATOR_MONEY: Amount = Amount::from_int_btc(300);
const CHALLENGER_MONEY: Amount = Amount::from_int_btc(10);
const USER_MONEY: Amount = Amount::from_int_btc(200);
/// Terms for blocks that are seconds apart: a claim that nobody disputes is done within a minute or two.
const TERMS: [(&str, &str); 6] = [
    ("--move-timeout-blocks", "6"),
    ("--challenge-window-blocks", "6"),
    ("--bond-sats", "2000000"),
    ("--reward-sats", "500000"),
    ("--stake-sats", "200000"),
    ("--verdict-fee-sats", "200000"),
];
/// A file that names the user's output of the transaction that pays everybody.
const FUNDED: &str = "funded";
/// A file that says that all signatures are there.
const SIGNED: &str = "signed";

/// The bridge.
#[derive(Debug)]
pub(super) struct Bridge {
    committee: Committee,
    slots: u32,
}

impl Bridge {
    /// Opens the folder's bridge, or begins one where a program of disputes is named.
    pub(super) fn open(args: &DevnetArgs) -> eyre::Result<Option<Self>> {
        let folder = args.data_dir.join(BRIDGE_DIR);
        if !folder.exists() {
            if args.guest.is_none() {
                return Ok(None);
            }
            ensure!(
                !args.data_dir.join(CHAIN_FILE).exists(),
                "failed to add a bridge: the devnet in {} was begun without; begin a new one with --fresh",
                args.data_dir.display()
            );
        }
        let committee = Committee::open(&folder, &Member::PAIR, args.bridge_port);
        Ok(Some(Self {
            committee: committee.wrap_err("failed to open the committee")?,
            slots: args.slots,
        }))
    }

    pub(super) fn vault_key(&self) -> eyre::Result<B256> {
        self.committee.vault_key()
    }

    /// Sets up what is missing, and runs the members until one of them ends.
    pub(super) async fn run(&self, links: &Links, client: &Client, dir: &Path) -> eyre::Result<()> {
        self.committee.configure(links)?;
        self.committee.add_user(USER, links)?;
        if !self.committee.deployment().exists() {
            self.deploy(links, client).await?;
        }
        let signed = dir.join(BRIDGE_DIR).join(SIGNED);
        if !signed.exists() {
            println!(
                "Setting up the bridge: members' money, and the signatures of {} slots",
                self.slots
            );
            self.fund(client, dir)
                .await
                .wrap_err("failed to fund the bridge")?;
            self.committee
                .sign()
                .await
                .wrap_err("failed to set the bridge up")?;
            std::fs::write(&signed, "").wrap_err("failed to note that the bridge is set up")?;
        }
        let operator = self.committee.start(Member::OPERATOR)?;
        let challenger = self.committee.start(Member::CHALLENGER)?;
        self.print_ready()?;
        let ended = tokio::select! {
            () = operator.ended() => Member::OPERATOR,
            () = challenger.ended() => Member::CHALLENGER,
        };
        bail!(
            "the {ended} has ended: see {}",
            self.committee.log(ended).display()
        )
    }

    /// Writes the deployment file. Members' wallets look at the blocks above the tip of now.
    async fn deploy(&self, links: &Links, client: &Client) -> eyre::Result<()> {
        let info = client.get_blockchain_info().await;
        let start: serde_json::Value = ask(&links.verifier, "rollup_chainStateAt", json!([0])).await?;
        let state = start["chainState"].as_str().unwrap_or_default();
        let options = TERMS.iter().flat_map(|(name, value)| [*name, *value]);
        self.committee.deploy(&Terms {
            start_height: info.wrap_err("failed to ask Bitcoin Core")?.blocks,
            start: (
                0,
                state.parse().wrap_err("failed to read the chain's first state")?,
            ),
            slots: self.slots,
            options: options.map(str::to_owned).collect(),
        })
    }

    /// Pays members and the user, once: a start that was interrupted goes on with waiting.
    async fn fund(&self, client: &Client, dir: &Path) -> eyre::Result<()> {
        let note = dir.join(BRIDGE_DIR).join(FUNDED);
        if !note.exists() {
            // The first output is the one that is waited for: the user spends nothing before the bridge is there.
            let outputs = vec![
                paying(&self.user_address(dir)?, USER_MONEY)?,
                self.committee.funding(Member::OPERATOR, OPERATOR_MONEY)?,
                self.committee.funding(Member::CHALLENGER, CHALLENGER_MONEY)?,
            ];
            let paid = send(client, dir, outputs).await?;
            std::fs::write(&note, paid.to_string()).wrap_err("failed to note that the members are paid")?;
        }
        let paid = std::fs::read_to_string(&note).wrap_err("failed to read what the members are paid by")?;
        let paid = paid
            .parse()
            .wrap_err("failed to read what the members are paid by")?;
        confirmed(client, &paid).await
    }

    /// Makes the user's key where there is none, and gives its first address.
    fn user_address(&self, dir: &Path) -> eyre::Result<String> {
        let config = self.committee.user_config(USER);
        if !dir.join(BRIDGE_DIR).join(USER).join("user.key").exists() {
            let mut import = Committee::bridge(&config)?;
            import.args(["key", "import"]);
            output_of(import, MNEMONIC).wrap_err("failed to make the user's key")?;
        }
        let mut show = Committee::bridge(&config)?;
        show.args(["key", "show", "--json"]);
        let shown = output(show).wrap_err("failed to read the user's key")?;
        let shown: serde_json::Value =
            serde_json::from_str(&shown).wrap_err("failed to read the user's key")?;
        Ok(shown["bitcoinAddress"].as_str().unwrap_or_default().to_owned())
    }

    fn print_ready(&self) -> eyre::Result<()> {
        for member in Member::PAIR {
            println!(
                "{:10} http://{}/status",
                member.name,
                self.committee.status_address(member)
            );
        }
        let user = format!(
            "{} --config {}",
            find_program("bitsect-bridge")?.display(),
            self.committee.user_config(USER).display()
        );
        println!(
            "\nA user with {USER_MONEY}, of the first account's words, puts bitcoin on L2 and takes them off again:"
        );
        println!(
            "  {user} deposit send --to {} --amount 0.1BTC",
            ACCOUNTS[0].address
        );
        println!("  {user} deposit status");
        println!("  {user} withdraw request --to ADDRESS --amount 0.05BTC --fee 1000sats");
        println!("  {user} withdraw status");
        println!("bridge ready");
        Ok(())
    }
}
