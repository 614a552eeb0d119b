//! Three challengers on one dispute, over a real chain and a real Bitcoin Core: one disputes, one would, one watches. What they
//! make of claims, publish, say, and raise.

#[path = "../../vm/guest/tests/machine/built.rs"]
mod built;

use std::path::PathBuf;
use std::sync::Arc;

use bitcoin::NetworkKind;
use bitsect_bridge::chain::Chain;
use bitsect_bridge::daemon::{Judgement, Names, judge};
use bitsect_bridge::slot::{Claimed, Main, MoveKind, SlotState};
use bitsect_challenger::config::Layer;
use bitsect_challenger::dispute::{Deployed, Hands, Side as Does};
use bitsect_challenger::explain::Told;
use bitsect_challenger::metrics::Status;
use bitsect_challenger::run::Challenger;
use bitsect_l1::wallet::Keys;
use bitsect_tests::dispute::{Arena, Claim, DEPLOYMENT, Liar, Lie, ROUNDS, Side, WRONG_UNIT, params};
use bitsect_tests::{ChallengerListener, until};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A challenger in this process.
struct Running {
    chain: Arc<dyn Chain>,
    listener: ChallengerListener,
    alarms: PathBuf,
    stop: CancellationToken,
    task: JoinHandle<eyre::Result<()>>,
}

fn deployed(arena: &Arena) -> Deployed {
    Deployed {
        hash: DEPLOYMENT,
        slots: vec![arena.slots[0].clone()],
        names: vec![Names {
            operator: "alice".into(),
            challengers: vec!["bob".into()],
        }],
        start_height: arena.start.height,
    }
}

fn hands(arena: &Arena) -> Hands {
    let side = Side::Challenger(0);
    let wallet = Keys::read(&arena.folder(side).join("wallet.key"), NetworkKind::Test);
    Hands {
        seed: arena.parties.seed(side),
        key: arena.parties.key(side),
        pairs: vec![Some(0)],
        wallet: wallet.expect("the arena has paid it"),
        committee: None,
    }
}

impl Running {
    async fn start(arena: &Arena, name: &str, does: Does) -> Self {
        let dir = arena.network.dir().join(name);
        std::fs::create_dir_all(&dir).expect("a folder");
        let alarms = dir.join("events");
        let layer = Layer {
            data_dir: Some(dir),
            chain_file: Some(arena.network.chain_path().to_owned()),
            l1_url: Some(arena.network.core.rpc_url()),
            l1_cookie_file: Some(arena.network.core.cookie()),
            guest_file: Some(built::built()),
            alarm_command: Some(format!("cat >>{}", alarms.display())),
            fee_outputs: Some(3),
            fee_output_sats: Some(100_000),
            ..Layer::default()
        };
        let mut challenger = Challenger::open(layer.resolve().expect("a configuration")).expect("it opens");
        challenger
            .dispute(deployed(arena), does)
            .expect("it takes the slots");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (chain, stop) = (challenger.chain(), CancellationToken::new());
        Self {
            chain,
            listener: ChallengerListener::new(listener.local_addr().expect("an address").to_string()),
            alarms,
            task: tokio::spawn(challenger.run(Some(listener), stop.clone())),
            stop,
        }
    }

    async fn get(&self, path: &str) -> String {
        let (status, text) = self.listener.get(path).await.expect("it listens");
        assert_eq!(status, 200, "{text}");
        text
    }

    /// Waits until it has looked at Bitcoin's tip and derived from it, and gives its status.
    async fn synced(&self, arena: &Arena) -> Status {
        let tip = arena.network.core.tip().await.expect("a tip");
        until("a challenger to see the tip", || async {
            let status = self.listener.status().await?;
            let seen = status.disputes.as_ref().and_then(|disputes| disputes.tip);
            let judged = status.disputes.iter().flat_map(|disputes| &disputes.slots);
            let known = judged
                .filter_map(|slot| slot.judgement.as_ref())
                .all(|judgement| judgement != "unknown");
            if seen == Some(tip.height) && status.l1_hash == tip.hash && known {
                Ok(status)
            } else {
                Err(format!("{status}"))
            }
        })
        .await
    }

    /// Waits until alarms of some kind were given to the command.
    async fn alarm(&self, kind: &str) -> Value {
        until(&format!("the alarm {kind}"), || async {
            let events = self.events();
            let found = events.iter().find(|event| event["event"] == kind);
            found.cloned().ok_or_else(|| format!("{events:?}"))
        })
        .await
    }

    fn events(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.alarms).unwrap_or_default();
        // The last one may be half written.
        text.lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    async fn stop(self) {
        self.stop.cancel();
        self.task
            .await
            .expect("it does not panic")
            .expect("it stops in order");
    }
}

/// Mines until the claim is on Bitcoin.
async fn claimed(arena: &mut Arena) -> SlotState {
    let claimed = |state: &SlotState| state.claim.is_some();
    arena.play_until((Side::Operator, 0), "the claim", claimed).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_false_claim_is_defeated_and_said_by_all_who_look() {
    let mut arena = Arena::start(built::built(), (1, 1), params(ROUNDS)).await;
    let watch = Running::start(&arena, "watch", Does::Watch).await;
    let dry = Running::start(&arena, "dry", Does::DryRun(hands(&arena))).await;
    let before = watch.synced(&arena).await;
    let disputes = before.disputes.expect("a deployment is named");
    assert_eq!((disputes.mode.as_str(), disputes.fee_outputs), ("watch", None));
    assert_eq!(
        (disputes.slots[0].view.main.as_str(), &disputes.slots[0].judgement),
        ("bonded", &None)
    );

    let liar = Liar::new(WRONG_UNIT, Lie::State);
    arena.operator(&[Claim::False(9, liar)]).await;
    let state = claimed(&mut arena).await;
    let seen = watch.alarm("claim-false").await;
    assert_eq!((&seen["units"], &seen["slot"]), (&9.into(), &0.into()));
    assert!(seen["expected"].is_string(), "{seen}");
    // What would be published is said, with the reason, and is in no mempool.
    let would = until("the dry run to see the claim", || async {
        let disputes = dry.synced(&arena).await.disputes.expect("a deployment is named");
        disputes
            .withheld
            .first()
            .cloned()
            .ok_or_else(|| disputes.to_string())
    })
    .await;
    assert!(would.label.starts_with("challenge of slot 0"), "{would:?}");
    assert!(would.why.contains("the claim says 0x"), "{would:?}");
    assert!(would.vsize > 100 && would.deadline > state.claim.expect("a claim").height);
    let client = arena.network.core.client();
    let entry = client
        .get_mempool_entry(&would.txid)
        .await
        .expect("Bitcoin Core answers");
    assert!(entry.is_none(), "a dry run has published");
    let told: Told = serde_json::from_str(&watch.get("explain/0").await).expect("an explanation");
    assert_eq!(told.severity, 2);
    assert!(told.text.contains("between  positions 0 and 9"), "{}", told.text);

    let run = Running::start(&arena, "run", Does::Run(hands(&arena))).await;
    let slashed = |state: &SlotState| matches!(state.main, Main::Slashed { .. });
    let state = arena.play_until((Side::Operator, 0), "the slash", slashed).await;
    let asked = |made: &&bitsect_bridge::slot::Move| matches!(made.kind, MoveKind::Ask(_));
    assert!(state.moves.iter().filter(asked).count() > 2, "{:?}", state.moves);
    assert_eq!(
        state.moves[1].txid, would.txid,
        "the challenge is the one that was said"
    );

    for (challenger, ours) in [(&watch, false), (&dry, true), (&run, true)] {
        let ended = challenger.alarm("dispute-ended").await;
        assert_eq!(
            (&ended["end"], &ended["ours"]),
            (&"verdict".into(), &ours.into()),
            "{ended}"
        );
        assert!(ended["leaf"].is_string(), "{ended}");
        let status = challenger.synced(&arena).await;
        let slot = &status.disputes.expect("a deployment is named").slots[0];
        assert_eq!(slot.view.main, "slashed by bob");
        assert_eq!(slot.view.moves.len(), state.moves.len());
        let made = challenger
            .events()
            .iter()
            .filter(|event| event["event"] == "challenge-made")
            .count();
        assert_eq!(made, 1);
    }
    let metrics = run.get("metrics").await;
    for line in [
        "bitsect_claims{judgement=\"false\"} 1",
        "bitsect_disputes_ended{end=\"verdict\"} 1",
        "bitsect_stakes_lost 0",
    ] {
        assert!(metrics.lines().any(|got| got == line), "{line}: {metrics}");
    }
    // What was published names the unit.
    let told: Told = serde_json::from_str(&watch.get("explain/0").await).expect("an explanation");
    let unit = arena.slots[0].start_unit + WRONG_UNIT;
    assert!(told.text.contains(&format!("unit     {unit}:")), "{}", told.text);
    assert_eq!(
        told.explanation["branches"][0]["unit"]["unit"], unit,
        "{}",
        told.text
    );
    for challenger in [watch, dry, run] {
        challenger.stop().await;
    }
    arena.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_true_claim_is_left_alone_and_one_of_the_future_is_false() {
    let mut arena = Arena::start(built::built(), (1, 1), params(ROUNDS)).await;
    let run = Running::start(&arena, "run", Does::Run(hands(&arena))).await;
    arena.operator(&[Claim::True(9)]).await;
    let state = claimed(&mut arena).await;
    let status = run.synced(&arena).await;
    assert_eq!(
        status.disputes.expect("a deployment is named").slots[0]
            .judgement
            .as_deref(),
        Some("true")
    );
    assert_eq!(run.alarm("claim-seen").await["judgement"], "true");

    // The same claim of a unit more than there is: false in this block, and not known of one that comes.
    let claim = state.claim.expect("a claim");
    let (start, chain) = (arena.slots[0].start_unit, &run.chain);
    let count = chain.unit_count().await.expect("a count") - start + 1;
    let future = |height| Claimed {
        count: count as u32,
        height,
        ..claim
    };
    let derived = chain.l1_height().await.expect("a height");
    for (claim, judgement) in [
        (claim, Judgement::True),
        (future(derived), Judgement::False),
        (future(derived + 1), Judgement::Unknown),
    ] {
        let judged = judge(chain, start, (&claim, None)).await.expect("an answer");
        assert_eq!(judged.judgement, judgement, "{claim:?}");
    }

    let finalised = |state: &SlotState| state.main == Main::FinalisedFast;
    arena
        .play_until((Side::Operator, 0), "the fast end", finalised)
        .await;
    let status = run.synced(&arena).await;
    let disputes = status.disputes.expect("a deployment is named");
    assert_eq!(disputes.slots[0].view.main, "finalised fast");
    assert_eq!(
        disputes.slots[0]
            .view
            .moves
            .iter()
            .filter(|made| made.what.starts_with("ask"))
            .count(),
        0
    );
    let kinds: Vec<Value> = run.events().iter().map(|event| event["event"].clone()).collect();
    assert!(!kinds.contains(&"claim-false".into()), "{kinds:?}");
    assert!(!kinds.contains(&"false-claim-finalised".into()), "{kinds:?}");
    run.stop().await;
    arena.stop().await;
}
