//! Members that sign after the set-up, in one process, each behind a gate, over real HTTP.

use std::collections::BTreeMap;

use bitcoin::hashes::Hash;
use bitcoin::key::{Secp256k1, TapTweak};
use bitcoin::secp256k1::Message;
use bitcoin::secp256k1::schnorr::Signature;
use bitcoin::taproot::TapNodeHash;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::cluster::{Cluster, PATIENCE};
use super::harness::keys;
use crate::committee::{
    Aggregate, Digest, Envelope, Kind, MemberId, SignError, SignRequest, Signer, SignerError, Signing, Store,
    Tweak,
};

struct Running {
    signer: Signer,
    stop: CancellationToken,
    task: JoinHandle<Result<(), SignerError>>,
}

pub(super) struct Signers {
    pub cluster: Cluster,
    running: BTreeMap<usize, Running>,
}

/// What a test waits for.
pub(super) type Signed = JoinHandle<Result<Vec<Signature>, SignError>>;

impl Signers {
    /// Members whose stores look as after a set-up, of which nothing but its being complete matters here.
    pub(super) async fn new(count: u8) -> Self {
        let cluster = Cluster::new(count, 4, 10).await;
        let mut signers = Self {
            cluster,
            running: BTreeMap::new(),
        };
        for member in 0..signers.cluster.count() {
            signers.set_up(member);
        }
        signers
    }

    /// Takes over members that are set up.
    pub(super) fn of(cluster: Cluster) -> Self {
        Self {
            cluster,
            running: BTreeMap::new(),
        }
    }

    /// Makes a member's store as if the set-up had just ended.
    pub(super) fn set_up(&mut self, member: usize) {
        let hash = self.cluster.deployment.hash().unwrap();
        let id = MemberId(member.try_into().unwrap());
        let store = Store::open_or_create(self.cluster.dirs[member].path(), &hash, id).unwrap();
        let keys = keys(member.try_into().unwrap());
        let contribution = Envelope::sign(Kind::Contribution, hash, id, Digest([0; 32]), vec![1], &keys);
        store.put_contribution(id, &contribution.encode()).unwrap();
        store.put_signatures(&Digest([5; 32]), &[6; 128]).unwrap();
    }

    pub(super) async fn start(&mut self, member: usize) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (signer, service) = Signer::open(self.cluster.options(member)).unwrap();
        let stop = CancellationToken::new();
        let task = tokio::spawn(service.run(listener, stop.clone()));
        self.running.insert(member, Running { signer, stop, task });
        self.cluster.gates[member].aim(Some(address));
    }

    pub(super) async fn start_all(&mut self) {
        for member in 0..self.cluster.count() {
            self.start(member).await;
        }
    }

    /// Ends a member; it does nothing that a crash would leave out.
    pub(super) async fn kill(&mut self, member: usize) {
        self.cluster.gates[member].aim(None);
        let Running { signer, stop, task } = self.running.remove(&member).unwrap();
        stop.cancel();
        task.await.unwrap().unwrap();
        // Requests hold the store as well, until they see that the service has ended.
        let mut held = Some(signer);
        while let Some(signer) = held.take() {
            held = (std::sync::Arc::strong_count(&signer.store) > 1).then_some(signer);
            tokio::task::yield_now().await;
        }
    }

    pub(super) fn signer(&self, member: usize) -> Signer {
        self.running[&member].signer.clone()
    }

    /// Lets a member ask.
    pub(super) fn ask(&self, member: usize, request: &SignRequest) -> Signed {
        let (signer, request) = (self.signer(member), request.clone());
        tokio::spawn(async move { signer.sign(request).await })
    }

    /// Lets all members ask.
    pub(super) fn ask_all(&self, request: &SignRequest) -> Vec<Signed> {
        let members = 0..self.cluster.count();
        members.map(|member| self.ask(member, request)).collect()
    }

    /// Waits for signatures, and checks them as Bitcoin does.
    pub(super) async fn check(&self, request: &SignRequest, signed: Signed) -> Vec<Signature> {
        let signatures = match tokio::time::timeout(PATIENCE, signed).await {
            Ok(signed) => signed.unwrap().unwrap(),
            Err(_) => panic!("{} is not signed: {:?}", request.name, self.statuses().await),
        };
        check_signatures(&self.cluster, request, &signatures);
        signatures
    }

    async fn statuses(&self) -> Vec<String> {
        let mut statuses = Vec::new();
        for member in self.running.keys() {
            let status = self.cluster.until(*member, |_| true).await;
            statuses.push(format!("{:?} {:?}", status.sessions, status.faults));
        }
        statuses
    }

    /// Waits until a member wants so many lists signed and has signed so many.
    pub(super) async fn until(&self, member: usize, pending: usize, signed: u64) {
        let wanted = |sessions: &crate::committee::SessionsReport| {
            (sessions.pending, sessions.signed) == (pending, signed)
        };
        self.cluster
            .until(member, |status| status.sessions.as_ref().is_some_and(wanted))
            .await;
    }

    /// Ends everybody, and checks that no nonce was published twice or signed two sessions.
    pub(super) async fn finish(mut self) {
        for member in self.running.keys().copied().collect::<Vec<_>>() {
            self.kill(member).await;
        }
        self.cluster.check_nonces();
    }
}

pub(super) fn check_signatures(cluster: &Cluster, request: &SignRequest, signatures: &[Signature]) {
    let secp = Secp256k1::verification_only();
    let key = Aggregate::new(&cluster.deployment).unwrap().key();
    assert_eq!(signatures.len(), request.signings.len());
    for (signing, signature) in request.signings.iter().zip(signatures) {
        let key = match signing.tweak {
            Tweak::Leaf => key,
            Tweak::KeyPath(root) => key.tap_tweak(&secp, root).0.to_x_only_public_key(),
        };
        let message = Message::from_digest(signing.message);
        secp.verify_schnorr(signature, &message, &key).unwrap();
    }
}

/// A list like a vault graph's: the name gives the messages.
pub(super) fn request(name: &str, signings: usize) -> SignRequest {
    let signing = |index: usize| Signing {
        label: format!("{name} {index}"),
        message: Digest::tagged("test/request", &[&index.to_le_bytes(), name.as_bytes()]).0,
        tweak: match index % 3 {
            0 => Tweak::Leaf,
            1 => Tweak::KeyPath(None),
            _ => Tweak::KeyPath(Some(TapNodeHash::from_byte_array([index as u8; 32]))),
        },
    };
    SignRequest {
        name: name.to_owned(),
        signings: (0..signings).map(signing).collect(),
    }
}
