//! A member of a committee that signs what others ask for and keeps its part back: what it publishes, but for that.

use std::net::Ipv4Addr;
use std::sync::Arc;

use bitsect_bridge::committee::{Envelope, Kind};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use warp::Filter;
use warp::http::{Response, StatusCode};
use warp::path::FullPath;

use crate::until;

/// What is kept back.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kept {
    /// Nothing yet.
    Nothing,
    /// The next plan with one signing.
    Next,
    /// This plan.
    Plan(String),
}

/// Where others find the member, until it is dropped.
#[derive(Debug)]
pub struct Withholding {
    serving: JoinHandle<()>,
    url: String,
    member: String,
    kept: Arc<watch::Sender<Kept>>,
}

impl Withholding {
    /// Stands before the member at a URL.
    ///
    /// # Panics
    /// When it finds no port.
    pub async fn start(member: &str) -> Self {
        let kept = Arc::new(watch::Sender::new(Kept::Nothing));
        let (keeps, behind) = (Arc::clone(&kept), member.to_owned());
        let route = warp::get().and(warp::path::full()).then(move |path: FullPath| {
            let (kept, url) = (Arc::clone(&keeps), format!("{behind}{}", path.as_str()));
            async move { answer(&url, &kept).await }
        });
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.expect("a free port");
        let address = listener.local_addr().expect("a bound port");
        Self {
            serving: tokio::spawn(warp::serve(route).incoming(listener).run()),
            url: format!("http://{address}"),
            member: member.to_owned(),
            kept,
        }
    }

    /// Gives where others find the member.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Keeps back the member's part of the next list that has one signing.
    pub fn keep_next(&self) {
        self.kept.send_replace(Kept::Next);
    }

    /// Waits until the member has all signatures of what it keeps back, and gives the one.
    ///
    /// # Panics
    /// Where that does not come.
    pub async fn signature(&self) -> Vec<u8> {
        until("the member to have a signature for itself", || async {
            let Kept::Plan(plan) = self.kept.borrow().clone() else {
                return Err("nobody has asked for its part".to_owned());
            };
            let url = format!("{}/v1/{}/{plan}", self.member, Kind::Signatures.name());
            let (status, body) = get(&url).await?;
            let message = Envelope::decode(&body, Kind::Signatures);
            message
                .map(|message| message.payload)
                .map_err(|error| format!("{status}: {error}"))
        })
        .await
    }
}

impl Drop for Withholding {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn get(url: &str) -> Result<(StatusCode, Vec<u8>), String> {
    let answer = reqwest::get(url).await.map_err(|error| error.to_string())?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(|error| error.to_string())?;
    Ok((status, body.to_vec()))
}

async fn answer(url: &str, kept: &watch::Sender<Kept>) -> Response<Vec<u8>> {
    let (status, body) = match get(url).await {
        Ok(answered) => answered,
        Err(reason) => (StatusCode::BAD_GATEWAY, reason.into_bytes()),
    };
    let (status, body) = match keeps(url, status, &body, kept) {
        true => (StatusCode::NOT_FOUND, Vec::new()),
        false => (status, body),
    };
    let answer = Response::builder().status(status).body(body);
    answer.expect("a status and a body")
}

/// Whether a part or a signature is kept back.
fn keeps(url: &str, status: StatusCode, body: &[u8], kept: &watch::Sender<Kept>) -> bool {
    let mut parts = url.rsplit('/');
    let (plan, kind) = (parts.next(), parts.next());
    let (Some(plan), Some(kind)) = (plan, kind.and_then(Kind::of_name)) else {
        return false;
    };
    let size = match kind {
        Kind::Partials => 32,
        Kind::Signatures => 64,
        _ => return false,
    };
    let is_one = status == StatusCode::OK
        && Envelope::decode(body, kind).is_ok_and(|message| message.payload.len() == size);
    if is_one {
        kept.send_if_modified(|kept| {
            let is_next = *kept == Kept::Next;
            if is_next {
                *kept = Kept::Plan(plan.to_owned());
            }
            is_next
        });
    }
    *kept.borrow() == Kept::Plan(plan.to_owned())
}
