//! One session's sending.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::{Outbox, Parts, budget, lock};
use crate::domain::ids::SessionId;
use crate::domain::outbox::{CLAIM, Item, Lane as Rank, in_turn};
use crate::domain::session::Session;
use crate::error::Result;
use crate::telemetry::trace;

/// Messages of one session that are given to WhatsApp at the same time, each to another chat.
const WIDTH: usize = 16;

/// Chats of which it is remembered when they had their last turn; beyond that all begin anew.
const REMEMBERED: usize = 4096;

/// Says that there is something new to send.
#[derive(Default)]
pub(super) struct Bell {
    notify: Notify,
    rung: AtomicBool,
}

impl Bell {
    pub(super) fn ring(&self) {
        self.rung.store(true, Ordering::Release);
        self.notify.notify_one();
    }
}

/// The lane of one session; it ends when there is nothing to send now.
pub(super) struct Lane {
    outbox: Outbox,
    session: SessionId,
    bell: Arc<Bell>,
    draining: CancellationToken,
    /// When each chat had its last turn, by a counter.
    served: HashMap<String, u64>,
    turns: u64,
}

impl Lane {
    pub(super) fn new(outbox: Outbox, session: SessionId, bell: Arc<Bell>, draining: CancellationToken) -> Self {
        Self { outbox, session, bell, draining, served: HashMap::new(), turns: 0 }
    }

    pub(super) async fn run(mut self) {
        let mut under_way: JoinSet<()> = JoinSet::new();
        loop {
            self.bell.rung.store(false, Ordering::Release);
            while let Some(ended) = under_way.try_join_next() {
                if let Err(error) = ended {
                    tracing::error!(session = %self.session, %error, "an attempt to send died; it is taken up when its claim has run out");
                }
            }
            let room = WIDTH.saturating_sub(under_way.len());
            let mut claimed = Vec::new();
            if room > 0 && !self.draining.is_cancelled() {
                match self.claim(room).await {
                    Ok(items) => claimed = items,
                    Err(error) => {
                        tracing::warn!(session = %self.session, %error, cause = ?error.cause(), "cannot claim messages to send");
                    }
                }
            }
            if claimed.is_empty() && under_way.is_empty() {
                // Behind the lock nobody rings any more: whoever comes next opens another lane.
                let mut lanes = lock(&self.outbox.0.lanes);
                if self.bell.rung.load(Ordering::Acquire) && !self.draining.is_cancelled() {
                    continue;
                }
                lanes.remove(&self.session);
                return;
            }
            for (item, row) in claimed {
                let outbox = self.outbox.clone();
                let span = tracing::info_span!("attempt to send");
                if let Some(told) = &item.draft.trace {
                    trace::resume(&span, told);
                }
                under_way.spawn(async move { Box::pin(outbox.attempt(item, row)).await }.instrument(span));
            }
            tokio::select! {
                biased;
                Some(_) = under_way.join_next() => {}
                () = self.bell.notify.notified() => {}
            }
        }
    }

    /// The next messages, at most `room`, marked as this gateway's.
    async fn claim(&mut self, room: usize) -> Result<Vec<(Item, Arc<Session>)>> {
        let Parts { db, ambient, gateway, .. } = &self.outbox.0.parts;
        if self.outbox.online(&self.session).is_none() {
            return Ok(Vec::new());
        }
        let mut tx = db.begin().await?;
        let Some(row) = tx.lock_session_by_id(&self.session).await? else { return Ok(Vec::new()) };
        let now = ambient.now();
        let Some(epoch) = tx.lease_epoch(&self.session, gateway, now).await? else { return Ok(Vec::new()) };
        let restricted = row.restricted_until.is_some_and(|until| until > now);
        let heads = tx.outbox_heads(&self.session, epoch, now).await?;
        if heads.is_empty() {
            return Ok(Vec::new());
        }
        let row = Arc::new(row);
        let mut places = None;
        let mut claimed = Vec::new();
        for mut item in in_turn(heads, &self.served) {
            if claimed.len() == room {
                break;
            }
            if claimed.iter().any(|(other, _): &(Item, _)| other.chat_jid == item.chat_jid) {
                continue;
            }
            if item.lane != Rank::Reply {
                // Whoever has answered meanwhile is no stranger any more.
                let addresses = tx.addresses_of(&self.session, &item.chat_jid).await?;
                item.lane = tx.lane_of(&self.session, &addresses).await?;
                if restricted && item.lane != Rank::Reply {
                    continue;
                }
            }
            if item.released_at.is_none() {
                if item.lane == Rank::Cold && budget::newcomer(&mut tx, &row, &item.chat_jid, now).await?.is_err() {
                    continue;
                }
                let left = match places {
                    Some(left) => left,
                    None => budget::places(&mut tx, &row, now).await?.unwrap_or(0),
                };
                places = Some(left);
                if left <= 0 {
                    continue;
                }
                places = Some(left - 1);
            }
            tx.claim_outbox(&mut item, epoch, now, now.plus(CLAIM)).await?;
            claimed.push((item, row.clone()));
        }
        tx.commit().await?;
        if self.served.len() > REMEMBERED {
            self.served.clear();
        }
        for (item, _) in &claimed {
            self.turns += 1;
            self.served.insert(item.chat_jid.clone(), self.turns);
        }
        Ok(claimed)
    }
}
