//! `key`: a user's key file.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use bitcoin::Network;
use bitsect_l1::secret_file;
use bitsect_l1::wallet::{KeyError, WordCount};
use clap::{Args, Subcommand};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::member::given;
use super::user::{Output, read_terms};
use crate::user::{UserError, UserKeys};

/// Longest text that is read as words, in bytes.
const MAX_WORDS: u64 = 1_024;
/// What stands for standard input.
const STDIN: &str = "-";

/// Makes and shows a user's key file.
#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Makes a key file with a new seed; its words stand in the file and nowhere else.
    New {
        /// How many words the seed has: 12 or 24.
        #[arg(long, default_value_t = 24, value_parser = parse_count)]
        words: u8,
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Makes a key file of words that there are already.
    Import {
        /// A file with the words, which only its owner may use; `-` is standard input.
        #[arg(long, default_value = STDIN)]
        from: PathBuf,
        #[command(flatten)]
        place: PlaceArgs,
    },
    /// Shows what is public of a key file.
    Show {
        #[command(flatten)]
        place: PlaceArgs,
    },
}

/// For which network, and how to print.
#[derive(Debug, Args)]
pub(super) struct PlaceArgs {
    /// The Bitcoin network: bitcoin, testnet4, signet, regtest [default: the chain file's].
    #[arg(long)]
    network: Option<Network>,
    #[command(flatten)]
    output: Output,
}

fn parse_count(text: &str) -> Result<u8, String> {
    match text {
        "12" => Ok(12),
        "24" => Ok(24),
        _ => Err("expected 12 or 24".to_owned()),
    }
}

/// What is public of a key file.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyView {
    file: PathBuf,
    network: String,
    bitcoin_address: String,
    account: String,
    first_refund_key: String,
    #[serde(skip)]
    is_new: bool,
}

impl fmt::Display for KeyView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "key file: {}", self.file.display())?;
        writeln!(f, "Bitcoin ({}): {}", self.network, self.bitcoin_address)?;
        writeln!(f, "L2 account: {}", self.account)?;
        write!(f, "first refund key: {}", self.first_refund_key)?;
        if self.is_new {
            write!(
                f,
                "\nWrite down the words in the file: they are all there is to get the money back with."
            )?;
        }
        Ok(())
    }
}

pub(super) async fn run(command: KeyCommand, config: &Config, stop: &CancellationToken) -> eyre::Result<()> {
    let (KeyCommand::New { place, .. } | KeyCommand::Import { place, .. } | KeyCommand::Show { place }) =
        &command;
    let output = place.output;
    output
        .run(async { output.print(&view(&command, config)?) }, stop)
        .await
}

fn view(command: &KeyCommand, config: &Config) -> eyre::Result<KeyView> {
    let file = given(&config.layer.key, "key")?;
    let (KeyCommand::New { place, .. } | KeyCommand::Import { place, .. } | KeyCommand::Show { place }) =
        command;
    let network = match place.network {
        Some(network) => network,
        None => read_terms(config)?.network,
    };
    let keys = match command {
        KeyCommand::New { words: 12, .. } => UserKeys::generate(file, network, WordCount::Twelve)?,
        KeyCommand::New { .. } => UserKeys::generate(file, network, WordCount::TwentyFour)?,
        KeyCommand::Import { from, .. } => UserKeys::import(file, network, &read_words(from)?)?,
        KeyCommand::Show { .. } => UserKeys::read(file, network)?,
    };
    Ok(KeyView {
        file: file.clone(),
        network: network.to_string(),
        bitcoin_address: keys.first_address().to_string(),
        account: keys.account().to_checksum(None),
        first_refund_key: keys.refund_key(0).to_string(),
        is_new: matches!(command, KeyCommand::New { .. }),
    })
}

fn read_words(from: &Path) -> Result<Vec<u8>, UserError> {
    if from != Path::new(STDIN) {
        let text = secret_file::read(from, MAX_WORDS).map_err(KeyError::from)?;
        return Ok(text);
    }
    let mut text = Vec::new();
    let read = std::io::stdin().take(MAX_WORDS).read_to_end(&mut text);
    read.map_err(|source| UserError::File {
        path: STDIN.into(),
        source,
    })?;
    Ok(text)
}
