//! Channels ("newsletters"): one writes, many read, nothing is encrypted.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use wacore_binary::{Jid, Node, Server};

use super::World;
use super::account::Place;
use crate::error::{Code, Error, Result};
use crate::sandbox::journal::Key;
use crate::sandbox::keys::{Blob, hex};
use crate::sandbox::wire::node::el;

/// The first post's number. Clients take no smaller ones.
const FIRST_POST: u64 = 100;

/// How many posts a channel keeps; the oldest goes first.
const MAX_POSTS: usize = 5000;

/// Somebody who reads a channel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::sandbox) struct Follower {
    /// Does not want to hear of new posts.
    pub(in crate::sandbox) muted: bool,
    /// Since when, in seconds since 1970.
    pub(in crate::sandbox) since: u64,
}

/// A channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::sandbox) struct Newsletter {
    /// The address without its server.
    pub(in crate::sandbox) id: String,
    pub(in crate::sandbox) name: String,
    pub(in crate::sandbox) description: String,
    /// The code that links to it.
    pub(in crate::sandbox) invite: String,
    /// Who writes, by number.
    pub(in crate::sandbox) owner: String,
    /// Seconds since 1970.
    pub(in crate::sandbox) created: u64,
    /// Who reads, by number; the owner is not among them.
    pub(in crate::sandbox) followers: BTreeMap<String, Follower>,
    next_post: u64,
    /// By number; kept apart in the journal.
    #[serde(skip)]
    pub(in crate::sandbox) posts: BTreeMap<u64, Post>,
}

/// What was written in a channel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(in crate::sandbox) struct Post {
    /// The author's id for it.
    pub(in crate::sandbox) id: String,
    /// Seconds since 1970.
    pub(in crate::sandbox) at: u64,
    /// `text`, `media`, `poll`, …
    pub(in crate::sandbox) kind: String,
    /// `image`, `video`, …, for media.
    pub(in crate::sandbox) media: Option<String>,
    /// The message, encoded; empty when it was taken back.
    pub(in crate::sandbox) content: Blob,
    /// When it was last changed.
    pub(in crate::sandbox) edited: Option<u64>,
    /// One emoji of each number.
    pub(in crate::sandbox) reactions: BTreeMap<String, String>,
}

impl Post {
    pub(in crate::sandbox) fn revoked(&self) -> bool {
        self.content.0.is_empty()
    }

    /// How often each emoji was given.
    pub(in crate::sandbox) fn counts(&self) -> BTreeMap<&str, u64> {
        let mut counts = BTreeMap::new();
        for emoji in self.reactions.values() {
            *counts.entry(emoji.as_str()).or_default() += 1;
        }
        counts
    }

    pub(super) fn reactions_node(&self) -> Option<Node> {
        let counts = self.counts();
        let each = counts
            .into_iter()
            .map(|(code, count)| el("reaction").attr("code", code.to_owned()).attr("count", count.to_string()).build());
        let each: Vec<Node> = each.collect();
        (!each.is_empty()).then(|| el("reactions").children(each).build())
    }
}

impl Newsletter {
    pub(in crate::sandbox) fn jid(&self) -> Jid {
        Jid::new(self.id.as_str(), Server::Newsletter)
    }

    /// What clients are told of it, as `reader` sees it.
    pub(super) fn shown_to(&self, reader: &str) -> Value {
        let follower = self.followers.get(reader);
        let role = if self.owner == reader {
            "owner"
        } else if follower.is_some() {
            "subscriber"
        } else {
            "guest"
        };
        let mute = if follower.is_some_and(|follower| follower.muted) { "ON" } else { "OFF" };
        json!({
            "id": self.jid().to_string(),
            "state": {"type": "ACTIVE"},
            "thread_metadata": {
                "name": {"id": self.created.to_string(), "text": self.name, "update_time": self.created.to_string()},
                "description": {"id": self.created.to_string(), "text": self.description, "update_time": self.created.to_string()},
                "subscribers_count": self.followers.len().to_string(),
                "verification": "UNVERIFIED",
                "invite": self.invite,
                "handle": null,
                "creation_time": self.created.to_string(),
                "settings": {"reaction_codes": {"value": "ALL"}},
            },
            "viewer_metadata": {"role": role, "mute": mute},
        })
    }

    /// Everybody whose devices get what is written.
    fn audience(&self) -> BTreeSet<String> {
        self.followers.keys().cloned().chain([self.owner.clone()]).collect()
    }
}

impl World {
    /// Puts a channel in place, new or from the journal.
    pub(in crate::sandbox) fn insert_newsletter(&mut self, newsletter: Newsletter) {
        self.newsletters.insert(newsletter.id.clone(), newsletter);
    }

    fn touch_newsletter(&mut self, id: &str) {
        self.touch(Key::Newsletter(id.to_owned()));
    }

    /// The channel behind what a client calls it: its address, or the code of its link.
    pub(super) fn newsletter_named(&self, name: &str) -> Option<&Newsletter> {
        let id = name.strip_suffix("@newsletter").unwrap_or(name);
        self.newsletters.get(id).or_else(|| self.newsletters.values().find(|newsletter| newsletter.invite == name))
    }

    /// The channel that a caller named.
    pub(in crate::sandbox) fn known_newsletter(&self, name: &str) -> Result<&Newsletter> {
        self.newsletter_named(name).ok_or_else(|| Error::not_found("channel"))
    }

    /// Founds a channel; gives its id.
    pub(in crate::sandbox) fn create_newsletter(&mut self, owner: &str, name: &str, description: &str) -> Result<String> {
        self.known(owner)?;
        if name.trim().is_empty() {
            return Err(Error::field("name", "must not be empty"));
        }
        let id = format!("1203634{:011}", u64::from_be_bytes(self.ambient.random()) % 100_000_000_000);
        self.insert_newsletter(Newsletter {
            id: id.clone(),
            name: name.to_owned(),
            description: description.to_owned(),
            invite: format!("0029Va{}", hex(&self.ambient.random::<8>())),
            owner: owner.to_owned(),
            created: self.now_secs(),
            followers: BTreeMap::new(),
            next_post: FIRST_POST,
            posts: BTreeMap::new(),
        });
        self.touch_newsletter(&id);
        Ok(id)
    }

    /// Changes name and description, where given, and tells all who read.
    pub(super) fn update_newsletter(&mut self, id: &str, name: Option<&str>, description: Option<&str>) {
        let Some(newsletter) = self.newsletters.get_mut(id) else { return };
        if let Some(name) = name {
            name.clone_into(&mut newsletter.name);
        }
        if let Some(description) = description {
            description.clone_into(&mut newsletter.description);
        }
        let (jid, audience) = (newsletter.jid(), newsletter.audience());
        let said = json!({"data": {"xwa2_notify_newsletter_on_metadata_update": {
            "id": jid.to_string(), "thread_metadata": newsletter.shown_to("")["thread_metadata"],
        }}});
        self.touch_newsletter(id);
        for number in audience {
            self.tell_of_newsletter(&number, None, &jid, "NotificationNewsletterUpdate", &said);
        }
    }

    /// A number reads a channel from now on.
    pub(in crate::sandbox) fn follow_newsletter(&mut self, id: &str, place: &Place) -> Result<()> {
        let since = self.now_secs();
        let newsletter = self.newsletters.get_mut(id).ok_or_else(|| Error::not_found("channel"))?;
        if newsletter.owner == place.number {
            return Err(Error::new(Code::Conflict, "the owner of a channel reads it anyway").reason("own_channel"));
        }
        newsletter.followers.entry(place.number.clone()).or_insert(Follower { muted: false, since });
        let (jid, shown) = (newsletter.jid(), newsletter.shown_to(&place.number));
        self.touch_newsletter(id);
        let said = json!({"data": {"xwa2_notify_newsletter_on_join": shown}});
        self.tell_of_newsletter(&place.number, Some(place), &jid, "NotificationNewsletterJoin", &said);
        Ok(())
    }

    /// A number does not read a channel any more. Fails when it did not.
    pub(in crate::sandbox) fn unfollow_newsletter(&mut self, id: &str, place: &Place) -> Result<()> {
        let newsletter = self.newsletters.get_mut(id).ok_or_else(|| Error::not_found("channel"))?;
        newsletter.followers.remove(&place.number).ok_or_else(|| Error::not_found("subscription"))?;
        let jid = newsletter.jid();
        self.touch_newsletter(id);
        let said = json!({"data": {"xwa2_notify_newsletter_on_leave": {"id": jid.to_string()}}});
        self.tell_of_newsletter(&place.number, Some(place), &jid, "NotificationNewsletterLeave", &said);
        Ok(())
    }

    /// Whether somebody wants to hear of new posts. Fails when it does not read the channel.
    pub(super) fn mute_newsletter(&mut self, id: &str, number: &str, muted: bool) -> Result<()> {
        let newsletter = self.newsletters.get_mut(id).ok_or_else(|| Error::not_found("channel"))?;
        if newsletter.owner != number {
            newsletter.followers.get_mut(number).ok_or_else(|| Error::not_found("subscription"))?.muted = muted;
        }
        self.touch_newsletter(id);
        Ok(())
    }

    /// Removes a channel. Only its owner may.
    pub(super) fn delete_newsletter(&mut self, id: &str) {
        let Some(newsletter) = self.newsletters.remove(id) else { return };
        for post in newsletter.posts.keys() {
            self.touch(Key::Post(id.to_owned(), *post));
        }
        self.touch_newsletter(id);
    }

    fn tell_of_newsletter(&mut self, number: &str, but: Option<&Place>, from: &Jid, operation: &'static str, said: &Value) {
        let update = el("update").attr("op_name", operation).bytes(said.to_string().into_bytes()).build();
        let notification = el("notification")
            .attr("from", from.clone())
            .attr("type", "mex")
            .attr("id", self.stanza_id())
            .attr("t", self.now_secs().to_string())
            .children([update])
            .build();
        for device in self.all_devices(number).into_iter().filter(|device| device.device != 0 && Some(device) != but) {
            self.deliver(&device, notification.clone());
        }
    }

    /// The owner writes; everybody who reads gets it. Gives the post's number.
    pub(in crate::sandbox) fn post(&mut self, id: &str, from: &Place, post: Post) -> Result<u64> {
        let newsletter = self.newsletters.get_mut(id).ok_or_else(|| Error::not_found("channel"))?;
        only_owner(newsletter, &from.number)?;
        let number = newsletter.next_post;
        newsletter.next_post += 1;
        newsletter.posts.insert(number, post);
        let dropped = if newsletter.posts.len() > MAX_POSTS { newsletter.posts.pop_first() } else { None };
        self.touch_newsletter(id);
        self.touch(Key::Post(id.to_owned(), number));
        if let Some((old, _)) = dropped {
            self.touch(Key::Post(id.to_owned(), old));
        }
        self.spread_post(id, number, from, None);
        Ok(number)
    }

    /// The owner changes a post, or takes it back when `content` is empty.
    pub(in crate::sandbox) fn change_post(&mut self, id: &str, from: &Place, post: &str, content: Vec<u8>) -> Result<()> {
        let now = self.now_secs();
        let newsletter = self.newsletters.get_mut(id).ok_or_else(|| Error::not_found("channel"))?;
        only_owner(newsletter, &from.number)?;
        let found = newsletter.posts.iter_mut().find(|(_, known)| known.id == post && !known.revoked());
        let (number, found) = found.ok_or_else(|| Error::not_found("post"))?;
        let edit = if content.is_empty() { "8" } else { "3" };
        found.content = Blob(content);
        found.edited = Some(now);
        let number = *number;
        self.touch(Key::Post(id.to_owned(), number));
        self.spread_post(id, number, from, Some(edit));
        Ok(())
    }

    /// Somebody reacts to a post; an empty emoji takes the reaction back. Who watches learns the new counts.
    pub(in crate::sandbox) fn react_to_post(&mut self, id: &str, number: &str, post: u64, emoji: &str) -> Result<()> {
        let newsletter = self.newsletters.get_mut(id).ok_or_else(|| Error::not_found("channel"))?;
        if newsletter.owner != number && !newsletter.followers.contains_key(number) {
            return Err(Error::new(Code::Conflict, "who does not follow a channel cannot react in it").reason("not_a_follower"));
        }
        let known = newsletter.posts.get_mut(&post).filter(|post| !post.revoked()).ok_or_else(|| Error::not_found("post"))?;
        if emoji.is_empty() {
            known.reactions.remove(number);
        } else {
            known.reactions.insert(number.to_owned(), emoji.to_owned());
        }
        self.touch(Key::Post(id.to_owned(), post));
        self.spread_reactions(id, post);
        Ok(())
    }

    /// Sends a post to all devices of all who read, but the one that wrote it.
    fn spread_post(&mut self, id: &str, number: u64, from: &Place, edit: Option<&'static str>) {
        let Some(newsletter) = self.newsletters.get(id) else { return };
        let Some(post) = newsletter.posts.get(&number) else { return };
        let (jid, owner, audience) = (newsletter.jid(), newsletter.owner.clone(), newsletter.audience());
        let mut plaintext = el("plaintext");
        if let Some(media) = &post.media {
            plaintext = plaintext.attr("mediatype", media.clone());
        }
        let plaintext = plaintext.bytes(post.content.0.clone()).build();
        let mut message = el("message")
            .attr("from", jid)
            .attr("id", post.id.clone())
            .attr("server_id", number.to_string())
            .attr("t", post.edited.unwrap_or(post.at).to_string())
            .attr("type", if edit == Some("8") { "text".to_owned() } else { post.kind.clone() });
        if let Some(edit) = edit {
            message = message.attr("edit", edit);
        }
        let message = message.children([plaintext]).build();
        for reader in audience {
            for device in self.all_devices(&reader).into_iter().filter(|device| device != from) {
                let mut copy = message.clone();
                if reader == owner {
                    copy.attrs.insert("is_sender", "true");
                }
                self.deliver(&device, copy);
            }
        }
    }
}

fn only_owner(newsletter: &Newsletter, number: &str) -> Result<()> {
    if newsletter.owner == number {
        return Ok(());
    }
    Err(Error::new(Code::Conflict, "only its owner writes in a channel").reason("not_the_owner"))
}
