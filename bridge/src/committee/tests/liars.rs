//! Members that lie are named by the others, which go on; when the lie ends, the set-up does.

use super::cluster::{Cluster, forge};
use super::harness::{deployment, keys};
use crate::committee::{Digest, Envelope, Kind, MemberId};

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_partial_signature_is_named() {
    let mut cluster = Cluster::new(3, 20, 100).await;
    cluster.gates[2].alter(|kind, bytes| match kind {
        Kind::Partials => forge(kind, &bytes, 2, |payload| payload[32 * 7 + 31] ^= 1),
        _ => bytes,
    });
    cluster.hold_all(&[Kind::Signatures]);
    cluster.start_all().await;
    for by in [0, 1] {
        cluster
            .until_named(by, 2, Kind::Partials, "\"transaction 7\"")
            .await;
        let status = cluster.until(by, |status| status.progress.partials == 2).await;
        assert!(
            !status.progress.complete && status.faults.len() == 1,
            "{:?}",
            status.faults
        );
    }
    // The liar got good ones from the others, and its signatures are as good as anybody's.
    cluster.until_progress(2, |progress| progress.complete).await;
    cluster.hold_all(&[]);
    cluster.until_complete().await;
    cluster.finish().await;
}

/// Two liars: nobody completes until both are replaced by honest processes, which begin a new round.
#[tokio::test(flavor = "multi_thread")]
async fn honest_nonces_after_a_lie_heal_the_set_up() {
    let mut cluster = Cluster::new(3, 20, 100).await;
    for liar in [1, 2] {
        cluster.gates[liar].alter(move |kind, bytes| match kind {
            Kind::Partials => forge(kind, &bytes, liar as u8, |payload| payload.fill(0)),
            _ => bytes,
        });
    }
    cluster.start_all().await;
    for (by, liar) in [(0, 1), (0, 2), (1, 2), (2, 1)] {
        cluster
            .until_named(by, liar, Kind::Partials, "\"transaction 0\"")
            .await;
    }
    for liar in [1, 2] {
        cluster.kill(liar).await;
        cluster.gates[liar].pass_unaltered();
        cluster.start(liar).await;
    }
    cluster.until_complete().await;
    let status = cluster.until(0, |_| true).await;
    assert!(status.faults.is_empty(), "{:?}", status.faults);
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_graph_is_named_and_nobody_sends_nonces() {
    let mut cluster = Cluster::new(3, 20, 100).await;
    cluster.builders[2].salt = 9;
    cluster.start_all().await;
    for (by, member) in [(0, 2), (1, 2), (2, 0), (2, 1)] {
        cluster
            .until_named(by, member, Kind::Graph, "graph hash: expected")
            .await;
    }
    cluster.until_progress(0, |progress| progress.graphs == 2).await;
    for gate in &cluster.gates {
        assert!(gate.served(Kind::Nonces).is_empty());
    }
    cluster.kill(2).await;
    cluster.builders[2].salt = 0;
    cluster.start(2).await;
    cluster.until_complete().await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_graph_with_other_signings_is_named() {
    let mut cluster = Cluster::new(3, 20, 100).await;
    cluster.builders[2].signings = 21;
    cluster.start_all().await;
    for by in [0, 1] {
        cluster
            .until_named(by, 2, Kind::Graph, "hash of the signings")
            .await;
    }
    cluster.kill(2).await;
    cluster.builders[2].signings = 20;
    cluster.start(2).await;
    cluster.until_complete().await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contribution_is_fixed_once_it_was_seen() {
    let mut cluster = Cluster::new(3, 20, 100).await;
    cluster.hold_all(&[Kind::Graph]);
    cluster.start_all().await;
    cluster.until_all(|progress| progress.contributions == 3).await;
    // It comes back without its store, and contributes something else.
    cluster.kill(2).await;
    let kept = std::mem::replace(&mut cluster.dirs[2], tempfile::tempdir().unwrap());
    cluster.builders[2].length = 101;
    cluster.start(2).await;
    for by in [0, 1] {
        cluster
            .until_named(by, 2, Kind::Contribution, "contribution changed")
            .await;
    }
    cluster.kill(2).await;
    cluster.dirs[2] = kept;
    cluster.builders[2].length = 100;
    cluster.start(2).await;
    cluster.hold_all(&[]);
    cluster.until_complete().await;
    cluster.finish().await;
}

/// What is served instead of a member's message, and how it is named.
pub(super) type Lie = (fn(Kind, Vec<u8>) -> Vec<u8>, &'static str);

/// Lies that work with every kind of message.
pub(super) const LIES: [Lie; 7] = [
    (|_, _| vec![], "expected 132 to"),
    (|_, _| vec![0xa5; 1000], "message version: expected 1, got 165"),
    (|kind, _| vec![1; kind.limit() + 1], "bytes, got more"),
    (
        |kind, bytes| {
            let mut other = deployment(3);
            other.chain = Digest([8; 32]);
            let payload = Envelope::decode(&bytes, kind).unwrap().payload;
            let hash = other.hash().unwrap();
            Envelope::sign(kind, hash, MemberId(2), Digest([0; 32]), payload, &keys(2)).encode()
        },
        "deployment: expected",
    ),
    (
        |kind, bytes| {
            let Envelope {
                deployment, payload, ..
            } = Envelope::decode(&bytes, kind).unwrap();
            let unknown = MemberId(3);
            Envelope::sign(kind, deployment, unknown, Digest([0; 32]), payload, &keys(3)).encode()
        },
        "member: expected 2, got 3",
    ),
    (
        |kind, bytes| forge(kind, &bytes, 3, |_| ()),
        "the signature is not by the member's identity key",
    ),
    (
        |_, mut bytes| {
            *bytes.last_mut().unwrap() ^= 1;
            bytes
        },
        "the signature is not by the member's identity key",
    ),
];

/// Payloads that their signer should not have sent, by kind.
const PAYLOADS: [(Kind, Lie); 10] = [
    (
        Kind::Status,
        (
            |kind, bytes| forge(kind, &bytes, 2, |payload| payload.truncate(9)),
            "status: EOF",
        ),
    ),
    (
        Kind::Contribution,
        (
            |kind, bytes| forge(kind, &bytes, 2, |payload| payload[0] = 1),
            "contribution refused",
        ),
    ),
    (
        Kind::Graph,
        (
            |kind, bytes| forge(kind, &bytes, 2, |payload| payload.push(0)),
            "expected 64 bytes, got 65",
        ),
    ),
    (
        Kind::Nonces,
        (
            |kind, bytes| forge(kind, &bytes, 2, |payload| payload.truncate(3)),
            "expected 8 bytes, got 3",
        ),
    ),
    (
        Kind::Nonces,
        (
            |kind, bytes| forge(kind, &bytes, 2, |payload| payload.truncate(74)),
            "payload: expected",
        ),
    ),
    (
        Kind::Nonces,
        (
            |kind, bytes| forge(kind, &bytes, 2, |payload| payload[8] = 9),
            "item 0 is no public nonce",
        ),
    ),
    (
        Kind::Ready,
        (
            |kind, bytes| forge(kind, &bytes, 2, |payload| payload.push(1)),
            "expected 120 bytes, got 121",
        ),
    ),
    (
        Kind::Ready,
        (
            |kind, bytes| forge(kind, &bytes, 2, |payload| payload[9] ^= 1),
            "other nonces of member 0 under the counter 1",
        ),
    ),
    (
        Kind::Ready,
        // A counter that nobody has: the payload is another session than the message names.
        (
            |kind, bytes| forge(kind, &bytes, 2, |payload| payload[0] ^= 8),
            "session: expected",
        ),
    ),
    (
        Kind::Partials,
        (
            |kind, bytes| forge(kind, &bytes, 2, |payload| payload[..32].fill(0xff)),
            "item 0 is no partial signature",
        ),
    ),
];

/// A member that tells one lie after the other with one kind of message, and then the truth.
async fn lie(kind: Kind, lies: impl IntoIterator<Item = Lie>) {
    let mut cluster = Cluster::new(3, 8, 100).await;
    // Nobody gets past the lie by the liar's signatures.
    cluster.hold_all(&[Kind::Signatures]);
    cluster.start(0).await;
    cluster.start(1).await;
    for (change, named) in lies {
        println!("{kind:?}: {named}");
        cluster.gates[2].alter(move |served, bytes| {
            if served == kind {
                change(served, bytes)
            } else {
                bytes
            }
        });
        cluster.start(2).await;
        for by in [0, 1] {
            cluster.until_named(by, 2, kind, named).await;
        }
        cluster.kill(2).await;
    }
    cluster.gates[2].pass_unaltered();
    cluster.hold_all(&[]);
    cluster.start(2).await;
    cluster.until_complete().await;
    for by in [0, 1] {
        let status = cluster
            .until(by, |status| status.progress.members_complete == 3)
            .await;
        assert!(status.faults.is_empty(), "{:?}", status.faults);
    }
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_of_any_kind_is_named() {
    for kind in [
        Kind::Status,
        Kind::Contribution,
        Kind::Graph,
        Kind::Nonces,
        Kind::Ready,
    ] {
        // A contribution's limit is more than a test should send; the code is the same for all kinds.
        let short = |one: &Lie| kind != Kind::Contribution || !one.1.ends_with("got more");
        lie(kind, LIES.into_iter().filter(short)).await;
    }
    // Who has lied once with these is complete, and signs no more.
    for one in LIES {
        lie(Kind::Partials, [one]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_payloads_of_any_kind_are_named() {
    for chunk in PAYLOADS.chunk_by(|(one, _), (other, _)| one == other) {
        lie(chunk[0].0, chunk.iter().map(|(_, one)| *one)).await;
    }
}

/// Signatures of a complete member are believed no more than anything else.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_signatures_of_a_complete_member_are_named() {
    let mut cluster = Cluster::new(3, 20, 100).await;
    cluster.gates[0].hold(&[Kind::Partials]);
    for member in [1, 2] {
        cluster.gates[member].hold(&[Kind::Signatures]);
    }
    cluster.gates[0].alter(|kind, bytes| match kind {
        Kind::Signatures => forge(kind, &bytes, 0, |payload| payload[64 * 5 + 63] ^= 1),
        _ => bytes,
    });
    cluster.start_all().await;
    for by in [1, 2] {
        cluster
            .until_named(by, 0, Kind::Signatures, "\"transaction 5\"")
            .await;
    }
    cluster.gates[0].pass_unaltered();
    cluster.gates[0].hold(&[]);
    cluster.until_complete().await;
    cluster.finish().await;
}
