//! Makes the world that a file describes.

use std::collections::HashMap;
use std::time::Duration;

use prost_types::Timestamp;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use toml::Spanned;
use waproto::whatsapp as wa;

use super::{ChatEntry, GroupEntry, MessageEntry, PhoneEntry, WorldFile};
use crate::domain::clock::Time;
use crate::domain::jid::phone_digits;
use crate::error::Result;
use crate::sandbox::keys::Blob;
use crate::sandbox::phone::Chat;
use crate::sandbox::phone::history::{Past, Remembered, drawn_id};
use crate::sandbox::server::World;
use crate::sandbox::server::account::{Contact, Picture};

impl WorldFile {
    /// Fills an empty world; the same seed gives the same ids and the same drawn pasts.
    pub(in crate::sandbox) fn fill(&self, world: &mut World, seed: u64) -> Result<()> {
        let mut dice = StdRng::seed_from_u64(seed);
        for phone in &self.written.phones {
            self.phone(world, phone)?;
        }
        for phone in &self.written.phones {
            for contact in &phone.contacts {
                let number = self.known(world, &contact.number, "phones.contacts.number")?;
                let first = Some(contact.first_name.as_str()).filter(|name| !name.is_empty());
                let first = first.or_else(|| contact.name.split_whitespace().next()).unwrap_or_default().to_owned();
                let entry = Contact { full_name: contact.name.clone(), first_name: first };
                world.phone_saves_contact(&phone_digits("number", phone.number.get_ref())?, &number, entry)?;
            }
        }
        let mut groups = HashMap::new();
        for group in &self.written.groups {
            let id = self.group(world, group, &mut dice)?;
            groups.insert(group.subject.get_ref().clone(), id);
        }
        self.channels(world)?;
        for chat in &self.written.chats {
            self.chat(world, chat, &groups, &mut dice)?;
        }
        for (at, history) in self.written.histories.iter().enumerate() {
            let phone = self.known(world, &history.phone, "histories.phone")?;
            let seed = seed.wrapping_add(u64::try_from(at).unwrap_or(0));
            let (chats, messages, days) = (*history.chats.get_ref(), history.messages, history.days.unwrap_or(30));
            let drawn = world.draw_past(&phone, Past { chats, messages, days, seed });
            drawn.map_err(|error| self.wrong(history.chats.span(), "histories.chats", &error.to_string()))?;
        }
        Ok(())
    }

    /// The number of a phone of this file.
    fn known(&self, world: &World, number: &Spanned<String>, key: &str) -> Result<String> {
        let digits = phone_digits(key, number.get_ref())
            .map_err(|_| self.wrong(number.span(), key, "not a phone number in digits with country code"))?;
        if world.accounts.contains_key(&digits) {
            return Ok(digits);
        }
        Err(self.wrong(number.span(), key, &format!("no phone in this file has the number {digits}")))
    }

    fn phone(&self, world: &mut World, entry: &PhoneEntry) -> Result<()> {
        const KEY: &str = "phones.number";
        let place = entry.number.span();
        let number = phone_digits(KEY, entry.number.get_ref())
            .map_err(|_| self.wrong(place.clone(), KEY, "not a phone number in digits with country code"))?;
        if world.accounts.contains_key(&number) {
            return Err(self.wrong(place, KEY, "there is a phone with this number already"));
        }
        let name = if entry.name.is_empty() { &number } else { &entry.name };
        let made = world.create_account(&number, name, entry.auto_read.unwrap_or(true));
        made.map_err(|error| self.wrong(place, KEY, &error.to_string()))?;
        let picture = match &entry.picture {
            None => None,
            Some(picture) => {
                let path = self.path.parent().unwrap_or(std::path::Path::new(".")).join(picture.get_ref());
                let bytes =
                    std::fs::read(path).map_err(|error| self.wrong(picture.span(), "phones.picture", &error.to_string()))?;
                Some(Picture { id: world.stanza_id(), bytes: Blob(bytes) })
            }
        };
        if let Some(privacy) = &entry.privacy {
            for (name, value) in privacy.get_ref() {
                let changed = world.change_privacy(&number, name, value);
                let why = format!("there is no setting {name} of {value}");
                changed.map_err(|_| self.wrong(privacy.span(), "phones.privacy", &why))?;
            }
        }
        if let Some(business) = &entry.business {
            let checked = business.get_ref().check();
            checked.map_err(|error| self.wrong(business.span(), "phones.business", &error.to_string()))?;
        }
        let now = world.now_secs();
        if let Some(account) = world.accounts.get_mut(&number) {
            account.business = entry.business.as_ref().map(|business| business.get_ref().clone());
            if let Some(about) = &entry.about {
                account.about = (about.clone(), now);
            }
            account.picture = picture;
        }
        Ok(())
    }

    fn group(&self, world: &mut World, entry: &GroupEntry, dice: &mut StdRng) -> Result<String> {
        let owner = self.known(world, &entry.owner, "groups.owner")?;
        let all = |numbers: &[Spanned<String>], key| {
            numbers.iter().map(|number| self.known(world, number, key)).collect::<Result<Vec<String>>>()
        };
        let (admins, members) = (all(&entry.admins, "groups.admins")?, all(&entry.members, "groups.members")?);
        Ok(world.found_group(&owner, entry.subject.get_ref(), &entry.description, (&admins, &members), entry.announcement, dice))
    }

    fn channels(&self, world: &mut World) -> Result<()> {
        for entry in &self.written.channels {
            let owner = self.known(world, &entry.owner, "channels.owner")?;
            let id = world
                .create_newsletter(&owner, entry.name.get_ref(), &entry.description)
                .map_err(|error| self.wrong(entry.name.span(), "channels.name", &error.to_string()))?;
            for follower in &entry.followers {
                let number = self.known(world, follower, "channels.followers")?;
                let place = crate::sandbox::server::account::Place { number, device: 0 };
                let followed = world.follow_newsletter(&id, &place);
                followed.map_err(|error| self.wrong(follower.span(), "channels.followers", &error.to_string()))?;
            }
            for text in &entry.posts {
                let content = wa::Message { conversation: Some(text.clone()), ..Default::default() };
                world.phone_posts(&owner, &id, &content)?;
            }
        }
        Ok(())
    }

    fn chat(&self, world: &mut World, entry: &ChatEntry, groups: &HashMap<String, String>, dice: &mut StdRng) -> Result<()> {
        let (phones, chat) = match (&entry.between, &entry.group) {
            (Some(between), None) => {
                let (one, other) = between.get_ref();
                let one = self.known(world, one, "chats.between")?;
                let other = self.known(world, other, "chats.between")?;
                world.acquaint(&one, &other);
                (vec![one, other.clone()], Chat::Person(other))
            }
            (None, Some(group)) => {
                let id = groups.get(group.get_ref());
                let id = id.ok_or_else(|| self.wrong(group.span(), "chats.group", "no group in this file has this subject"))?;
                let members = world.groups.get(id).map(|group| group.members.keys().cloned().collect()).unwrap_or_default();
                (members, Chat::Group(id.clone()))
            }
            _ => return Err(self.wrong(entry.messages.span(), "chats", "needs either `between` or `group`")),
        };
        let now = world.ambient.now();
        let messages = entry.messages.get_ref();
        for (at, message) in messages.iter().enumerate() {
            let author = self.known(world, &message.from, "chats.messages.from")?;
            if !phones.contains(&author) {
                return Err(self.wrong(message.from.span(), "chats.messages.from", "is not in this chat"));
            }
            let behind = u64::try_from(messages.len() - at - 1).unwrap_or(0);
            let content = wa::Message { conversation: Some(message.text.clone()), ..Default::default() };
            let remembered = Remembered {
                id: drawn_id(dice),
                author: &author,
                at: self.moment(message)?.unwrap_or_else(|| now.minus(Duration::from_secs(60 * behind))),
                content,
                read: message.read.unwrap_or(true),
            };
            world.remember(&phones, &chat, &remembered);
        }
        Ok(())
    }

    fn moment(&self, message: &MessageEntry) -> Result<Option<Time>> {
        let Some(at) = &message.at else { return Ok(None) };
        let needs = || self.wrong(at.span(), "chats.messages.at", "needs its offset, such as the `Z` in `2026-01-31T10:00:00Z`");
        let said = *at.get_ref();
        if said.offset.is_none() || said.date.is_none() || said.time.is_none() {
            return Err(needs());
        }
        let moment: Timestamp = said.to_string().parse().map_err(|_| needs())?;
        Ok(Some(Time(moment.seconds.saturating_mul(1000) + i64::from(moment.nanos / 1_000_000))))
    }
}
