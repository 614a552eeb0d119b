//! The status page: three files, built in.

use warp::filters::BoxedFilter;
use warp::http::{HeaderValue, header};
use warp::{Filter, Reply};

type Response = warp::reply::Response;

const HTML: &str = include_str!("../page/index.html");
const STYLE: &str = include_str!("../page/status.css");
const SCRIPT: &str = include_str!("../page/status.js");

/// Nothing from elsewhere, nothing inline, no frame around it; the icon is an empty data URL.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Serves the page on `/` to whoever does not post.
pub(super) fn route() -> BoxedFilter<(Response,)> {
    let html = warp::path::end().map(|| file(HTML, "text/html; charset=utf-8"));
    let style = warp::path!("status.css").map(|| file(STYLE, "text/css; charset=utf-8"));
    let script = warp::path!("status.js").map(|| file(SCRIPT, "text/javascript; charset=utf-8"));
    let files = html.or(style).unify().or(script).unify();
    // The path first: what is not there is not found, whatever the method.
    files.and(warp::get()).boxed()
}

fn file(text: &'static str, kind: &'static str) -> Response {
    let mut response = text.into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // The files are the program's: a new one has new ones.
        (header::CACHE_CONTROL, "no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
