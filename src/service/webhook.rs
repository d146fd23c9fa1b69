//! Webhooks: made, changed, tried out, and their deliveries repeated.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Service;
use crate::domain::clock::Time;
use crate::domain::ids::{SessionId, WebhookId};
use crate::domain::principal::{Capability, Principal};
use crate::domain::webhook::{Backlog, Delivery, Disabled, Page, Retry, Secrets, Webhook, generate_secret, is_pattern};
use crate::error::{Code, Error, Result};
use crate::store::Cipher;
pub use crate::webhook::send::{Tried, Verdict};
use crate::webhook::{Sender, sign};

/// How many webhooks an organization may have.
const MOST: i64 = 100;
/// Deliveries under way at a time, unless the caller says otherwise.
const CONCURRENCY: i64 = 4;

/// What the use cases of webhooks work with.
#[derive(Clone)]
pub struct Webhooks {
    /// Seals and opens secrets.
    pub cipher: Cipher,
    /// Checks addresses and makes single tries.
    pub sender: Sender,
}

/// What a caller says about a webhook; what is absent stays, or has its default in a new one.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Where to deliver to.
    pub url: Option<String>,
    /// Only this session's events; the empty text means all sessions'.
    pub session: Option<String>,
    /// Which events; none says nothing.
    pub events: Vec<String>,
    /// When to try again.
    pub retry: Option<Retry>,
    /// Headers to set; an empty value removes one.
    pub headers: BTreeMap<String, String>,
    /// Whether it is on.
    pub active: Option<bool>,
    /// What signs, alone.
    pub secret: Option<String>,
    /// Whether a session's order is kept.
    pub ordered: Option<bool>,
    /// Deliveries under way at a time.
    pub concurrency: Option<i64>,
}

/// What to deliver again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Again {
    /// The deliveries of these events.
    Events(Vec<String>),
    /// Every event of a span that the webhook lets through.
    Span(Time, Option<Time>),
    /// All dead letters.
    Dead,
}

impl Service {
    /// Makes a webhook for the caller's organization. The secret comes with it if it was made here.
    pub async fn create_webhook(&self, caller: &Principal, change: Change) -> Result<(Webhook, Option<String>)> {
        caller.require(Capability::Manage)?;
        let ambient = &self.0.ambient;
        let now = ambient.now();
        let made = change.secret.is_none().then(|| generate_secret(ambient));
        let mut webhook = Webhook {
            id: WebhookId::new(ambient.ulid()),
            organization: caller.organization.clone(),
            session: None,
            url: String::new(),
            events: vec!["*".to_owned()],
            retry: Retry::default(),
            headers: BTreeMap::new(),
            secrets: Secrets { current: made.clone().unwrap_or_default(), former: None },
            disabled: None,
            ordered: false,
            concurrency: CONCURRENCY,
            failures: 0,
            paused_until: None,
            created_at: now,
            updated_at: now,
        };
        let session = self.check(caller, &change).await?;
        merge(&mut webhook, change, session)?;
        let mut tx = self.0.db.begin().await?;
        tx.ensure_organization(&caller.organization, now).await?;
        tx.change_webhooks(&caller.organization).await?;
        if tx.count_webhooks(&caller.organization).await? >= MOST {
            return Err(Error::new(Code::RateLimited, format!("an organization may have {MOST} webhooks")).detail("limit", MOST));
        }
        tx.put_webhook(&self.0.webhooks.cipher, &webhook).await?;
        tx.commit().await?;
        Ok((webhook, made))
    }

    /// Every webhook of the caller's organization, oldest first.
    pub async fn list_webhooks(&self, caller: &Principal) -> Result<Vec<(Webhook, Backlog)>> {
        caller.require(Capability::Manage)?;
        let all = self.0.db.list_webhooks(&self.0.webhooks.cipher, &caller.organization).await?;
        let mut backlogs = self.0.db.webhook_backlogs(&caller.organization).await?;
        let with = |it: Webhook| {
            let backlog = backlogs.remove(&it.id).unwrap_or_default();
            (it, backlog)
        };
        Ok(all.into_iter().map(with).collect())
    }

    /// One webhook, and what it has not delivered yet.
    pub async fn get_webhook(&self, caller: &Principal, id: &WebhookId) -> Result<(Webhook, Backlog)> {
        let found = self.own_webhook(caller, id).await?;
        let backlog = self.0.db.webhook_backlog(id).await?;
        Ok((found, backlog))
    }

    async fn own_webhook(&self, caller: &Principal, id: &WebhookId) -> Result<Webhook> {
        caller.require(Capability::Manage)?;
        let found = self.0.db.webhook(&self.0.webhooks.cipher, &caller.organization, id).await?;
        found.ok_or_else(|| Error::not_found("webhook"))
    }

    /// Changes a webhook. One that is switched on, or gets another address, begins without past failures.
    pub async fn update_webhook(&self, caller: &Principal, id: &WebhookId, change: Change) -> Result<Webhook> {
        caller.require(Capability::Manage)?;
        let session = self.check(caller, &change).await?;
        let afresh = change.active == Some(true) || change.url.is_some();
        self.change_webhook(caller, id, afresh, |webhook| merge(webhook, change, session)).await
    }

    /// Gives a webhook a new secret; the present one signs too for `overlap`. The secret comes with it if it was made here.
    pub async fn rotate_webhook_secret(
        &self,
        caller: &Principal,
        id: &WebhookId,
        secret: Option<String>,
        overlap: Duration,
    ) -> Result<(Webhook, Option<String>)> {
        caller.require(Capability::Manage)?;
        secret.as_deref().map_or(Ok(()), sign::check_secret)?;
        let made = secret.is_none().then(|| generate_secret(&self.0.ambient));
        let until = self.0.ambient.now().plus(overlap);
        let new = secret.or_else(|| made.clone()).unwrap_or_default();
        let changed = self.change_webhook(caller, id, false, |webhook| {
            let former = std::mem::replace(&mut webhook.secrets.current, new);
            webhook.secrets.former = (!overlap.is_zero()).then_some((former, until));
            Ok(())
        });
        Ok((changed.await?, made))
    }

    /// Deletes a webhook with its deliveries.
    pub async fn delete_webhook(&self, caller: &Principal, id: &WebhookId) -> Result<()> {
        caller.require(Capability::Manage)?;
        let mut tx = self.0.db.begin().await?;
        tx.change_webhooks(&caller.organization).await?;
        if !tx.delete_webhook(&caller.organization, id).await? {
            return Err(Error::not_found("webhook"));
        }
        tx.commit().await
    }

    /// Tries a webhook out, and gives the id of the event that was sent.
    pub async fn test_webhook(&self, caller: &Principal, id: &WebhookId) -> Result<(String, Tried)> {
        let webhook = self.own_webhook(caller, id).await?;
        self.0.webhooks.sender.test(&webhook).await
    }

    /// A page of a webhook's deliveries, newest first, and the cursor of the next one when there is more.
    pub async fn list_webhook_deliveries(
        &self,
        caller: &Principal,
        id: &WebhookId,
        page: Page,
    ) -> Result<(Vec<Delivery>, Option<i64>)> {
        self.own_webhook(caller, id).await?;
        // One more than asked for tells whether there is a next page.
        let wider = Page { limit: page.limit + 1, ..page };
        let mut found = self.0.db.list_deliveries(&caller.organization, id, wider).await?;
        let more = i64::try_from(found.len()).is_ok_and(|count| count > page.limit);
        if more {
            found.pop();
        }
        let next = found.last().filter(|_| more).map(|delivery| delivery.sequence);
        Ok((found, next))
    }

    /// Plans deliveries anew and gives their number.
    pub async fn redeliver_webhook(&self, caller: &Principal, id: &WebhookId, again: Again) -> Result<u64> {
        let webhook = self.own_webhook(caller, id).await?;
        let now = self.0.ambient.now();
        let mut tx = self.0.db.begin().await?;
        let count = match again {
            Again::Events(events) => tx.redeliver_events(id, &events, now).await?,
            Again::Dead => tx.redeliver_dead(id, now).await?,
            Again::Span(since, until) => {
                let until = until.unwrap_or(now);
                if since >= until {
                    return Err(Error::field("until", "must lie behind since"));
                }
                tx.redeliver_span(&webhook, since, until, now).await?
            }
        };
        tx.commit().await?;
        self.0.hub.wake_deliveries();
        Ok(count)
    }

    /// Changes a webhook under the lock that planning takes.
    async fn change_webhook(
        &self,
        caller: &Principal,
        id: &WebhookId,
        afresh: bool,
        change: impl FnOnce(&mut Webhook) -> Result<()>,
    ) -> Result<Webhook> {
        let cipher = &self.0.webhooks.cipher;
        let mut tx = self.0.db.begin().await?;
        tx.change_webhooks(&caller.organization).await?;
        let found = tx.webhook(cipher, &caller.organization, id).await?;
        let mut webhook = found.ok_or_else(|| Error::not_found("webhook"))?;
        change(&mut webhook)?;
        webhook.updated_at = self.0.ambient.now();
        tx.put_webhook(cipher, &webhook).await?;
        if afresh {
            tx.webhook_recovered(id).await?;
            (webhook.failures, webhook.paused_until) = (0, None);
        }
        tx.commit().await?;
        self.0.hub.wake_deliveries();
        Ok(webhook)
    }

    /// Checks a change as far as it can be without the webhook, and finds its session.
    async fn check(&self, caller: &Principal, change: &Change) -> Result<Option<SessionId>> {
        if let Some(url) = &change.url {
            self.0.webhooks.sender.check(url)?;
        }
        if let Some(at) = change.events.iter().position(|pattern| !is_pattern(pattern)) {
            let message = "must be `*`, an event's name, or a beginning such as `message.*`";
            return Err(Error::field(format!("events[{at}]"), message));
        }
        change.secret.as_deref().map_or(Ok(()), sign::check_secret)?;
        let Some(session) = change.session.as_ref().filter(|session| !session.is_empty()).map(SessionId::new) else {
            return Ok(None);
        };
        let found = self.0.db.session(&caller.organization, &session).await?;
        found.map(|_| Some(session)).ok_or_else(|| Error::field("sessionId", "there is no such session"))
    }
}

/// Makes a change that was checked.
fn merge(webhook: &mut Webhook, change: Change, session: Option<SessionId>) -> Result<()> {
    let Change { url, session: named, events, retry, headers, active, secret, ordered, concurrency } = change;
    if let Some(url) = url {
        webhook.url = url;
    }
    if named.is_some() {
        webhook.session = session;
    }
    if !events.is_empty() {
        webhook.events = events;
    }
    for (name, value) in headers {
        webhook.headers.retain(|known, _| !known.eq_ignore_ascii_case(&name));
        if !value.is_empty() {
            webhook.headers.insert(name, value);
        }
    }
    sign::custom_headers(&webhook.headers)?;
    if let Some(current) = secret {
        webhook.secrets = Secrets { current, former: None };
    }
    match active {
        Some(true) => webhook.disabled = None,
        Some(false) => webhook.disabled = Some(webhook.disabled.unwrap_or(Disabled::ByCaller)),
        None => {}
    }
    webhook.retry = retry.unwrap_or(webhook.retry);
    webhook.ordered = ordered.unwrap_or(webhook.ordered);
    webhook.concurrency = concurrency.unwrap_or(webhook.concurrency);
    Ok(())
}
