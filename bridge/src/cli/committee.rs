//! `committee`: with outputs made before anything is contributed.

use eyre::WrapErr;
use tokio_util::sync::CancellationToken;

use super::config::Config;
use super::member::{birthday, client, follower, read_program, verify_chain};
use crate::committee::{CommitteeCommand, Deployment, Party, Place};
use crate::setup::{FundConfig, PartySecrets, SetupBuilder, fund, payout_address};

pub(super) async fn run(
    command: CommitteeCommand,
    config: Config,
    stop: CancellationToken,
) -> eyre::Result<()> {
    let place = Place {
        deployment: config.layer.deployment.clone(),
        key: config.layer.key.clone(),
        data_dir: config.layer.data_dir.clone(),
        listen: config.layer.committee_listen,
    };
    let funding = stop.clone();
    let make = |deployment, party| prepare(config, deployment, party, funding);
    command.run(place, make, &mut std::io::stdout(), stop).await
}

/// Makes the builder; of a member with its contribution, for which its bonds and stakes are paid first.
async fn prepare(
    config: Config,
    deployment: Deployment,
    party: Option<Party>,
    stop: CancellationToken,
) -> eyre::Result<SetupBuilder> {
    verify_chain(&config, &deployment)?;
    let program = read_program(&config)?;
    let network = deployment.network;
    let hash = deployment.hash()?;
    let made = tokio::task::spawn_blocking(move || SetupBuilder::new(&deployment, &program));
    let mut builder = made.await??;
    let Some(party) = party else {
        return Ok(builder);
    };
    let secrets = PartySecrets::derive(&party.keys, &hash);
    let wanted = builder.wanted(party.member, &secrets);
    let client = client(&config, network).await?;
    let funding = FundConfig {
        birthday: birthday(&config, &client, builder.section().start_height).await?,
        client,
        follower: follower(&config, network),
        network,
        folder: party.data_dir,
        fees: config.fees,
        max_fee: config.max_funding_fee,
        confirmations: config.confirmations,
        more: builder.redemptions(party.member, &secrets),
    };
    let made = fund(&wanted, &hash, &party.keys, funding, &stop).await;
    let made = made.wrap_err("failed to make bonds and stakes")?;
    let payout = payout_address(&party.keys, network);
    builder.contribute(party.member, &secrets, payout, &made)?;
    Ok(builder)
}
