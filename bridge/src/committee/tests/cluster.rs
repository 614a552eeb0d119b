//! Members in one process, each behind a gate, over real HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bitcoin::key::{Secp256k1, TapTweak};
use bitcoin::secp256k1::Message;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::gate::Gate;
use super::harness::{TestBuilder, deployment, keys};
use crate::committee::board::Board;
use crate::committee::client::Client;
use crate::committee::message::HEADER;
use crate::committee::status::read_status;
use crate::committee::{
    Aggregate, Deployment, Envelope, Graph, Kind, MemberId, MemberStatus, Progress, RunError, RunOptions,
    Store, Tweak, load, run,
};

/// What no step of a test takes as long as, also on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), RunError>>,
}

pub(super) struct Cluster {
    pub deployment: Deployment,
    pub gates: Vec<Gate>,
    pub builders: Vec<TestBuilder>,
    pub dirs: Vec<TempDir>,
    running: BTreeMap<usize, Running>,
    client: Client,
}

impl Cluster {
    pub(super) async fn new(count: u8, signings: usize, length: usize) -> Self {
        let mut deployment = deployment(count);
        let mut gates = Vec::new();
        for member in &mut deployment.members {
            let gate = Gate::new().await;
            member.url = gate.url.clone();
            gates.push(gate);
        }
        Self {
            deployment,
            gates,
            builders: (0..count)
                .map(|member| builder(member, signings, length))
                .collect(),
            dirs: (0..count).map(|_| tempfile::tempdir().unwrap()).collect(),
            running: BTreeMap::new(),
            client: Client::new(Board::new().into()),
        }
    }

    pub(super) fn count(&self) -> usize {
        self.gates.len()
    }

    pub(super) fn options(&self, member: usize) -> RunOptions {
        RunOptions {
            deployment: self.deployment.clone(),
            keys: keys(member.try_into().unwrap()),
            data_dir: self.dirs[member].path().to_owned(),
        }
    }

    pub(super) async fn start(&mut self, member: usize) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let options = self.options(member);
        let stop = CancellationToken::new();
        let progress = watch::Sender::new(Progress::default());
        let builder = self.builders[member].clone();
        let task = tokio::spawn(run(options, builder, listener, progress, stop.clone()));
        self.running.insert(member, Running { stop, task });
        self.gates[member].aim(Some(address));
    }

    pub(super) async fn start_all(&mut self) {
        for member in 0..self.count() {
            self.start(member).await;
        }
    }

    /// Ends a member; it does nothing that a crash would leave out.
    pub(super) async fn kill(&mut self, member: usize) {
        self.gates[member].aim(None);
        let Running { stop, task } = self.running.remove(&member).unwrap();
        stop.cancel();
        task.await.unwrap().unwrap();
    }

    pub(super) fn hold_all(&self, kinds: &[Kind]) {
        for gate in &self.gates {
            gate.hold(kinds);
        }
    }

    /// Waits until a member's status is as wanted.
    pub(super) async fn until(&self, member: usize, wanted: impl Fn(&MemberStatus) -> bool) -> MemberStatus {
        let hash = self.deployment.hash().unwrap();
        let id = MemberId(member.try_into().unwrap());
        let wait = async {
            let mut last = None;
            loop {
                match read_status(&self.client, &self.deployment, &hash, id, last.as_ref()).await {
                    Ok((_, status)) if wanted(&status) => return status,
                    Ok((hash, _)) => last = Some(hash),
                    // It is only starting.
                    Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                }
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(status) => status,
            Err(_) => panic!(
                "member {member} does not get there: {:?}",
                read_status(&self.client, &self.deployment, &hash, id, None).await
            ),
        }
    }

    pub(super) async fn until_progress(&self, member: usize, wanted: impl Fn(&Progress) -> bool) {
        self.until(member, |status| wanted(&status.progress)).await;
    }

    pub(super) async fn until_all(&self, wanted: impl Fn(&Progress) -> bool) {
        for member in 0..self.count() {
            self.until_progress(member, &wanted).await;
        }
    }

    pub(super) async fn until_complete(&self) {
        self.until_all(|progress| progress.complete).await;
    }

    /// Waits until a member has named another for a kind of message, and returns what it says.
    pub(super) async fn until_named(&self, by: usize, member: usize, kind: Kind, what: &str) {
        let name = self.deployment.members[member].name.clone();
        self.until(by, |status| {
            let mut faults = status.faults.iter();
            faults.any(|fault| fault.member == name && fault.kind == kind && fault.what.contains(what))
        })
        .await;
    }

    /// Ends everybody, and checks everything that must hold at the end.
    pub(super) async fn finish(mut self) {
        for member in self.running.keys().copied().collect::<Vec<_>>() {
            self.kill(member).await;
        }
        self.check_nonces();
        self.check_signatures();
    }

    /// No public nonce was ever published twice, and nonces signed one session at most.
    pub(super) fn check_nonces(&self) {
        let mut points = BTreeSet::new();
        for gate in &self.gates {
            let messages: BTreeSet<_> = gate.served(Kind::Nonces).into_iter().collect();
            for message in &messages {
                for point in message[HEADER + 8..].chunks(33) {
                    assert!(points.insert(point.to_vec()), "a nonce was published twice");
                }
            }
            // A round publishes nonces before and partial signatures after them, so more sessions than rounds would be
            // a nonce that was used twice.
            let sessions: BTreeSet<_> = gate
                .served(Kind::Partials)
                .into_iter()
                .map(|message| message[36..68].to_vec())
                .collect();
            assert!(sessions.len() <= messages.len());
        }
    }

    /// Everybody has stored signatures that Bitcoin's library verifies.
    fn check_signatures(&self) {
        let secp = Secp256k1::verification_only();
        let hash = self.deployment.hash().unwrap();
        let key = Aggregate::new(&self.deployment).unwrap().key();
        for member in 0..self.count() {
            let store = Store::open(self.dirs[member].path(), &hash).unwrap();
            let signed = load(&store, &self.deployment, &self.builders[member]).unwrap();
            let signings = signed.graph.signings();
            assert_eq!(signed.signatures.len(), signings.len());
            assert_eq!(
                (signed.key, signings.len()),
                (key, self.builders[member].signings)
            );
            for (signing, signature) in signings.iter().zip(&signed.signatures) {
                let key = match signing.tweak {
                    Tweak::Leaf => key,
                    Tweak::KeyPath(root) => key.tap_tweak(&secp, root).0.to_x_only_public_key(),
                };
                secp.verify_schnorr(signature, &Message::from_digest(signing.message), &key)
                    .unwrap();
            }
        }
    }
}

pub(super) fn builder(member: u8, signings: usize, length: usize) -> TestBuilder {
    TestBuilder {
        member,
        signings,
        salt: 0,
        length,
        tail: 0,
    }
}

/// Changes a message's payload, and signs it again as the member would.
pub(super) fn forge(kind: Kind, bytes: &[u8], member: u8, change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
    let envelope = Envelope::decode(bytes, kind).unwrap();
    let mut payload = envelope.payload;
    change(&mut payload);
    Envelope::sign(
        kind,
        envelope.deployment,
        envelope.member,
        envelope.session,
        payload,
        &keys(member),
    )
    .encode()
}
