//! Status posts.

use std::collections::HashSet;

use super::Service;
use super::channel::{ACCEPT, accepted};
use super::contact::{PATIENCE, person_address};
use crate::domain::content::Content;
use crate::domain::identity::{ContactFilter, Source as Met};
use crate::domain::ids::{MediaId, SessionId};
use crate::domain::jid::{Address, Kind};
use crate::domain::media::MediaKind;
use crate::domain::message::{Direction, Marks, Message, MessageStatus};
use crate::domain::principal::{Capability, Principal};
use crate::domain::session::Session;
use crate::error::{Code, Error, Result};
use crate::media::outgoing::{Source, Wanted};
use crate::wa::channels::{Audience, Post, Shown};
use crate::wa::connection::Sender;
use crate::wa::outgoing;

/// Where status posts stand.
const STATUS: &str = "status@broadcast";

/// To how many people one post goes at most.
const MOST: i64 = 5000;

/// How many numbers one question asks for.
const PHONES: usize = 50;

/// What a post's text has in characters at most.
const MAX_TEXT: usize = 700;

/// What a post shows.
#[derive(Clone, Debug)]
pub enum Picture {
    /// Nothing but its text.
    None,
    /// A picture, by the id of an uploaded file.
    Image(MediaId),
    /// A film, by the id of an uploaded file.
    Video(MediaId),
}

/// A post as a caller wants it.
#[derive(Clone, Debug)]
pub struct NewPost {
    /// What it shows.
    pub picture: Picture,
    /// The text, or the caption.
    pub text: String,
    /// Its background, as 0xAARRGGBB.
    pub background: u32,
    /// Who gets it; all contacts when nobody is named.
    pub audience: Vec<String>,
    /// Who does not get it.
    pub except: Vec<String>,
}

impl Service {
    /// Posts a text; gives WhatsApp's id, and how many people it went to.
    pub async fn post_status(&self, caller: &Principal, id: &SessionId, new: NewPost) -> Result<(String, i64)> {
        caller.require(Capability::Send)?;
        let session = self.get_session(caller, id).await?;
        let is_text = matches!(new.picture, Picture::None);
        if (is_text && new.text.trim().is_empty()) || new.text.chars().count() > MAX_TEXT {
            return Err(Error::field("text", format!("takes 1 to {MAX_TEXT} characters")));
        }
        let sender = self.online(&session)?;
        let (people, audience) = self.audience(&session, &new).await?;
        let recipients = self.lids(id, &sender, people).await?;
        let wa_message_id = outgoing::message_id(&self.0.ambient);
        let (post, kind) = self.shown(&session, &sender, &new).await?;
        let sent = Box::pin(sender.post_status(&wa_message_id, post, &recipients, audience, ACCEPT)).await;
        let ack = accepted(sent?)?;
        let now = self.0.ambient.now();
        let own = session.account.as_ref();
        let message = Message {
            id: self.0.ambient.ulid(),
            session: session.id.clone(),
            organization: session.organization.clone(),
            wa_message_id: wa_message_id.clone(),
            chat_jid: STATUS.to_owned(),
            sender_jid: own.map(|account| account.wa_jid.clone()).unwrap_or_default(),
            sender_lid: own.and_then(|account| account.wa_lid.clone()),
            sender_name: None,
            direction: Direction::Out,
            from_me: true,
            kind: kind.to_owned(),
            body: Some(new.text).filter(|text| !text.is_empty()),
            content: Content::default(),
            status: Some(MessageStatus::Sent),
            error: None,
            idempotency_key: None,
            idempotency_hash: None,
            timestamp: ack.at.unwrap_or(now),
            created_at: now,
            marks: Marks::default(),
        };
        let mut tx = self.0.db.begin().await?;
        tx.insert_message(&message).await?;
        tx.commit().await?;
        Ok((wa_message_id, i64::try_from(recipients.len()).unwrap_or(i64::MAX)))
    }

    /// What a post shows, given to WhatsApp's hosts, and the word for it.
    async fn shown(&self, session: &Session, sender: &Sender, new: &NewPost) -> Result<(Post, &'static str)> {
        let (id, kind) = match &new.picture {
            Picture::None => return Ok((Post::Text(new.text.clone(), new.background), "text")),
            Picture::Image(id) => (id, MediaKind::Image),
            Picture::Video(id) => (id, MediaKind::Video),
        };
        let wanted = Wanted { source: Source::Id(id.clone()), kind, mimetype: None, filename: None, field: "media".to_owned() };
        let files = &self.0.media.files;
        let found = files.outgoing(&session.organization, &session.id, &wanted).await?;
        let seconds = found.details.duration.map(|span| u32::try_from(span.as_secs()).unwrap_or(u32::MAX));
        let uploaded = Box::pin(sender.upload(found.file, kind, files.folder())).await.map_err(|cause| {
            Error::new(Code::Unavailable, "WhatsApp's media hosts did not take the file").reason("upload_failed").because(cause)
        })?;
        let shown = Shown { file: uploaded, mimetype: found.media.mimetype, thumbnail: found.details.thumbnail, seconds };
        let caption = Some(new.text.clone()).filter(|text| !text.is_empty());
        Ok(match kind {
            MediaKind::Video => (Post::Video(Box::new(shown), caption), "video"),
            _ => (Post::Image(Box::new(shown), caption), "image"),
        })
    }

    /// Who gets a post.
    async fn audience(&self, session: &Session, new: &NewPost) -> Result<(Vec<Address>, Audience)> {
        let named = |field: &str, people: &[String]| {
            let each = people.iter().enumerate().map(|(at, person)| person_address(&format!("{field}[{at}]"), person));
            each.collect::<Result<Vec<_>>>()
        };
        let (only, except) = (named("audience", &new.audience)?, named("except", &new.except)?);
        if !only.is_empty() {
            if !except.is_empty() {
                return Err(Error::field("except", "not together with `audience`"));
            }
            return Ok((unique(only), Audience::Only));
        }
        let account = session.account.as_ref();
        let own = (account.and_then(|own| own.wa_lid.clone()), account.map(|own| own.phone_number.clone()));
        let filter = ContactFilter { source: Some(Met::Dm), except: own, ..ContactFilter::default() };
        let known = self.0.db.contacts(&session.id, &filter, 0, MOST).await?;
        let mut left_out = HashSet::new();
        for person in &except {
            let person = self.0.db.identity(&session.id, &person.to_string()).await?;
            left_out.extend(person.map(|person| person.id));
        }
        let people = known.iter().filter(|person| !left_out.contains(&person.id));
        let people: Vec<Address> =
            people.filter_map(|person| outgoing::address(&person.lid.clone().or(person.phone_jid())?)).collect();
        if people.is_empty() {
            let text = "there is nobody to show it to: the directory knows no contacts yet; name some";
            return Err(Error::field("audience", text));
        }
        let audience = if except.is_empty() { Audience::Contacts } else { Audience::Except };
        Ok((people, audience))
    }

    /// The LIDs of people, by which alone status posts are addressed; WhatsApp is asked for those that are not known. Who is not on
    /// WhatsApp is left out.
    async fn lids(&self, id: &SessionId, sender: &Sender, people: Vec<Address>) -> Result<Vec<Address>> {
        let (mut lids, phones): (Vec<Address>, Vec<Address>) = people.into_iter().partition(|person| person.kind == Kind::Lid);
        let mut missing = Vec::new();
        for phone in &phones {
            match self.lid_of(id, phone).await? {
                Some(lid) => lids.push(lid),
                None => missing.push(phone.user.clone()),
            }
        }
        for phones in missing.chunks(PHONES) {
            let found = sender.ask(PATIENCE, sender.check_phones(phones)).await?;
            let found = found.into_iter().filter(|one| one.registered);
            lids.extend(found.filter_map(|one| outgoing::address(&one.lid?)));
        }
        if lids.is_empty() {
            return Err(Error::field("audience", "none of them is on WhatsApp"));
        }
        Ok(unique(lids))
    }

    async fn lid_of(&self, id: &SessionId, phone: &Address) -> Result<Option<Address>> {
        let person = self.0.db.identity(id, &phone.to_string()).await?;
        Ok(person.and_then(|person| outgoing::address(&person.lid?)))
    }
}

fn unique(people: Vec<Address>) -> Vec<Address> {
    let mut seen = HashSet::new();
    people.into_iter().filter(|person| seen.insert(person.to_string())).collect()
}
