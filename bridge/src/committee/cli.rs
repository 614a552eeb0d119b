//! `committee {keygen,run,status,verify}`, to be mounted by a binary that knows how to build its graph.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use eyre::WrapErr;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{
    Builder, Deployment, Digest, Graph, Member, MemberId, MemberKeys, MemberReport, Progress, Role,
    RunOptions, SessionReport, SessionsReport, Store, Summary, load, query, run,
};

/// Sets up a deployment together with its other members.
#[derive(Debug, Subcommand)]
pub enum CommitteeCommand {
    /// Makes a member's key file, and prints its entry for the deployment file.
    Keygen(KeygenArgs),
    /// Takes part until all signatures are there, then serves members that are late.
    Run(RunArgs),
    /// Asks every member how far it is.
    Status(StatusArgs),
    /// Builds the graph of what is stored, and verifies every signature, offline.
    Verify(VerifyArgs),
}

/// Who runs the command, where it is a member.
#[derive(Clone, Debug)]
pub struct Party {
    /// Its place in the deployment.
    pub member: MemberId,
    /// Its keys.
    pub keys: MemberKeys,
    /// The folder of its store.
    pub data_dir: PathBuf,
}

/// Where a member's things are. Each command names what it needs and does not get.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The deployment file.
    pub deployment: Option<PathBuf>,
    /// The member's key file.
    pub key: Option<PathBuf>,
    /// The folder of the member's store.
    pub data_dir: Option<PathBuf>,
    /// Where the daemon listens.
    pub listen: Option<SocketAddr>,
}

fn given<T>(value: Option<T>, option: &str) -> eyre::Result<T> {
    value.ok_or_else(|| eyre::eyre!("option {option} is not given"))
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum RoleArg {
    /// Posts claims.
    Operator,
    /// Disputes false ones.
    Challenger,
}

/// Arguments of `keygen`.
#[derive(Debug, Args)]
pub struct KeygenArgs {
    /// Reads the key file, which must exist, and makes none.
    #[arg(long)]
    show: bool,
    /// The member's name: lower-case letters, digits, hyphens.
    #[arg(long)]
    name: String,
    /// What it does.
    #[arg(long)]
    role: RoleArg,
    /// Where others reach its daemon, http://HOST:PORT.
    #[arg(long)]
    url: String,
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Prints progress as JSON, a line each.
    #[arg(long)]
    json: bool,
}

/// Arguments of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct StatusOutput<'r> {
    deployment: Digest,
    members: &'r [MemberReport],
}

#[derive(Serialize)]
struct VerifyOutput {
    deployment: Digest,
    graph: Digest,
    key: bitcoin::XOnlyPublicKey,
    signatures: usize,
}

impl CommitteeCommand {
    /// Runs the command and writes what it has to say to `out`. `make` gives the graph's builder; `run` tells it who we
    /// are, `verify` does not need a key.
    ///
    /// # Errors
    /// Says what failed, and why.
    pub async fn run<B: Builder, F: Future<Output = eyre::Result<B>>>(
        self,
        place: Place,
        make: impl FnOnce(Deployment, Option<Party>) -> F,
        out: &mut (dyn Write + Send),
        shutdown: CancellationToken,
    ) -> eyre::Result<()> {
        match self {
            Self::Keygen(args) => keygen(args, place, out),
            Self::Run(args) => take_part(args, place, make, out, shutdown).await,
            Self::Status(args) => status(args, place, out).await,
            Self::Verify(args) => verify(args, place, make, out).await,
        }
    }
}

fn keygen(args: KeygenArgs, place: Place, out: &mut (dyn Write + Send)) -> eyre::Result<()> {
    let key = given(place.key, "key")?;
    let KeygenArgs {
        show,
        name,
        role,
        url,
    } = args;
    let member = |keys: &MemberKeys| Member {
        name: name.clone(),
        role: match role {
            RoleArg::Operator => Role::Operator,
            RoleArg::Challenger => Role::Challenger,
        },
        identity: keys.identity(),
        signing: keys.signing(),
        url: url.clone(),
    };
    // Before there is a file: a wrong name must not leave one behind.
    member(&MemberKeys::from_seed(super::Seed::new([1; 32])))
        .verify()
        .wrap_err("failed to make the member's entry")?;
    let keys = if show {
        MemberKeys::read(&key).wrap_err("failed to read the key")?
    } else {
        MemberKeys::generate(&key).wrap_err("failed to make the key")?
    };
    let entry = toml::to_string(&member(&keys)).wrap_err("failed to write the member's entry")?;
    writeln!(out, "[[member]]\n{}", entry.trim_end())?;
    Ok(())
}

async fn take_part<B: Builder, F: Future<Output = eyre::Result<B>>>(
    args: RunArgs,
    place: Place,
    make: impl FnOnce(Deployment, Option<Party>) -> F,
    out: &mut (dyn Write + Send),
    shutdown: CancellationToken,
) -> eyre::Result<()> {
    let deployment = read(place.deployment)?;
    let listen = given(place.listen, "listen")?;
    let data_dir = given(place.data_dir, "data_dir")?;
    let keys = MemberKeys::read(&given(place.key, "key")?).wrap_err("failed to read the key")?;
    let member = deployment
        .find(&keys)
        .wrap_err("failed to find ourselves in the deployment")?;
    let party = Party {
        member,
        keys: keys.clone(),
        data_dir: data_dir.clone(),
    };
    let listener = TcpListener::bind(listen)
        .await
        .wrap_err_with(|| format!("failed to listen on {listen}"))?;
    let builder = make(deployment.clone(), Some(party)).await;
    let builder = builder.wrap_err("failed to prepare the graph")?;
    let options = RunOptions {
        deployment,
        keys,
        data_dir,
    };
    let (sender, mut progress) = watch::channel(Progress::default());
    let mut daemon = std::pin::pin!(run(options, builder, listener, sender, shutdown));
    loop {
        tokio::select! {
            ended = &mut daemon => return ended.wrap_err("failed to set up"),
            // The daemon holds the sender, so a closed channel means that it has ended, which the first branch tells.
            Ok(()) = progress.changed() => {
                let now = progress.borrow_and_update().clone();
                let line = if args.json { serde_json::to_string(&now)? } else { progress_line(&now) };
                writeln!(out, "{line}").wrap_err("failed to show progress")?;
            }
        }
    }
}

async fn status(args: StatusArgs, place: Place, out: &mut (dyn Write + Send)) -> eyre::Result<()> {
    let deployment = read(place.deployment)?;
    let reports = query(&deployment).await.wrap_err("failed to ask the members")?;
    let hash = deployment.hash()?;
    if args.json {
        let output = StatusOutput {
            deployment: hash,
            members: &reports,
        };
        writeln!(out, "{}", serde_json::to_string_pretty(&output)?)?;
        return Ok(());
    }
    writeln!(out, "deployment {hash}")?;
    for report in &reports {
        write!(out, "{}", report_text(report))?;
    }
    Ok(())
}

async fn verify<B: Builder, F: Future<Output = eyre::Result<B>>>(
    args: VerifyArgs,
    place: Place,
    make: impl FnOnce(Deployment, Option<Party>) -> F,
    out: &mut (dyn Write + Send),
) -> eyre::Result<()> {
    let deployment = read(place.deployment)?;
    let data_dir = given(place.data_dir, "data_dir")?;
    let hash = deployment.hash()?;
    let store = Store::open(&data_dir, &hash)
        .wrap_err_with(|| format!("failed to open the store in {}", data_dir.display()))?;
    let builder = make(deployment.clone(), None).await;
    let builder = builder.wrap_err("failed to prepare the graph")?;
    let signed = load(&store, &deployment, &builder).wrap_err("failed to verify the set-up")?;
    let output = VerifyOutput {
        deployment: hash,
        graph: Digest(signed.graph.hash()),
        key: signed.key,
        signatures: signed.signatures.len(),
    };
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&output)?)?;
    } else {
        let VerifyOutput {
            graph,
            key,
            signatures,
            ..
        } = output;
        writeln!(
            out,
            "{signatures} signatures of graph {graph} verify; the committee's key is {key}"
        )?;
    }
    Ok(())
}

fn read(path: Option<PathBuf>) -> eyre::Result<Deployment> {
    Deployment::read(&given(path, "deployment")?).wrap_err("failed to read the deployment")
}

/// Says in one line how far a member is.
fn progress_line(progress: &Progress) -> String {
    let Progress {
        members,
        contributions,
        graphs,
        round,
        nonces,
        ready,
        partials,
        signings,
        complete,
        members_complete,
        blocked,
        summary,
    } = progress;
    if let Some(reason) = blocked {
        return format!("no graph can be built of the contributions: {reason}");
    }
    if !complete {
        let signing = format!("round {round}: nonces {nonces}/{members}, ready {ready}/{members}");
        return format!(
            "contributions {contributions}/{members}, graphs {graphs}/{members}, {signing}, \
             partial signatures {partials}/{members}, signatures 0/{signings}"
        );
    }
    let took = summary.as_ref().map(summary_text).unwrap_or_default();
    format!("complete: {signings} signatures{took}; members complete {members_complete}/{members}")
}

fn summary_text(summary: &Summary) -> String {
    let Summary {
        milliseconds,
        rounds,
        bytes_sent,
        bytes_received,
        ..
    } = summary;
    let (whole, rest) = (milliseconds / 1000, milliseconds % 1000);
    format!(
        " in {whole}.{rest:03} s, {rounds} rounds, {bytes_sent} bytes sent, {bytes_received} bytes received"
    )
}

fn report_text(report: &MemberReport) -> String {
    let MemberReport {
        member,
        status,
        error,
    } = report;
    let mut text = format!("{} ({:?}): ", member.name, member.role).to_lowercase();
    match status {
        Some(status) => {
            text.push_str(&progress_line(&status.progress));
            for fault in &status.faults {
                text.push_str(&format!(
                    "\n  fault of {}, {}: {}",
                    fault.member,
                    fault.kind.name(),
                    fault.what
                ));
            }
            text.push_str(&status.sessions.as_ref().map(sessions_text).unwrap_or_default());
        }
        None => text.push_str(error.as_deref().unwrap_or("no answer")),
    }
    text.push('\n');
    text
}

/// Says what is signed after the set-up, and what is waited for.
fn sessions_text(sessions: &SessionsReport) -> String {
    let SessionsReport {
        signed,
        pending,
        oldest,
    } = sessions;
    let mut text = format!("\n  after the set-up: {signed} signed, {pending} pending");
    for session in oldest {
        let SessionReport {
            name,
            signings,
            missing,
            nonces,
            ready,
            partials,
            ..
        } = session;
        text.push_str(&format!("\n  pending: {name}, {signings} signatures: "));
        text.push_str(&match missing.is_empty() {
            true => format!("nonces {nonces}, ready {ready}, partial signatures {partials}"),
            false => format!("not asked for by {}", missing.join(", ")),
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_says_what_is_waited_for() {
        let mut progress = Progress {
            members: 3,
            contributions: 2,
            ..Progress::default()
        };
        assert!(progress_line(&progress).starts_with("contributions 2/3, graphs 0/3"));
        progress.complete = true;
        progress.signings = 640;
        progress.members_complete = 1;
        progress.summary = Some(Summary {
            milliseconds: 1_234,
            signatures: 640,
            rounds: 1,
            bytes_sent: 10,
            bytes_received: 20,
        });
        assert_eq!(
            progress_line(&progress),
            "complete: 640 signatures in 1.234 s, 1 rounds, 10 bytes sent, 20 bytes received; members complete 1/3"
        );
        let session = |missing: &[&str]| SessionReport {
            name: "accept of x".into(),
            plan: Digest([1; 32]),
            signings: 1,
            missing: missing.iter().map(|name| (*name).to_owned()).collect(),
            nonces: 2,
            ready: 1,
            partials: 0,
        };
        let sessions = SessionsReport {
            signed: 7,
            pending: 2,
            oldest: vec![session(&[]), session(&["bob", "carol"])],
        };
        assert_eq!(
            sessions_text(&sessions),
            "\n  after the set-up: 7 signed, 2 pending\
             \n  pending: accept of x, 1 signatures: nonces 2, ready 1, partial signatures 0\
             \n  pending: accept of x, 1 signatures: not asked for by bob, carol"
        );
        progress.blocked = Some("slot 3".into());
        assert!(progress_line(&progress).ends_with("slot 3"));
    }
}
