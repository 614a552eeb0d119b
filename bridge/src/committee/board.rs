//! What a member has published: messages that the server gives to whoever asks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use super::{Digest, Envelope, Kind, Store, StoreError};

/// Bytes that went out and came in.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Traffic {
    pub(super) fn add_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn add_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(super) fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// The published messages: one of each kind, and after the set-up of each plan one of each kind.
#[derive(Debug)]
pub(super) struct Board {
    messages: RwLock<BTreeMap<Kind, Arc<Vec<u8>>>>,
    sessions: RwLock<BTreeMap<Digest, BTreeMap<Kind, Arc<Vec<u8>>>>>,
    /// Where signatures of sessions after the set-up are, which are not kept in memory.
    archive: Option<Arc<Store>>,
    /// The payload hash of the status, which changes with everything else.
    status: watch::Sender<Option<Digest>>,
    pub(super) traffic: Traffic,
}

impl Board {
    pub(super) fn new() -> Self {
        Self {
            messages: RwLock::default(),
            sessions: RwLock::default(),
            archive: None,
            status: watch::Sender::new(None),
            traffic: Traffic::default(),
        }
    }

    /// Makes a board that also has the signatures of a store.
    pub(super) fn with_archive(store: Arc<Store>) -> Self {
        Self {
            archive: Some(store),
            ..Self::new()
        }
    }

    /// Publishes a message of a plan. Nobody knows of it before the list that names it is posted.
    pub(super) fn put(&self, plan: Digest, message: &Envelope) {
        let message = (message.kind, Arc::new(message.encode()));
        let mut sessions = self.sessions.write().unwrap_or_else(PoisonError::into_inner);
        sessions.entry(plan).or_default().extend([message]);
    }

    /// Takes back what is published of a plan, but for what is stored.
    pub(super) fn forget(&self, plan: &Digest) {
        let mut sessions = self.sessions.write().unwrap_or_else(PoisonError::into_inner);
        sessions.remove(plan);
    }

    /// Returns a message of a plan. May read the store.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) fn get_of(&self, plan: &Digest, kind: Kind) -> Result<Option<Arc<Vec<u8>>>, StoreError> {
        let published = {
            let sessions = self.sessions.read().unwrap_or_else(PoisonError::into_inner);
            sessions.get(plan).and_then(|of_plan| of_plan.get(&kind).cloned())
        };
        match &self.archive {
            Some(store) if kind == Kind::Signatures => Ok(store.session(plan)?.map(Arc::new)),
            _ => Ok(published),
        }
    }

    /// Publishes messages together; the last one is the status that names them.
    pub(super) fn post(&self, messages: Vec<Envelope>) {
        let mut status = None;
        let mut board = self.messages.write().unwrap_or_else(PoisonError::into_inner);
        for message in messages {
            if message.kind == Kind::Status {
                status = Some(message.payload_hash());
            }
            board.insert(message.kind, Arc::new(message.encode()));
        }
        drop(board);
        if status.is_some() {
            self.status.send_replace(status);
        }
    }

    /// Returns a message.
    pub(super) fn get(&self, kind: Kind) -> Option<Arc<Vec<u8>>> {
        let board = self.messages.read().unwrap_or_else(PoisonError::into_inner);
        board.get(&kind).cloned()
    }

    /// Waits until the status is another one than the caller has, named by its payload hash in hexadecimal.
    pub(super) async fn changed(&self, from: &str) {
        let mut status = self.status.subscribe();
        let other = |status: &Option<Digest>| status.is_some_and(|hash| hash.to_string() != from);
        // The sender lives as long as `self`, so the only outcome is a changed status.
        let _ = status.wait_for(other).await;
    }
}
