//! The follower against a real Bitcoin Core: order, reorgs, restarts, lag. Needs bitcoind (`.ci/setup bitcoind`).

use std::{sync::Arc, time::Duration};

use bitcoin::{BlockHash, Network, hashes::Hash};
use bitsect_l1::{
    BlockRef, FaultClass,
    follower::{Event, FollowError, Follower, FollowerConfig},
    regtest::{Bitcoind, RegtestConfig},
    store::BlockStore,
};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

async fn node() -> (Bitcoind, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (
        Bitcoind::start(RegtestConfig::new(dir.path().join("core")))
            .await
            .unwrap(),
        dir,
    )
}

async fn at(node: &Bitcoind, height: u32) -> BlockRef {
    BlockRef::new(
        height,
        node.client().get_block_hash(height).await.unwrap().unwrap(),
    )
}

fn config() -> FollowerConfig {
    FollowerConfig {
        network: Some(Network::Regtest),
        poll: Duration::from_millis(500),
        ..Default::default()
    }
}

async fn follow_from(node: &Bitcoind, height: u32) -> Follower {
    Follower::new(node.client().clone(), config(), vec![at(node, height).await]).unwrap()
}

/// What a caller keeps: the chain as told by the events, which must fit to each other.
struct Chain {
    blocks: Vec<BlockRef>,
    disconnected: Vec<u32>,
    lagging: usize,
}

impl Chain {
    fn new(follower: &Follower) -> Self {
        Self {
            blocks: follower.known().collect(),
            disconnected: Vec::new(),
            lagging: 0,
        }
    }

    fn take(&mut self, event: &Event) {
        let last = *self.blocks.last().unwrap();
        match event {
            Event::Connected(block) => {
                assert_eq!(block.height, last.height + 1);
                assert_eq!(block.block.header.prev_blockhash, last.hash);
                assert_eq!(block.block.block_hash(), block.hash);
                assert_eq!(bitcoin::consensus::serialize(&block.block), block.bytes);
                self.blocks.push(block.at());
            }
            Event::Disconnected(gone) => {
                assert_eq!(*gone, last);
                self.blocks.pop();
                self.disconnected.push(gone.height);
            }
            Event::Tip { at, .. } => assert_eq!(*at, last),
            Event::Lagging { ours, core, .. } => {
                assert_eq!(*ours, last);
                assert!(core.height < ours.height);
                self.lagging += 1;
            }
        }
    }

    /// Follows until the tip is the node's, riding out faults of the retry class.
    async fn reach(&mut self, follower: &mut Follower, tip: BlockRef) {
        let reach = async {
            loop {
                match follower.next().await {
                    Ok(event) => {
                        self.take(&event);
                        if matches!(event, Event::Tip { at, .. } if at == tip) {
                            return;
                        }
                    }
                    Err(error) => assert_eq!(error.class(), FaultClass::Retry, "{error}"),
                }
            }
        };
        tokio::time::timeout(PATIENCE, reach)
            .await
            .expect("the follower reaches the tip");
        assert_eq!(self.blocks.last(), Some(&tip));
    }
}

#[tokio::test]
async fn blocks_come_in_order_and_new_ones_at_once() {
    let (node, _dir) = node().await;
    node.mine(30).await.unwrap();
    let mut follower = follow_from(&node, 3).await;
    let mut chain = Chain::new(&follower);
    chain.reach(&mut follower, node.tip().await.unwrap()).await;
    assert_eq!(chain.blocks.len(), 28);

    // While the follower waits, a block comes: long before the poll interval.
    let slow = FollowerConfig {
        poll: Duration::from_secs(50),
        ..config()
    };
    let mut follower = Follower::new(node.client().clone(), slow, vec![at(&node, 30).await]).unwrap();
    assert!(matches!(follower.next().await.unwrap(), Event::Tip { .. }));
    let started = std::time::Instant::now();
    let (event, mined) = tokio::join!(follower.next(), node.mine(1));
    mined.unwrap();
    assert!(matches!(event.unwrap(), Event::Connected(block) if block.height == 31));
    assert!(started.elapsed() < Duration::from_secs(25));
}

#[tokio::test]
async fn reorgs_are_followed_down_to_the_fork() {
    let (node, _dir) = node().await;
    node.mine(20).await.unwrap();
    let mut follower = follow_from(&node, 0).await;
    let mut chain = Chain::new(&follower);
    chain.reach(&mut follower, node.tip().await.unwrap()).await;
    for depth in 1..=6 {
        let tip = chain.blocks.last().unwrap().height;
        node.reorg(depth, depth + 1).await.unwrap();
        chain.disconnected.clear();
        chain.reach(&mut follower, node.tip().await.unwrap()).await;
        let expected: Vec<u32> = (tip + 1 - depth..=tip).rev().collect();
        assert_eq!(chain.disconnected, expected, "a reorg of {depth} blocks");
        for block in &chain.blocks {
            assert_eq!(at(&node, block.height).await, *block);
        }
    }
}

#[tokio::test]
async fn reorgs_between_two_nodes_are_followed() {
    let (dir_a, dir_b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let listening = RegtestConfig {
        listen: true,
        ..RegtestConfig::new(dir_a.path())
    };
    let a = Bitcoind::start(listening).await.unwrap();
    let b = Bitcoind::start(RegtestConfig::new(dir_b.path())).await.unwrap();
    a.mine(10).await.unwrap();
    b.connect_to(&a).await.unwrap();
    let mut follower = follow_from(&b, 0).await;
    let mut chain = Chain::new(&follower);
    chain.reach(&mut follower, a.tip().await.unwrap()).await;

    b.client().set_network_active(false).await.unwrap();
    b.mine(3).await.unwrap();
    chain.reach(&mut follower, b.tip().await.unwrap()).await;
    a.mine(5).await.unwrap();
    b.client().set_network_active(true).await.unwrap();
    b.connect_to(&a).await.unwrap();
    chain.reach(&mut follower, a.tip().await.unwrap()).await;
    assert_eq!(chain.disconnected, vec![13, 12, 11]);
    assert_eq!(chain.lagging, 0);
}

#[tokio::test]
async fn a_restart_of_core_is_ridden_out() {
    let (mut node, _dir) = node().await;
    node.mine(5).await.unwrap();
    let mut follower = follow_from(&node, 0).await;
    let mut chain = Chain::new(&follower);
    chain.reach(&mut follower, node.tip().await.unwrap()).await;
    for round in 0..2 {
        if round == 0 {
            node.stop().await.unwrap();
        } else {
            node.client().flush().await.unwrap();
            node.kill();
        }
        let down = tokio::time::timeout(PATIENCE, follower.next()).await.unwrap();
        assert_eq!(down.unwrap_err().class(), FaultClass::Retry);
        node.restart().await.unwrap();
        // That it is back is said before there is a new block.
        loop {
            match follower.next().await {
                Ok(Event::Tip { at, .. }) => break assert_eq!(at, follower.tip()),
                Err(error) => assert_eq!(error.class(), FaultClass::Retry, "{error}"),
                Ok(other) => panic!("{other:?}"),
            }
        }
        node.mine(2).await.unwrap();
        chain.reach(&mut follower, node.tip().await.unwrap()).await;
    }
    assert!(chain.disconnected.is_empty());
    assert_eq!(chain.blocks.len(), 10);
}

#[tokio::test]
async fn blocks_that_a_crash_of_core_lost_are_replaced() {
    let (mut node, _dir) = node().await;
    node.mine(5).await.unwrap();
    node.client().flush().await.unwrap();
    node.mine(3).await.unwrap();
    let mut follower = follow_from(&node, 0).await;
    let mut chain = Chain::new(&follower);
    chain.reach(&mut follower, node.tip().await.unwrap()).await;
    node.kill();
    node.restart().await.unwrap();
    let kept = node.tip().await.unwrap().height;
    assert!(kept < 8, "Core lost nothing, so this test shows nothing");
    loop {
        match tokio::time::timeout(PATIENCE, follower.next()).await.unwrap() {
            Ok(Event::Lagging { core, .. }) => break assert_eq!(core.height, kept),
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert_eq!(error.class(), FaultClass::Retry),
        }
    }
    node.mine(1).await.unwrap();
    chain.reach(&mut follower, node.tip().await.unwrap()).await;
    assert_eq!(chain.disconnected, (kept + 1..=8).rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn lag_is_not_a_reorg() {
    let (node, _dir) = node().await;
    node.mine(10).await.unwrap();
    let top = node.tip().await.unwrap();
    let mut follower = follow_from(&node, 0).await;
    let mut chain = Chain::new(&follower);
    chain.reach(&mut follower, top).await;

    // Core's chain ends three blocks below ours, then comes back.
    let lowest = node.roll_back(3).await.unwrap();
    let event = tokio::time::timeout(PATIENCE, follower.next())
        .await
        .unwrap()
        .unwrap();
    let Event::Lagging { ours, core, .. } = event else {
        panic!("{event:?}")
    };
    assert_eq!((ours, core.height), (top, 7));
    // It is said once; then the follower waits.
    assert!(
        tokio::time::timeout(Duration::from_secs(2), follower.next())
            .await
            .is_err()
    );
    node.client().reconsider_block(&lowest).await.unwrap();
    chain.reach(&mut follower, top).await;
    assert!(chain.disconnected.is_empty());

    // The same, but another block takes the place.
    node.roll_back(3).await.unwrap();
    let event = tokio::time::timeout(PATIENCE, follower.next())
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(event, Event::Lagging { .. }));
    node.mine(1).await.unwrap();
    chain.reach(&mut follower, node.tip().await.unwrap()).await;
    assert_eq!(chain.disconnected, vec![10, 9, 8]);
    assert_eq!(chain.blocks.last().unwrap().height, 8);
}

#[tokio::test]
async fn a_core_that_starts_from_nothing_is_lagging() {
    let (old, _old_dir) = node().await;
    old.mine(8).await.unwrap();
    let known = vec![at(&old, 7).await, at(&old, 8).await];
    let (new, _new_dir) = node().await;
    let mut follower = Follower::new(new.client().clone(), config(), known).unwrap();
    let event = tokio::time::timeout(PATIENCE, follower.next())
        .await
        .unwrap()
        .unwrap();
    assert!(matches!(event, Event::Lagging { core, .. } if core.height == 0));
}

#[tokio::test]
async fn a_reorg_below_what_is_known_stops() {
    let (node, _dir) = node().await;
    node.mine(10).await.unwrap();
    let known = vec![at(&node, 8).await, at(&node, 9).await];
    let mut follower = Follower::new(node.client().clone(), config(), known).unwrap();
    let mut chain = Chain::new(&follower);
    chain.reach(&mut follower, node.tip().await.unwrap()).await;
    node.reorg(5, 6).await.unwrap();
    let error = tokio::time::timeout(PATIENCE, follower.next())
        .await
        .unwrap()
        .unwrap_err();
    assert!(
        matches!(error, FollowError::TooDeep { lowest, .. } if lowest.height == 8),
        "{error}"
    );
    assert_eq!(error.class(), FaultClass::Stop);
}

#[tokio::test]
async fn a_dropped_wait_loses_nothing() {
    let (node, _dir) = node().await;
    node.mine(40).await.unwrap();
    let mut follower = follow_from(&node, 0).await;
    let mut chain = Chain::new(&follower);
    let mut micros = 1;
    while chain.blocks.len() < 41 {
        match tokio::time::timeout(Duration::from_micros(micros), follower.next()).await {
            Ok(event) => chain.take(&event.unwrap()),
            Err(_) => micros = (micros * 2).min(50_000),
        }
    }
    chain.reach(&mut follower, node.tip().await.unwrap()).await;
}

#[tokio::test]
async fn bad_starts_and_other_networks_are_refused() {
    let (node, _dir) = node().await;
    let client = node.client();
    let hash = BlockHash::all_zeros();
    for known in [vec![], vec![BlockRef::new(1, hash), BlockRef::new(3, hash)]] {
        let refused = Follower::new(client.clone(), config(), known);
        assert!(matches!(refused, Err(FollowError::BadStart { .. })));
    }
    let other = FollowerConfig {
        network: Some(Network::Signet),
        ..config()
    };
    let mut follower = Follower::new(client.clone(), other, vec![at(&node, 0).await]).unwrap();
    let error = follower.next().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Bitcoin Core is on network regtest, expected signet"
    );
    assert_eq!(error.class(), FaultClass::Stop);
}

#[tokio::test]
async fn the_store_is_asked_before_core() {
    let (node, dir) = node().await;
    node.mine(4).await.unwrap();
    let store = Arc::new(BlockStore::open(dir.path().join("blocks.redb"), Network::Regtest).unwrap());
    // A damaged entry is noticed and replaced.
    let third = at(&node, 3).await;
    store.put(third, b"nonsense").unwrap();
    let with_store = FollowerConfig {
        store: Some(store.clone()),
        ..config()
    };
    let mut follower = Follower::new(node.client().clone(), with_store, vec![at(&node, 0).await]).unwrap();
    let mut chain = Chain::new(&follower);
    chain.reach(&mut follower, node.tip().await.unwrap()).await;
    assert_eq!(store.len().unwrap(), 4);
    let bytes = store.get(&third.hash).unwrap().unwrap();
    assert_eq!(bytes, node.client().get_block_bytes(&third.hash).await.unwrap());

    // Without Core the stored blocks are still at hand.
    let client = node.client().clone();
    drop(node);
    let block = bitsect_l1::follower::fetch_block(&client, Some(&store), third)
        .await
        .unwrap();
    assert_eq!(block.bytes, bytes);
}
