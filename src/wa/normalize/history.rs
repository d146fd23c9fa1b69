//! The history that the phone shares with a new device, piece by piece.

use wacore::history_sync::HistorySyncError;
use wacore::poll::compute_option_hash;
use wacore::types::events::LazyHistorySync;
use wacore_binary::{Jid, Server};
use waproto::whatsapp as wa;

use super::act::Act;
use super::{content, plain, who};
use crate::domain::clock::Time;
use crate::domain::content::{Blob, Content};
use crate::domain::payload::Who;

/// A piece of a part of the history.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// A conversation with some of its messages.
    Conversation(Box<Conversation>),
    /// What a part holds beside conversations; its last piece.
    Rest(Rest),
}

/// A conversation of the history.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Conversation {
    /// With whom, or where.
    pub chat: Who,
    /// What the phone calls it.
    pub name: Option<String>,
    /// Received messages that were not read.
    pub unread: i64,
    /// Whether it was marked as unread by hand.
    pub marked_unread: bool,
    /// Whether it is put away.
    pub archived: bool,
    /// Whether it stays at the top.
    pub pinned: bool,
    /// Until when it makes no sound.
    pub muted_until: Option<Time>,
    /// Seconds until messages disappear; 0 for never.
    pub ephemeral: u32,
    /// When its last message was sent.
    pub last_message_at: Time,
    /// Messages of it.
    pub messages: Vec<Past>,
}

/// A message of the history.
#[derive(Clone, Debug, PartialEq)]
pub struct Past {
    /// WhatsApp's id.
    pub wa_message_id: String,
    /// Who sent it; `None` for the session's own account.
    pub sender: Option<Who>,
    /// The word for what it is.
    pub kind: &'static str,
    /// Text or caption.
    pub body: Option<String>,
    /// The rest.
    pub content: Content,
    /// The name that the sender showed.
    pub push_name: Option<String>,
    /// When it was sent.
    pub timestamp: Time,
    /// Whether it is marked with a star.
    pub starred: bool,
    /// Reactions to it: by whom (`None` for the own account), with what, and when.
    pub reactions: Vec<(Option<Who>, String, Time)>,
    /// Votes in it, when it is a poll: by whom, for what, and when.
    pub votes: Vec<(Option<Who>, Vec<String>, Time)>,
}

/// What a part holds beside conversations.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rest {
    /// What people call themselves: address and name.
    pub names: Vec<(String, String)>,
    /// Numbers and LIDs of the same people.
    pub pairs: Vec<(String, String)>,
    /// Status posts.
    pub status: Vec<Past>,
}

/// A part of the history, unread.
#[derive(Clone, Debug)]
pub struct HistoryNotice {
    /// What kind of part.
    pub kind: &'static str,
    /// Its number.
    pub chunk: Option<i64>,
    /// How much of the whole has come, in percent.
    pub progress: Option<i64>,
    /// The compressed bytes.
    pub data: bytes::Bytes,
    /// Their length when they are not compressed.
    pub size: i64,
}

/// What is known of a part without reading it.
pub fn notice(part: &LazyHistorySync) -> HistoryNotice {
    use wa::history_sync::HistorySyncType as Type;
    let kind = match part.sync_type() {
        kind if kind == Type::INITIAL_BOOTSTRAP as i32 => "initial_bootstrap",
        kind if kind == Type::INITIAL_STATUS_V3 as i32 => "initial_status",
        kind if kind == Type::FULL as i32 => "full",
        kind if kind == Type::RECENT as i32 => "recent",
        kind if kind == Type::PUSH_NAME as i32 => "push_name",
        kind if kind == Type::NON_BLOCKING_DATA as i32 => "non_blocking_data",
        kind if kind == Type::ON_DEMAND as i32 => "on_demand",
        _ => "other",
    };
    HistoryNotice {
        kind,
        chunk: part.chunk_order().map(i64::from),
        progress: part.progress().map(i64::from),
        data: part.compressed_bytes().clone(),
        size: i64::try_from(part.decompressed_size()).unwrap_or(i64::MAX),
    }
}

/// Reads a compressed part and gives its pieces one after another, holding one at a time; ends early when `give` answers false. It
/// computes for long, so it belongs on a thread of its own.
pub fn read(compressed: &[u8], size: u64, mut give: impl FnMut(Part) -> bool) -> Result<(), HistorySyncError> {
    let mut stream = wacore::history_sync::HistorySyncStream::new(compressed, size);
    while let Some(found) = stream.next_conversation()? {
        if let Some(conversation) = conversation(&found)
            && !give(Part::Conversation(Box::new(conversation)))
        {
            return Ok(());
        }
    }
    if stream.skipped_conversations() > 0 {
        tracing::warn!(skipped = stream.skipped_conversations(), "conversations of the history could not be read");
    }
    give(Part::Rest(rest(&stream.remainder()?)));
    Ok(())
}

fn conversation(it: &wa::Conversation) -> Option<Conversation> {
    let jid: Jid = it.id.parse().ok()?;
    let other = |text: &Option<String>| text.as_deref().and_then(|text| text.parse::<Jid>().ok());
    let chat = match jid.server {
        Server::Pn | Server::Lid => {
            let alt = if jid.server == Server::Pn { other(&it.lid_jid) } else { other(&it.pn_jid) };
            who(&jid, alt.as_ref())
        }
        _ => Who::new(plain(&jid)),
    };
    let is_person = matches!(jid.server, Server::Pn | Server::Lid);
    let messages: Vec<Past> =
        it.messages.iter().filter_map(|entry| past(entry.message.as_option()?, is_person.then_some(&chat))).collect();
    let seconds = |at: Option<u64>| at.and_then(|at| i64::try_from(at).ok()).filter(|at| *at > 0).map(Time::from_secs);
    let newest = messages.iter().map(|message| message.timestamp).max();
    Some(Conversation {
        chat,
        name: it.name.clone().or_else(|| it.display_name.clone()).filter(|name| !name.is_empty()),
        unread: i64::from(it.unread_count.unwrap_or_default()),
        marked_unread: it.marked_as_unread.unwrap_or_default(),
        archived: it.archived.unwrap_or_default(),
        pinned: it.pinned.unwrap_or_default() > 0,
        muted_until: seconds(it.mute_end_time).map(forever),
        ephemeral: it.ephemeral_expiration.unwrap_or_default(),
        last_message_at: newest.or_else(|| seconds(it.last_msg_timestamp.or(it.conversation_timestamp))).unwrap_or_default(),
        messages,
    })
}

/// WhatsApp writes "for ever" as a moment that is beyond any calendar, or in milliseconds.
fn forever(at: Time) -> Time {
    if at.0 > 100_000_000_000_000 { Time(at.0 / 1000) } else { at }
}

fn past(it: &wa::WebMessageInfo, peer: Option<&Who>) -> Option<Past> {
    let key = it.key.as_option()?;
    let from_me = key.from_me.unwrap_or_default();
    let Act::Message { kind, body, mut content } = content::act(it.message.as_option()?)? else { return None };
    content.secret = content.secret.or_else(|| it.message_secret.clone().map(|secret| Blob(secret.clone())));
    let person = |text: &str| text.parse::<Jid>().ok().filter(|jid| matches!(jid.server, Server::Pn | Server::Lid));
    let by = |key: &wa::MessageKey| -> Option<Option<Who>> {
        if key.from_me.unwrap_or_default() {
            return Some(None);
        }
        let named = key.participant.as_deref().and_then(person).map(|jid| who(&jid, None));
        Some(Some(named.or_else(|| peer.cloned())?))
    };
    let sender = match from_me {
        true => None,
        false => Some(
            it.participant
                .as_deref()
                .or(key.participant.as_deref())
                .and_then(person)
                .map(|jid| who(&jid, None))
                .or_else(|| peer.cloned())?,
        ),
    };
    let at = it.message_timestamp.and_then(|at| i64::try_from(at).ok()).map(Time::from_secs)?;
    let reactions = it.reactions.iter().filter_map(|one| {
        let emoji = one.text.clone().filter(|text| !text.is_empty())?;
        Some((by(one.key.as_option()?)?, emoji, one.sender_timestamp_ms.map_or(at, Time)))
    });
    let options = content.poll.as_ref().map(|poll| poll.options.clone()).unwrap_or_default();
    let votes = it.poll_updates.iter().filter_map(|one| {
        let chosen = &one.vote.as_option()?.selected_options;
        let is_chosen = |option: &&String| chosen.iter().any(|hash| hash[..] == compute_option_hash(option)[..]);
        let selected = options.iter().filter(is_chosen).cloned().collect();
        Some((by(one.poll_update_message_key.as_option()?)?, selected, one.sender_timestamp_ms.map_or(at, Time)))
    });
    Some(Past {
        wa_message_id: key.id.clone().filter(|id| !id.is_empty())?,
        sender,
        kind,
        body,
        push_name: it.push_name.clone().filter(|name| !name.is_empty()),
        timestamp: at,
        starred: it.starred.unwrap_or_default(),
        reactions: reactions.collect(),
        votes: votes.collect(),
        content,
    })
}

fn rest(it: &wa::HistorySync) -> Rest {
    let names = it.pushnames.iter().filter_map(|one| {
        let name = one.pushname.clone().filter(|name| !name.is_empty() && name != "-")?;
        Some((one.id.clone()?, name))
    });
    let pairs = it.phone_number_to_lid_mappings.iter().filter_map(|one| Some((one.pn_jid.clone()?, one.lid_jid.clone()?)));
    Rest {
        names: names.collect(),
        pairs: pairs.collect(),
        status: it.status_v3_messages.iter().filter_map(|one| past(one, None)).collect(),
    }
}
