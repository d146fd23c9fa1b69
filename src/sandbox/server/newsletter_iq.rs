//! What clients say to channels: posts and reactions, and questions for older posts and for news of them.

use std::time::Duration;

use wacore_binary::{Jid, Node};

use super::World;
use super::account::Place;
use super::iq::{Answer, bad_request};
use super::newsletter::{Newsletter, Post};
use crate::error::Error;
use crate::sandbox::keys::Blob;
use crate::sandbox::wire::node::{attr, bytes, el, jid};

/// How many posts one answer has at most, and how many when nobody said.
const MOST: usize = 100;
const USUAL: usize = 50;

/// How long a device hears of reactions after it said that it looks.
const LIVE: Duration = Duration::from_secs(300);

impl World {
    /// `<message>` to a channel. Gives the attributes of the acknowledgement: the post's number, or the code of an error.
    pub(super) fn on_newsletter_message(&mut self, from: &Place, channel: &Jid, node: &Node) -> (&'static str, String) {
        let id = channel.user.as_str();
        let done = if attr(node, "type") == "reaction" {
            let emoji = node.get_optional_child("reaction").map(|reaction| attr(reaction, "code")).unwrap_or_default();
            match attr(node, "server_id").parse() {
                Ok(post) => self.react_to_post(id, &from.number, post, &emoji).map(|()| post),
                Err(_) => Err(Error::field("server_id", "must be the number of a post")),
            }
        } else {
            self.take_post(id, from, node)
        };
        match done {
            Ok(number) => ("server_id", number.to_string()),
            Err(error) if error.code == crate::error::Code::NotFound => ("error", "404".to_owned()),
            Err(_) => ("error", "403".to_owned()),
        }
    }

    fn take_post(&mut self, id: &str, from: &Place, node: &Node) -> crate::error::Result<u64> {
        let plaintext = node.get_optional_child("plaintext").ok_or_else(|| Error::field("plaintext", "is missing"))?;
        let edit = attr(node, "edit");
        if !edit.is_empty() {
            let content = if edit == "8" { Vec::new() } else { bytes(plaintext) };
            self.change_post(id, from, &attr(node, "id"), content)?;
            return Ok(0);
        }
        let post = Post {
            id: attr(node, "id"),
            at: self.now_secs(),
            kind: attr(node, "type"),
            media: Some(attr(plaintext, "mediatype")).filter(|media| !media.is_empty()),
            content: Blob(bytes(plaintext)),
            edited: None,
            reactions: std::collections::BTreeMap::new(),
        };
        self.post(id, from, post)
    }

    /// A question to a channel, or about one.
    pub(super) fn newsletter_question(&mut self, place: &Place, node: &Node, child: &Node) -> Answer {
        // Some clients ask the channel, others the server, naming it.
        let asked = jid(child, "jid").or_else(|| jid(node, "to")).map(|jid| jid.user.to_string()).unwrap_or_default();
        let name = if attr(child, "type") == "invite" { attr(child, "key") } else { asked };
        let newsletter = self.newsletter_named(&name).ok_or((404, "item-not-found"))?;
        let id = newsletter.id.clone();
        match child.tag.as_ref() {
            "messages" => Ok(vec![older(newsletter, place, child)]),
            "message_updates" => Ok(vec![el("message_updates").children([changed(newsletter, place, child)]).build()]),
            "live_updates" => {
                let until = self.ambient.now().plus(LIVE);
                let now = self.ambient.now();
                self.newsletter_watch.retain(|_, until| *until > now);
                self.newsletter_watch.insert((id, place.clone()), until);
                Ok(vec![el("live_updates").attr("duration", LIVE.as_secs().to_string()).build()])
            }
            // Who has read what is counted nowhere.
            "my_addons" => Ok(vec![el("my_addons").build()]),
            _ => Err(bad_request()),
        }
    }

    /// Tells the devices that look at a channel how often a post was reacted to.
    pub(super) fn spread_reactions(&mut self, id: &str, post: u64) {
        let Some(newsletter) = self.newsletters.get(id) else { return };
        let Some(known) = newsletter.posts.get(&post) else { return };
        let now = self.ambient.now();
        let reactions = known.reactions_node().unwrap_or_else(|| el("reactions").build());
        let message = el("message").attr("server_id", post.to_string()).children([reactions]).build();
        let stamp = self.now_secs().to_string();
        let messages = el("messages").attr("t", stamp.clone()).children([message]).build();
        let notification = el("notification")
            .attr("from", newsletter.jid())
            .attr("type", "newsletter")
            .attr("id", self.stanza_id())
            .attr("t", stamp)
            .children([el("live_updates").children([messages]).build()])
            .build();
        let looking = self.newsletter_watch.iter().filter(|((channel, _), until)| channel == id && **until > now);
        let looking: Vec<Place> = looking.map(|((_, place), _)| place.clone()).collect();
        for place in looking {
            // Who is not there does not look, so nothing waits for it.
            let online = self.device_mut(&place).and_then(|device| device.online);
            if let Some(connection) = online {
                self.send_delivery(connection, &place, notification.clone());
            }
        }
    }
}

/// `<messages>`: posts before a number, or the newest; oldest first.
fn older(newsletter: &Newsletter, place: &Place, wish: &Node) -> Node {
    let count = attr(wish, "count").parse().unwrap_or(USUAL).min(MOST);
    let before = attr(wish, "before").parse().unwrap_or(u64::MAX);
    let after: u64 = attr(wish, "after").parse().unwrap_or(0);
    let mut posts: Vec<Node> = newsletter
        .posts
        .range(..before)
        .rev()
        .take_while(|(number, _)| **number > after)
        .take(count)
        .map(|(number, post)| shown(newsletter, place, *number, post))
        .collect();
    posts.reverse();
    el("messages").attr("jid", newsletter.jid()).attr("t", newsletter.created.to_string()).children(posts).build()
}

/// `<messages>` of posts that have reactions or were changed, since a moment.
fn changed(newsletter: &Newsletter, place: &Place, wish: &Node) -> Node {
    let count = attr(wish, "count").parse().unwrap_or(MOST).min(MOST);
    let after: u64 = attr(wish, "after").parse().unwrap_or(0);
    let since: u64 = attr(wish, "since").parse().unwrap_or(0);
    let new = newsletter
        .posts
        .range(after.saturating_add(1)..)
        .filter(|(_, post)| !post.reactions.is_empty() || post.edited.is_some_and(|edited| edited >= since));
    let posts: Vec<Node> = new.take(count).map(|(number, post)| shown(newsletter, place, *number, post)).collect();
    el("messages").attr("jid", newsletter.jid()).children(posts).build()
}

fn shown(newsletter: &Newsletter, place: &Place, number: u64, post: &Post) -> Node {
    let mut message = el("message")
        .attr("id", post.id.clone())
        .attr("server_id", number.to_string())
        .attr("t", post.at.to_string())
        .attr("type", if post.revoked() { "revoke".to_owned() } else { post.kind.clone() });
    if newsletter.owner == place.number {
        message = message.attr("is_sender", "true");
    }
    let mut children = Vec::new();
    if !post.revoked() {
        let mut plaintext = el("plaintext");
        if let Some(media) = &post.media {
            plaintext = plaintext.attr("mediatype", media.clone());
        }
        children.push(plaintext.bytes(post.content.0.clone()).build());
    }
    if let Some(edited) = post.edited {
        let meta = el("meta").attr("msg_edit_t", edited.to_string()).attr("original_msg_t", post.at.to_string());
        children.push(meta.build());
    }
    children.extend(post.reactions_node());
    message.children(children).build()
}
