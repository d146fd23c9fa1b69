//! Polls that have an end: what came of them is told when it has come.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::domain::chat::{Vote, tally};
use crate::domain::clock::Ambient;
use crate::domain::event::{Payload, PollRecap};
use crate::domain::message::Message;
use crate::domain::payload::Voter;
use crate::error::Result;
use crate::event::EventLog;
use crate::store::Db;

/// How often the table is looked into.
const TICK: Duration = Duration::from_secs(1);

/// How many polls are told in one transaction.
const BATCH: i64 = 50;

/// How long it is remembered what was dealt with; WhatsApp keeps what was not acknowledged for less.
const DEEDS: Duration = Duration::from_secs(45 * 24 * 3600);

/// How many forgotten deeds are deleted at a time.
const FORGET: i64 = 1000;

/// Tells the polls that end, until `draining` is cancelled. Several gateways may do so: each poll is told by one.
pub async fn run(db: Db, log: EventLog, ambient: Ambient, draining: CancellationToken) -> anyhow::Result<()> {
    loop {
        if let Err(error) = tell_ended(&db, &log, &ambient).await {
            tracing::warn!(%error, cause = error.cause().map(tracing::field::display), "ended polls could not be told; it is tried again");
        }
        match db.forget_deeds(ambient.now().minus(DEEDS), FORGET).await {
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "what was dealt with long ago could not be forgotten"),
        }
        tokio::select! {
            biased;
            () = draining.cancelled() => return Ok(()),
            () = sleep(TICK) => {}
        }
    }
}

/// Tells the polls that have ended by now; gives their number.
pub async fn tell_ended(db: &Db, log: &EventLog, ambient: &Ambient) -> Result<usize> {
    // A look costs no transaction: mostly there is nothing.
    if !db.has_ended_poll(ambient.now()).await? {
        return Ok(0);
    }
    let mut recording = log.begin().await?;
    let polls = recording.tx.ended_polls(ambient.now(), BATCH).await?;
    let mut told = 0;
    for message in &polls {
        let votes = recording.tx.votes(&message.session, &message.wa_message_id).await?;
        if let Some(recap) = recap(message, votes) {
            recording.tell(&message.organization, &message.session, Payload::PollRecap(recap));
            told += 1;
        }
    }
    recording.commit().await?;
    Ok(told)
}

fn recap(message: &Message, votes: Vec<Vote>) -> Option<PollRecap> {
    let poll = message.content.poll.as_ref()?;
    // Who voted for what is seen by all, or by who asked.
    let open = !poll.hide_votes || message.from_me;
    Some(PollRecap {
        wa_message_id: message.wa_message_id.clone(),
        chat_jid: message.chat_jid.clone(),
        name: poll.name.clone(),
        options: tally(poll, &votes),
        selectable: poll.selectable,
        end_at: poll.end_at?,
        hide_votes: poll.hide_votes,
        total: i64::try_from(votes.len()).unwrap_or(i64::MAX),
        voters: votes.into_iter().filter(|_| open).map(voter).collect(),
    })
}

fn voter(it: Vote) -> Voter {
    let number = it.sender_jid.split('@').next().unwrap_or_default().to_owned();
    Voter { name: it.name.unwrap_or(number), jid: it.sender_jid, selected: it.selected }
}
