//! What a live session does with channels and status posts.

use std::time::Duration;

use waproto::whatsapp as wa;
use whatsapp_rust::features::{
    NewsletterError, NewsletterMessage, NewsletterMessageType, NewsletterMetadata, NewsletterRole, NewsletterVerification,
    StatusPrivacySetting, StatusSendOptions,
};
use whatsapp_rust::request::IqError;
use whatsapp_rust::send::SendError;

use super::connection::{Ack, Sender};
use super::failure::Refused;
use super::{normalize, outgoing};
use crate::domain::channel::{Channel, ChannelMessage, ChannelRole};
use crate::domain::clock::Time;
use crate::domain::jid::Address;
use crate::domain::media::Uploaded;

type Answer<T> = Result<T, Refused>;

/// A picture or film of a status post, given to WhatsApp's hosts already.
pub struct Shown {
    /// Where it lies.
    pub file: Uploaded,
    /// Its media type.
    pub mimetype: String,
    /// A small JPEG of it.
    pub thumbnail: Option<Vec<u8>>,
    /// Of a film: how long it is.
    pub seconds: Option<u32>,
}

/// A status post.
pub enum Post {
    /// A text on a background, as 0xAARRGGBB.
    Text(String, u32),
    /// A picture with or without a caption.
    Image(Box<Shown>, Option<String>),
    /// A film with or without a caption.
    Video(Box<Shown>, Option<String>),
}

/// To whom a status post goes, in WhatsApp's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// To all contacts.
    Contacts,
    /// To those that were named.
    Only,
    /// To all but those that were named.
    Except,
}

impl Sender {
    /// The channels that the account follows or owns.
    pub async fn channels(&self) -> Answer<Vec<Channel>> {
        let found = self.client.newsletter().list_subscribed().await?;
        Ok(found.into_iter().map(channel).collect())
    }

    /// What WhatsApp tells of a channel.
    pub async fn channel(&self, jid: &Address) -> Answer<Channel> {
        Ok(channel(self.client.newsletter().get_metadata(&outgoing::jid(jid)).await.map_err(unknown)?))
    }

    /// Founds a channel.
    pub async fn create_channel(&self, name: &str, description: Option<&str>) -> Answer<Channel> {
        Ok(channel(self.client.newsletter().create(name, description).await?))
    }

    /// Follows a channel, or no longer.
    pub async fn follow_channel(&self, jid: &Address, follow: bool) -> Answer<()> {
        let (newsletter, jid) = (self.client.newsletter(), outgoing::jid(jid));
        let done = if follow { newsletter.join(&jid).await.map(drop) } else { newsletter.leave(&jid).await };
        done.map_err(unknown)
    }

    /// Has the phone keep silent about a channel, or not.
    pub async fn mute_channel(&self, jid: &Address, mute: bool) -> Answer<()> {
        self.client.newsletter().set_follower_mute(&outgoing::jid(jid), mute).await.map_err(unknown)
    }

    /// At most `limit` messages of a channel, older than the one with the number `before`; the newest first.
    pub async fn channel_messages(&self, jid: &Address, limit: u32, before: Option<u64>) -> Answer<Vec<ChannelMessage>> {
        let found = self.client.newsletter().get_messages(outgoing::jid(jid), limit, before).await.map_err(unknown)?;
        let mut messages: Vec<ChannelMessage> = found.into_iter().filter_map(channel_message).collect();
        messages.sort_by_key(|message| std::cmp::Reverse(message.server_id));
        Ok(messages)
    }

    /// Reacts to a channel's message; the empty text takes the reaction back.
    pub async fn react_in_channel(&self, jid: &Address, server_id: u64, emoji: &str) -> Answer<()> {
        self.client.newsletter().send_reaction(&outgoing::jid(jid), server_id, emoji).await.map_err(unknown)
    }

    /// Posts a status under the given id and waits for the server's answer; `None` when it did not answer within `limit`.
    pub async fn post_status(
        &self,
        wa_message_id: &str,
        post: Post,
        recipients: &[Address],
        audience: Audience,
        limit: Duration,
    ) -> Answer<Option<Ack>> {
        let recipients: Vec<_> = recipients.iter().map(outgoing::jid).collect();
        let options = StatusSendOptions {
            privacy: match audience {
                Audience::Contacts => StatusPrivacySetting::Contacts,
                Audience::Only => StatusPrivacySetting::AllowList,
                Audience::Except => StatusPrivacySetting::DenyList,
            },
            message_id: Some(wa_message_id.to_owned()),
            ..StatusSendOptions::default()
        };
        let sending = async {
            let sent = Box::pin(self.client.status().send_raw(post_message(post), &recipients, options)).await;
            sent.map(drop).map_err(Refused::from)
        };
        self.answered(wa_message_id, limit, sending).await
    }
}

fn post_message(post: Post) -> wa::Message {
    match post {
        Post::Text(text, background) => wa::Message {
            extended_text_message: buffa::MessageField::some(wa::message::ExtendedTextMessage {
                text: Some(text),
                background_argb: Some(background),
                font: Some(wa::message::extended_text_message::FontType::SYSTEM),
                ..Default::default()
            }),
            ..Default::default()
        },
        Post::Image(it, caption) => {
            let Shown { file, mimetype, thumbnail, .. } = *it;
            wa::Message {
                image_message: buffa::MessageField::some(wa::message::ImageMessage {
                    url: Some(file.url),
                    direct_path: Some(file.direct_path),
                    media_key: Some(file.media_key.to_vec()),
                    file_sha256: Some(file.file_sha256.to_vec()),
                    file_enc_sha256: Some(file.file_enc_sha256.to_vec()),
                    file_length: Some(file.file_length),
                    media_key_timestamp: Some(file.media_key_timestamp),
                    mimetype: Some(mimetype),
                    jpeg_thumbnail: thumbnail,
                    caption,
                    ..Default::default()
                }),
                ..Default::default()
            }
        }
        Post::Video(it, caption) => {
            let Shown { file, mimetype, thumbnail, seconds } = *it;
            wa::Message {
                video_message: buffa::MessageField::some(wa::message::VideoMessage {
                    url: Some(file.url),
                    direct_path: Some(file.direct_path),
                    media_key: Some(file.media_key.to_vec()),
                    file_sha256: Some(file.file_sha256.to_vec()),
                    file_enc_sha256: Some(file.file_enc_sha256.to_vec()),
                    file_length: Some(file.file_length),
                    media_key_timestamp: Some(file.media_key_timestamp),
                    streaming_sidecar: file.streaming_sidecar,
                    mimetype: Some(mimetype),
                    jpeg_thumbnail: thumbnail,
                    seconds,
                    caption,
                    ..Default::default()
                }),
                ..Default::default()
            }
        }
    }
}

impl From<SendError> for Refused {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Client(error) => error.into(),
            SendError::Iq(iq) => Self::Iq(iq),
            SendError::InvalidRequest(text) => Self::Invalid(text),
            SendError::Internal(error) => error.into(),
            other => Self::Other(other.into()),
        }
    }
}

/// The library's word for a channel that WhatsApp does not know is the one for a wrong request.
fn unknown(error: NewsletterError) -> Refused {
    match error {
        NewsletterError::InvalidRequest(text) => {
            Refused::Iq(IqError::ServerError { code: 404, text, error_type: None, backoff: None })
        }
        other => other.into(),
    }
}

fn channel(it: NewsletterMetadata) -> Channel {
    Channel {
        jid: it.jid.to_non_ad().to_string(),
        name: it.name,
        description: it.description,
        followers: it.subscriber_count,
        role: it.role.and_then(|role| {
            Some(match role {
                NewsletterRole::Owner => ChannelRole::Owner,
                NewsletterRole::Admin => ChannelRole::Admin,
                NewsletterRole::Subscriber => ChannelRole::Subscriber,
                NewsletterRole::Guest => ChannelRole::Guest,
                _ => return None,
            })
        }),
        verified: it.verification == NewsletterVerification::Verified,
        invite: it.invite_code,
        created_at: it.creation_time.and_then(seconds),
    }
}

fn channel_message(it: NewsletterMessage) -> Option<ChannelMessage> {
    let (kind, body) = match &it.message {
        Some(message) => normalize::content(message)?,
        None if it.message_type == NewsletterMessageType::Revoke => ("revoked", None),
        None => ("unsupported", None),
    };
    Some(ChannelMessage {
        server_id: it.server_id,
        wa_message_id: it.message_id,
        from_me: it.is_sender,
        kind,
        body,
        timestamp: seconds(it.timestamp)?,
        reactions: it.reactions.into_iter().map(|reaction| (reaction.code, reaction.count)).collect(),
    })
}

fn seconds(at: u64) -> Option<Time> {
    Some(Time(i64::try_from(at).ok()?.saturating_mul(1000)))
}
