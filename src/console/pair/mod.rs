//! The page of a pairing link, and the tiny surface behind it that can do nothing else.
//!
//! | call | does |
//! |---|---|
//! | `GET /pair/{token}` | the page: static, the same for every link |
//! | `GET /pair/{token}/state` | the pairing as Server-Sent Events, a whole [`View`](view::View) at every change; begins pairing |
//! | `POST /pair/{token}/code` | `{"phone": "…"}`: a pairing code comes with the state |
//! | `POST /pair/{token}/passkey` | `{"assertion": "…"}`: the answer to WhatsApp's passkey request |
//! | `POST /pair/{token}/confirm` | the codes are the same |
//!
//! A token that is unknown, revoked, expired or used gets one plain page (404). What a token may ask for is limited, see
//! [`limit`]. Page, script and style are embedded and load nothing from elsewhere; the policy allows no inline script.

mod limit;
mod view;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use self::limit::{Act, Limits, StreamGuard};
use self::view::View;
use crate::domain::clock::Ambient;
use crate::domain::pairing_link::LinkStatus;
use crate::error::{Code, Error, Result};
use crate::service::Service;
use crate::service::pairing::Watch;
use crate::service::pairing_link::Opened;

const PAGE: &str = include_str!("page.html");
const GONE: &str = include_str!("gone.html");
const SCRIPT: &str = include_str!("pair.js");
const STYLE: &str = include_str!("pair.css");

/// What every answer carries. The page needs its own script and style, pictures made of data, and its own state.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("x-robots-tag"), "noindex, nofollow"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// How often an open page's link is looked at.
const RECHECK: Duration = Duration::from_secs(2);

/// How long and how big a request's body may be.
const BODY: (Duration, usize) = (Duration::from_secs(10), 32 << 10);

struct Page {
    service: Service,
    limits: Limits,
    shutdown: CancellationToken,
}

/// Everything under `/pair/`. Open streams end when `shutdown` is cancelled.
pub fn page(service: Service, ambient: Ambient, shutdown: CancellationToken) -> Router {
    let page = Arc::new(Page { service, limits: Limits::new(ambient), shutdown });
    let text = |kind: &'static str, text: &'static str| get(move || async move { respond(StatusCode::OK, kind, text) });
    Router::new()
        .route("/pair/assets/pair.js", text("text/javascript; charset=utf-8", SCRIPT))
        .route("/pair/assets/pair.css", text("text/css; charset=utf-8", STYLE))
        .route("/pair/{token}", get(show))
        .route("/pair/{token}/state", get(state))
        .route("/pair/{token}/code", post(code))
        .route("/pair/{token}/passkey", post(passkey))
        .route("/pair/{token}/confirm", post(confirm))
        .fallback(async || respond(StatusCode::NOT_FOUND, HTML, GONE))
        .with_state(page)
}

const HTML: &str = "text/html; charset=utf-8";

async fn show(State(page): State<Arc<Page>>, Path(token): Path<String>) -> Response {
    match page.service.open_pairing_link(&token).await {
        Ok(_) => respond(StatusCode::OK, HTML, PAGE),
        Err(e) if e.code == Code::NotFound => respond(StatusCode::NOT_FOUND, HTML, GONE),
        Err(e) => failure(&e),
    }
}

async fn code(State(page): State<Arc<Page>>, Path(token): Path<String>, request: Request) -> Response {
    answer(
        page.act(&token, Act::Code, request, async |opened, body| opened.request_code(text(&body, "phone")?).await.map(drop))
            .await,
    )
}

async fn passkey(State(page): State<Arc<Page>>, Path(token): Path<String>, request: Request) -> Response {
    answer(
        page.act(&token, Act::Passkey, request, async |opened, body| opened.answer_passkey(text(&body, "assertion")?).await)
            .await,
    )
}

async fn confirm(State(page): State<Arc<Page>>, Path(token): Path<String>, request: Request) -> Response {
    answer(page.act(&token, Act::Passkey, request, async |opened, _| opened.confirm_passkey().await).await)
}

async fn state(State(page): State<Arc<Page>>, Path(token): Path<String>) -> Response {
    match page.follow(&token).await {
        Ok(following) => {
            let stream = futures_util::stream::unfold(following, async |mut following| {
                let view = following.next().await?;
                let data = serde_json::to_string(&view).map_err(axum::Error::new);
                Some((data.map(|data| Event::default().data(data)), following))
            });
            let mut response = Sse::new(stream).keep_alive(KeepAlive::new()).into_response();
            dress(&mut response);
            response
        }
        Err(e) => failure(&e),
    }
}

impl Page {
    /// Does what a living link allows.
    async fn act(
        &self,
        token: &str,
        act: Act,
        request: Request,
        work: impl AsyncFnOnce(Opened, Value) -> Result<()>,
    ) -> Result<()> {
        let opened = self.service.open_pairing_link(token).await?;
        self.limits.take(opened.id(), act)?;
        let body = read(request).await?;
        work(opened, body).await
    }

    async fn follow(&self, token: &str) -> Result<Following> {
        let opened = self.service.open_pairing_link(token).await?;
        let guard = self.limits.stream(opened.id())?;
        let watch = opened.watch().await?;
        let mut recheck = interval(RECHECK);
        recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let shutdown = self.shutdown.clone();
        Ok(Following { opened, watch, view: View::default(), recheck, over: false, shutdown, _guard: guard })
    }
}

/// An open page.
struct Following {
    opened: Opened,
    watch: Watch,
    view: View,
    recheck: Interval,
    over: bool,
    shutdown: CancellationToken,
    _guard: StreamGuard,
}

impl Following {
    /// What the page shows next; `None` after the end.
    async fn next(&mut self) -> Option<View> {
        if self.over {
            return None;
        }
        loop {
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return None,
                _ = self.recheck.tick() => match self.opened.status().await {
                    Ok(LinkStatus::Active) => {}
                    Ok(ended) => {
                        self.over = true;
                        self.view.end(ended);
                        return Some(self.view.clone());
                    }
                    Err(e) => tracing::warn!(error = %e, "a pairing link could not be looked at"),
                },
                step = self.watch.next() => match step {
                    Ok(Some(step)) => {
                        self.view.take(step);
                        self.over = self.view.is_last();
                        return Some(self.view.clone());
                    }
                    Ok(None) => return None,
                    Err(e) => {
                        tracing::info!(error = %e, "a followed pairing broke off");
                        return None;
                    }
                },
            }
        }
    }
}

async fn read(request: Request) -> Result<Value> {
    let (limit, size) = BODY;
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    // A form of another site cannot have this type.
    if !kind.starts_with("application/json") {
        return Err(Error::new(Code::Validation, "the body must have `content-type: application/json`"));
    }
    let bytes = tokio::time::timeout(limit, to_bytes(request.into_body(), size)).await;
    let bytes = bytes.map_err(|_| Error::new(Code::Timeout, "the body took too long to arrive"))?;
    let bytes = bytes.map_err(|_| Error::new(Code::Validation, "the body is too big"))?;
    serde_json::from_slice(&bytes).map_err(|_| Error::new(Code::Validation, "the body is not JSON"))
}

fn text<'a>(body: &'a Value, name: &'static str) -> Result<&'a str> {
    body.get(name).and_then(Value::as_str).ok_or_else(|| Error::field(name, "missing"))
}

fn answer(result: Result<()>) -> Response {
    match result {
        Ok(()) => respond(StatusCode::NO_CONTENT, HTML, ""),
        Err(e) => failure(&e),
    }
}

/// What went wrong, for the page's script: one sentence, and how long to wait.
fn failure(error: &Error) -> Response {
    let status = match error.code {
        Code::Validation => StatusCode::BAD_REQUEST,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Conflict | Code::SessionNotConnected => StatusCode::CONFLICT,
        Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unauthorized | Code::Forbidden | Code::NotImplemented | Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    };
    if status == StatusCode::INTERNAL_SERVER_ERROR {
        tracing::error!(error = %error, cause = ?error.cause(), "a pairing page's call failed");
    }
    let wait = error.retry_after.map(|wait| wait.as_secs());
    let body = json!({"message": error.message, "reason": error.reason, "retryAfterSeconds": wait}).to_string();
    respond(status, "application/json", body)
}

fn respond(status: StatusCode, kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    dress(&mut response);
    response
}

fn dress(response: &mut Response) {
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
}
