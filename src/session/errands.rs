//! What a session does beside its loop: small errands that nobody waits for.

use super::actor::{Actor, Memory};
use crate::error::Result;
use crate::store::patiently;
use crate::wa::Connection;
use crate::wa::attention::Ringing;

/// How many small errands (read receipts, refused calls) may run beside the loop; more are left out.
const ERRANDS: usize = 32;

impl Actor {
    /// Stores and tells what happened beside messages.
    pub(super) async fn news(&self, connection: &Connection) -> Result<()> {
        loop {
            let news = connection.news();
            if news.is_empty() {
                return Ok(());
            }
            patiently(|| self.recorder.happened(&news)).await?;
        }
    }

    /// Begins to put the kept history into the tables, unless that is going on.
    pub(super) fn digest_history(&self, memory: &mut Memory) {
        let (recorder, session, turn) = (self.recorder.clone(), self.session.clone(), memory.history.clone());
        memory.errands.spawn(async move {
            // One after another: a part that comes meanwhile finds the turn taken and is dealt with by whoever has it, or by the next.
            let _turn = turn.lock_owned().await;
            if let Err(e) = recorder.digest_history().await {
                tracing::error!(%session, error = %e, cause = ?e.cause(), "the history could not be stored; it is tried again");
            }
        });
    }

    /// Marks stored messages as read when the session's settings say so.
    pub(super) async fn read(
        &self,
        connection: &Connection,
        messages: Vec<crate::wa::normalize::Inbound>,
        memory: &mut Memory,
    ) -> Result<()> {
        let Some(session) = self.context.db.session_by_id(&self.session).await? else { return Ok(()) };
        let messages: Vec<_> = messages.into_iter().filter(|it| !session.settings.ignore.covers(&it.chat.jid)).collect();
        if session.settings.auto_read && memory.errands.len() < ERRANDS {
            let (sender, recorder) = (connection.sender(), self.recorder.clone());
            memory.errands.spawn(async move {
                match sender.mark_read(&messages).await {
                    Ok(()) => drop(recorder.marked_read(&messages).await),
                    Err(e) => tracing::debug!(error = %e, "a read receipt was not sent"),
                }
            });
        }
        Ok(())
    }

    /// Refuses a call when the session's settings say so.
    pub(super) async fn ringing(&self, connection: &Connection, call: Ringing, memory: &mut Memory) -> Result<()> {
        let Some(session) = self.context.db.session_by_id(&self.session).await? else { return Ok(()) };
        if session.settings.auto_reject_calls && memory.errands.len() < ERRANDS {
            let sender = connection.sender();
            memory.errands.spawn(async move {
                if let Err(refused) = sender.reject_call(&call).await {
                    tracing::warn!(?refused, "a call could not be refused");
                }
            });
        }
        Ok(())
    }
}
