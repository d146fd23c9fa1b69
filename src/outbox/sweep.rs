//! No message stays in between for ever: what is over is ended, with the truth about it.

use std::time::Duration;

use super::Parts;
use crate::domain::message::{MessageStatus, Receipt};
use crate::domain::outbox::OutboxState;
use crate::error::Result;
use crate::session::recorder::advance;

/// Messages that are ended in one transaction.
const BATCH: i64 = 200;

/// How long a settled message's way is remembered; longer than any budget's window.
const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 3600);

/// Ends what is over, any session's: gateways that do it at the same time do it once.
pub(super) async fn sweep(parts: &Parts) -> Result<()> {
    let now = parts.ambient.now();
    loop {
        let mut recording = parts.log.begin().await?;
        recording.tx.abandoned_outbox(now).await?;
        let expired = recording.tx.expired_outbox(now, BATCH).await?;
        let count = expired.len();
        for item in expired {
            // Never given to WhatsApp, or never answered by it: the first did not arrive, of the second nobody knows.
            let (reason, text) = match item.attempts {
                0 => ("expired", "the session could not send it in time; it was not sent"),
                _ => ("never_confirmed", "WhatsApp never confirmed it; it may have arrived or not"),
            };
            if recording.tx.settle_outbox(&item.id, OutboxState::Failed, Some(reason), now).await? {
                let news = Receipt {
                    sender_jid: None,
                    message_ids: vec![item.wa_message_id],
                    status: MessageStatus::Failed,
                    error: Some(text.to_owned()),
                    timestamp: now,
                };
                advance(&mut recording, &item.organization, &item.session, &news).await?;
            }
        }
        recording.tx.prune_outbox(now.minus(REMEMBERED), BATCH).await?;
        recording.commit().await?;
        if count < usize::try_from(BATCH).unwrap_or(usize::MAX) {
            return Ok(());
        }
    }
}
