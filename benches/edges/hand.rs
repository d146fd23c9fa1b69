//! What somebody would write by hand: axum routes, serde structs, nothing derived.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use whatsapp_gateway::domain::ids::SessionId;
use whatsapp_gateway::domain::principal::Principal;
use whatsapp_gateway::domain::session;
use whatsapp_gateway::service::Service;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Detail<'a> {
    reason: &'a str,
    message: &'a str,
    since: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Session<'a> {
    id: &'a str,
    organization_id: &'a str,
    gateway_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    created_by_user_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    status: &'a str,
    status_detail: Detail<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    phone_number: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wa_jid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wa_lid: Option<&'a str>,
    is_admin_session: bool,
    auto_read: bool,
    presence_typing: bool,
    rate_per_min: i32,
    rate_per_hour: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_connected_at: Option<i64>,
    created_at: i64,
    updated_at: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Page<'a> {
    data: Vec<Session<'a>>,
    next_cursor: Option<&'a str>,
}

impl<'a> From<&'a session::Session> for Session<'a> {
    fn from(it: &'a session::Session) -> Self {
        let account = it.account.as_ref();
        Self {
            id: it.id.as_str(),
            organization_id: it.organization.as_str(),
            gateway_id: it.gateway.as_str(),
            created_by_user_id: it.created_by_user.as_deref(),
            label: it.settings.label.as_deref(),
            status: it.state.status.word(),
            status_detail: Detail {
                reason: it.state.reason.word(),
                message: it.state.reason.sentence(),
                since: it.state.since.0,
                until: it.state.until.map(|t| t.0),
            },
            phone_number: account.map(|a| a.phone_number.as_str()),
            wa_jid: account.map(|a| a.wa_jid.as_str()),
            wa_lid: account.and_then(|a| a.wa_lid.as_deref()),
            is_admin_session: it.is_admin,
            auto_read: it.settings.auto_read,
            presence_typing: it.settings.presence_typing,
            rate_per_min: it.settings.rate_per_min,
            rate_per_hour: it.settings.rate_per_hour,
            last_connected_at: it.last_connected_at.map(|t| t.0),
            created_at: it.created_at.0,
            updated_at: it.updated_at.0,
        }
    }
}

fn json(value: &impl Serialize) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], serde_json::to_vec(value).unwrap()).into_response()
}

fn page(all: &[session::Session]) -> Response {
    json(&Page { data: all.iter().map(Session::from).collect(), next_cursor: None })
}

/// Answers from memory, to anybody.
pub(crate) fn from_memory(sessions: Arc<Vec<session::Session>>) -> Router {
    type Sessions = State<Arc<Vec<session::Session>>>;
    async fn list(State(sessions): Sessions) -> Response {
        page(&sessions)
    }
    async fn one(State(sessions): Sessions, Path(id): Path<String>) -> Response {
        match sessions.iter().find(|s| s.id.as_str() == id) {
            Some(found) => json(&Session::from(found)),
            None => StatusCode::NOT_FOUND.into_response(),
        }
    }
    Router::new().route("/api/v1/sessions", get(list)).route("/api/v1/sessions/{session}", get(one)).with_state(sessions)
}

/// Looks the key up and reads the database, by the same use cases as ours.
pub(crate) fn with_sql(service: Service) -> Router {
    async fn caller(service: &Service, headers: &HeaderMap) -> Option<Principal> {
        let text = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
        service.authenticate(text.strip_prefix("Bearer ")?).await.ok()?
    }
    async fn list(State(service): State<Service>, headers: HeaderMap) -> Response {
        let Some(caller) = caller(&service, &headers).await else { return StatusCode::UNAUTHORIZED.into_response() };
        match service.list_sessions(&caller).await {
            Ok(all) => page(&all),
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
    async fn one(State(service): State<Service>, headers: HeaderMap, Path(id): Path<String>) -> Response {
        let Some(caller) = caller(&service, &headers).await else { return StatusCode::UNAUTHORIZED.into_response() };
        match service.get_session(&caller, &SessionId::new(id)).await {
            Ok(found) => json(&Session::from(&found)),
            Err(_) => StatusCode::NOT_FOUND.into_response(),
        }
    }
    Router::new().route("/api/v1/sessions", get(list)).route("/api/v1/sessions/{session}", get(one)).with_state(service)
}
