//! Deliveries: planned with their events, claimed with a lease, recorded, and planned again.
//!
//! A claim is a token in the row together with the moment at which it ends, which is the row's `due_at`: a worker that dies leaves a row
//! that is simply due again. Claims on one webhook are serialized by the lock of the webhook's row, which keeps the number of deliveries
//! under way and the order exact however many gateways work; no row of deliveries is waited for, so there is nothing to skip.

use std::time::Duration;

use crate::domain::clock::Time;
use crate::domain::event::NewEvent;
use crate::domain::ids::{OrganizationId, SessionId, WebhookId};
use crate::domain::webhook::{BREAKER, Delivery, DeliveryStatus, Outcome, Page, Webhook};
use crate::error::Result;
use crate::store::{Arg, Cipher, Db, Row, Tx, args, one_of};

const COLUMNS: &str = "event_id, event, session_id, sequence, status, attempt, due_at, last_attempt_at, answer_status, answer, error, \
                       duration_ms, created_at, finished_at";

fn read(row: &Row) -> Result<Delivery> {
    Ok(Delivery {
        event_id: row.get(0)?,
        event: row.get(1)?,
        session: row.get(2)?,
        sequence: row.get(3)?,
        status: row.word(4, DeliveryStatus::from_word)?,
        attempt: row.get(5)?,
        due_at: row.get(6)?,
        last_attempt_at: row.get(7)?,
        outcome: Outcome { status: row.get(8)?, answer: row.get(9)?, error: row.get(10)?, duration_ms: row.get(11)? },
        created_at: row.get(12)?,
        finished_at: row.get(13)?,
    })
}

/// A delivery to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The event's place in the log.
    pub sequence: i64,
    /// Which try this is, from 1 on.
    pub attempt: i64,
    /// How many of the tries count against the policy: those since the last redelivery, this one included.
    pub counted: i64,
}

/// The end of a try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What it came to.
    pub outcome: Outcome,
    /// Where the delivery stands now.
    pub status: DeliveryStatus,
    /// When it is due again, if it is still pending.
    pub due_at: Time,
}

impl Tx {
    /// Plans deliveries of events that this transaction has appended: pairs of a webhook and an event with its sequence.
    pub async fn plan_deliveries(&mut self, planned: &[(WebhookId, &NewEvent, i64)]) -> Result<()> {
        let mut values: Vec<Arg<'_>> = Vec::with_capacity(planned.len() * 11);
        for (webhook, event, sequence) in planned {
            let at = event.timestamp;
            values.extend_from_slice(args![
                webhook,
                *sequence,
                &event.organization,
                &event.session,
                &event.id,
                event.payload.name(),
                DeliveryStatus::Pending.word(),
                0_i64,
                0_i64,
                at,
                at
            ]);
        }
        let head =
            "INSERT INTO webhook_deliveries (webhook_id, sequence, organization_id, session_id, event_id, event, status, attempt,
                        attempts_before, due_at, created_at) VALUES";
        self.insert(head, 11, "", &values).await
    }

    /// Plans deliveries of every event of the log within the span that the webhook lets through, anew where one was planned before.
    pub async fn redeliver_span(&mut self, webhook: &Webhook, since: Time, until: Time, now: Time) -> Result<u64> {
        let mut args = args![&webhook.id, &webhook.organization, since, until, now].to_vec();
        let mut sql =
            "INSERT INTO webhook_deliveries (webhook_id, sequence, organization_id, session_id, event_id, event, status, attempt,
                           attempts_before, due_at, created_at)
                       SELECT $1, sequence, organization_id, session_id, id, name, 'pending', 0, 0, $5, $5 FROM events
                       WHERE organization_id = $2 AND timestamp >= $3 AND timestamp < $4"
                .to_owned();
        if let Some(session) = &webhook.session {
            args.push(Arg::from(session));
            sql.push_str(&format!(" AND session_id = ${}", args.len()));
        }
        let beginnings: Vec<(String, i64)> = webhook
            .events
            .iter()
            .map(|pattern| pattern.strip_suffix('*').map_or((pattern.clone(), -1), |it| (it.to_owned(), length(it))))
            .collect();
        let mut filters = Vec::new();
        for (text, length) in &beginnings {
            args.push(Arg::from(text));
            filters.push(match length {
                -1 => format!("name = ${}", args.len()),
                _ => format!("substr(name, 1, {length}) = ${}", args.len()),
            });
        }
        sql.push_str(&format!(" AND ({}) ON CONFLICT (webhook_id, sequence) DO UPDATE SET {AGAIN}", filters.join(" OR ")));
        self.execute_built(sql.replace("$NOW", "$5"), &args).await
    }

    /// Plans named deliveries anew.
    pub async fn redeliver_events(&mut self, webhook: &WebhookId, events: &[String], now: Time) -> Result<u64> {
        let mut args = args![webhook, now].to_vec();
        let list = one_of(&mut args, events.iter().map(Arg::from));
        let sql = format!("UPDATE webhook_deliveries SET {AGAIN} WHERE webhook_id = $1 AND event_id IN ({list})");
        self.execute_built(sql.replace("$NOW", "$2"), &args).await
    }

    /// Plans all dead letters anew.
    pub async fn redeliver_dead(&mut self, webhook: &WebhookId, now: Time) -> Result<u64> {
        let sql = format!("UPDATE webhook_deliveries SET {AGAIN} WHERE webhook_id = $1 AND status = 'dead'");
        self.execute_built(sql.replace("$NOW", "$2"), args![webhook, now]).await
    }
}

/// What makes a delivery pending again, with all tries. One whose try is under way keeps it and its lease: it is being delivered.
const AGAIN: &str = "status = 'pending', finished_at = NULL, attempts_before = webhook_deliveries.attempt,
                     due_at = CASE WHEN webhook_deliveries.claim IS NULL THEN $NOW ELSE webhook_deliveries.due_at END";

/// How many characters a filter's beginning has; filters are ASCII.
fn length(beginning: &str) -> i64 {
    i64::try_from(beginning.len()).unwrap_or(i64::MAX)
}

impl Db {
    /// Claims at most `most` due deliveries of a webhook for `lease`, as many as its concurrency allows, and gives them with the webhook
    /// as it is now. While a webhook has failed too often in a row, one at a time.
    pub async fn claim_deliveries(
        &self,
        cipher: &Cipher,
        id: &WebhookId,
        claim: &str,
        most: i64,
        now: Time,
        lease: Duration,
    ) -> Result<Option<(Webhook, Vec<Claimed>)>> {
        let mut tx = self.begin().await?;
        let Some(webhook) = tx.lock_webhook_for_work(cipher, id, now).await? else { return Ok(None) };
        let busy = "SELECT COUNT(*) FROM webhook_deliveries
                    WHERE webhook_id = $1 AND status = 'pending' AND due_at > $2 AND claim IS NOT NULL";
        let busy: i64 = tx.row(busy, args![id, now]).await?.map_or(Ok(0), |row| row.get(0))?;
        let allowed = if webhook.failures >= BREAKER { 1 } else { webhook.concurrency };
        let most = most.min(allowed - busy);
        if most <= 0 {
            return Ok(None);
        }
        let due = if webhook.ordered { DUE_IN_ORDER } else { DUE };
        let sql = format!(
            "UPDATE webhook_deliveries SET claim = $2, due_at = $3, attempt = attempt + 1, last_attempt_at = $4
             WHERE webhook_id = $1 AND sequence IN ({due})
             RETURNING sequence, attempt, attempt - attempts_before"
        );
        let rows = tx.rows_built(sql, args![id, claim, now.plus(lease), now, most]).await?;
        let mut claimed: Vec<Claimed> = rows
            .iter()
            .map(|row| Ok(Claimed { sequence: row.get(0)?, attempt: row.get(1)?, counted: row.get(2)? }))
            .collect::<Result<_>>()?;
        if claimed.is_empty() {
            return Ok(None);
        }
        claimed.sort_by_key(|one| one.sequence);
        tx.commit().await?;
        Ok(Some((webhook, claimed)))
    }

    /// Records the end of a try. False when the claim has ended and the delivery is somebody else's.
    pub async fn finish_delivery(
        &self,
        webhook: &WebhookId,
        sequence: i64,
        claim: &str,
        ending: &Ending,
        now: Time,
    ) -> Result<bool> {
        let Ending { outcome, status, due_at } = ending;
        let sql = "UPDATE webhook_deliveries SET claim = NULL, status = $4, due_at = $5, finished_at = $6, answer_status = $7,
                       answer = $8, error = $9, duration_ms = $10
                   WHERE webhook_id = $1 AND sequence = $2 AND claim = $3";
        let finished = (*status != DeliveryStatus::Pending).then_some(now);
        let args = args![
            webhook,
            sequence,
            claim,
            status.word(),
            *due_at,
            finished,
            outcome.status,
            &outcome.answer,
            &outcome.error,
            outcome.duration_ms
        ];
        Ok(self.execute(sql, args).await? > 0)
    }

    /// A page of a webhook's deliveries, newest first.
    pub async fn list_deliveries(&self, organization: &OrganizationId, webhook: &WebhookId, page: Page) -> Result<Vec<Delivery>> {
        let mut args = args![webhook, organization, page.limit, page.before.unwrap_or(i64::MAX)].to_vec();
        let mut sql =
            format!("SELECT {COLUMNS} FROM webhook_deliveries WHERE webhook_id = $1 AND organization_id = $2 AND sequence < $4");
        if let Some(status) = page.status {
            args.push(Arg::from(status.word()));
            sql.push_str(" AND status = $5");
        }
        sql.push_str(" ORDER BY sequence DESC LIMIT $3");
        self.rows_built(sql, &args).await?.iter().map(read).collect()
    }

    /// Deletes at most `batch` deliveries that were finished before a moment, and gives their number; call again until it is 0.
    pub async fn prune_deliveries(&self, before: Time, batch: i64) -> Result<u64> {
        let sql = "DELETE FROM webhook_deliveries WHERE (webhook_id, sequence) IN
                       (SELECT webhook_id, sequence FROM webhook_deliveries WHERE finished_at < $1 ORDER BY finished_at LIMIT $2)";
        self.execute(sql, args![before, batch]).await
    }

    /// The sessions with anything pending for a webhook, and how much: for tests and health.
    pub async fn pending_deliveries(&self, webhook: &WebhookId) -> Result<Vec<(SessionId, i64)>> {
        let sql = "SELECT session_id, COUNT(*) FROM webhook_deliveries WHERE webhook_id = $1 AND status = 'pending'
                   GROUP BY session_id ORDER BY session_id";
        self.rows(sql, args![webhook]).await?.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
    }
}

/// What is due, longest waiting first.
const DUE: &str = "SELECT sequence FROM webhook_deliveries WHERE webhook_id = $1 AND status = 'pending' AND due_at <= $4
                   ORDER BY due_at, sequence LIMIT $5";

/// The first pending delivery of each session, where it is due. The sessions are stepped through by the index, so that it costs as much as
/// there are sessions, and not as much as there is waiting.
const DUE_IN_ORDER: &str = "WITH RECURSIVE waiting (session_id) AS (
                                SELECT MIN(session_id) FROM webhook_deliveries WHERE webhook_id = $1 AND status = 'pending'
                                UNION ALL
                                SELECT (SELECT MIN(session_id) FROM webhook_deliveries
                                        WHERE webhook_id = $1 AND status = 'pending' AND session_id > waiting.session_id)
                                FROM waiting WHERE waiting.session_id IS NOT NULL),
                            heads (sequence) AS (
                                SELECT (SELECT MIN(sequence) FROM webhook_deliveries
                                        WHERE webhook_id = $1 AND status = 'pending' AND session_id = waiting.session_id)
                                FROM waiting WHERE waiting.session_id IS NOT NULL)
                            SELECT head.sequence FROM webhook_deliveries AS head JOIN heads ON heads.sequence = head.sequence
                            WHERE head.webhook_id = $1 AND head.status = 'pending' AND head.due_at <= $4
                            ORDER BY head.due_at, head.sequence LIMIT $5";
