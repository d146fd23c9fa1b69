//! One try of one delivery: rendered, signed, sent through the egress guard.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, header};

use super::sign;
use crate::domain::clock::{Ambient, Time};
use crate::domain::event::{Event, NewEvent, Payload};
use crate::domain::ids::SessionId;
use crate::domain::session::Metadata;
use crate::domain::webhook::{Outcome, Webhook};
use crate::egress::{Call, Follow, Guard, Size};
use crate::error::{Error, Result};

/// How long a receiver may take, redirects included.
pub const TIMEOUT: Duration = Duration::from_secs(15);
/// How much of an answer is kept, in bytes.
const KEPT: usize = 256;
/// The limits within which a receiver's `Retry-After` is honoured.
const SHORTEST_WISH: Duration = Duration::from_secs(1);
const LONGEST_WISH: Duration = Duration::from_secs(3600);

/// How an event becomes the contract's JSON. Given by the composition root, because the contract is known at the edges only.
pub type Render = Arc<dyn Fn(Event) -> Result<Bytes> + Send + Sync>;

/// Makes tries. Cheap to clone.
#[derive(Clone)]
pub struct Sender {
    guard: Guard,
    render: Render,
    ambient: Ambient,
    timeout: Duration,
}

/// What a try came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tried {
    /// For the record.
    pub outcome: Outcome,
    /// What it means for the delivery.
    pub verdict: Verdict,
}

/// What an answer means for the delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The receiver has it.
    Taken,
    /// The receiver is gone for good (410).
    Gone,
    /// Not now; perhaps it said when.
    Failed(Option<Duration>),
}

impl Sender {
    /// Sends through `guard` what `render` makes of an event.
    pub fn new(guard: Guard, render: Render, ambient: Ambient) -> Self {
        Self { guard, render, ambient, timeout: TIMEOUT }
    }

    /// The same with another limit on a receiver's time, which must be well below a claim's lease: for tests.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Whether an address may be delivered to, as far as its text tells.
    pub fn check(&self, url: &str) -> Result<()> {
        self.guard.check(url).map_err(|refusal| Error::field("url", refusal.to_string()))
    }

    /// Makes one try. An error is a fault of ours; whatever the receiver does is an outcome.
    pub async fn send(&self, webhook: &Webhook, event: Event, attempt: i64) -> Result<Tried> {
        let id = event.event.id.clone();
        let body = (self.render)(event)?;
        let began = self.ambient.now();
        let call = Call {
            method: Method::POST,
            url: webhook.url.clone(),
            headers: sign::headers(&webhook.secrets, &id, began, attempt, &body)?,
            // They may carry credentials, so they go to the named origin only.
            private: sign::custom_headers(&webhook.headers)?,
            body,
            follow: Follow::Same,
            size: Size::First(KEPT),
            timeout: self.timeout,
        };
        let answer = self.guard.send(call).await;
        let now = self.ambient.now();
        let duration_ms = i64::try_from(now.since(began).as_millis()).ok();
        Ok(match answer {
            Ok(answer) => {
                let verdict = match answer.status {
                    200..=299 => Verdict::Taken,
                    410 => Verdict::Gone,
                    _ => Verdict::Failed(retry_after(&answer.headers, now)),
                };
                let text = String::from_utf8_lossy(&answer.body).replace('\0', "\u{fffd}");
                let outcome = Outcome {
                    status: Some(answer.status.into()),
                    answer: Some(text).filter(|text| !text.is_empty()),
                    error: None,
                    duration_ms,
                };
                Tried { outcome, verdict }
            }
            Err(refusal) => {
                let outcome = Outcome { error: Some(refusal.to_string()), duration_ms, ..Outcome::default() };
                Tried { outcome, verdict: Verdict::Failed(None) }
            }
        })
    }

    /// Tries a webhook out with an event that is in no log.
    pub async fn test(&self, webhook: &Webhook) -> Result<(String, Tried)> {
        let id = format!("evt_{}", self.ambient.ulid());
        let event = Event {
            sequence: 0,
            event: NewEvent {
                id: id.clone(),
                session: webhook.session.clone().unwrap_or_else(|| SessionId::new("")),
                organization: webhook.organization.clone(),
                timestamp: self.ambient.now(),
                payload: Payload::WebhookTest(webhook.id.clone()),
            },
            metadata: Metadata::default(),
        };
        Ok((id, self.send(webhook, event, 1).await?))
    }
}

/// When the receiver wants to be asked again: seconds or a date, within limits.
fn retry_after(headers: &HeaderMap, now: Time) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wish = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = httpdate::parse_http_date(text).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
            Time(i64::try_from(at.as_millis()).ok()?).since(now)
        }
    };
    Some(wish.clamp(SHORTEST_WISH, LONGEST_WISH))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(text: &str) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, text.parse().unwrap());
        // Sun, 06 Nov 1994 08:49:37 GMT
        retry_after(&headers, Time::from_secs(784_111_777)).map(|wish| wish.as_secs())
    }

    #[test]
    fn wishes_are_seconds_or_dates_within_limits() {
        assert_eq!(wish("120"), Some(120));
        assert_eq!(wish("0"), Some(1));
        assert_eq!(wish("999999999"), Some(3600));
        assert_eq!(wish("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(wish("Sun, 06 Nov 1994 07:00:00 GMT"), Some(1));
        assert_eq!(wish("Sat, 06 Nov 2094 08:49:37 GMT"), Some(3600));
        assert_eq!(wish("soon"), None);
    }
}
