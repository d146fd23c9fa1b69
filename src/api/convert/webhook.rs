//! Webhooks.

use super::timestamp;
use crate::domain::webhook::{Backlog, Delivery, DeliveryStatus, Disabled, Policy, Retry, Webhook};
use crate::error::{Error, Result};
use crate::proto::gateway as pb;
use crate::service::webhook::{Again, Change, Tried, Verdict};

/// A webhook, with its secret only if it was made in this call.
pub fn webhook(it: Webhook, secret: Option<String>) -> pb::Webhook {
    pb::Webhook {
        id: it.id.to_string(),
        organization_id: it.organization.to_string(),
        session_id: it.session.map(|session| session.to_string()),
        url: it.url,
        events: it.events,
        retry_policy: Some(pb::RetryPolicy {
            policy: kind(it.retry.policy).into(),
            delay_seconds: it.retry.delay_seconds,
            attempts: it.retry.attempts,
        }),
        custom_headers: it.headers.into_iter().collect(),
        active: it.disabled.is_none(),
        created_at: Some(timestamp(it.created_at)),
        updated_at: Some(timestamp(it.updated_at)),
        ordered: it.ordered,
        concurrency: small(it.concurrency),
        disabled_reason: it.disabled.map(|why| Disabled::word(why).to_owned()),
        failures: it.failures,
        paused_until: it.paused_until.map(timestamp),
        secret,
        pending: None,
        pending_since: None,
    }
}

/// A webhook with what it has not delivered yet.
pub fn with_backlog(it: Webhook, backlog: Backlog) -> pb::Webhook {
    pb::Webhook { pending: Some(backlog.pending), pending_since: backlog.since.map(timestamp), ..webhook(it, None) }
}

/// What a new webhook is to be.
pub fn created(it: pb::CreateWebhookRequest) -> Result<Change> {
    Ok(Change {
        url: Some(it.url),
        session: Some(it.session_id),
        events: it.events,
        retry: it.retry_policy.map(retry).transpose()?,
        headers: it.custom_headers.into_iter().collect(),
        active: it.active,
        secret: it.secret,
        ordered: Some(it.ordered),
        concurrency: it.concurrency.map(i64::from),
    })
}

/// What is to change, and nothing else.
pub fn updated(it: pb::UpdateWebhookRequest) -> Result<Change> {
    Ok(Change {
        url: it.url,
        session: it.session_id,
        events: it.events,
        retry: it.retry_policy.map(retry).transpose()?,
        headers: it.custom_headers.into_iter().collect(),
        active: it.active,
        secret: it.secret,
        ordered: it.ordered,
        concurrency: it.concurrency.map(i64::from),
    })
}

/// What to deliver again.
pub fn again(it: pb::RedeliverWebhookRequest) -> Result<Again> {
    match (it.deliveries.is_empty(), it.since, it.until, it.dead) {
        (false, None, None, false) => Ok(Again::Events(it.deliveries)),
        (true, Some(since), until, false) => Ok(Again::Span(super::time(&since), until.as_ref().map(super::time))),
        (true, None, None, true) => Ok(Again::Dead),
        _ => Err(Error::field("deliveries", "say exactly one of deliveries, since (with until), dead")),
    }
}

/// What a test came to.
pub fn tested((event_id, tried): (String, Tried)) -> pb::TestWebhookResponse {
    let Tried { outcome, verdict } = tried;
    pb::TestWebhookResponse {
        delivered: verdict == Verdict::Taken,
        event_id,
        status: outcome.status.map(small),
        answer: outcome.answer,
        error: outcome.error,
        duration_ms: outcome.duration_ms.unwrap_or_default(),
    }
}

/// A delivery.
pub fn delivery(it: Delivery) -> pb::WebhookDelivery {
    let pending = it.status == DeliveryStatus::Pending;
    pb::WebhookDelivery {
        id: it.event_id,
        event: it.event,
        session: it.session.to_string(),
        sequence: it.sequence,
        status: wire(it.status).into(),
        attempt: small(it.attempt),
        next_attempt_at: pending.then(|| timestamp(it.due_at)),
        last_attempt_at: it.last_attempt_at.map(timestamp),
        answer_status: it.outcome.status.map(small),
        answer: it.outcome.answer,
        error: it.outcome.error,
        duration_ms: it.outcome.duration_ms,
        created_at: Some(timestamp(it.created_at)),
        finished_at: it.finished_at.map(timestamp),
    }
}

/// Where the deliveries that are asked for stand.
pub fn status(it: i32) -> Result<DeliveryStatus> {
    match pb::WebhookDeliveryStatus::try_from(it) {
        Ok(pb::WebhookDeliveryStatus::Pending) => Ok(DeliveryStatus::Pending),
        Ok(pb::WebhookDeliveryStatus::Delivered) => Ok(DeliveryStatus::Delivered),
        Ok(pb::WebhookDeliveryStatus::Dead) => Ok(DeliveryStatus::Dead),
        Ok(pb::WebhookDeliveryStatus::Unspecified) | Err(_) => Err(Error::field("status", "one of pending, delivered, dead")),
    }
}

fn wire(it: DeliveryStatus) -> pb::WebhookDeliveryStatus {
    match it {
        DeliveryStatus::Pending => pb::WebhookDeliveryStatus::Pending,
        DeliveryStatus::Delivered => pb::WebhookDeliveryStatus::Delivered,
        DeliveryStatus::Dead => pb::WebhookDeliveryStatus::Dead,
    }
}

fn retry(it: pb::RetryPolicy) -> Result<Retry> {
    let policy = match pb::RetryPolicyKind::try_from(it.policy) {
        Ok(pb::RetryPolicyKind::Constant) => Policy::Constant,
        Ok(pb::RetryPolicyKind::Linear) => Policy::Linear,
        Ok(pb::RetryPolicyKind::Exponential) => Policy::Exponential,
        Ok(pb::RetryPolicyKind::Unspecified) | Err(_) => {
            return Err(Error::field("retryPolicy.policy", "one of constant, linear, exponential"));
        }
    };
    Ok(Retry { policy, delay_seconds: it.delay_seconds, attempts: it.attempts })
}

fn kind(it: Policy) -> pb::RetryPolicyKind {
    match it {
        Policy::Constant => pb::RetryPolicyKind::Constant,
        Policy::Linear => pb::RetryPolicyKind::Linear,
        Policy::Exponential => pb::RetryPolicyKind::Exponential,
    }
}

/// Numbers that are small by their nature.
fn small(it: i64) -> i32 {
    i32::try_from(it).unwrap_or(i32::MAX)
}
