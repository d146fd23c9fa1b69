//! The event log's rows.

use std::collections::{BTreeMap, HashMap};

use crate::domain::clock::Time;
use crate::domain::event::{Event, NewEvent};
use crate::domain::ids::{OrganizationId, SessionId};
use crate::error::{Error, Result};
use crate::store::session::read_metadata;
use crate::store::{Arg, Db, Row, Tx, args, one_of};

fn read(row: &Row) -> Result<Event> {
    let payload: String = row.get(5)?;
    Ok(Event {
        sequence: row.get(0)?,
        event: NewEvent {
            id: row.get(1)?,
            session: row.get(2)?,
            organization: row.get(3)?,
            timestamp: row.get(4)?,
            payload: serde_json::from_str(&payload).map_err(Error::internal)?,
        },
        metadata: read_metadata(row, 6)?,
    })
}

/// What an append came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The sequence of each event, in the order given.
    pub sequences: Vec<i64>,
    /// For each organization among them, which version of its webhooks holds while its lock is held.
    pub webhooks: BTreeMap<OrganizationId, i64>,
}

impl Tx {
    /// Appends events and gives each its sequence, in the order given. Sequences grow strictly per organization **in the order of
    /// commits**: the first append of a transaction takes the lock of the organization's row, so another transaction's events come
    /// wholly before or wholly after, and a reader never sees a gap that is filled later. The organizations must have rows.
    pub async fn append_events(&mut self, events: &[NewEvent]) -> Result<Appended> {
        let metadata = self.metadata_of(events).await?;
        let mut counts: BTreeMap<&OrganizationId, i64> = BTreeMap::new();
        for event in events {
            *counts.entry(&event.organization).or_default() += 1;
        }
        // In the order of ids, so that two transactions with events of several organizations cannot wait for each other.
        let mut next: HashMap<&OrganizationId, i64> = HashMap::new();
        let mut webhooks = BTreeMap::new();
        for (organization, count) in counts {
            let sql = "UPDATE organizations SET last_sequence = last_sequence + $2 WHERE id = $1
                       RETURNING last_sequence, webhooks_version";
            let row = self.row(sql, args![organization, count]).await?;
            let row = row.ok_or_else(|| Error::internal(anyhow::anyhow!("the organization has no row")))?;
            next.insert(organization, row.get::<i64>(0)? - count);
            webhooks.insert(organization.clone(), row.get(1)?);
        }
        let mut sequences = Vec::with_capacity(events.len());
        let mut payloads = Vec::with_capacity(events.len());
        for event in events {
            let sequence = next.entry(&event.organization).or_default();
            *sequence += 1;
            sequences.push(*sequence);
            payloads.push(serde_json::to_string(&event.payload).map_err(Error::internal)?);
        }
        let mut values: Vec<Arg<'_>> = Vec::with_capacity(events.len() * 8);
        for ((event, sequence), payload) in events.iter().zip(&sequences).zip(&payloads) {
            let name = event.payload.name();
            values.extend_from_slice(args![
                &event.organization,
                *sequence,
                &event.id,
                &event.session,
                name,
                event.timestamp,
                payload,
                metadata.get(&event.session).and_then(Option::as_deref),
            ]);
        }
        let head = "INSERT INTO events (organization_id, sequence, id, session_id, name, timestamp, payload, metadata) VALUES";
        self.insert(head, 8, "", &values).await?;
        Ok(Appended { sequences, webhooks })
    }

    /// The metadata of each event's session, as text. Mostly there is one session.
    async fn metadata_of<'a>(&mut self, events: &'a [NewEvent]) -> Result<HashMap<&'a SessionId, Option<String>>> {
        let mut found = HashMap::new();
        for NewEvent { session, .. } in events {
            if !found.contains_key(session) {
                let row = self.row("SELECT metadata FROM sessions WHERE id = $1", args![session]).await?;
                found.insert(session, row.map(|row| row.get(0)).transpose()?.flatten());
            }
        }
        Ok(found)
    }
}

impl Db {
    /// At most `limit` events of the organization after sequence `after`, in order; only those of `sessions` and of `names` unless
    /// these are empty.
    pub async fn list_events(
        &self,
        organization: &OrganizationId,
        after: i64,
        limit: i64,
        sessions: &[SessionId],
        names: &[String],
    ) -> Result<Vec<Event>> {
        let mut args = args![organization, after, limit].to_vec();
        let mut sql = "SELECT sequence, id, session_id, organization_id, timestamp, payload, metadata FROM events
                       WHERE organization_id = $1 AND sequence > $2"
            .to_owned();
        if !sessions.is_empty() {
            let list = one_of(&mut args, sessions.iter().map(Arg::from));
            sql.push_str(&format!(" AND session_id IN ({list})"));
        }
        if !names.is_empty() {
            let list = one_of(&mut args, names.iter().map(Arg::from));
            sql.push_str(&format!(" AND name IN ({list})"));
        }
        sql.push_str(" ORDER BY sequence LIMIT $3");
        self.rows_built(sql, &args).await?.iter().map(read).collect()
    }

    /// The events of the organization with these sequences, in order. Those that are no longer kept are left out.
    pub async fn events_at(&self, organization: &OrganizationId, sequences: &[i64]) -> Result<Vec<Event>> {
        if sequences.is_empty() {
            return Ok(Vec::new());
        }
        let mut args = args![organization].to_vec();
        let list = one_of(&mut args, sequences.iter().map(|sequence| Arg::from(*sequence)));
        let sql = format!(
            "SELECT sequence, id, session_id, organization_id, timestamp, payload, metadata FROM events
             WHERE organization_id = $1 AND sequence IN ({list}) ORDER BY sequence"
        );
        self.rows_built(sql, &args).await?.iter().map(read).collect()
    }

    /// The oldest sequence that can still be read and the newest one given. When nothing can be read, the oldest is the one after the
    /// newest. An organization without a row has (1, 0).
    pub async fn event_bounds(&self, organization: &OrganizationId) -> Result<(i64, i64)> {
        let sql =
            "SELECT COALESCE((SELECT MIN(sequence) FROM events WHERE organization_id = $1), last_sequence + 1), last_sequence
                   FROM organizations WHERE id = $1";
        match self.row(sql, args![organization]).await? {
            Some(row) => Ok((row.get(0)?, row.get(1)?)),
            None => Ok((1, 0)),
        }
    }

    /// Deletes events from before `before`, at most `max_batch` of each organization, and gives their number; call again until it is 0.
    /// Each organization's log is cut at its old end only: an old event behind a younger one waits, so that what is left has no hole.
    pub async fn prune_events(&self, before: Time, max_batch: i64) -> Result<u64> {
        let organizations = self.rows("SELECT DISTINCT organization_id FROM events WHERE timestamp < $1", args![before]).await?;
        let mut deleted = 0;
        for row in organizations {
            let organization: OrganizationId = row.get(0)?;
            let oldest = "SELECT sequence, timestamp FROM events WHERE organization_id = $1 ORDER BY sequence LIMIT $2";
            let mut last = None;
            for row in self.rows(oldest, args![&organization, max_batch]).await? {
                if row.get::<Time>(1)? >= before {
                    break;
                }
                last = Some(row.get::<i64>(0)?);
            }
            if let Some(last) = last {
                deleted += self.cut_events(&organization, last).await?;
            }
        }
        Ok(deleted)
    }

    /// Deletes the oldest events of each organization that has more than `most`, at most `max_batch` of each, and gives their number;
    /// call again until it is 0.
    pub async fn prune_events_beyond(&self, most: i64, max_batch: i64) -> Result<u64> {
        // A log has no holes, so its ends tell its size.
        let sql = "SELECT id, oldest, last_sequence FROM
                       (SELECT id, last_sequence, (SELECT MIN(sequence) FROM events WHERE organization_id = organizations.id) AS oldest
                        FROM organizations) AS logs
                   WHERE oldest IS NOT NULL AND last_sequence - oldest >= $1";
        let mut deleted = 0;
        for row in self.rows(sql, args![most]).await? {
            let (organization, oldest, newest): (OrganizationId, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            deleted += self.cut_events(&organization, (newest - most).min(oldest + max_batch - 1)).await?;
        }
        Ok(deleted)
    }

    async fn cut_events(&self, organization: &OrganizationId, last: i64) -> Result<u64> {
        self.execute("DELETE FROM events WHERE organization_id = $1 AND sequence <= $2", args![organization, last]).await
    }
}
