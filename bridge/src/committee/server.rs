//! Serves what a member has published, over HTTP: `GET /v1/KIND`, and `GET /v1/status/HASH`, which waits for a status
//! other than the one of that payload hash. After the set-up `GET /v1/KIND/PLAN`.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::error;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{Response, StatusCode};

use super::board::Board;
use super::{Digest, Kind};

/// How long a question for another status waits before it gets the old one.
pub(super) const LONG_POLL: Duration = Duration::from_secs(15);
/// Questions that wait at once at most; more are answered at once with what there is.
const MAX_WAITING: usize = 128;

/// Serves a board until `stop`.
pub(super) async fn serve(listener: TcpListener, board: Arc<Board>, stop: CancellationToken) {
    warp::serve(routes(board, stop.clone()))
        .incoming(listener)
        .graceful(stop.cancelled_owned())
        .run()
        .await;
}

fn routes(board: Arc<Board>, stop: CancellationToken) -> BoxedFilter<(Response<Vec<u8>>,)> {
    let waiting = Arc::new(Semaphore::new(MAX_WAITING));
    let poll = {
        let board = board.clone();
        warp::path!("v1" / "status" / String).then(move |from: String| {
            let (board, stop, waiting) = (board.clone(), stop.clone(), waiting.clone());
            async move {
                if let Ok(_permit) = waiting.try_acquire() {
                    tokio::select! {
                        () = board.changed(&from) => {}
                        () = stop.cancelled() => {}
                        () = tokio::time::sleep(LONG_POLL) => {}
                    }
                }
                answer(&board, Some(Kind::Status))
            }
        })
    };
    let session = {
        let board = board.clone();
        warp::path!("v1" / String / String).then(move |name: String, plan: String| {
            let board = board.clone();
            // It may read the store.
            async move {
                let answered = tokio::task::spawn_blocking(move || answer_session(&board, &name, &plan));
                answered.await.unwrap_or_else(|error| failed(&error))
            }
        })
    };
    let get = warp::path!("v1" / String).map(move |name: String| answer(&board, Kind::of_name(&name)));
    warp::get().and(poll.or(session).unify().or(get).unify()).boxed()
}

fn answer(board: &Board, kind: Option<Kind>) -> Response<Vec<u8>> {
    respond(board, kind.and_then(|kind| board.get(kind)))
}

fn answer_session(board: &Board, name: &str, plan: &str) -> Response<Vec<u8>> {
    let message = match (Digest::of_hex(plan), Kind::of_name(name)) {
        (Some(plan), Some(kind)) => board.get_of(&plan, kind),
        _ => Ok(None),
    };
    message.map_or_else(|error| failed(&error), |message| respond(board, message))
}

/// Answers that we failed. Others see no more than that.
fn failed(error: &dyn std::fmt::Display) -> Response<Vec<u8>> {
    error!("cannot serve a message: {error}");
    Response::builder()
        .status(StatusCode::INTERNAL_SERVER_ERROR)
        .body(b"failed\n".to_vec())
        .expect("the status is a constant")
}

fn respond(board: &Board, message: Option<Arc<Vec<u8>>>) -> Response<Vec<u8>> {
    let (status, kind, body) = match message {
        Some(message) => (StatusCode::OK, "application/octet-stream", message.to_vec()),
        None => (StatusCode::NOT_FOUND, "text/plain", b"not published\n".to_vec()),
    };
    board.traffic.add_sent(body.len());
    Response::builder()
        .status(status)
        .header("content-type", kind)
        .body(body)
        .expect("the header is a constant")
}
