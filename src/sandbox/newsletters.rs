//! Channels, for those who look at them and write in them from outside.

use buffa::MessageField;
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use waproto::whatsapp as wa;

use super::Sandbox;
use super::server::World;
use super::server::account::Place;
use super::server::newsletter::{Newsletter, Post};
use crate::domain::clock::Time;
use crate::domain::jid::phone_digits;
use crate::error::{Error, Result};

/// The largest picture of a post, in bytes.
const MAX_PICTURE: usize = 1 << 20;

/// A channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Its address, such as `120363400000000001@newsletter`.
    pub jid: String,
    /// Its name.
    pub name: String,
    /// What it says about itself.
    pub description: String,
    /// The code of its link.
    pub invite: String,
    /// The number of its owner.
    pub owner: String,
    /// The numbers of those who follow it.
    pub followers: Vec<String>,
    /// How many posts it has.
    pub posts: usize,
}

/// What was written in a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelPost {
    /// Its number in the channel.
    pub server_id: u64,
    /// The id that its author's device gave it.
    pub id: String,
    /// When it was written.
    pub at: Time,
    /// `text`, `media`, …; `revoked` for one that was taken back.
    pub kind: String,
    /// Its text or caption.
    pub text: String,
    /// Whether it was changed.
    pub edited: bool,
    /// How often each emoji was given.
    pub reactions: std::collections::BTreeMap<String, u64>,
}

impl Sandbox {
    /// All channels, by id.
    pub fn list_channels(&self) -> Vec<Channel> {
        self.inner.world().newsletters.values().map(channel).collect()
    }

    /// A phone founds a channel. Fails when there is no such phone, and without a name.
    pub async fn create_channel(&self, number: &str, name: &str, description: &str) -> Result<Channel> {
        self.in_channel(number, |world, place| {
            let id = world.create_newsletter(&place.number, name, description)?;
            world.known_newsletter(&id).map(channel)
        })
        .await
    }

    /// A phone follows a channel, or stops; the channel by its address or its invite code. Fails when there is no such channel, and
    /// for its owner.
    pub async fn follow_channel(&self, number: &str, name: &str, follow: bool) -> Result<Channel> {
        self.in_channel(number, |world, place| {
            let id = world.known_newsletter(name)?.id.clone();
            if follow {
                world.follow_newsletter(&id, place)?;
            } else {
                world.unfollow_newsletter(&id, place)?;
            }
            world.known_newsletter(&id).map(channel)
        })
        .await
    }

    /// The owner's phone posts a text, or a picture (JPEG) with the text below it. Fails when the phone is not the owner's.
    pub async fn post(&self, number: &str, name: &str, text: &str, picture: &[u8]) -> Result<ChannelPost> {
        if text.is_empty() && picture.is_empty() {
            return Err(Error::field("text", "must not be empty without a picture"));
        }
        if picture.len() > MAX_PICTURE {
            return Err(Error::field("picture", "must have at most 1 MiB"));
        }
        self.in_channel(number, |world, place| {
            let id = world.known_newsletter(name)?.id.clone();
            let content = if picture.is_empty() { said(text) } else { pictured(world, text, picture)? };
            let post = world.phone_posts(&place.number, &id, &content)?;
            find(world, &id, post)
        })
        .await
    }

    /// The owner's phone changes the text of a post, or takes it back when `text` is `None`. Fails when there is no such post.
    pub async fn change_post(&self, number: &str, name: &str, server_id: u64, text: Option<&str>) -> Result<ChannelPost> {
        self.in_channel(number, |world, place| {
            let newsletter = world.known_newsletter(name)?;
            let id = newsletter.id.clone();
            let post = newsletter.posts.get(&server_id).ok_or_else(|| Error::not_found("post"))?.id.clone();
            let content = text.map(|text| buffa::Message::encode_to_vec(&said(text))).unwrap_or_default();
            world.change_post(&id, place, &post, content)?;
            find(world, &id, server_id)
        })
        .await
    }

    /// A phone reacts to a post; an empty emoji takes the reaction back. Fails when it does not follow the channel.
    pub async fn react_in_channel(&self, number: &str, name: &str, server_id: u64, emoji: &str) -> Result<ChannelPost> {
        self.in_channel(number, |world, place| {
            let id = world.known_newsletter(name)?.id.clone();
            world.react_to_post(&id, &place.number, server_id, emoji)?;
            find(world, &id, server_id)
        })
        .await
    }

    /// The posts of a channel, oldest first. Fails when there is no such channel.
    pub fn list_posts(&self, name: &str) -> Result<Vec<ChannelPost>> {
        let world = self.inner.world();
        Ok(world.known_newsletter(name)?.posts.iter().map(|(number, post)| shown(*number, post)).collect())
    }

    async fn in_channel<T>(&self, number: &str, act: impl FnOnce(&mut World, &Place) -> Result<T>) -> Result<T> {
        let place = Place { number: phone_digits("phoneNumber", number)?, device: 0 };
        let done = self.inner.act(|world| {
            world.known(&place.number)?;
            act(world, &place)
        })?;
        self.inner.settled().await;
        Ok(done)
    }
}

fn said(text: &str) -> wa::Message {
    wa::Message { conversation: Some(text.to_owned()), ..Default::default() }
}

/// A picture as channels carry it: not encrypted.
fn pictured(world: &mut World, text: &str, picture: &[u8]) -> Result<wa::Message> {
    let path = world.put_media("image", Bytes::copy_from_slice(picture))?;
    let image = wa::message::ImageMessage {
        direct_path: Some(path),
        file_sha256: Some(Sha256::digest(picture).to_vec()),
        file_length: u64::try_from(picture.len()).ok(),
        mimetype: Some("image/jpeg".to_owned()),
        caption: Some(text.to_owned()).filter(|text| !text.is_empty()),
        ..Default::default()
    };
    Ok(wa::Message { image_message: MessageField::some(image), ..Default::default() })
}

fn find(world: &World, id: &str, post: u64) -> Result<ChannelPost> {
    let found = world.known_newsletter(id)?.posts.get(&post);
    found.map(|found| shown(post, found)).ok_or_else(|| Error::not_found("post"))
}

fn channel(newsletter: &Newsletter) -> Channel {
    Channel {
        jid: newsletter.jid().to_string(),
        name: newsletter.name.clone(),
        description: newsletter.description.clone(),
        invite: newsletter.invite.clone(),
        owner: newsletter.owner.clone(),
        followers: newsletter.followers.keys().cloned().collect(),
        posts: newsletter.posts.len(),
    }
}

fn shown(server_id: u64, post: &Post) -> ChannelPost {
    let content = <wa::Message as buffa::Message>::decode_from_slice(&post.content.0).unwrap_or_default();
    let caption = content.image_message.as_option().and_then(|image| image.caption.clone());
    let extended = content.extended_text_message.as_option().and_then(|extended| extended.text.clone());
    ChannelPost {
        server_id,
        id: post.id.clone(),
        at: Time::from_secs(i64::try_from(post.at).unwrap_or(i64::MAX)),
        kind: if post.revoked() { "revoked".to_owned() } else { post.kind.clone() },
        text: content.conversation.or(extended).or(caption).unwrap_or_default(),
        edited: post.edited.is_some() && !post.revoked(),
        reactions: post.counts().into_iter().map(|(emoji, count)| (emoji.to_owned(), count)).collect(),
    }
}
