//! Sending messages and telling what became of them.
//!
//! The message's WhatsApp id is chosen here and stored as `pending` before anything is sent; [`crate::outbox`] does the rest, and sends it
//! again under the same id until it is known, so a recipient sees one message.

use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::Service;
use crate::domain::clock::Time;
use crate::domain::content::{self, Blob, Quote};
use crate::domain::ids::{MediaId, SessionId};
use crate::domain::jid::{Address, Kind};
use crate::domain::media::MediaKind;
use crate::domain::message::{Direction, Marks, Message, MessageStatus};
use crate::domain::outbox::{Draft, Item, Lane, OutboxState, PATIENCE, Quoted};
use crate::domain::outgoing::{FileSource, Outgoing, OutgoingKind};
use crate::domain::principal::{Capability, Principal};
use crate::domain::session::{Reason, Session};
use crate::error::{Code, Error, Result};
use crate::media::{Source, Wanted};
use crate::outbox::{Outcome, Wait, budget, check};
use crate::telemetry::trace;
use crate::wa::connection::Sender;
use crate::wa::outgoing;

/// How long a caller waits for WhatsApp's server to accept a message before it is told that this is not known: the server's own time and
/// the longest typing.
const ACCEPT_LIMIT: Duration = Duration::from_secs(25);

/// How often a repeated call looks whether the first one has its answer.
const LOOK: Duration = Duration::from_millis(50);

/// How long an idempotency key is remembered.
const KEY_LIFE: Duration = Duration::from_secs(24 * 3600);

/// How far ahead a message may be scheduled.
const AHEAD: Duration = Duration::from_secs(366 * 24 * 3600);

/// How a message is to be sent.
#[derive(Clone, Debug, Default)]
pub struct SendOptions {
    /// The caller's key that makes a repetition harmless.
    pub idempotency_key: Option<String>,
    /// Answer at once; the message may wait for its budget and its session.
    pub detached: bool,
}

/// An accepted message.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The message.
    pub message: Message,
    /// Whether it waits in the outbox; otherwise WhatsApp has it.
    pub detached: bool,
    /// True when an earlier call with the same key sent it.
    pub replayed: bool,
    /// The recipient's number in digits, when it is a person and known.
    pub phone: Option<String>,
    /// The recipient's LID, when it is a person and known.
    pub lid: Option<String>,
}

/// A recipient in its one canonical form, with what else is known of it.
pub(super) struct Recipient {
    pub(super) address: Address,
    phone: Option<String>,
    lid: Option<String>,
    lane: Lane,
}

/// Messages to be stored and sent.
pub(super) struct Post {
    pub(super) to: Recipient,
    pub(super) drafts: Vec<Draft>,
    pub(super) send_at: Option<Time>,
    pub(super) hash: String,
    pub(super) key: Option<String>,
    pub(super) detached: bool,
}

impl Service {
    /// Sends a message and waits until WhatsApp's server has accepted it; a detached or scheduled one is only stored.
    #[tracing::instrument(name = "send message", skip_all)]
    pub async fn send_message(&self, caller: &Principal, id: &SessionId, new: &Outgoing, options: SendOptions) -> Result<Sent> {
        caller.require(Capability::Send)?;
        let now = self.0.ambient.now();
        // What is missing at a glance is told to everybody, the rest to those whose session it is.
        let drafted = match new.draft(now) {
            Err(error) if error.fields.iter().any(|at| matches!(at.field.as_str(), "type" | "to" | "text")) => return Err(error),
            drafted => drafted,
        };
        let session = self.get_session(caller, id).await?;
        let (kind, to, mut draft) = drafted?;
        if new.send_at.is_some_and(|at| at > now.plus(AHEAD)) {
            return Err(Error::field("sendAt", "more than a year ahead"));
        }
        let hash = content_hash(id, new)?;
        let detached = options.detached || new.send_at.is_some();
        if let Some(earlier) = self.earlier(caller, options.idempotency_key.as_deref(), &hash, detached).await? {
            return Ok(earlier);
        }
        if kind == OutgoingKind::Poll {
            draft.content.secret = Some(Blob(self.0.ambient.random::<32>().to_vec()));
        }
        let sender = if detached { None } else { Some(self.online(&session)?) };
        if detached && session.account.is_none() {
            return Err(not_connected(&session));
        }
        let to = self.recipient(&session, &to).await?;
        if let Some(reply_to) = new.reply_to.as_deref().filter(|id| !id.is_empty()) {
            self.quote(&session, &to.address, reply_to, &mut draft).await?;
        }
        if let Some(sender) = &sender {
            self.check_number(&session, &to, sender).await?;
        }
        let mut drafts = self.files_of(&session, kind, new, draft).await?;
        for draft in &mut drafts {
            draft.content.ephemeral = self.timer(&session, &to.address).await?;
        }
        let post = Post { to, drafts, send_at: new.send_at, hash, key: options.idempotency_key, detached };
        self.post(caller, &session, post).await
    }

    /// Stores messages with their places in the outbox, and waits for what becomes of them unless they are detached.
    pub(super) async fn post(&self, caller: &Principal, session: &Session, post: Post) -> Result<Sent> {
        let now = self.0.ambient.now();
        let Post { to, drafts, send_at, hash, key, detached } = post;
        let due_at = send_at.map_or(now, |at| at.max(now));
        // In the order of their ids, which is the order in which they go.
        let mut ids: Vec<String> = drafts.iter().map(|_| self.0.ambient.ulid()).collect();
        ids.sort_unstable();
        let (mut items, mut messages): (Vec<Item>, Vec<Message>) = (Vec::new(), Vec::new());
        for (id, mut draft) in ids.into_iter().zip(drafts) {
            let key = key.as_deref().filter(|_| messages.is_empty());
            let message = self.message_of(session, id, &to.address, &draft, key, &hash);
            // What follows the first belongs to it.
            draft.album = messages.first().map(|first| first.wa_message_id.clone());
            draft.trace = trace::current();
            items.push(Item {
                id: message.id.clone(),
                session: session.id.clone(),
                organization: session.organization.clone(),
                wa_message_id: message.wa_message_id.clone(),
                chat_jid: message.chat_jid.clone(),
                state: OutboxState::Queued,
                lane: to.lane,
                patient: detached,
                draft,
                due_at,
                expires_at: due_at.plus(PATIENCE),
                released_at: (!detached).then_some(now),
                attempts: 0,
                reason: None,
                created_at: now,
                sending_at: None,
                settled_at: None,
            });
            messages.push(message);
        }
        let waits: Vec<Wait> = items.iter().filter(|_| !detached).map(|item| self.0.outbox.wait(&item.id)).collect();
        let mut tx = self.0.db.begin().await?;
        let row = tx.lock_session(&caller.organization, &session.id).await?.ok_or_else(|| Error::not_found("session"))?;
        if !detached {
            let count = i64::try_from(items.len()).unwrap_or(i64::MAX);
            budget::admit(&mut tx, &row, &to.address.to_string(), to.lane, count, now).await?;
        }
        for (message, item) in messages.iter().zip(&items) {
            match tx.insert_message(message).await {
                Ok(_) => {
                    tx.insert_outbox(item).await?;
                    if let Some(end) = item.draft.content.poll.as_ref().and_then(|poll| poll.end_at) {
                        tx.await_poll_end(&item.id, end).await?;
                    }
                }
                // Two calls with the same key at the same moment: the other one was first.
                Err(e) if e.code == Code::Conflict => {
                    drop(tx);
                    return self.earlier(caller, key.as_deref(), &hash, detached).await?.ok_or(e);
                }
                Err(e) => return Err(e),
            }
        }
        tx.commit().await?;
        // From here on they go their way even if the caller hangs up.
        if due_at <= now {
            self.0.outbox.ring(&session.id);
        }
        let Recipient { phone, lid, .. } = to;
        let message = messages.into_iter().next().ok_or_else(|| Error::internal(anyhow::anyhow!("nothing to send")))?;
        let mut sent = Sent { message, detached, replayed: false, phone, lid };
        for wait in waits {
            sent = concluded(sent, wait.outcome(ACCEPT_LIMIT).await, now)?;
        }
        Ok(sent)
    }

    /// Keeps the files of a message and gives the drafts that it takes: one, or an album's own with one for each file.
    async fn files_of(&self, session: &Session, kind: OutgoingKind, new: &Outgoing, draft: Draft) -> Result<Vec<Draft>> {
        if kind != OutgoingKind::Album {
            let Some(file) = &new.media else { return Ok(vec![draft]) };
            return Ok(vec![self.file_of(session, kind, file, "media", new.voice, draft).await?]);
        }
        let mut parts = Vec::with_capacity(new.medias.len() + 1);
        let kinds = new.medias.iter().map(|file| file.kind.as_deref().and_then(OutgoingKind::from_word));
        let kinds: Vec<OutgoingKind> = kinds.map(|kind| kind.unwrap_or(OutgoingKind::Image)).collect();
        let images = u32::try_from(kinds.iter().filter(|kind| **kind == OutgoingKind::Image).count()).unwrap_or(0);
        let videos = u32::try_from(kinds.len()).unwrap_or(0) - images;
        // The caption stands below the first file.
        let mut caption = draft.body.clone();
        parts.push(Draft { body: None, expects: Some((images, videos)), ..draft });
        for (at, (file, kind)) in new.medias.iter().zip(kinds).enumerate() {
            let part = Draft { kind: kind.word().to_owned(), body: caption.take(), ..Draft::default() };
            parts.push(self.file_of(session, kind, file, &format!("medias[{at}]"), None, part).await?);
        }
        Ok(parts)
    }

    async fn file_of(
        &self,
        session: &Session,
        kind: OutgoingKind,
        file: &FileSource,
        field: &str,
        voice: Option<bool>,
        mut draft: Draft,
    ) -> Result<Draft> {
        let given = |it: &Option<String>| it.clone().filter(|it| !it.is_empty());
        let source = match (given(&file.data), given(&file.url), given(&file.id)) {
            (Some(data), ..) => Source::Base64(data),
            (None, Some(url), _) => Source::Url(url),
            (None, None, id) => Source::Id(MediaId::new(id.unwrap_or_default())),
        };
        let media_kind = match kind {
            OutgoingKind::Image => MediaKind::Image,
            OutgoingKind::Video => MediaKind::Video,
            OutgoingKind::Audio if voice == Some(true) => MediaKind::Voice,
            OutgoingKind::Audio => MediaKind::Audio,
            OutgoingKind::Sticker => MediaKind::Sticker,
            _ => MediaKind::Document,
        };
        let (mimetype, filename) = (given(&file.mimetype), given(&file.filename));
        let wanted = Wanted { source, kind: media_kind, mimetype, filename: filename.clone(), field: field.to_owned() };
        let kept = self.files().keep(&session.organization, &session.id, &wanted).await?;
        // Recordings of phones are Opus in Ogg, and little else is.
        let voice = voice.unwrap_or(kind == OutgoingKind::Audio && kept.mimetype.starts_with("audio/ogg"));
        draft.content.media = Some(content::Media {
            mimetype: Some(kept.mimetype),
            filename: filename.or(kept.filename),
            size: i64::try_from(kept.size).ok(),
            voice,
            ..content::Media::default()
        });
        draft.file = Some(kept.id.to_string());
        Ok(draft)
    }

    /// Seconds after which messages of this chat disappear.
    pub(super) async fn timer(&self, session: &Session, chat: &Address) -> Result<Option<u32>> {
        let timer = self.0.db.chat_timer(&session.id, &chat.to_string()).await?;
        Ok(timer.and_then(|seconds| u32::try_from(seconds).ok()).filter(|seconds| *seconds > 0))
    }

    /// One message of a session, by its id here or WhatsApp's.
    pub async fn get_message(&self, caller: &Principal, session: &SessionId, id: &str) -> Result<Message> {
        caller.require(Capability::Read)?;
        caller.check_session(session)?;
        self.0.db.message(&caller.organization, session, id).await?.ok_or_else(|| Error::not_found("message"))
    }

    /// How far a message has come on its way, if it was sent from here within a week.
    pub async fn message_progress(&self, caller: &Principal, session: &SessionId, id: &str) -> Result<Option<Item>> {
        caller.require(Capability::Read)?;
        caller.check_session(session)?;
        self.0.db.outbox_item(&caller.organization, session, id).await
    }

    /// What an earlier call with the same key is answered. A caller that waits for WhatsApp does so here too.
    async fn earlier(&self, caller: &Principal, key: Option<&str>, hash: &str, detached: bool) -> Result<Option<Sent>> {
        let Some(key) = key else { return Ok(None) };
        let since = Instant::now();
        let mut earlier = self.0.db.message_by_idempotency_key(&caller.organization, key).await?;
        let pending = |it: &Option<Message>| it.as_ref().is_some_and(|it| it.status == Some(MessageStatus::Pending));
        let same = earlier.as_ref().is_some_and(|it| it.idempotency_hash.as_deref() == Some(hash));
        while same && !detached && pending(&earlier) && since.elapsed() < ACCEPT_LIMIT {
            tokio::time::sleep(LOOK).await;
            earlier = self.0.db.message_by_idempotency_key(&caller.organization, key).await?;
        }
        let Some(earlier) = earlier else { return Ok(None) };
        if self.0.ambient.now().since(earlier.created_at) >= KEY_LIFE {
            return Ok(None);
        }
        if earlier.idempotency_hash.as_deref() != Some(hash) {
            let message = "this idempotency key was used for another message; take a new key for each message";
            return Err(Error::new(Code::Conflict, message).reason("idempotency_key_reused"));
        }
        if earlier.status == Some(MessageStatus::Pending) && !detached {
            return Err(undecided(&earlier));
        }
        let person = self.0.db.identity(&earlier.session, &earlier.chat_jid).await?;
        let (phone, lid) = person.map_or((None, None), |person| (person.phone, person.lid));
        Ok(Some(Sent { message: earlier, detached, replayed: true, phone, lid }))
    }

    /// The way to send for a connected session.
    pub(super) fn online(&self, session: &Session) -> Result<Sender> {
        let live = self.0.supervisor.live(&session.id);
        let sender = live.and_then(|live| live.borrow().online().cloned());
        sender.ok_or_else(|| not_connected(session))
    }

    /// A recipient in canonical form: a person by number when that is known.
    pub(super) async fn recipient(&self, session: &Session, to: &Address) -> Result<Recipient> {
        let (mut phone, mut lid) = (None, None);
        let mut address = to.clone();
        if matches!(to.kind, Kind::Phone | Kind::Lid) {
            if let Some(person) = self.0.db.identity(&session.id, &to.to_string()).await? {
                address = Address::parse("to", &person.address())?;
                (phone, lid) = (person.phone, person.lid);
            }
            if to.kind == Kind::Phone {
                phone.get_or_insert_with(|| to.user.clone());
            } else {
                lid.get_or_insert_with(|| to.to_string());
            }
        }
        let lane = match address.kind {
            Kind::Phone | Kind::Lid => {
                let addresses = self.0.db.addresses_of(&session.id, &address.to_string()).await?;
                self.0.db.lane_of(&session.id, &addresses).await?
            }
            _ => Lane::Reply,
        };
        Ok(Recipient { address, phone, lid, lane })
    }

    /// Refuses first words to a number that nobody uses.
    async fn check_number(&self, session: &Session, to: &Recipient, sender: &Sender) -> Result<()> {
        if to.lane != Lane::Cold || to.address.kind != Kind::Phone {
            return Ok(());
        }
        let numbers = [to.address.user.clone()];
        let found = check::registered(&self.0.db, &session.id, &numbers, self.0.ambient.now(), || Ok(sender.clone())).await?;
        match found.get(&to.address.user) {
            Some(None) => Err(Error::field("to", "nobody uses WhatsApp with this number").reason("not_on_whatsapp")),
            _ => Ok(()),
        }
    }

    /// Makes a draft an answer to a message of the same chat.
    async fn quote(&self, session: &Session, chat: &Address, reply_to: &str, draft: &mut Draft) -> Result<()> {
        let found = self.0.db.message(&session.organization, &session.id, reply_to).await?;
        let quoted = found.ok_or_else(|| Error::field("replyTo", "no such message in this session"))?;
        if quoted.chat_jid != chat.to_string() {
            return Err(Error::field("replyTo", "that message is in another chat"));
        }
        draft.content.quote = Some(Quote {
            wa_message_id: quoted.wa_message_id,
            sender_jid: Some(quoted.sender_jid),
            sender_lid: quoted.sender_lid,
            body: quoted.body.clone(),
            from_me: quoted.from_me,
        });
        draft.quoted = Some(Box::new(Quoted { kind: quoted.kind, body: quoted.body, content: quoted.content }));
        Ok(())
    }

    fn message_of(&self, session: &Session, id: String, to: &Address, draft: &Draft, key: Option<&str>, hash: &str) -> Message {
        let now = self.0.ambient.now();
        let own = session.account.as_ref();
        Message {
            id,
            session: session.id.clone(),
            organization: session.organization.clone(),
            wa_message_id: outgoing::message_id(&self.0.ambient),
            chat_jid: to.to_string(),
            sender_jid: own.map(|account| account.wa_jid.clone()).unwrap_or_default(),
            sender_lid: own.and_then(|account| account.wa_lid.clone()),
            sender_name: None,
            direction: Direction::Out,
            from_me: true,
            kind: draft.kind.clone(),
            body: draft.body.clone(),
            content: draft.content.clone(),
            status: Some(MessageStatus::Pending),
            error: None,
            idempotency_hash: key.map(|_| hash.to_owned()),
            idempotency_key: key.map(str::to_owned),
            timestamp: now,
            created_at: now,
            marks: Marks::default(),
        }
    }
}

/// The answer to a caller that has waited.
fn concluded(mut sent: Sent, outcome: Option<Outcome>, now: Time) -> Result<Sent> {
    match outcome {
        Some(Outcome::Sent(at)) => {
            sent.message.status = Some(MessageStatus::Sent);
            sent.message.timestamp = at;
            Ok(sent)
        }
        Some(Outcome::Refused(code)) => {
            let text = format!("WhatsApp refused the message (code {code})");
            Err(Error::new(Code::Conflict, text).reason("refused_by_whatsapp").detail("whatsappCode", code))
        }
        Some(Outcome::Failed(reason)) => {
            Err(Error::field("to", "the message could not be prepared for this recipient").reason(reason))
        }
        Some(Outcome::Restricted(until)) => Err(budget::restricted(until, now).detail("whatsappCode", "463")),
        Some(Outcome::TooMuch(wait)) => {
            let text = "WhatsApp wants fewer messages from this number for now";
            let mut error = Error::new(Code::RateLimited, text).reason("whatsapp_rate_limit").retry_after(wait);
            error.until = Some(now.plus(wait));
            Err(error.detail("whatsappCode", "429"))
        }
        None => Err(undecided(&sent.message)),
    }
}

fn undecided(message: &Message) -> Error {
    let text = "WhatsApp did not accept the message in time; it stays stored and its status is told by events";
    let error = Error::new(Code::Timeout, text).reason("not_accepted_in_time");
    error.detail("waMessageId", &message.wa_message_id).detail("outboxId", &message.id)
}

fn not_connected(session: &Session) -> Error {
    let state = &session.state;
    let message = format!("the session is not connected: {}", state.reason.sentence());
    // A ban is worth a word of its own: nothing that the caller does ends it earlier.
    let reason = if state.reason == Reason::Banned { "banned" } else { "session_not_connected" };
    let mut error = Error::new(Code::SessionNotConnected, message).reason(reason).detail("status", state.status.word());
    error.until = state.until.filter(|_| state.reason == Reason::Banned);
    error
}

/// SHA-256 of what is asked for, in hex, to tell a repetition from another message.
fn content_hash(session: &SessionId, new: &Outgoing) -> Result<String> {
    let text = serde_json::to_vec(&(session.as_str(), new)).map_err(Error::internal)?;
    Ok(Sha256::digest(text).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}")))
}
