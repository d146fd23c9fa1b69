//! Webhooks: who is told of what, how often it is tried, and what became of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};

use crate::domain::clock::{Ambient, Time};
use crate::domain::ids::{OrganizationId, SessionId, WebhookId};
use crate::domain::session::words;

/// The longest wait between two tries, unless the policy's own delay is longer.
const LONGEST_DELAY: Duration = Duration::from_secs(3600);
/// Failures in a row after which an endpoint is left alone for a while.
pub const BREAKER: i64 = 10;
/// The first such pause; it doubles with each further failure.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// How the wait between tries grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// The same each time.
    Constant,
    /// By one delay each time.
    Linear,
    /// Doubled each time.
    Exponential,
}
words!(Policy: Constant = "constant", Linear = "linear", Exponential = "exponential");

/// When a failed delivery is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// How the wait grows.
    pub policy: Policy,
    /// The first wait, in seconds.
    pub delay_seconds: i64,
    /// Tries in all, the first included.
    pub attempts: i64,
}

impl Default for Retry {
    /// Thirty tries over some twenty hours: a receiver may be down for a night and loses nothing.
    fn default() -> Self {
        Self { policy: Policy::Exponential, delay_seconds: 5, attempts: 30 }
    }
}

impl Retry {
    /// The wait after the `failed`-th failed try, from 1 on: never shorter than the policy says, and up to a fifth longer by `dice`, so
    /// that what failed together does not come back together.
    pub fn delay(&self, failed: i64, dice: u16) -> Duration {
        let first = u64::try_from(self.delay_seconds).unwrap_or(0).saturating_mul(1000);
        let nth = u64::try_from(failed.max(1)).unwrap_or(1);
        let millis = match self.policy {
            Policy::Constant => first,
            Policy::Linear => first.saturating_mul(nth),
            Policy::Exponential => first.saturating_mul(1 << (nth - 1).min(40)),
        };
        let wait = Duration::from_millis(millis).min(LONGEST_DELAY.max(Duration::from_millis(first)));
        wait + wait.mul_f64(f64::from(dice) / f64::from(u16::MAX) / 5.0)
    }
}

/// For how long an endpoint that has failed `failures` times in a row is left alone; `None` below the breaker's limit.
pub fn pause(failures: i64) -> Option<Duration> {
    let beyond = u32::try_from(failures - BREAKER).ok()?;
    Some(FIRST_PAUSE.saturating_mul(1 << beyond.min(20)).min(LONGEST_PAUSE))
}

/// What signs a webhook's deliveries. `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Secrets {
    /// The present secret.
    pub current: String,
    /// The one before, which signs too until the moment given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub former: Option<(String, Time)>,
}

impl Secrets {
    /// Those that sign now, the present one first.
    pub fn active(&self, now: Time) -> impl Iterator<Item = &str> {
        let former = self.former.as_ref().filter(|(_, until)| *until > now).map(|(secret, _)| secret.as_str());
        std::iter::once(self.current.as_str()).chain(former)
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets(…)")
    }
}

/// A fresh secret: `whsec_` and 32 random bytes in base64.
pub fn generate_secret(ambient: &Ambient) -> String {
    format!("whsec_{}", BASE64_STANDARD.encode(ambient.random::<32>()))
}

/// Why a webhook is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Disabled {
    /// A caller switched it off.
    ByCaller,
    /// Its receiver answered 410: it is gone for good.
    Gone,
}
words!(Disabled: ByCaller = "by_caller", Gone = "gone");

/// What a webhook has not delivered yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Deliveries that wait or are under way.
    pub pending: i64,
    /// When the oldest of them was planned.
    pub since: Option<Time>,
}

/// A stored webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// The organization whose events it tells.
    pub organization: OrganizationId,
    /// Only this session's events; `None` means all sessions'.
    pub session: Option<SessionId>,
    /// Where it delivers to.
    pub url: String,
    /// Which events, see [`wants`].
    pub events: Vec<String>,
    /// When a failed delivery is tried again.
    pub retry: Retry,
    /// Headers of the caller's own that each delivery carries.
    pub headers: BTreeMap<String, String>,
    /// What signs.
    pub secrets: Secrets,
    /// Why it is off, if it is.
    pub disabled: Option<Disabled>,
    /// Whether one session's events are delivered strictly one after another.
    pub ordered: bool,
    /// Deliveries under way at a time.
    pub concurrency: i64,
    /// Failures in a row.
    pub failures: i64,
    /// Until when the endpoint is left alone.
    pub paused_until: Option<Time>,
    /// When it was created.
    pub created_at: Time,
    /// When a caller last changed it.
    pub updated_at: Time,
}

/// Whether one of `patterns` lets an event of that name through: `*`, a whole name, or a beginning such as `message.*`.
pub fn wants(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    })
}

/// Whether a text can be an event filter: `*`, names of lower-case letters, digits, `_` and `.`, and such a beginning with `.*`.
pub fn is_pattern(text: &str) -> bool {
    let beginning = text.strip_suffix(".*").unwrap_or(text);
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '.';
    text == "*" || (!beginning.is_empty() && text.len() <= 64 && beginning.chars().all(plain))
}

/// What is known of one event's delivery to one webhook. The event's id is the delivery's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The event's id.
    pub event_id: String,
    /// The event's name.
    pub event: String,
    /// The event's session.
    pub session: SessionId,
    /// The event's place in the log.
    pub sequence: i64,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// Tries so far.
    pub attempt: i64,
    /// When the next try is due, while it is pending.
    pub due_at: Time,
    /// When the last try began.
    pub last_attempt_at: Option<Time>,
    /// What the last try came to.
    pub outcome: Outcome,
    /// When it was planned.
    pub created_at: Time,
    /// When it was delivered or given up.
    pub finished_at: Option<Time>,
}

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// It will be tried, perhaps again.
    Pending,
    /// The receiver has taken it.
    Delivered,
    /// Given up after the last try: a dead letter.
    Dead,
}
words!(DeliveryStatus: Pending = "pending", Delivered = "delivered", Dead = "dead");

/// What one try came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The answer's HTTP status.
    pub status: Option<i64>,
    /// The beginning of the answer's body.
    pub answer: Option<String>,
    /// Why there was no answer.
    pub error: Option<String>,
    /// How long it took, in milliseconds.
    pub duration_ms: Option<i64>,
}

/// Which deliveries to list, newest first.
#[derive(Clone, Copy, Debug)]
pub struct Page {
    /// Only those that stand there.
    pub status: Option<DeliveryStatus>,
    /// Only those of events before this place in the log.
    pub before: Option<i64>,
    /// How many at most.
    pub limit: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_as_the_policy_says_and_have_an_end() {
        let wait = |policy, delay_seconds, failed| Retry { policy, delay_seconds, attempts: 9 }.delay(failed, 0).as_secs();
        assert_eq!([1, 2, 3].map(|n| wait(Policy::Constant, 7, n)), [7, 7, 7]);
        assert_eq!([1, 2, 3].map(|n| wait(Policy::Linear, 7, n)), [7, 14, 21]);
        assert_eq!([1, 2, 3, 60].map(|n| wait(Policy::Exponential, 7, n)), [7, 14, 28, 3600]);
        assert_eq!(wait(Policy::Exponential, 86_400, 3), 86_400, "a longer delay of the caller's own holds");
        assert_eq!(wait(Policy::Exponential, 0, 9), 0);
        let most = Retry { policy: Policy::Constant, delay_seconds: 10, attempts: 9 }.delay(1, u16::MAX);
        assert_eq!(most, Duration::from_secs(12));
        let default = Retry::default();
        let whole: Duration = (1..default.attempts).map(|n| default.delay(n, 0)).sum();
        assert!((15..24).contains(&(whole.as_secs() / 3600)), "{whole:?}");
    }

    #[test]
    fn the_breaker_pauses_longer_and_longer_up_to_a_limit() {
        assert_eq!(pause(BREAKER - 1), None);
        assert_eq!([0, 1, 2, 63].map(|n| pause(BREAKER + n).unwrap().as_secs()), [5, 10, 20, 300]);
    }

    #[test]
    fn filters_by_name() {
        let lets = |pattern: &str, name| wants(&[pattern.to_owned()], name);
        assert!(lets("*", "auth.qr") && lets("message", "message") && lets("message.*", "message.status"));
        assert!(!lets("message", "message.status") && !lets("message.*", "message") && !lets("message.*", "messages.x"));
        for good in ["*", "message", "message.*", "message.from_me", "session.status"] {
            assert!(is_pattern(good), "{good}");
        }
        for bad in ["", "**", "*.status", "mess*", "Message", ".*", "a b", "x%"] {
            assert!(!is_pattern(bad), "{bad}");
        }
    }

    #[test]
    fn a_former_secret_signs_until_its_end_and_none_is_shown() {
        let secrets = Secrets { current: "new".into(), former: Some(("old".into(), Time(10))) };
        assert_eq!(secrets.active(Time(9)).collect::<Vec<_>>(), ["new", "old"]);
        assert_eq!(secrets.active(Time(10)).collect::<Vec<_>>(), ["new"]);
        assert!(!format!("{secrets:?}").contains("new"));
    }
}
