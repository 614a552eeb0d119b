//! JSON-RPC over HTTP POST.

use std::convert::Infallible;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use warp::filters::BoxedFilter;
use warp::http::{HeaderMap, StatusCode, header};
use warp::hyper::body::Bytes;
use warp::{Buf, Filter, Rejection, Reply};

use super::compress::{MIN_COMPRESSED, gunzip, gzip};
use super::{Shared, authorized};

/// Bytes above which compression leaves the event loop.
const INLINE_COMPRESSION: usize = 64 * 1024;

type Response = warp::reply::Response;

pub(super) fn route(shared: Arc<Shared>, token: Option<String>) -> BoxedFilter<(Response,)> {
    warp::path::end()
        .and(warp::post())
        .and(warp::header::headers_cloned())
        .and(warp::body::stream())
        .then(move |headers, body| {
            let (shared, token) = (shared.clone(), token.clone());
            async move {
                match answer(&shared, token.as_deref(), &headers, body).await {
                    Ok(response) => response,
                    Err((status, text)) => plain(status, text),
                }
            }
        })
        .boxed()
}

/// Gives every refusal of a route its status and a line of text.
pub(super) async fn recover(rejection: Rejection) -> Result<Response, Infallible> {
    let (status, text) = if rejection.is_not_found() {
        (
            StatusCode::NOT_FOUND,
            "not found: JSON-RPC and the status page are served at /",
        )
    } else if rejection.find::<warp::reject::MethodNotAllowed>().is_some() {
        (
            StatusCode::METHOD_NOT_ALLOWED,
            "JSON-RPC takes POST or a WebSocket upgrade, the status page GET",
        )
    } else if rejection.find::<warp::cors::CorsForbidden>().is_some() {
        (StatusCode::FORBIDDEN, "this origin is not allowed")
    } else {
        (StatusCode::BAD_REQUEST, "bad request")
    };
    Ok(plain(status, text))
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    warp::reply::with_status(text, status).into_response()
}

async fn answer(
    shared: &Shared,
    token: Option<&str>,
    headers: &HeaderMap,
    body: impl Stream<Item = Result<impl Buf, warp::Error>> + Send,
) -> Result<Response, (StatusCode, &'static str)> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &header::HeaderValue| value.to_str().ok())
    };
    if !authorized(token, text(header::AUTHORIZATION)) {
        return Err((
            StatusCode::UNAUTHORIZED,
            "a token is needed: Authorization: Bearer <token>",
        ));
    }
    if text(header::CONTENT_TYPE).is_some_and(|kind| !is_json(kind)) {
        return Err((
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "only application/json is supported",
        ));
    }
    let Ok(_permit) = shared.in_flight.try_acquire() else {
        return Err((StatusCode::SERVICE_UNAVAILABLE, "too many requests in work"));
    };
    let limit = shared.config.max_body;
    let too_large = (StatusCode::PAYLOAD_TOO_LARGE, "request body too large");
    let mut body = read(body, limit).await?;
    match text(header::CONTENT_ENCODING) {
        None | Some("identity") => {}
        Some("gzip") => body = gunzip(&body, limit).ok_or(too_large)?,
        Some(_) => return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "only gzip is supported")),
    }
    let Some(response) = shared.dispatcher.handle(&body, None).await.response else {
        return Ok(warp::reply::with_status("", StatusCode::NO_CONTENT).into_response());
    };
    let wants_gzip = text(header::ACCEPT_ENCODING).is_some_and(accepts_gzip);
    Ok(reply(response, wants_gzip).await)
}

/// Reads a body up to the limit, within a minute: a slow sender must not hold its place.
async fn read(
    body: impl Stream<Item = Result<impl Buf, warp::Error>> + Send,
    limit: usize,
) -> Result<Vec<u8>, (StatusCode, &'static str)> {
    const READ_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(60);
    let read = async {
        let mut body = std::pin::pin!(body);
        let mut bytes = Vec::new();
        while let Some(chunk) = body.next().await {
            let mut chunk = chunk.map_err(|_| (StatusCode::BAD_REQUEST, "failed to read the body"))?;
            if bytes.len().saturating_add(chunk.remaining()) > limit {
                return Err((StatusCode::PAYLOAD_TOO_LARGE, "request body too large"));
            }
            while chunk.has_remaining() {
                let part = chunk.chunk();
                bytes.extend_from_slice(part);
                let len = part.len();
                chunk.advance(len);
            }
        }
        Ok(bytes)
    };
    let timeout = (StatusCode::REQUEST_TIMEOUT, "the body took too long");
    tokio::time::timeout(READ_TIMEOUT, read)
        .await
        .unwrap_or(Err(timeout))
}

async fn reply(json: String, wants_gzip: bool) -> Response {
    let bytes = json.into_bytes();
    let packed = if !wants_gzip || bytes.len() < MIN_COMPRESSED {
        None
    } else if bytes.len() <= INLINE_COMPRESSION {
        gzip(&bytes).ok()
    } else {
        let bytes = Bytes::from(bytes.clone());
        tokio::task::spawn_blocking(move || gzip(&bytes).ok())
            .await
            .ok()
            .flatten()
    };
    let mut response = Response::new(warp::hyper::body::Bytes::new().into());
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    if packed.is_some() {
        headers.insert(header::CONTENT_ENCODING, header::HeaderValue::from_static("gzip"));
        headers.insert(header::VARY, header::HeaderValue::from_static("accept-encoding"));
    }
    *response.body_mut() = Bytes::from(packed.unwrap_or(bytes)).into();
    response
}

fn is_json(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    [
        "application/json",
        "application/json-rpc",
        "application/jsonrequest",
    ]
    .iter()
    .any(|known| kind.eq_ignore_ascii_case(known))
}

/// Whether `gzip` is among the accepted encodings, and not with quality zero.
fn accepts_gzip(accept: &str) -> bool {
    accept.split(',').any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let refused = parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        name.eq_ignore_ascii_case("gzip") && !refused
    })
}
