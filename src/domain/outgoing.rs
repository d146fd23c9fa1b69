//! What callers ask to be sent, and the rules for it. Errors name the field as the documented JSON calls it.

use serde::Serialize;

use crate::domain::clock::Time;
use crate::domain::content::{Card, Content, Location, Mention, Poll};
use crate::domain::jid::{Address, Kind};
use crate::domain::outbox::Draft;
use crate::domain::session::words;
use crate::error::{Error, Result};

/// Characters that a text or caption may have.
pub const MOST_TEXT: usize = 65_536;

/// Answers that a poll may have: as many as WhatsApp's own clients allow.
const OPTIONS: std::ops::RangeInclusive<usize> = 2..=12;

/// Characters of a poll's question or answer, of a place's or person's name.
const MOST_NAME: usize = 255;
const MOST_OPTION: usize = 100;

/// Characters of a vCard.
const MOST_VCARD: usize = 16_384;

/// People who may be mentioned in one message.
const MOST_MENTIONS: usize = 1024;

/// Files in an album.
const ALBUM: std::ops::RangeInclusive<usize> = 2..=10;

/// The kinds of messages that can be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutgoingKind {
    /// A text.
    Text,
    /// A picture.
    Image,
    /// A film.
    Video,
    /// A sound, or a voice message.
    Audio,
    /// Any file.
    Document,
    /// A sticker.
    Sticker,
    /// Pictures and films that are shown together.
    Album,
    /// A place.
    Location,
    /// A person's card.
    Contact,
    /// A question with answers.
    Poll,
}

words!(OutgoingKind:
    Text = "text",
    Image = "image",
    Video = "video",
    Audio = "audio",
    Document = "document",
    Sticker = "sticker",
    Album = "album",
    Location = "location",
    Contact = "contact",
    Poll = "poll",
);

/// A file to send: exactly one of its sources is given.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FileSource {
    /// Of an album: `image` or `video`.
    pub kind: Option<String>,
    /// A public URL.
    pub url: Option<String>,
    /// The bytes themselves, as base64.
    pub data: Option<String>,
    /// The id of an uploaded file.
    pub id: Option<String>,
    /// Its media type; found by looking at it when absent.
    pub mimetype: Option<String>,
    /// Its name.
    pub filename: Option<String>,
    /// Its caption.
    pub caption: Option<String>,
}

/// A person's card to send.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct NewCard {
    /// The name that it shows.
    pub name: Option<String>,
    /// The number; a vCard is made of it and the name.
    pub phone: Option<String>,
    /// A whole vCard.
    pub vcard: Option<String>,
}

/// A message to send, as a caller describes it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Outgoing {
    /// The recipient as the caller wrote it.
    pub to: String,
    /// What it is.
    pub kind: String,
    /// For `text`: the text.
    pub text: Option<String>,
    /// For files: the caption.
    pub caption: Option<String>,
    /// For `contact`.
    pub contact: Option<NewCard>,
    /// For `location`: degrees north.
    pub latitude: Option<f64>,
    /// For `location`: degrees east.
    pub longitude: Option<f64>,
    /// For `image`, `video`, `audio`, `document` and `sticker`.
    pub media: Option<FileSource>,
    /// For `album`.
    pub medias: Vec<FileSource>,
    /// Who is mentioned, in any form of address.
    pub mentions: Vec<String>,
    /// For `poll` the question, for `location` what the place is called.
    pub name: Option<String>,
    /// For `location`: the address.
    pub address: Option<String>,
    /// For `poll`: the answers.
    pub options: Vec<String>,
    /// For `poll`: when it ends.
    pub poll_end: Option<Time>,
    /// For `poll`: others do not see who voted for what.
    pub poll_hide_votes: bool,
    /// For `poll`: how many answers may be chosen; 0 for any number.
    pub selectable: Option<i64>,
    /// The message that it answers, by its id here or WhatsApp's.
    pub reply_to: Option<String>,
    /// It may be looked at once.
    pub view_once: bool,
    /// For `audio`: it is a voice message.
    pub voice: Option<bool>,
    /// When it is sent; at once when absent.
    pub send_at: Option<Time>,
}

impl Outgoing {
    /// Checks everything that needs no look at anything else, and gives the kind, the recipient, and what can be told of the message
    /// without its file or the message that it answers.
    pub fn draft(&self, now: Time) -> Result<(OutgoingKind, Address, Draft)> {
        let kind = OutgoingKind::from_word(&self.kind).ok_or_else(|| {
            let known = "text, image, video, audio, document, sticker, album, location, contact, poll";
            Error::field("type", format!("missing or unknown; one of: {known}"))
        })?;
        let to = Address::parse("to", &self.to)?;
        self.foreign_fields(kind)?;
        let mut content = Content { view_once: self.view_once, mentions: self.mentioned()?, ..Content::default() };
        let mut body = None;
        match kind {
            OutgoingKind::Text => {
                let text = self.text.as_deref().unwrap_or_default();
                if text.trim().is_empty() {
                    return Err(Error::field("text", "missing or empty; a text message needs a text"));
                }
                body = Some(bounded("text", text, MOST_TEXT)?);
            }
            OutgoingKind::Location => content.location = Some(self.place()?),
            OutgoingKind::Contact => content.contacts = vec![self.card()?],
            OutgoingKind::Poll => {
                let poll = self.poll(now)?;
                body = Some(poll.name.clone());
                content.poll = Some(poll);
            }
            OutgoingKind::Album => body = self.album()?,
            _ => {
                let file = self
                    .media
                    .as_ref()
                    .ok_or_else(|| Error::field("media", format!("missing; a message of type {} needs a file", kind.word())))?;
                file.check("media")?;
                let caption = self.caption.as_deref().or(file.caption.as_deref()).filter(|caption| !caption.is_empty());
                body = caption.map(|caption| bounded("caption", caption, MOST_TEXT)).transpose()?;
                if body.is_some() && matches!(kind, OutgoingKind::Audio | OutgoingKind::Sticker) {
                    return Err(Error::field("caption", format!("a message of type {} has none", kind.word())));
                }
            }
        }
        if self.view_once && !matches!(kind, OutgoingKind::Image | OutgoingKind::Video | OutgoingKind::Audio) {
            return Err(Error::field("viewOnce", "only an image, a video or an audio can be looked at once"));
        }
        if to.kind == Kind::Broadcast {
            return Err(Error::field("to", "broadcast lists and status posts take no messages by this call"));
        }
        Ok((kind, to, Draft { kind: kind.word().to_owned(), body, content, ..Draft::default() }))
    }

    /// A field that belongs to another kind is a mistake of the caller's that should not pass in silence.
    fn foreign_fields(&self, kind: OutgoingKind) -> Result<()> {
        use OutgoingKind::{Album, Audio, Contact, Document, Image, Location, Poll, Sticker, Text, Video};
        let files = [Image, Video, Audio, Document, Sticker];
        let all: [(&str, bool, &[OutgoingKind]); 13] = [
            ("text", self.text.is_some(), &[Text]),
            ("caption", self.caption.is_some(), &[Image, Video, Audio, Document, Sticker, Album]),
            ("contact", self.contact.is_some(), &[Contact]),
            ("latitude", self.latitude.is_some(), &[Location]),
            ("longitude", self.longitude.is_some(), &[Location]),
            ("address", self.address.is_some(), &[Location]),
            ("media", self.media.is_some(), &files),
            ("medias", !self.medias.is_empty(), &[Album]),
            ("name", self.name.is_some(), &[Poll, Location]),
            ("options", !self.options.is_empty(), &[Poll]),
            ("pollEndTime", self.poll_end.is_some(), &[Poll]),
            ("pollHideVotes", self.poll_hide_votes, &[Poll]),
            ("selectableCount", self.selectable.is_some(), &[Poll]),
        ];
        match all.iter().find(|(_, given, kinds)| *given && !kinds.contains(&kind)) {
            Some((field, ..)) => Err(Error::field(*field, format!("does not belong to a message of type {}", kind.word()))),
            None if self.voice.is_some() && kind != Audio => Err(Error::field("voice", "belongs to a message of type audio")),
            None => Ok(()),
        }
    }

    fn mentioned(&self) -> Result<Vec<Mention>> {
        if self.mentions.len() > MOST_MENTIONS {
            return Err(Error::field("mentions", format!("at most {MOST_MENTIONS}")));
        }
        let person = |(at, text): (usize, &String)| {
            let field = format!("mentions[{at}]");
            let address = Address::parse(&field, text)?;
            match address.kind {
                Kind::Phone | Kind::Lid => Ok(Mention { jid: address.to_string(), ..Mention::default() }),
                _ => Err(Error::field(field, "not a person")),
            }
        };
        self.mentions.iter().enumerate().map(person).collect()
    }

    fn place(&self) -> Result<Location> {
        let degrees = |field: &str, value: Option<f64>, most: f64| {
            let value = value.ok_or_else(|| Error::field(field, "missing; a location needs it"))?;
            if value.is_finite() && value.abs() <= most {
                Ok(value)
            } else {
                Err(Error::field(field, format!("must be from -{most} to {most} degrees")))
            }
        };
        let text = |field: &str, text: &Option<String>| {
            text.as_deref().filter(|text| !text.is_empty()).map(|text| bounded(field, text, MOST_NAME)).transpose()
        };
        Ok(Location {
            latitude: degrees("latitude", self.latitude, 90.0)?,
            longitude: degrees("longitude", self.longitude, 180.0)?,
            name: text("name", &self.name)?,
            address: text("address", &self.address)?,
            ..Location::default()
        })
    }

    fn card(&self) -> Result<Card> {
        let card = self.contact.as_ref().ok_or_else(|| Error::field("contact", "missing; a contact message needs it"))?;
        let name = card.name.as_deref().map(str::trim).filter(|name| !name.is_empty());
        let name = name.map(|name| bounded("contact.name", name, MOST_NAME)).transpose()?;
        if let Some(vcard) = card.vcard.as_deref().filter(|vcard| !vcard.trim().is_empty()) {
            if !vcard.trim_start().to_ascii_uppercase().starts_with("BEGIN:VCARD") {
                return Err(Error::field("contact.vcard", "not a vCard; it begins with BEGIN:VCARD"));
            }
            let vcard = bounded("contact.vcard", vcard, MOST_VCARD)?;
            let formatted = vcard.lines().find_map(|line| line.trim().strip_prefix("FN:")).map(str::to_owned);
            return Ok(Card { display_name: name.or(formatted), vcard: Some(vcard) });
        }
        let phone = card.phone.as_deref().filter(|phone| !phone.is_empty());
        let phone = phone.ok_or_else(|| Error::field("contact.phone", "missing; give a phone with a name, or a vcard"))?;
        let digits = crate::domain::jid::phone_digits("contact.phone", phone)?;
        let name = name.ok_or_else(|| Error::field("contact.name", "missing; give a name with the phone, or a vcard"))?;
        let escaped = name.replace('\\', "\\\\").replace(',', "\\,").replace(';', "\\;").replace(['\r', '\n'], " ");
        let vcard = format!(
            "BEGIN:VCARD\nVERSION:3.0\nN:;{escaped};;;\nFN:{escaped}\nTEL;type=CELL;type=VOICE;waid={digits}:+{digits}\nEND:VCARD"
        );
        Ok(Card { display_name: Some(name), vcard: Some(vcard) })
    }

    fn poll(&self, now: Time) -> Result<Poll> {
        let name = self.name.as_deref().map(str::trim).filter(|name| !name.is_empty());
        let name = name.ok_or_else(|| Error::field("name", "missing; a poll needs a question"))?;
        if !OPTIONS.contains(&self.options.len()) {
            let (least, most) = OPTIONS.into_inner();
            return Err(Error::field("options", format!("a poll has {least} to {most} options, not {}", self.options.len())));
        }
        for (at, option) in self.options.iter().enumerate() {
            let field = format!("options[{at}]");
            if option.trim().is_empty() {
                return Err(Error::field(field, "empty"));
            }
            bounded(&field, option, MOST_OPTION)?;
            if self.options[..at].contains(option) {
                return Err(Error::field(field, "the same as an earlier one; votes are told apart by an option's text"));
            }
        }
        let selectable = self.selectable.unwrap_or(1);
        let most = i64::try_from(self.options.len()).unwrap_or(i64::MAX);
        let selectable = u32::try_from(selectable).ok().filter(|count| i64::from(*count) <= most).ok_or_else(|| {
            Error::field("selectableCount", format!("must be from 0 (any number) to the number of options, {most}"))
        })?;
        if self.poll_end.is_some_and(|end| end <= now) {
            return Err(Error::field("pollEndTime", "is in the past; milliseconds since 1970"));
        }
        Ok(Poll {
            name: bounded("name", name, MOST_NAME)?,
            options: self.options.clone(),
            selectable,
            end_at: self.poll_end,
            hide_votes: self.poll_hide_votes,
        })
    }

    fn album(&self) -> Result<Option<String>> {
        if !ALBUM.contains(&self.medias.len()) {
            let (least, most) = ALBUM.into_inner();
            return Err(Error::field("medias", format!("an album has {least} to {most} files, not {}", self.medias.len())));
        }
        for (at, file) in self.medias.iter().enumerate() {
            let field = format!("medias[{at}]");
            file.check(&field)?;
            if !matches!(file.kind.as_deref(), Some("image" | "video")) {
                return Err(Error::field(format!("{field}.type"), "must be image or video"));
            }
        }
        let caption = self.caption.as_deref().filter(|caption| !caption.is_empty());
        caption.map(|caption| bounded("caption", caption, MOST_TEXT)).transpose()
    }
}

impl FileSource {
    fn check(&self, field: &str) -> Result<()> {
        let given = [&self.url, &self.data, &self.id].into_iter().filter(|it| it.as_deref().is_some_and(|it| !it.is_empty()));
        match given.count() {
            1 => Ok(()),
            0 => Err(Error::field(field, "has no file; give one of data (base64), url or id")),
            _ => Err(Error::field(field, "has more than one source; give one of data (base64), url or id")),
        }
    }
}

/// `text`, when it is not longer than `most` characters.
pub fn bounded(field: &str, text: &str, most: usize) -> Result<String> {
    match text.chars().count() {
        count if count > most => Err(Error::field(field, format!("has {count} characters; at most {most}"))),
        _ => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: &str) -> Outgoing {
        Outgoing { to: "+62 812-3456-7890".into(), kind: kind.into(), ..Outgoing::default() }
    }

    fn poll(options: &[&str]) -> Outgoing {
        let options = options.iter().map(|&option| option.to_owned()).collect();
        Outgoing { name: Some("Lunch?".into()), options, ..of("poll") }
    }

    /// Each bad input names its field.
    #[test]
    fn what_is_wrong_is_named() {
        let many: Vec<String> = (0..13).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let place = |latitude, longitude| Outgoing { latitude, longitude, ..of("location") };
        let file = FileSource { data: Some("AAAA".into()), ..FileSource::default() };
        let both = Some(FileSource { url: Some("https://x".into()), ..file.clone() });
        let data = Some(file.clone());
        let card = |name: Option<&str>, phone: Option<&str>, vcard: Option<&str>| {
            let [name, phone, vcard] = [name, phone, vcard].map(|it| it.map(str::to_owned));
            Outgoing { contact: Some(NewCard { name, phone, vcard }), ..of("contact") }
        };
        let cases: Vec<(Outgoing, &str)> = vec![
            (of("dance"), "type"),
            (of(""), "type"),
            (Outgoing { to: "abc".into(), text: Some("x".into()), ..of("text") }, "to"),
            (Outgoing { to: "status@broadcast".into(), text: Some("x".into()), ..of("text") }, "to"),
            (of("text"), "text"),
            (Outgoing { text: Some(String::new()), ..of("text") }, "text"),
            (Outgoing { text: Some(" \n".into()), ..of("text") }, "text"),
            (Outgoing { text: Some("x".repeat(65_537)), ..of("text") }, "text"),
            (Outgoing { text: Some("x".into()), options: vec!["a".into()], ..of("text") }, "options"),
            (Outgoing { text: Some("x".into()), mentions: vec!["nobody".into()], ..of("text") }, "mentions[0]"),
            (Outgoing { text: Some("x".into()), mentions: vec!["1@g.us".into()], ..of("text") }, "mentions[0]"),
            (Outgoing { text: Some("x".into()), view_once: true, ..of("text") }, "viewOnce"),
            (poll(&[]), "options"),
            (poll(&["a"]), "options"),
            (poll(&many), "options"),
            (poll(&["a", "b", "a"]), "options[2]"),
            (poll(&["a", " "]), "options[1]"),
            (poll(&["a", &"b".repeat(101)]), "options[1]"),
            (Outgoing { name: None, ..poll(&["a", "b"]) }, "name"),
            (Outgoing { selectable: Some(3), ..poll(&["a", "b"]) }, "selectableCount"),
            (Outgoing { selectable: Some(-1), ..poll(&["a", "b"]) }, "selectableCount"),
            (Outgoing { poll_end: Some(Time(999)), ..poll(&["a", "b"]) }, "pollEndTime"),
            (place(None, Some(1.0)), "latitude"),
            (place(Some(1.0), None), "longitude"),
            (place(Some(90.01), Some(1.0)), "latitude"),
            (place(Some(-1.0), Some(180.5)), "longitude"),
            (place(Some(f64::NAN), Some(1.0)), "latitude"),
            (of("contact"), "contact"),
            (card(Some("Ann"), None, None), "contact.phone"),
            (card(None, Some("+62 812 3456 7890"), None), "contact.name"),
            (card(Some("Ann"), Some("0812"), None), "contact.phone"),
            (card(None, None, Some("hello")), "contact.vcard"),
            (of("image"), "media"),
            (Outgoing { media: Some(FileSource::default()), ..of("image") }, "media"),
            (Outgoing { media: both, ..of("image") }, "media"),
            (Outgoing { media: data.clone(), caption: Some("x".into()), ..of("sticker") }, "caption"),
            (Outgoing { media: data.clone(), caption: Some("x".repeat(65_537)), ..of("image") }, "caption"),
            (Outgoing { media: data.clone(), voice: Some(true), ..of("image") }, "voice"),
            (Outgoing { medias: vec![file.clone()], ..of("album") }, "medias"),
            (Outgoing { medias: vec![file.clone(); 11], ..of("album") }, "medias"),
            (Outgoing { medias: vec![file; 2], ..of("album") }, "medias[0].type"),
        ];
        for (request, field) in cases {
            let error = request.draft(Time(1000)).err();
            assert_eq!(error.map(|e| e.fields[0].field.clone()).as_deref(), Some(field), "{request:?}");
        }
    }

    #[test]
    fn what_is_right_passes() {
        let longest = Outgoing { text: Some("ü".repeat(65_536)), ..of("text") };
        let (_, to, draft) = longest.draft(Time(0)).unwrap();
        assert_eq!((to.to_string().as_str(), draft.kind.as_str()), ("6281234567890@s.whatsapp.net", "text"));
        let poll = Outgoing { selectable: Some(0), poll_end: Some(Time(1001)), ..poll(&["a", "b"]) };
        assert_eq!(poll.draft(Time(1000)).unwrap().2.content.poll.unwrap().selectable, 0);
        let card = NewCard { name: Some("Ann; Lee".into()), phone: Some("+62 812 3456 7890".into()), vcard: None };
        let (.., draft) = Outgoing { contact: Some(card), ..of("contact") }.draft(Time(0)).unwrap();
        let vcard = draft.content.contacts[0].vcard.clone().unwrap();
        assert!(vcard.contains("FN:Ann\\; Lee\n") && vcard.contains("waid=6281234567890:+6281234567890"), "{vcard}");
    }
}
