//! What an operator needs for the vault: the signing service, payouts, accepts and moves.

use bitcoin::Amount;
use bitcoin::key::Keypair;
use eyre::{WrapErr, eyre};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::member::{data_dir, given};
use crate::chain::RpcChain;
use crate::committee::{Deployment, MemberId, MemberKeys, SignerError};
use crate::daemon::{Core, ReadySlot};
use crate::params::VaultParams;
use crate::setup::Section;
use crate::user::Terms;
use crate::vault::{Bank, Keeper, Payouts, Policy, Signing, Turns};

/// An operator's part of the vault, before its daemon runs.
pub(super) struct Vault {
    signing: Signing,
    pub(super) terms: Terms,
    turns: Turns,
    params: VaultParams,
}

impl Vault {
    /// Starts the signing service, where the deployment has slots that take vault outputs.
    pub(super) async fn open(
        config: &Config,
        (deployment, member, keys): (&Deployment, MemberId, &MemberKeys),
        slots: &[ReadySlot],
        stop: &CancellationToken,
    ) -> eyre::Result<Option<Self>> {
        if slots.iter().all(|slot| slot.graph.spec.ticket.is_none()) {
            return Ok(None);
        }
        let terms = Terms::read(given(&config.layer.chain_file, "chain_file")?)?;
        let committee = slots.first().map(|slot| slot.graph.spec.committee);
        if committee != Some(terms.vault_key) {
            return Err(eyre!(
                "failed to use the chain: expected the vault key of the members, {}, got {}",
                committee.map(|key| key.to_string()).unwrap_or_default(),
                terms.vault_key
            ));
        }
        let address = *given(&config.layer.committee_listen, "committee_listen")?;
        let listener = TcpListener::bind(address).await;
        let listener =
            listener.wrap_err_with(|| format!("failed to listen on {address} (committee_listen)"))?;
        let member_files = (deployment.clone(), keys.clone(), data_dir(config)?.clone());
        let signing = Signing::start(member_files, listener, stop.child_token()).await;
        Ok(Some(Self {
            signing: signing.wrap_err("failed to start the signing service")?,
            terms,
            turns: Turns::of(deployment, member),
            params: Section::of(deployment)?.vault,
        }))
    }

    /// Makes what keeps the vault, and what pays and takes; and the task of the service.
    pub(super) fn parts(
        self,
        config: &Config,
        deployment: &Deployment,
        (core, chain, slots): (&Core, &RpcChain, Vec<usize>),
        key: Keypair,
    ) -> eyre::Result<(Keeper, Bank, JoinHandle<Result<(), SignerError>>)> {
        let Self {
            signing,
            turns,
            params,
            ..
        } = self;
        let keeper = Keeper::new(
            signing.signer.clone(),
            core.slots().to_vec(),
            params,
            (config.deposit_confirmations, turns),
            core.nudge(),
        );
        let ticket = slots
            .iter()
            .find_map(|slot| core.slots()[*slot].graph.spec.ticket);
        let operator = ticket
            .ok_or_else(|| eyre!("failed to find a ticket of ours: no slot has one"))?
            .txid;
        let payouts = Payouts::open(data_dir(config)?, &deployment.hash()?, operator, config.fees);
        let payouts = payouts.wrap_err("failed to open the file of payouts")?;
        if let Some(wallet) = core.wallet() {
            payouts
                .restore(wallet)
                .wrap_err("failed to tell the wallet of payouts")?;
        }
        let sats = |option: Option<u64>, name| given(&option, name).map(|sats| Amount::from_sat(*sats));
        let policy = Policy {
            max_payout: sats(config.layer.max_payout_sats, "max_payout_sats")?,
            reserve: sats(config.layer.reserve_sats, "reserve_sats")?,
            turns,
        };
        let least = sats(config.layer.least_claim_sats, "least_claim_sats")?;
        let bank = Bank::new(
            (payouts, policy),
            signing.signer,
            chain.clone(),
            (slots, key),
            (least, params, config.deposit_confirmations),
        );
        Ok((keeper, bank, signing.service))
    }
}
