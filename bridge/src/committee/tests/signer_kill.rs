//! Members that sign after the set-up as processes that are killed with SIGKILL, at each message and at random.

use std::time::Duration;

use rand::Rng;
use tokio_util::sync::CancellationToken;

use super::kill::{Given, Processes, given};
use super::signers::{Signers, check_signatures, request};
use crate::committee::{Kind, SignRequest, Signer};

const LISTS: usize = 6;

/// What every member asks for.
fn lists() -> Vec<SignRequest> {
    let list = |n| request(&format!("vault graph {n}"), 4 + n);
    (0..LISTS).map(list).collect()
}

/// What a child process runs; by itself it does nothing.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the other tests as a process of its own"]
async fn child() {
    let Some(Given {
        member,
        options,
        listener,
    }) = given().await
    else {
        return;
    };
    let (signer, service) = Signer::open(options).unwrap();
    let mut lists = lists();
    lists.rotate_left(usize::from(member));
    for list in lists {
        let signer = signer.clone();
        tokio::spawn(async move { signer.sign(list).await.unwrap() });
    }
    service.run(listener, CancellationToken::new()).await.unwrap();
}

async fn processes() -> Processes {
    let Signers { cluster, .. } = Signers::new(3).await;
    Processes::of(cluster, "committee::tests::signer_kill::child").await
}

/// Waits until all lists are signed, and checks what the files have.
async fn finish(mut processes: Processes) {
    for member in 0..3 {
        let all = |sessions: &crate::committee::SessionsReport| {
            (sessions.pending, sessions.signed) == (0, LISTS as u64)
        };
        let signed = processes
            .cluster
            .until(member, |status| status.sessions.as_ref().is_some_and(all));
        signed.await;
    }
    for member in 0..3 {
        processes.kill(member).await;
    }
    processes.cluster.check_nonces();
    for member in 0..3 {
        let options = processes.cluster.options(member);
        let (signer, _service) = Signer::open(options).unwrap();
        for list in lists() {
            let stored = signer.stored(list.signings.clone()).await.unwrap().unwrap();
            check_signatures(&processes.cluster, &list, &stored);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_killed_at_each_message_finishes() {
    for kind in [Kind::Sessions, Kind::Nonces, Kind::Ready, Kind::Partials] {
        let mut processes = processes().await;
        // One that completes without having been asked for partial signatures is killed after that.
        processes.cluster.gates[1].hold(&[Kind::Signatures]);
        processes.cluster.gates[1].until_served(kind, 3).await;
        processes.kill(1).await;
        println!("killed at {kind:?}");
        processes.cluster.hold_all(&[]);
        processes.start(1).await;
        finish(processes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signers_killed_at_random_finish() {
    let mut processes = processes().await;
    // Late members must sign again, so that every kill is in the middle of something.
    processes.cluster.hold_all(&[Kind::Signatures]);
    for _ in 0..20 {
        let (member, wait) = (rand::rng().random_range(0..3), rand::rng().random_range(0..300));
        tokio::time::sleep(Duration::from_millis(wait)).await;
        processes.kill(member).await;
        processes.start(member).await;
    }
    processes.cluster.hold_all(&[]);
    finish(processes).await;
}
