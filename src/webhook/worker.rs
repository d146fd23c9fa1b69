//! The workers: one loop per gateway that claims what is due, and one task for each delivery under way.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::send::{Sender, Tried, Verdict};
use crate::domain::clock::Ambient;
use crate::domain::event::{Event, Payload, WebhookDisabledPayload};
use crate::domain::ids::{SessionId, WebhookId};
use crate::domain::webhook::{DeliveryStatus, Disabled, Outcome, Webhook, pause};
use crate::error::Result;
use crate::event::EventLog;
use crate::event::hub::Hub;
use crate::store::{Cipher, Claimed, Db, Ending};

/// How long a claim holds: twice [`super::send::TIMEOUT`], so that only a dead worker's claim ends.
pub const LEASE: Duration = Duration::from_secs(30);
/// How often the table is looked into without a ring: for tries that have become due, and for what other gateways planned.
const TICK: Duration = Duration::from_millis(500);
/// Deliveries under way at a time on this gateway, of all webhooks together.
const MOST: usize = 256;
/// How often finished deliveries are looked through for those to forget, and how many are forgotten at a time.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);
const PRUNE_BATCH: i64 = 500;

/// The workers of one gateway.
#[derive(Clone)]
pub struct Workers {
    /// The store.
    pub db: Db,
    /// The log's writer, for what happens to webhooks themselves.
    pub log: EventLog,
    /// Rings when deliveries were planned.
    pub hub: Hub,
    /// Opens the webhooks' secrets.
    pub cipher: Cipher,
    /// Makes the tries.
    pub sender: Sender,
    /// Clock and randomness.
    pub ambient: Ambient,
    /// How long finished deliveries are kept.
    pub retention: Duration,
}

/// What is under way, per webhook; bounded by [`MOST`].
#[derive(Default)]
struct UnderWay {
    tasks: JoinSet<()>,
    webhooks: HashMap<Id, WebhookId>,
    counts: HashMap<WebhookId, i64>,
    /// What each webhook allowed when it was last claimed for.
    allowed: HashMap<WebhookId, i64>,
}

impl UnderWay {
    fn begin(&mut self, webhook: &WebhookId, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.tasks.spawn(task).id();
        self.webhooks.insert(id, webhook.clone());
        *self.counts.entry(webhook.clone()).or_default() += 1;
    }

    /// Waits for one to end; for ever when none is under way.
    async fn ended(&mut self) {
        match self.tasks.join_next_with_id().await {
            Some(ended) => self.note(ended),
            None => std::future::pending().await,
        }
    }

    /// Notes whatever has ended by now.
    fn note_all(&mut self) {
        while let Some(Some(ended)) = self.tasks.join_next_with_id().now_or_never() {
            self.note(ended);
        }
    }

    fn note(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match ended {
            Ok((id, ())) => id,
            Err(error) => {
                // Its claim runs out, and somebody tries again.
                tracing::error!(%error, "a webhook delivery died");
                error.id()
            }
        };
        let Some(webhook) = self.webhooks.remove(&id) else { return };
        if let Some(count) = self.counts.get_mut(&webhook) {
            *count -= 1;
            if *count <= 0 {
                self.counts.remove(&webhook);
                self.allowed.remove(&webhook);
            }
        }
    }

    fn is_full(&self, webhook: &WebhookId) -> bool {
        self.allowed.get(webhook).is_some_and(|allowed| self.counts.get(webhook).is_some_and(|count| count >= allowed))
    }
}

impl Workers {
    /// Delivers until `draining` is cancelled, then finishes what is under way. Dropped, it leaves claims that run out.
    pub async fn run(self, draining: CancellationToken) {
        let mut bell = self.hub.listen_deliveries();
        let mut under_way = UnderWay::default();
        let mut prune = interval(PRUNE_EVERY);
        prune.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !draining.is_cancelled() {
            // Ring first, then look: what is planned in between rings again.
            bell.mark_unchanged();
            under_way.note_all();
            if let Err(error) = self.claim(&mut under_way).await {
                tracing::warn!(%error, cause = error.cause().map(tracing::field::display), "cannot look for webhook deliveries");
                // No hurry towards a database that is in trouble.
                tokio::select! {
                    biased;
                    () = draining.cancelled() => break,
                    () = sleep(TICK) => {}
                }
                continue;
            }
            tokio::select! {
                biased;
                () = draining.cancelled() => break,
                () = under_way.ended() => {}
                changed = bell.changed() => if changed.is_err() { break },
                _ = prune.tick() => self.prune().await,
                () = sleep(TICK) => {}
            }
        }
        while !under_way.tasks.is_empty() {
            under_way.ended().await;
        }
    }

    /// Claims what is due, as much as there is room for, and begins it.
    async fn claim(&self, under_way: &mut UnderWay) -> Result<()> {
        for id in self.db.webhooks_with_work(self.ambient.now()).await? {
            let room = MOST.saturating_sub(under_way.tasks.len());
            if room == 0 {
                break;
            }
            if under_way.is_full(&id) {
                continue;
            }
            let (token, room) = (self.ambient.ulid(), i64::try_from(room).unwrap_or(1));
            let now = self.ambient.now();
            let claimed = self.db.claim_deliveries(&self.cipher, &id, &token, room, now, LEASE).await;
            let (webhook, claimed) = match claimed {
                Ok(Some(claimed)) => claimed,
                Ok(None) => continue,
                Err(error) => {
                    // One webhook whose secrets do not open must not stop the others.
                    tracing::error!(webhook = %id, %error, cause = error.cause().map(tracing::field::display), "cannot claim deliveries");
                    continue;
                }
            };
            under_way.allowed.insert(id.clone(), webhook.concurrency);
            let sequences: Vec<i64> = claimed.iter().map(|one| one.sequence).collect();
            let mut events: HashMap<i64, Event> =
                self.db.events_at(&webhook.organization, &sequences).await?.into_iter().map(|it| (it.sequence, it)).collect();
            for one in claimed {
                let event = events.remove(&one.sequence);
                let (workers, webhook, token) = (self.clone(), webhook.clone(), token.clone());
                under_way.begin(&id, async move { workers.deliver(&webhook, &one, event, &token).await });
            }
        }
        Ok(())
    }

    /// Makes one try and records it. What cannot be recorded is tried again when the claim has run out.
    async fn deliver(&self, webhook: &Webhook, claimed: &Claimed, event: Option<Event>, token: &str) {
        let done = match event {
            Some(event) => match self.sender.send(webhook, event, claimed.attempt).await {
                Ok(tried) => self.record(webhook, claimed, token, tried).await,
                Err(error) => Err(error),
            },
            None => self.expired(webhook, claimed, token).await,
        };
        if let Err(error) = done {
            let cause = error.cause().map(tracing::field::display);
            tracing::error!(webhook = %webhook.id, sequence = claimed.sequence, %error, cause, "a webhook delivery cannot be recorded");
        }
    }

    async fn record(&self, webhook: &Webhook, claimed: &Claimed, token: &str, tried: Tried) -> Result<()> {
        let Tried { outcome, verdict } = tried;
        count(&outcome);
        let now = self.ambient.now();
        let log = (outcome.status, outcome.error.as_deref());
        tracing::debug!(webhook = %webhook.id, sequence = claimed.sequence, attempt = claimed.attempt, outcome = ?log, "delivered to a webhook");
        let (status, due_at) = match verdict {
            Verdict::Taken => (DeliveryStatus::Delivered, now),
            // It waits for somebody to switch the webhook on again.
            Verdict::Gone => {
                self.gone(webhook).await?;
                (DeliveryStatus::Pending, now)
            }
            Verdict::Failed(_) if claimed.counted >= webhook.retry.attempts => (DeliveryStatus::Dead, now),
            Verdict::Failed(wish) => {
                let dice = u16::from_be_bytes(self.ambient.random());
                (DeliveryStatus::Pending, now.plus(wish.unwrap_or_else(|| webhook.retry.delay(claimed.counted, dice))))
            }
        };
        match verdict {
            Verdict::Taken if webhook.failures > 0 || webhook.paused_until.is_some() => {
                self.db.webhook_recovered(&webhook.id).await?;
            }
            Verdict::Taken | Verdict::Gone => {}
            Verdict::Failed(wish) => {
                let failures = self.db.webhook_failed(&webhook.id).await?;
                // A receiver that names a time means all of its deliveries.
                if let Some(longer) = wish.max(pause(failures)) {
                    self.db.pause_webhook(&webhook.id, now.plus(longer)).await?;
                }
            }
        }
        let ending = Ending { outcome, status, due_at };
        if !self.db.finish_delivery(&webhook.id, claimed.sequence, token, &ending, now).await? {
            tracing::warn!(webhook = %webhook.id, sequence = claimed.sequence, "a webhook delivery took longer than its claim");
        }
        Ok(())
    }

    /// The log no longer has the event, which happens only long after every policy's end: to webhooks that were off.
    async fn expired(&self, webhook: &Webhook, claimed: &Claimed, token: &str) -> Result<()> {
        let now = self.ambient.now();
        let error = Some("the event is no longer kept".to_owned());
        let ending = Ending { outcome: Outcome { error, ..Outcome::default() }, status: DeliveryStatus::Dead, due_at: now };
        self.db.finish_delivery(&webhook.id, claimed.sequence, token, &ending, now).await.map(drop)
    }

    /// Switches a webhook off whose receiver is gone, and tells it, once.
    async fn gone(&self, webhook: &Webhook) -> Result<()> {
        let mut recording = self.log.begin().await?;
        recording.tx.change_webhooks(&webhook.organization).await?;
        if !recording.tx.disable_webhook(&webhook.id, Disabled::Gone, self.ambient.now()).await? {
            return Ok(());
        }
        let session = webhook.session.clone().unwrap_or_else(|| SessionId::new(""));
        let payload = WebhookDisabledPayload { webhook: webhook.id.clone(), reason: Disabled::Gone };
        recording.tell(&webhook.organization, &session, Payload::WebhookDisabled(payload));
        recording.commit().await?;
        tracing::info!(webhook = %webhook.id, "a webhook's receiver is gone; switched off");
        Ok(())
    }

    async fn prune(&self) {
        let before = self.ambient.now().minus(self.retention);
        loop {
            match self.db.prune_deliveries(before, PRUNE_BATCH).await {
                Ok(0) => return,
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => {
                    tracing::warn!(%error, "cannot prune webhook deliveries");
                    return;
                }
            }
        }
    }
}

/// Counts a try, for the metrics.
fn count(outcome: &Outcome) {
    let result = match outcome.status {
        None => "no_answer",
        Some(200..=299) => "2xx",
        Some(300..=399) => "3xx",
        Some(400..=499) => "4xx",
        Some(_) => "5xx",
    };
    metrics::counter!("wagw_webhook_attempts_total", "result" => result).increment(1);
    if let Some(took) = outcome.duration_ms.and_then(|ms| u64::try_from(ms).ok()) {
        metrics::histogram!("wagw_webhook_attempt_seconds").record(Duration::from_millis(took).as_secs_f64());
    }
}
