//! A gate stands before a member: it passes on what the member serves, holds it back, changes it, and remembers it.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use warp::Filter;
use warp::http::{Response, StatusCode};

use crate::committee::Kind;

type Alter = Arc<dyn Fn(Kind, Vec<u8>) -> Vec<u8> + Send + Sync>;

#[derive(Default)]
struct Inner {
    target: Option<SocketAddr>,
    held: BTreeSet<Kind>,
    alter: Option<Alter>,
}

#[derive(Clone)]
pub(super) struct Gate {
    pub url: String,
    inner: Arc<Mutex<Inner>>,
    /// Everything that was served, with the lock of the channel. It is taken with that of `inner` held, so whoever has
    /// it, as those that wait do while they look, must not take `inner`.
    served: watch::Sender<Vec<(Kind, Vec<u8>)>>,
}

impl Gate {
    pub(super) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gate = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            inner: Arc::default(),
            served: watch::Sender::new(Vec::new()),
        };
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let passing = gate.clone();
        let route = warp::path::full().then(move |path: warp::path::FullPath| {
            let (gate, http) = (passing.clone(), http.clone());
            async move { gate.pass(&http, path.as_str()).await }
        });
        tokio::spawn(warp::serve(route).incoming(listener).run());
        gate
    }

    async fn pass(&self, http: &reqwest::Client, path: &str) -> Response<Vec<u8>> {
        let answer = |status, body| Response::builder().status(status).body(body).unwrap();
        let kind = path.split('/').nth(2).and_then(Kind::of_name).unwrap();
        let target = {
            let inner = self.inner.lock().unwrap();
            inner.target.filter(|_| !inner.held.contains(&kind))
        };
        let Some(target) = target else {
            return answer(StatusCode::SERVICE_UNAVAILABLE, vec![]);
        };
        let Ok(got) = http.get(format!("http://{target}{path}")).send().await else {
            return answer(StatusCode::BAD_GATEWAY, vec![]);
        };
        let status = got.status();
        let Ok(body) = got.bytes().await else {
            return answer(StatusCode::BAD_GATEWAY, vec![]);
        };
        if status != StatusCode::OK {
            return answer(status, vec![]);
        }
        let inner = self.inner.lock().unwrap();
        // It may have been held or killed while it waited.
        if inner.target != Some(target) || inner.held.contains(&kind) {
            return answer(StatusCode::SERVICE_UNAVAILABLE, vec![]);
        }
        self.served
            .send_modify(|served| served.push((kind, body.to_vec())));
        let altered = inner.alter.as_ref().map(|alter| alter(kind, body.to_vec()));
        answer(StatusCode::OK, altered.unwrap_or(body.to_vec()))
    }

    pub(super) fn aim(&self, target: Option<SocketAddr>) {
        self.inner.lock().unwrap().target = target;
    }

    pub(super) fn hold(&self, kinds: &[Kind]) {
        self.inner.lock().unwrap().held = kinds.iter().copied().collect();
    }

    pub(super) fn alter(&self, alter: impl Fn(Kind, Vec<u8>) -> Vec<u8> + Send + Sync + 'static) {
        self.inner.lock().unwrap().alter = Some(Arc::new(alter));
    }

    pub(super) fn pass_unaltered(&self) {
        self.inner.lock().unwrap().alter = None;
    }

    /// Everything of a kind that the member has served, in order, as it was before it was changed.
    pub(super) fn served(&self, kind: Kind) -> Vec<Vec<u8>> {
        let served = self.served.borrow();
        let of_kind = served.iter().filter(|(served, _)| *served == kind);
        of_kind.map(|(_, body)| body.clone()).collect()
    }

    /// Waits until so many messages of a kind were served.
    pub(super) async fn until_served(&self, kind: Kind, count: usize) {
        let enough = |served: &Vec<(Kind, Vec<u8>)>| {
            let of_kind = served.iter().filter(|(served, _)| *served == kind);
            of_kind.count() >= count
        };
        let mut served = self.served.subscribe();
        served.wait_for(enough).await.unwrap();
    }
}

/// A message is noted as served with the gate locked. Who waits for one has the lock of the channel meanwhile, so that
/// each waited for the other's lock, and the gate for ever, if looking for it took the gate's as well.
#[tokio::test]
async fn waiting_for_a_message_needs_no_lock_of_the_gate() {
    let gate = Gate::new().await;
    let (waiting, runtime) = (gate.clone(), tokio::runtime::Handle::current());
    let passing = gate.inner.lock().unwrap();
    let (sender, looked) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        runtime.block_on(waiting.until_served(Kind::Nonces, 0));
        sender.send(waiting.served(Kind::Nonces).len()).unwrap();
    });
    assert_eq!(looked.recv_timeout(Duration::from_secs(20)), Ok(0));
    drop(passing);
}
