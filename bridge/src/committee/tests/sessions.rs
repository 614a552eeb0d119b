//! Sessions after the set-up over HTTP: many at once, members that come late, end, lie, or want something else.

use std::collections::BTreeSet;

use super::cluster::{Cluster, forge};
use super::liars::LIES;
use super::signers::{Signers, request};
use crate::committee::message::HEADER;
use crate::committee::{Kind, MAX_PENDING, MemberStatus, SignError, SignRequest};

/// Returns the plans of which a member has served nonces.
fn plans_of_nonces(signers: &Signers, member: usize) -> BTreeSet<Vec<u8>> {
    let served = signers.cluster.gates[member].served(Kind::Nonces);
    served.iter().map(|message| message[36..68].to_vec()).collect()
}

/// Many lists at once, which each member asks for in another order: all get the same, in one round each, with one
/// question for each message.
#[tokio::test(flavor = "multi_thread")]
async fn many_lists_are_signed_whatever_the_order() {
    const LISTS: usize = 40;
    let mut signers = Signers::new(3).await;
    signers.start_all().await;
    let lists: Vec<_> = (0..LISTS)
        .map(|n| request(&format!("vault graph {n}"), 1 + n % 9))
        .collect();
    let mut asked = Vec::new();
    for member in 0..3 {
        for n in 0..LISTS {
            // 7 and 40 have no common divisor, so that this comes to every list.
            let list = &lists[(n * [1, 7, 39][member] + 13 * member) % LISTS];
            asked.push((member, list.name.clone(), signers.ask(member, list)));
        }
    }
    for list in &lists {
        let mut all = Vec::new();
        for (_, _, signed) in asked.extract_if(.., |(_, name, _)| *name == list.name) {
            all.push(signers.check(list, signed).await);
        }
        assert!(all.len() == 3 && all.iter().all(|one| *one == all[0]));
    }
    for member in 0..3 {
        signers.until(member, 0, LISTS as u64).await;
        let gate = &signers.cluster.gates[member];
        assert_eq!(plans_of_nonces(&signers, member).len(), LISTS);
        let unique: BTreeSet<_> = gate.served(Kind::Nonces).into_iter().collect();
        assert_eq!(unique.len(), LISTS, "one round for each list");
        for kind in [Kind::Nonces, Kind::Ready, Kind::Partials] {
            let served = gate.served(kind).len();
            assert!(served <= 3 * LISTS, "{kind:?} was read {served} times");
        }
    }
    // What is stored is given at once, also to those that ask with other labels.
    let mut again = lists[3].clone();
    again.signings[0].label = "something".into();
    let stored = signers.signer(0).stored(again.signings.clone()).await.unwrap();
    assert_eq!(Some(signers.signer(0).sign(again).await.unwrap()), stored);
    signers.finish().await;
}

/// What only some ask for is not signed, also when the others ask for something else under its name; and who stops
/// asking may ask again.
#[tokio::test(flavor = "multi_thread")]
async fn only_what_all_ask_for_is_signed() {
    let mut signers = Signers::new(3).await;
    signers.start_all().await;
    let wanted = request("accept", 3);
    let other = SignRequest {
        name: wanted.name.clone(),
        ..request("another", 3)
    };
    let asked = [signers.ask(0, &wanted), signers.ask(1, &wanted)];
    let others = signers.ask(2, &other);
    for (by, missing) in [(0, vec!["member-2"]), (2, vec!["member-0", "member-1"])] {
        let status = signers.cluster.until(by, |status| {
            let mut oldest = status.sessions.iter().flat_map(|sessions| &sessions.oldest);
            oldest.any(|session| session.missing == missing)
        });
        status.await;
    }
    // Another list passes through everything meanwhile.
    let passing = request("passing", 2);
    for signed in signers.ask_all(&passing) {
        signers.check(&passing, signed).await;
    }
    for member in 0..3 {
        assert_eq!(plans_of_nonces(&signers, member).len(), 1);
        assert_eq!(
            signers
                .signer(member)
                .stored(wanted.signings.clone())
                .await
                .unwrap(),
            None
        );
    }
    assert!(!others.is_finished() && asked.iter().all(|asked| !asked.is_finished()));
    for signed in asked {
        signed.abort();
    }
    signers.until(0, 0, 1).await;
    signers.until(1, 0, 1).await;
    others.abort();
    signers.until(2, 0, 1).await;
    // Member 2 alone wants it now: it is not signed for those that have stopped.
    let late = signers.ask(2, &wanted);
    signers.until(2, 1, 1).await;
    assert_eq!(plans_of_nonces(&signers, 2).len(), 1);
    for signed in [signers.ask(0, &wanted), signers.ask(1, &wanted), late] {
        signers.check(&wanted, signed).await;
    }
    signers.finish().await;
}

/// Who stops in the middle of a session, with its nonces published, resumes with others.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_asked_for_again_is_signed() {
    let mut signers = Signers::new(3).await;
    signers.cluster.hold_all(&[Kind::Partials, Kind::Signatures]);
    signers.start_all().await;
    let list = request("vault graph", 5);
    let mut asked = signers.ask_all(&list);
    for member in 0..3 {
        let spent = |status: &MemberStatus| {
            let mut oldest = status.sessions.iter().flat_map(|sessions| &sessions.oldest);
            oldest.any(|session| session.partials == 1)
        };
        signers.cluster.until(member, spent).await;
    }
    asked.remove(2).abort();
    signers.until(2, 0, 0).await;
    asked.push(signers.ask(2, &list));
    // A second one that waits for the same is answered as well.
    asked.push(signers.ask(2, &list));
    for gate in &signers.cluster.gates {
        gate.until_served(Kind::Nonces, 4).await;
    }
    signers.cluster.hold_all(&[]);
    for signed in asked {
        signers.check(&list, signed).await;
    }
    signers.finish().await;
}

/// A member ends at each message of a session and comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_ends_in_the_middle_finishes_later() {
    for held in [
        vec![Kind::Nonces],
        vec![Kind::Ready],
        vec![Kind::Partials, Kind::Signatures],
    ] {
        let mut signers = Signers::new(3).await;
        signers.cluster.hold_all(&held);
        signers.start_all().await;
        let lists: Vec<_> = (0..5).map(|n| request(&format!("graph {n}"), 3 + n)).collect();
        let mut asked = Vec::new();
        for list in &lists {
            asked.extend(signers.ask_all(list).into_iter().map(|signed| (list, signed)));
        }
        for member in 0..3 {
            let frozen = |status: &MemberStatus| {
                let sessions = status.sessions.as_ref().unwrap();
                let there = |kind| match kind {
                    Kind::Nonces => sessions.oldest.iter().all(|s| s.missing.is_empty()),
                    Kind::Ready => sessions.oldest.iter().all(|s| s.nonces == 3),
                    _ => sessions.oldest.iter().all(|s| s.ready == 3 && s.partials == 1),
                };
                sessions.pending == 5 && there(held[0])
            };
            signers.cluster.until(member, frozen).await;
        }
        signers.kill(1).await;
        let ended = asked.extract_if(.., |(_, signed)| signed.is_finished());
        for (_, signed) in ended.collect::<Vec<_>>() {
            assert!(matches!(signed.await.unwrap(), Err(SignError::Ended)));
        }
        signers.cluster.hold_all(&[]);
        signers.start(1).await;
        asked.extend(lists.iter().map(|list| (list, signers.ask(1, list))));
        assert_eq!(asked.len(), 15);
        for (list, signed) in asked {
            signers.check(list, signed).await;
        }
        println!("{held:?} is done");
        signers.finish().await;
    }
}

/// Signatures are there when the store is opened again, with nobody else; who lost its store takes them from another.
#[tokio::test(flavor = "multi_thread")]
async fn signatures_are_kept_and_given_to_who_lost_them() {
    let mut signers = Signers::new(3).await;
    signers.start_all().await;
    let list = request("vault graph", 8);
    let mut signatures = Vec::new();
    for signed in signers.ask_all(&list) {
        signatures = signers.check(&list, signed).await;
    }
    for member in 0..3 {
        signers.kill(member).await;
    }
    signers.start(0).await;
    let signed = signers.ask(0, &list);
    assert_eq!(signers.check(&list, signed).await, signatures);
    // Member 2 comes back without its file, and member 1 does not come back.
    signers.cluster.dirs[2] = tempfile::tempdir().unwrap();
    signers.set_up(2);
    signers.start(2).await;
    let signed = signers.ask(2, &list);
    assert_eq!(signers.check(&list, signed).await, signatures);
    assert_eq!(signers.cluster.gates[0].served(Kind::Signatures).len(), 1);
    for member in [0, 2] {
        signers.until(member, 0, 1).await;
    }
    // When it does not want them any more, they are not listed any more.
    let gate = signers.cluster.gates[0].clone();
    let unlisted = |list: &Vec<u8>| list.len() == HEADER;
    let mut last = gate.served(Kind::Sessions).last().map(unlisted);
    while last != Some(true) {
        gate.until_served(Kind::Sessions, 1 + gate.served(Kind::Sessions).len())
            .await;
        last = gate.served(Kind::Sessions).last().map(unlisted);
    }
    signers.finish().await;
}

/// A wrong partial signature is named with what it is of, and nothing else suffers.
#[tokio::test(flavor = "multi_thread")]
async fn a_liar_is_named_and_blocks_one_list_only() {
    let mut signers = Signers::new(3).await;
    let (bad, good) = (request("bad", 7), request("good", 4));
    signers.cluster.gates[2].alter(|kind, bytes| match kind {
        Kind::Partials if bytes.len() == HEADER + 7 * 32 => {
            forge(kind, &bytes, 2, |payload| payload[32 * 5 + 31] ^= 1)
        }
        _ => bytes,
    });
    signers.cluster.hold_all(&[Kind::Signatures]);
    signers.start_all().await;
    let asked = signers.ask_all(&bad);
    for by in [0, 1] {
        let named =
            signers
                .cluster
                .until_named(by, 2, Kind::Partials, "bad: the partial signature of \"bad 5\"");
        named.await;
    }
    for signed in signers.ask_all(&good) {
        signers.check(&good, signed).await;
    }
    for by in [0, 1] {
        signers.until(by, 1, 1).await;
    }
    signers.cluster.gates[2].pass_unaltered();
    signers.cluster.hold_all(&[]);
    for signed in asked {
        signers.check(&bad, signed).await;
    }
    for by in 0..3 {
        let status = signers.cluster.until(by, |_| true).await;
        assert!(status.faults.is_empty(), "{:?}", status.faults);
    }
    signers.finish().await;
}

/// Wrong signatures of a member that has them are believed no more than anything else.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_signatures_are_named() {
    let mut signers = Signers::new(3).await;
    let list = request("vault graph", 4);
    signers.start_all().await;
    for signed in signers.ask_all(&list) {
        signers.check(&list, signed).await;
    }
    signers.kill(2).await;
    signers.kill(1).await;
    signers.cluster.dirs[2] = tempfile::tempdir().unwrap();
    signers.set_up(2);
    signers.cluster.gates[0].alter(|kind, bytes| match kind {
        Kind::Signatures => forge(kind, &bytes, 0, |payload| payload[64 * 2 + 63] ^= 1),
        _ => bytes,
    });
    signers.start(2).await;
    let signed = signers.ask(2, &list);
    let wrong = "vault graph: the signature of \"vault graph 2\" is wrong";
    signers.cluster.until_named(2, 0, Kind::Signatures, wrong).await;
    signers.cluster.gates[0].pass_unaltered();
    signers.start(1).await;
    signers.check(&list, signed).await;
    signers.finish().await;
}

/// A member that tells one lie after the other with one kind of message, and then the truth.
#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_named_and_heals() {
    let unordered: super::liars::Lie = (
        |kind, bytes| {
            forge(kind, &bytes, 2, |payload| {
                let twice = payload.clone();
                payload.extend(twice);
            })
        },
        "item 1 is no entry in order",
    );
    let short: super::liars::Lie = (
        |kind, bytes| forge(kind, &bytes, 2, |payload| payload.truncate(74)),
        "expected 1328 bytes, got 74",
    );
    let other: super::liars::Lie = (
        |kind, bytes| forge(kind, &bytes, 2, |payload| payload[0] ^= 8),
        "session: expected",
    );
    for (kind, lie) in [
        (Kind::Sessions, unordered),
        (Kind::Nonces, short),
        (Kind::Ready, other),
    ] {
        let mut signers = Signers::new(3).await;
        signers.cluster.hold_all(&[Kind::Signatures]);
        signers.start(0).await;
        signers.start(1).await;
        let list = request("vault graph", 20);
        let mut asked = vec![signers.ask(0, &list), signers.ask(1, &list)];
        for (change, named) in LIES.into_iter().chain([lie]) {
            println!("{kind:?}: {named}");
            signers.cluster.gates[2].alter(move |served, bytes| {
                // An empty list is no lie yet.
                let lies = served == kind && bytes.len() > HEADER;
                if lies { change(served, bytes) } else { bytes }
            });
            signers.start(2).await;
            let liar = signers.ask(2, &list);
            for by in [0, 1] {
                signers.cluster.until_named(by, 2, kind, named).await;
            }
            signers.kill(2).await;
            assert!(matches!(liar.await.unwrap(), Err(SignError::Ended)));
        }
        signers.cluster.gates[2].pass_unaltered();
        signers.cluster.hold_all(&[]);
        signers.start(2).await;
        asked.push(signers.ask(2, &list));
        for signed in asked {
            signers.check(&list, signed).await;
        }
        for by in [0, 1] {
            let good = signers.cluster.until(by, |status| status.faults.is_empty());
            good.await;
        }
        signers.finish().await;
    }
}

/// Who is late in the set-up takes its signatures from members that do not set up any more.
#[tokio::test(flavor = "multi_thread")]
async fn late_members_of_the_set_up_are_served() {
    let mut cluster = Cluster::new(3, 20, 100).await;
    cluster.gates[0].hold(&[Kind::Partials, Kind::Signatures]);
    for member in [1, 2] {
        cluster.gates[member].hold(&[Kind::Signatures]);
    }
    cluster.start_all().await;
    cluster.until_progress(0, |progress| progress.complete).await;
    cluster.kill(0).await;
    let mut signers = Signers::of(cluster);
    signers.start(0).await;
    signers.cluster.hold_all(&[]);
    for member in [1, 2] {
        signers
            .cluster
            .until_progress(member, |progress| progress.complete)
            .await;
    }
    let all = |status: &MemberStatus| status.progress.members_complete == 3;
    let status = signers.cluster.until(0, all).await;
    assert!(status.faults.is_empty(), "{:?}", status.faults);
    assert_eq!((status.progress.signings, status.progress.graphs), (20, 3));
    // The list is asked for while the others are still in the set-up's command.
    let list = request("vault graph", 3);
    let mut asked = vec![signers.ask(0, &list)];
    signers.until(0, 1, 0).await;
    for member in [1, 2] {
        signers.cluster.kill(member).await;
        signers.start(member).await;
        asked.push(signers.ask(member, &list));
    }
    for signed in asked {
        signers.check(&list, signed).await;
    }
    signers.finish().await;
}

/// Who goes back to the set-up's command asks for nothing, and for the same again when it comes back.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_was_taken_back_comes_again() {
    let mut cluster = Cluster::new(3, 4, 10).await;
    cluster.start_all().await;
    cluster.until_complete().await;
    for member in 0..3 {
        cluster.kill(member).await;
    }
    let mut signers = Signers::of(cluster);
    let list = request("accept", 1);
    signers.start(0).await;
    signers.start(1).await;
    let mut asked = vec![signers.ask(0, &list)];
    let missing = |names: &'static [&str]| {
        move |status: &MemberStatus| {
            let mut oldest = status.sessions.iter().flat_map(|sessions| &sessions.oldest);
            oldest.any(|session| session.missing == names)
        }
    };
    for _ in 0..2 {
        let ended = signers.ask(1, &list);
        signers.cluster.until(0, missing(&["member-2"])).await;
        signers.kill(1).await;
        assert!(matches!(ended.await.unwrap(), Err(SignError::Ended)));
        signers.cluster.start(1).await;
        let both = missing(&["member-1", "member-2"]);
        signers.cluster.until(0, both).await;
        signers.cluster.kill(1).await;
        signers.start(1).await;
    }
    signers.start(2).await;
    asked.extend([signers.ask(1, &list), signers.ask(2, &list)]);
    for signed in asked {
        signers.check(&list, signed).await;
    }
    signers.finish().await;
}

/// So many are asked for at once and no more; who stops asking makes room.
#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_lists_are_asked_for_at_once() {
    let mut signers = Signers::new(2).await;
    signers.start(0).await;
    let list = |n: usize| request(&format!("accept {n}"), 1);
    let mut asked: Vec<_> = (0..MAX_PENDING).map(|n| signers.ask(0, &list(n))).collect();
    signers.until(0, MAX_PENDING, 0).await;
    let late = list(MAX_PENDING);
    let waiting = signers.ask(0, &late);
    for asked in asked.drain(1..) {
        asked.abort();
    }
    signers.until(0, 2, 0).await;
    signers.start(1).await;
    let other = signers.ask(1, &late);
    for signed in [waiting, other] {
        signers.check(&late, signed).await;
    }
    let long = SignRequest {
        name: "x".repeat(121),
        ..late
    };
    assert!(matches!(
        signers.signer(0).sign(long).await,
        Err(SignError::Name { got: 121 })
    ));
    drop(asked);
    signers.finish().await;
}

/// A member cannot be opened before its set-up is complete.
#[tokio::test]
async fn the_set_up_comes_first() {
    let cluster = Cluster::new(2, 1, 1).await;
    let refused = crate::committee::Signer::open(cluster.options(0))
        .map(drop)
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the set-up is not complete: the store has no signatures"
    );
}
