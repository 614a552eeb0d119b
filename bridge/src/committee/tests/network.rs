//! Set-ups over HTTP that succeed: of several sizes, and with members that end at every phase.

use super::cluster::Cluster;
use crate::committee::{Kind, Progress};

/// A phase of the set-up, frozen: what nobody serves, and how everybody looks then.
type Phase = (&'static [Kind], fn(&Progress) -> bool);

const PHASES: [Phase; 6] = [
    (&[Kind::Contribution], |p| p.contributions == 1),
    (&[Kind::Graph], |p| p.signings > 0),
    (&[Kind::Nonces], |p| p.graphs == 3 && p.round > 0),
    (&[Kind::Ready], |p| p.nonces == 3),
    (&[Kind::Partials, Kind::Signatures], |p| {
        p.ready == 3 && p.partials == 1
    }),
    (&[], |p| p.complete),
];

#[tokio::test(flavor = "multi_thread")]
async fn three_members_sign_a_graph_of_a_slot() {
    let mut cluster = Cluster::new(3, 630, 500_000).await;
    cluster.start_all().await;
    cluster.until_complete().await;
    cluster.until_all(|progress| progress.members_complete == 3).await;
    let status = cluster.until(0, |_| true).await;
    let summary = status.progress.summary.unwrap();
    println!("{summary:?}");
    assert_eq!((summary.signatures, summary.rounds), (630, 1));
    // Two contributions, and nonces and partial signatures of two members, at least.
    let least = 2 * (500_000 + 630 * (66 + 32));
    assert!(
        summary.bytes_received > least && summary.bytes_received < 2 * least,
        "{summary:?}"
    );
    assert!(status.faults.is_empty(), "{:?}", status.faults);
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn five_members_sign() {
    let mut cluster = Cluster::new(5, 200, 1000).await;
    cluster.start_all().await;
    cluster.until_complete().await;
    cluster.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_ends_at_any_phase_finishes_later() {
    for (number, (held, frozen)) in PHASES.into_iter().enumerate() {
        let mut cluster = Cluster::new(3, 20, 100).await;
        cluster.hold_all(held);
        cluster.start_all().await;
        cluster.until_all(frozen).await;
        cluster.kill(1).await;
        cluster.hold_all(&[]);
        cluster.start(1).await;
        cluster.until_complete().await;
        println!("phase {number} is done");
        cluster.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_may_end_at_any_phase() {
    for (held, frozen) in PHASES {
        let mut cluster = Cluster::new(3, 20, 100).await;
        cluster.hold_all(held);
        cluster.start_all().await;
        cluster.until_all(frozen).await;
        for member in 0..3 {
            cluster.kill(member).await;
        }
        cluster.hold_all(&[]);
        cluster.start_all().await;
        cluster.until_complete().await;
        cluster.finish().await;
    }
}

/// One member completes; the others have lost their nonces and take its signatures.
#[tokio::test(flavor = "multi_thread")]
async fn late_members_take_the_signatures() {
    let mut cluster = Cluster::new(3, 20, 100).await;
    cluster.gates[0].hold(&[Kind::Partials, Kind::Signatures]);
    for member in [1, 2] {
        cluster.gates[member].hold(&[Kind::Signatures]);
    }
    cluster.start_all().await;
    cluster.until_progress(0, |progress| progress.complete).await;
    for member in [1, 2] {
        cluster
            .until_progress(member, |progress| progress.partials == 2)
            .await;
        cluster.kill(member).await;
    }
    cluster.gates[0].hold(&[Kind::Partials]);
    for member in [1, 2] {
        cluster.start(member).await;
    }
    cluster.until_complete().await;
    cluster
        .until_progress(0, |progress| progress.members_complete == 3)
        .await;
    cluster.finish().await;
}

/// A restart in the middle makes everybody use fresh nonces.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_renews_everybodys_nonces() {
    let mut cluster = Cluster::new(3, 20, 100).await;
    cluster.hold_all(&[Kind::Partials, Kind::Signatures]);
    cluster.start_all().await;
    cluster
        .until_all(|progress| progress.ready == 3 && progress.partials == 1)
        .await;
    cluster.kill(2).await;
    cluster.start(2).await;
    cluster
        .until_all(|progress| progress.round == 2 && progress.partials == 1)
        .await;
    cluster.hold_all(&[]);
    cluster.until_complete().await;
    for gate in &cluster.gates {
        let nonces: std::collections::BTreeSet<_> = gate.served(Kind::Nonces).into_iter().collect();
        assert_eq!(nonces.len(), 2);
    }
    cluster.finish().await;
}

/// A contribution that blocks the graph is shown, and ends nobody.
#[tokio::test(flavor = "multi_thread")]
async fn contributions_that_give_no_graph_are_shown() {
    let mut cluster = Cluster::new(3, 20, 100).await;
    cluster.builders[1].tail = 0xff;
    cluster.start_all().await;
    for member in 0..3 {
        let blocked = |progress: &Progress| progress.blocked.as_ref().is_some_and(|why| why.contains("0xff"));
        cluster.until_progress(member, blocked).await;
    }
    for member in 0..3 {
        cluster.kill(member).await;
    }
}
