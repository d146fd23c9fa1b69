//! How many messages a session may send now. Every function here is exact only behind [`Tx::lock_session`]: whoever takes a place holds
//! the session's row from the count to the commit, on whatever gateway it is.

use std::time::Duration;

use crate::domain::clock::Time;
use crate::domain::outbox::{Lane, new_contacts};
use crate::domain::session::Session;
use crate::error::{Code, Error, Result};
use crate::store::Tx;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Why a message may not go now, and when the next one may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UsedUp {
    /// The budget's limit.
    pub limit: i64,
    /// Of what: `minute`, `hour`, `day`.
    pub window: &'static str,
    /// When there is room again.
    pub frees_at: Time,
}

/// How many messages may go now; when none, why.
pub async fn places(tx: &mut Tx, session: &Session, now: Time) -> Result<std::result::Result<i64, UsedUp>> {
    let mut places = i64::MAX;
    let (per_min, per_hour) = (session.settings.rate_per_min, session.settings.rate_per_hour);
    for (limit, span, window) in [(per_min, MINUTE, "minute"), (per_hour, HOUR, "hour")] {
        let limit = i64::from(limit);
        let since = now.minus(span);
        let count = tx.released_since(&session.id, since).await?;
        if count >= limit {
            let oldest = tx.nth_released_since(&session.id, since, count - limit).await?;
            return Ok(Err(UsedUp { limit, window, frees_at: oldest.unwrap_or(now).plus(span) }));
        }
        places = places.min(limit - count);
    }
    Ok(Ok(places))
}

/// Whether the session may write to `chat`, with whom there is no conversation, now.
pub async fn newcomer(tx: &mut Tx, session: &Session, chat: &str, now: Time) -> Result<std::result::Result<(), UsedUp>> {
    let age = session.attached_at.map_or(DAY * 3650, |at| now.since(at));
    let Some(limit) = new_contacts(session.settings.new_contacts_per_day, session.settings.warm_up_days, age) else {
        return Ok(Ok(()));
    };
    let (count, first) = tx.cold_since(&session.id, chat, now.minus(DAY)).await?;
    if count < limit {
        return Ok(Ok(()));
    }
    Ok(Err(UsedUp { limit, window: "day", frees_at: first.unwrap_or(now).plus(DAY) }))
}

/// Refuses, for a caller that waits, what may not go now.
pub async fn admit(tx: &mut Tx, session: &Session, chat: &str, lane: Lane, count: i64, now: Time) -> Result<()> {
    if lane != Lane::Reply
        && let Some(until) = session.restricted_until.filter(|until| *until > now)
    {
        return Err(restricted(until, now));
    }
    if lane == Lane::Cold
        && let Err(UsedUp { limit, frees_at, .. }) = newcomer(tx, session, chat, now).await?
    {
        let message =
            format!("the session's budget of {limit} new contacts per day is used up; send with async=true to wait for it");
        let error = Error::new(Code::RateLimited, message).reason("new_contacts_used_up");
        return Err(error.retry_after(frees_at.since(now)).detail("limit", limit));
    }
    let used_up = match places(tx, session, now).await? {
        Ok(places) if places >= count => return Ok(()),
        Ok(_) => UsedUp { limit: i64::from(session.settings.rate_per_min), window: "minute", frees_at: now.plus(MINUTE) },
        Err(used_up) => used_up,
    };
    let UsedUp { limit, window, frees_at } = used_up;
    let message = format!("the session's budget of {limit} messages per {window} is used up");
    Err(Error::new(Code::RateLimited, message).retry_after(frees_at.since(now)).detail("limit", limit))
}

/// The number may begin no conversations now.
pub fn restricted(until: Time, now: Time) -> Error {
    let message = "WhatsApp lets this number begin no conversations for a time; answers to people who write to it go on";
    let mut error = Error::new(Code::RateLimited, message).reason("restricted").retry_after(until.since(now));
    error.until = Some(until);
    error
}
