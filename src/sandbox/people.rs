//! What people do with their phones.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use wacore_binary::Jid;

use super::draft::{Content, Draft};
use super::phone::Chat;
use super::server::World;
use super::server::account::Place;
use super::wire::node::el;
use super::{Call, Phone, PhoneMessage, Sandbox};
use crate::domain::jid::{Address, phone_digits};
use crate::error::{Code, Error, Result};

/// The largest picture, in bytes.
const MAX_PICTURE: usize = 512 * 1024;

/// What is to change about a phone; what is absent stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PhoneChange {
    /// The name that others see.
    pub push_name: Option<String>,
    /// What the account tells about itself.
    pub about: Option<String>,
    /// Whether it answers what it receives with a read receipt at once.
    pub auto_read: Option<bool>,
    /// Whether it answers each text with the same text.
    pub echo: Option<bool>,
    /// Whether it answers each message with small talk, after a pause.
    pub chatty: Option<bool>,
    /// The seed of its small talk and pauses: the same seed gives the same answers. Default: drawn when it becomes chatty.
    pub seed: Option<i64>,
    /// Whether its owner is there. One that was said to be away receives in silence.
    pub online: Option<bool>,
    /// Whether the phone is switched on. Off, it gets nothing, answers nothing, and cannot be used; what is for it waits.
    pub switched_on: Option<bool>,
    /// Who may see and do what (`last`, `online`, `profile`, `status`, `readreceipts`, `groupadd`, `calladd`, `messages`): `all`,
    /// `contacts`, `none`, …
    pub privacy: BTreeMap<String, String>,
}

/// What somebody does in a chat before sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typing {
    /// Writes.
    Composing,
    /// Records a voice message.
    Recording,
    /// Has stopped.
    Paused,
}

impl Sandbox {
    /// Runs a step and waits until it is on disk.
    pub(super) async fn lasting<T>(&self, step: impl FnOnce(&mut World) -> Result<T>) -> Result<T> {
        let result = self.inner.act(step)?;
        self.inner.settled().await;
        Ok(result)
    }

    /// The phone sends something to a person, a group or to all who see its status posts, encrypted for every device of the recipients; a
    /// text alone can be given as it is. Gives the row that the phone shows, or the changed one. Fails when either side is unknown, when
    /// the phone may not write there, and when what it speaks of is not in the chat.
    pub async fn send_message(&self, number: &str, to: &str, draft: impl Into<Draft>) -> Result<PhoneMessage> {
        let number = phone_digits("phoneNumber", number)?;
        let to = Address::parse("to", to)?;
        let draft = draft.into();
        if !draft.audience.is_empty() && to.to_string() != Jid::status_broadcast().to_string() {
            return Err(Error::field("audience", "only status posts have one"));
        }
        self.lasting(|world| {
            let to = match world.chat("to", &to)? {
                Chat::Status(_) => Chat::Status(world.audience(&number, &draft.audience)?),
                chat => chat,
            };
            world.phone_sends_draft(&number, &to, &draft)
        })
        .await
    }

    /// What the phone shows, oldest first; only the chat with `with` when given. Fails when there is no such phone.
    pub async fn list_messages(&self, number: &str, with: Option<&str>) -> Result<Vec<PhoneMessage>> {
        let number = phone_digits("phoneNumber", number)?;
        let with = with.map(|with| Address::parse("with", with)).transpose()?;
        let world = self.inner.world();
        // A chat with nobody we know is an empty one.
        let chat = with.map(|with| world.chat("with", &with).map_or_else(|_| with.to_string(), |chat| chat.name()));
        let account = world.known(&number)?;
        let rows = account.messages.values().map(|row| &row.shown);
        Ok(rows.filter(|row| chat.as_ref().is_none_or(|chat| row.chat == *chat)).cloned().collect())
    }

    /// The file of a message that the phone shows, fetched from the media host and decrypted. Fails when the phone does not show such a
    /// message, and when the media host does not have the file any more.
    pub fn open_file(&self, number: &str, message: &str) -> Result<(PhoneMessage, Vec<u8>)> {
        let number = phone_digits("phoneNumber", number)?;
        self.inner.world().phone_opens_file(&number, message)
    }

    /// Changes what is given. Fails when there is no such phone.
    pub async fn update_phone(&self, number: &str, change: PhoneChange) -> Result<Phone> {
        let number = phone_digits("phoneNumber", number)?;
        if change.push_name.as_ref().is_some_and(String::is_empty) {
            return Err(Error::field("pushName", "must not be empty"));
        }
        let drawn = i64::from_be_bytes(self.ambient().random());
        self.lasting(|world| {
            world.known(&number)?;
            if let Some(account) = world.accounts.get_mut(&number) {
                if let Some(name) = change.push_name {
                    account.push_name.clone_from(&name);
                    account.notify = name;
                }
                account.auto_read = change.auto_read.unwrap_or(account.auto_read);
                account.behaviour.change(change.echo, change.chatty, change.seed, drawn);
            }
            world.touch_account(&number);
            for (name, value) in &change.privacy {
                let changed = world.change_privacy(&number, name, value);
                changed.map_err(|_| Error::field("privacy", format!("there is no setting {name} of {value}")))?;
            }
            if let Some(about) = change.about {
                world.set_about(&number, &about);
            }
            if let Some(here) = change.online {
                world.phone_comes(&number, here);
            }
            if let Some(on) = change.switched_on {
                world.phone_switches(&number, on);
            }
            world.phone(&number)
        })
        .await
    }

    /// Gives the account a picture (JPEG), or takes it away; those who know it are told. Fails when the picture is too large.
    pub async fn set_picture(&self, number: &str, jpeg: Option<Vec<u8>>) -> Result<Phone> {
        let number = phone_digits("phoneNumber", number)?;
        if jpeg.as_ref().is_some_and(|jpeg| jpeg.len() > MAX_PICTURE || jpeg.is_empty()) {
            return Err(Error::field("data", format!("a picture has 1 to {MAX_PICTURE} bytes")));
        }
        self.lasting(|world| {
            world.known(&number)?;
            world.set_own_picture(&number, jpeg);
            world.phone(&number)
        })
        .await
    }

    /// The phone's owner reads messages of a chat, or listens to them (`played`): those with these ids, or all that are unread. Gives
    /// them. Fails when the chat has no such message.
    pub async fn read_messages(&self, number: &str, chat: &str, ids: &[String], played: bool) -> Result<Vec<PhoneMessage>> {
        let number = phone_digits("phoneNumber", number)?;
        let chat = Address::parse("chat", chat)?;
        self.lasting(|world| {
            let chat = world.chat("chat", &chat)?;
            world.phone_marks_read(&number, &chat, ids, played)
        })
        .await
    }

    /// The phone's owner types, records or stops; devices of the other side that are connected learn of it, nobody else ever. Fails when
    /// either side is unknown.
    pub async fn typing(&self, number: &str, chat: &str, state: Typing) -> Result<()> {
        let number = phone_digits("phoneNumber", number)?;
        let chat = Address::parse("chat", chat)?;
        self.lasting(|world| {
            let chat = world.chat("chat", &chat)?;
            world.phone_types(&number, &chat, state)
        })
        .await
    }

    /// The phone calls somebody, whose devices ring until somebody answers, or for `ring`. Fails when either side is unknown.
    pub async fn start_call(&self, number: &str, to: &str, video: bool, ring: Duration) -> Result<Call> {
        let number = phone_digits("phoneNumber", number)?;
        let to = Address::parse("to", to)?;
        let call = self
            .lasting(|world| match world.chat("to", &to)? {
                Chat::Person(peer) => world.phone_calls(&number, &peer, video),
                _ => Err(Error::field("to", "phones call persons only")),
            })
            .await?;
        let (world, id) = (Arc::downgrade(&self.inner), call.id.clone());
        tokio::spawn(async move {
            tokio::time::sleep(ring).await;
            if let Some(inner) = world.upgrade() {
                inner.act(|world| world.phone_gives_up(&number, &id));
            }
        });
        Ok(call)
    }

    /// The phone's owner declines a call that rings, or hangs up. Fails when there is no such call or it is over.
    pub async fn end_call(&self, number: &str, id: &str) -> Result<Call> {
        let number = phone_digits("phoneNumber", number)?;
        self.lasting(|world| world.phone_ends_call(&number, id)).await
    }

    /// The phone's calls, oldest first; at most 100. Fails when there is no such phone.
    pub fn list_calls(&self, number: &str) -> Result<Vec<Call>> {
        let number = phone_digits("phoneNumber", number)?;
        Ok(self.inner.world().known(&number)?.calls.clone())
    }

    /// The account goes on under another number; linked devices are logged out, those who know it are told. Fails when the number is
    /// taken.
    pub async fn change_number(&self, number: &str, new: &str) -> Result<Phone> {
        let (number, new) = (phone_digits("phoneNumber", number)?, phone_digits("newNumber", new)?);
        self.lasting(|world| {
            world.phone_changes_number(&number, &new)?;
            world.phone(&new)
        })
        .await
    }

    /// The phone's owner leaves a group. Fails when the phone is not in it.
    pub async fn leave_group(&self, number: &str, group: &str) -> Result<Phone> {
        let number = phone_digits("phoneNumber", number)?;
        let group = Address::parse("group", group)?;
        self.lasting(|world| {
            world.known(&number)?;
            let Chat::Group(id) = world.chat("group", &group)? else {
                return Err(Error::field("group", "a group's id ends in @g.us"));
            };
            let left = world.leave_group(&id, &number);
            left.map_err(|_| Error::new(Code::Conflict, "the phone is not in this group").reason("not_a_member"))?;
            world.phone(&number)
        })
        .await
    }

    /// The phone's owner blocks a person, or takes that back; the own linked devices learn of it. Fails when either is unknown.
    pub async fn block(&self, number: &str, person: &str, blocked: bool) -> Result<Phone> {
        let number = phone_digits("phoneNumber", number)?;
        let person = Address::parse("person", person)?;
        self.lasting(|world| {
            world.known(&number)?;
            let Chat::Person(peer) = world.chat("person", &person)? else {
                return Err(Error::field("person", "only persons can be blocked"));
            };
            let item = el("item").attr("jid", world.member_jid(&peer));
            let item = item.attr("action", if blocked { "block" } else { "unblock" }).build();
            let place = Place { number: number.clone(), device: 0 };
            world.block(&place, &item).map_err(|(code, text)| Error::internal(anyhow::anyhow!("blocking: {code} {text}")))?;
            world.phone(&number)
        })
        .await
    }

    /// The phone is set up anew: the same account and messages, a new identity, no linked devices. Those who know it are told. Fails
    /// when there is no such phone.
    pub async fn reinstall(&self, number: &str) -> Result<Phone> {
        let number = phone_digits("phoneNumber", number)?;
        self.lasting(|world| {
            world.phone_reinstalls(&number)?;
            world.phone(&number)
        })
        .await
    }
}

impl Draft {
    /// A file with nothing beside it.
    pub fn file(file: super::draft::File) -> Self {
        Self::from(Content::Media(Box::new(file)))
    }
}

impl World {
    /// The numbers of those who get a status post.
    fn audience(&self, number: &str, named: &[String]) -> Result<Vec<String>> {
        if named.is_empty() {
            return Ok(self.known(number)?.peers.iter().cloned().collect());
        }
        let number_of = |person: &String| match self.chat("audience", &Address::parse("audience", person)?)? {
            Chat::Person(number) => Ok(number),
            _ => Err(Error::field("audience", "only persons see status posts")),
        };
        named.iter().map(number_of).collect()
    }
}
