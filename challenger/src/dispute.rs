//! Disputes: the slots of a deployment are followed on Bitcoin, claims are judged, false ones are disputed.

mod events;
mod metrics;
mod observe;
mod serve;
mod status;
mod told;
mod view;
mod words;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use bitcoin::key::Keypair;
use bitsect_bridge::chain::{Chain, Runner, RunnerConfig};
use bitsect_bridge::committee::{Deployment, MemberKeys};
use bitsect_bridge::daemon::{Names, STORE_FILE};
use bitsect_bridge::secret::PartySeed;
use bitsect_bridge::setup::{self, PartySecrets, Section, challengers};
use bitsect_l1::wallet::Keys;
use eyre::{WrapErr, ensure};

pub use events::{Alarm, alarms};
pub use metrics::DisputeGauges;
pub(crate) use observe::Observer;
pub(crate) use serve::Start;
pub use status::{CarriedStatus, DisputeStatus, FeeStatus, RunStatus, SlotStatus, WithheldStatus};
pub use told::Told;
pub use view::{Deployed, Mode, Seen, View};
pub use words::stage as stage_name;

/// The folder of what a dispute stores, in the data folder.
const FOLDER: &str = "dispute";
/// The folder of a dry run: what it opens is never shown, and binds nobody.
const DRY_FOLDER: &str = "dry-run";

/// A member's secrets, and its number among the challengers of each slot.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "secrets")]
pub struct Hands {
    /// The seed of its locks.
    pub seed: PartySeed,
    /// Its key.
    pub key: Keypair,
    /// Its number in each slot.
    pub pairs: Vec<Option<usize>>,
    /// The keys of the wallet that pays.
    pub wallet: Keys,
    /// What it takes to sign deposits with the other members; none where it does not.
    pub committee: Option<Committee>,
}

/// What a member signs deposits with.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "secrets")]
pub struct Committee {
    /// The deployment.
    pub deployment: Deployment,
    /// The member's keys.
    pub keys: MemberKeys,
    /// The folder of its store.
    pub store: PathBuf,
    /// The chain file.
    pub chain_file: PathBuf,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Confirmations after which it looks at a deposit.
    pub confirmations: u32,
}

/// What is done about false claims, with the secrets that it takes.
#[expect(missing_debug_implementations, reason = "secrets")]
pub enum Side {
    /// Alarms are raised.
    Watch,
    /// It is said what would be published.
    DryRun(Hands),
    /// They are disputed.
    Run(Hands),
}

impl Side {
    /// Gives the side without its secrets.
    pub const fn mode(&self) -> Mode {
        match self {
            Self::Watch => Mode::Watch,
            Self::DryRun(_) => Mode::DryRun,
            Self::Run(_) => Mode::Run,
        }
    }

    /// Gives our number in each slot; nothing where we have none.
    pub fn pairs(&self) -> Vec<Option<usize>> {
        match self {
            Self::Watch => Vec::new(),
            Self::DryRun(hands) | Self::Run(hands) => hands.pairs.clone(),
        }
    }
}

/// Gives the folder of a mode's files.
pub fn folder(data_dir: &Path, mode: Mode) -> PathBuf {
    data_dir.join(match mode {
        Mode::Watch | Mode::Run => FOLDER,
        Mode::DryRun => DRY_FOLDER,
    })
}

/// Finds the file with what Bitcoin shows of slots, of whatever mode ran.
///
/// # Errors
/// Where nothing has run there.
pub fn store_file(data_dir: &Path) -> eyre::Result<PathBuf> {
    let mut files = [Mode::Run, Mode::DryRun].into_iter();
    let found = files.find_map(|mode| {
        let path = folder(data_dir, mode).join(STORE_FILE);
        path.is_file().then_some(path)
    });
    found.ok_or_else(|| {
        eyre::eyre!(
            "failed to find what Bitcoin shows of the slots in {}: no challenger has run there",
            data_dir.display()
        )
    })
}

/// Loads the program of disputes for the steps that a deployment's games have.
///
/// # Errors
/// Where there is no program, or it is none.
pub fn runner(chain: &dyn Chain, deployed: &Deployed) -> eyre::Result<Runner> {
    let program = chain
        .program()
        .wrap_err("failed to find the program of disputes")?;
    let mut config = RunnerConfig::default();
    let steps = deployed
        .slots
        .iter()
        .map(|slot| slot.graph.params.rounds.steps_total());
    config.steps = steps.max().unwrap_or(config.steps);
    Runner::new(program, config).wrap_err("failed to load the program of disputes")
}

impl Deployed {
    /// Builds the slots of a deployment file, with the signatures in the committee's store. `program` has the parameters
    /// of the chain file's chain in it.
    ///
    /// # Errors
    /// Where the deployment is of another chain, or the set-up is not complete, or of another program.
    pub fn read(
        deployment: &Path,
        committee_store: &Path,
        chain_file: &Path,
        program: &[u8],
    ) -> eyre::Result<(Deployment, Self)> {
        let deployment = Deployment::read(deployment).wrap_err("failed to read the deployment")?;
        deployment
            .verify_chain(chain_file)
            .wrap_err("failed to use the deployment for this chain")?;
        let slots = setup::ready(&deployment, committee_store, program)
            .wrap_err_with(|| format!("failed to read the set-up in {}", committee_store.display()))?;
        let section = Section::of(&deployment).wrap_err("failed to read the deployment")?;
        let hash = setup::deployment_hash(&deployment).wrap_err("failed to read the deployment")?;
        let members = challengers(&deployment).into_iter();
        let members: Vec<String> = members.map(|id| deployment.member(id).name.clone()).collect();
        let names = section.slots.iter().map(|slot| Names {
            operator: slot.operator.clone(),
            challengers: members.clone(),
        });
        let deployed = Self {
            hash,
            slots,
            names: names.collect(),
            start_height: section.start_height,
        };
        Ok((deployment, deployed))
    }
}

impl Hands {
    /// Reads a challenger's key file.
    ///
    /// # Errors
    /// Where the keys are no challenger's of the deployment, or anybody else may read the file.
    pub fn read(key_file: &Path, deployment: &Deployment) -> eyre::Result<Self> {
        let keys = MemberKeys::read(key_file).wrap_err("failed to read the keys")?;
        let seat = setup::seat(deployment, &keys).wrap_err("failed to find ourselves in the deployment")?;
        ensure!(
            seat.pairs.iter().any(Option::is_some),
            "failed to find our branches: member {} is no challenger",
            deployment.member(seat.member).name
        );
        let hash = deployment.hash().wrap_err("failed to read the deployment")?;
        let PartySecrets { key, seed } = PartySecrets::derive(&keys, &hash);
        Ok(Self {
            seed,
            key,
            pairs: seat.pairs,
            wallet: setup::wallet_keys(&keys, deployment.network),
            committee: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::Network;
    use bitsect_bridge::committee::{Digest, Member, Role, Seed};

    #[test]
    fn a_deployment_of_another_chain_is_refused_before_its_set_up_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let (file, chain_file) = (dir.path().join("deployment.toml"), dir.path().join("chain.toml"));
        let member = |number: u8, role| {
            let keys = MemberKeys::from_seed(Seed::new([number; 32]));
            Member {
                name: format!("member-{number}"),
                role,
                identity: keys.identity(),
                signing: keys.signing(),
                url: "http://127.0.0.1:1".into(),
            }
        };
        let deployment = Deployment {
            network: Network::Regtest,
            chain: Digest([7; 32]),
            members: vec![member(1, Role::Operator), member(2, Role::Challenger)],
            graph: toml::Table::new(),
        };
        std::fs::write(&file, deployment.to_toml().unwrap()).unwrap();
        std::fs::write(&chain_file, "another chain").unwrap();
        let hash = bitsect_bridge::committee::chain_file_hash(&chain_file).unwrap();
        let error = Deployed::read(&file, &dir.path().join("none"), &chain_file, &[]);
        let error = format!("{:#}", error.map(drop).unwrap_err());
        for named in [
            "chain: expected",
            &hash.to_string(),
            &deployment.chain.to_string(),
        ] {
            assert!(error.contains(named), "{error} names {named}");
        }
    }
}
