//! Webhooks. Their secrets and headers are sealed here and nowhere else, so that neither lies in the clear by oversight.

use std::collections::HashMap;

use crate::domain::clock::Time;
use crate::domain::ids::{OrganizationId, SessionId, WebhookId};
use crate::domain::webhook::{Backlog, Disabled, Policy, Retry, Webhook};
use crate::error::{Error, Result};
use crate::store::{Cipher, Db, Row, Tx, args};

macro_rules! columns {
    () => {
        "id, organization_id, session_id, url, events, retry_policy, retry_delay, retry_attempts, headers, secrets, disabled, ordered, \
         concurrency, failures, paused_until, created_at, updated_at"
    };
}

const TABLE: &str = "webhooks";

fn read(row: &Row, cipher: &Cipher) -> Result<Webhook> {
    let id: WebhookId = row.get(0)?;
    let sealer = cipher.for_webhook(&id);
    let open = |index, column: &[u8]| {
        let blob: Vec<u8> = row.get(index)?;
        sealer.open(TABLE, &[column], &blob)
    };
    let disabled: Option<String> = row.get(10)?;
    Ok(Webhook {
        organization: row.get(1)?,
        session: row.get(2)?,
        url: row.get(3)?,
        events: names(row, 4)?,
        retry: Retry { policy: row.word(5, Policy::from_word)?, delay_seconds: row.get(6)?, attempts: row.get(7)? },
        headers: serde_json::from_slice(&open(8, b"headers")?).map_err(Error::internal)?,
        secrets: serde_json::from_slice(&open(9, b"secrets")?).map_err(Error::internal)?,
        disabled: disabled.map(|_| row.word(10, Disabled::from_word)).transpose()?,
        ordered: row.get(11)?,
        concurrency: row.get(12)?,
        failures: row.get(13)?,
        paused_until: row.get(14)?,
        created_at: row.get(15)?,
        updated_at: row.get(16)?,
        id,
    })
}

fn names(row: &Row, index: usize) -> Result<Vec<String>> {
    let text: String = row.get(index)?;
    serde_json::from_str(&text).map_err(Error::internal)
}

/// As much of a webhook as planning deliveries needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscription {
    /// The webhook.
    pub id: WebhookId,
    /// Only this session's events.
    pub session: Option<SessionId>,
    /// Which events.
    pub events: Vec<String>,
}

impl Db {
    /// A webhook of the organization.
    pub async fn webhook(&self, cipher: &Cipher, organization: &OrganizationId, id: &WebhookId) -> Result<Option<Webhook>> {
        let sql = concat!("SELECT ", columns!(), " FROM webhooks WHERE organization_id = $1 AND id = $2");
        self.row(sql, args![organization, id]).await?.map(|row| read(&row, cipher)).transpose()
    }

    /// Every webhook of the organization, oldest first.
    pub async fn list_webhooks(&self, cipher: &Cipher, organization: &OrganizationId) -> Result<Vec<Webhook>> {
        let sql = concat!("SELECT ", columns!(), " FROM webhooks WHERE organization_id = $1 ORDER BY created_at, id");
        self.rows(sql, args![organization]).await?.iter().map(|row| read(row, cipher)).collect()
    }

    /// What one webhook has not delivered yet.
    pub async fn webhook_backlog(&self, id: &WebhookId) -> Result<Backlog> {
        let sql = "SELECT COUNT(*), MIN(created_at) FROM webhook_deliveries WHERE webhook_id = $1 AND status = 'pending'";
        let row = self.row(sql, args![id]).await?;
        row.map_or(Ok(Backlog::default()), |row| Ok(Backlog { pending: row.get(0)?, since: row.get(1)? }))
    }

    /// What the organization's webhooks have not delivered yet; those that have delivered everything are left out.
    pub async fn webhook_backlogs(&self, organization: &OrganizationId) -> Result<HashMap<WebhookId, Backlog>> {
        let sql = "SELECT webhook_id, COUNT(*), MIN(webhook_deliveries.created_at)
                   FROM webhook_deliveries JOIN webhooks ON webhooks.id = webhook_id
                   WHERE webhooks.organization_id = $1 AND status = 'pending' GROUP BY webhook_id";
        let rows = self.rows(sql, args![organization]).await?;
        rows.iter().map(|row| Ok((row.get(0)?, Backlog { pending: row.get(1)?, since: row.get(2)? }))).collect()
    }

    /// The webhooks of all organizations that have something to deliver now: for the workers only.
    pub async fn webhooks_with_work(&self, now: Time) -> Result<Vec<WebhookId>> {
        let sql = "SELECT id FROM webhooks
                   WHERE disabled IS NULL AND (paused_until IS NULL OR paused_until <= $1) AND EXISTS
                       (SELECT 1 FROM webhook_deliveries
                        WHERE webhook_id = webhooks.id AND status = 'pending' AND due_at <= $1)
                   ORDER BY id";
        self.rows(sql, args![now]).await?.iter().map(|row| row.get(0)).collect()
    }

    /// Counts a failure and gives the failures in a row.
    pub async fn webhook_failed(&self, id: &WebhookId) -> Result<i64> {
        let sql = "UPDATE webhooks SET failures = failures + 1 WHERE id = $1 RETURNING failures";
        self.change(sql, args![id]).await?.map_or(Ok(0), |row| row.get(0))
    }

    /// Leaves the endpoint alone until a moment, if that is later than it would be anyway.
    pub async fn pause_webhook(&self, id: &WebhookId, until: Time) -> Result<()> {
        let sql = "UPDATE webhooks SET paused_until = $2 WHERE id = $1 AND (paused_until IS NULL OR paused_until < $2)";
        self.execute(sql, args![id, until]).await.map(drop)
    }

    /// Forgets past failures and their pause.
    pub async fn webhook_recovered(&self, id: &WebhookId) -> Result<()> {
        self.execute(RECOVER, args![id]).await.map(drop)
    }
}

const RECOVER: &str = "UPDATE webhooks SET failures = 0, paused_until = NULL
                       WHERE id = $1 AND (failures > 0 OR paused_until IS NOT NULL)";

impl Tx {
    /// Forgets past failures and their pause.
    pub async fn webhook_recovered(&mut self, id: &WebhookId) -> Result<()> {
        self.execute(RECOVER, args![id]).await.map(drop)
    }

    /// Says that the organization's webhooks change in this transaction. To be called before they are touched: it takes the lock that
    /// appending events takes, so that each event comes wholly before the change or wholly after it, on every gateway.
    pub async fn change_webhooks(&mut self, organization: &OrganizationId) -> Result<()> {
        let sql = "UPDATE organizations SET webhooks_version = webhooks_version + 1 WHERE id = $1";
        self.execute(sql, args![organization]).await.map(drop)
    }

    /// How many webhooks the organization has.
    pub async fn count_webhooks(&mut self, organization: &OrganizationId) -> Result<i64> {
        let sql = "SELECT COUNT(*) FROM webhooks WHERE organization_id = $1";
        self.row(sql, args![organization]).await?.map_or(Ok(0), |row| row.get(0))
    }

    /// A webhook of the organization, as this transaction sees it.
    pub async fn webhook(&mut self, cipher: &Cipher, organization: &OrganizationId, id: &WebhookId) -> Result<Option<Webhook>> {
        let sql = concat!("SELECT ", columns!(), " FROM webhooks WHERE organization_id = $1 AND id = $2");
        self.row(sql, args![organization, id]).await?.map(|row| read(&row, cipher)).transpose()
    }

    /// Locks a webhook of whichever organization and reads it: for the workers only. One that is off or paused is `None`.
    pub(super) async fn lock_webhook_for_work(&mut self, cipher: &Cipher, id: &WebhookId, now: Time) -> Result<Option<Webhook>> {
        // An update that changes nothing takes the row lock on both engines.
        let sql = concat!(
            "UPDATE webhooks SET failures = failures
             WHERE id = $1 AND disabled IS NULL AND (paused_until IS NULL OR paused_until <= $2) RETURNING ",
            columns!()
        );
        self.row(sql, args![id, now]).await?.map(|row| read(&row, cipher)).transpose()
    }

    /// Stores a webhook, new or changed. Its organization must have a row. What the workers keep (failures, pause) stays as it is.
    pub async fn put_webhook(&mut self, cipher: &Cipher, webhook: &Webhook) -> Result<()> {
        let sql = concat!(
            "INSERT INTO webhooks (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)
             ON CONFLICT (id) DO UPDATE SET
                 session_id = excluded.session_id, url = excluded.url, events = excluded.events,
                 retry_policy = excluded.retry_policy, retry_delay = excluded.retry_delay, retry_attempts = excluded.retry_attempts,
                 headers = excluded.headers, secrets = excluded.secrets, disabled = excluded.disabled, ordered = excluded.ordered,
                 concurrency = excluded.concurrency, updated_at = excluded.updated_at"
        );
        let sealer = cipher.for_webhook(&webhook.id);
        let seal = |column: &[u8], json: serde_json::Result<Vec<u8>>| {
            json.map_err(Error::internal).and_then(|json| sealer.seal(TABLE, &[column], &json))
        };
        let headers = seal(b"headers", serde_json::to_vec(&webhook.headers))?;
        let secrets = seal(b"secrets", serde_json::to_vec(&webhook.secrets))?;
        let events = serde_json::to_string(&webhook.events).map_err(Error::internal)?;
        let args = args![
            &webhook.id,
            &webhook.organization,
            &webhook.session,
            &webhook.url,
            &events,
            webhook.retry.policy.word(),
            webhook.retry.delay_seconds,
            webhook.retry.attempts,
            &headers,
            &secrets,
            webhook.disabled.map(Disabled::word),
            webhook.ordered,
            webhook.concurrency,
            webhook.failures,
            webhook.paused_until,
            webhook.created_at,
            webhook.updated_at,
        ];
        self.execute(sql, args).await.map(drop)
    }

    /// Switches a webhook off. False when it is off already or gone.
    pub async fn disable_webhook(&mut self, id: &WebhookId, why: Disabled, now: Time) -> Result<bool> {
        let sql = "UPDATE webhooks SET disabled = $2, updated_at = $3 WHERE id = $1 AND disabled IS NULL";
        Ok(self.execute(sql, args![id, why.word(), now]).await? > 0)
    }

    /// Deletes a webhook with its deliveries. False when the organization has no such webhook.
    pub async fn delete_webhook(&mut self, organization: &OrganizationId, id: &WebhookId) -> Result<bool> {
        let sql = "DELETE FROM webhooks WHERE organization_id = $1 AND id = $2";
        Ok(self.execute(sql, args![organization, id]).await? > 0)
    }

    /// Who of the organization is to be told of events now.
    pub async fn subscriptions(&mut self, organization: &OrganizationId) -> Result<Vec<Subscription>> {
        let sql = "SELECT id, session_id, events FROM webhooks WHERE organization_id = $1 AND disabled IS NULL ORDER BY id";
        let rows = self.rows_built(sql.to_owned(), args![organization]).await?;
        rows.iter().map(|row| Ok(Subscription { id: row.get(0)?, session: row.get(1)?, events: names(row, 2)? })).collect()
    }
}
