//! The world file: people, groups, channels and pasts, written down in TOML and there from the start.
//!
//! A world file makes a fresh world. A sandbox whose state file knows phones already goes on with those; the file then only has to be
//! a right one. `docs/world.toml` in the repository shows everything that there is.

mod load;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::business::BusinessProfile;
use crate::error::{Code, Error, Result};

/// What a world file says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    phones: Vec<PhoneEntry>,
    #[serde(default)]
    groups: Vec<GroupEntry>,
    #[serde(default)]
    channels: Vec<ChannelEntry>,
    #[serde(default)]
    chats: Vec<ChatEntry>,
    #[serde(default)]
    histories: Vec<HistoryEntry>,
}

/// A phone with its owner.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PhoneEntry {
    /// Digits with country code.
    number: Spanned<String>,
    /// The name that others see; the number when missing.
    #[serde(default)]
    name: String,
    /// What the owner says about himself.
    about: Option<String>,
    /// A JPEG, beside the world file.
    picture: Option<Spanned<String>>,
    /// Whether the phone reads at once what it receives; true when missing.
    auto_read: Option<bool>,
    /// Who may see and do what; everybody when missing.
    privacy: Option<Spanned<BTreeMap<String, String>>>,
    /// What it says about itself, if it is a business.
    business: Option<Spanned<BusinessProfile>>,
    /// The address book.
    #[serde(default)]
    contacts: Vec<ContactEntry>,
}

/// Somebody in an address book.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ContactEntry {
    number: Spanned<String>,
    name: String,
    #[serde(default)]
    first_name: String,
}

/// A group.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupEntry {
    subject: Spanned<String>,
    owner: Spanned<String>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    admins: Vec<Spanned<String>>,
    #[serde(default)]
    members: Vec<Spanned<String>>,
    /// Only admins write.
    #[serde(default)]
    announcement: bool,
}

/// A channel.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChannelEntry {
    name: Spanned<String>,
    owner: Spanned<String>,
    #[serde(default)]
    description: String,
    #[serde(default)]
    followers: Vec<Spanned<String>>,
    /// Texts, oldest first.
    #[serde(default)]
    posts: Vec<String>,
}

/// A chat with what was said in it: between two, or in a group of this file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChatEntry {
    between: Option<Spanned<(Spanned<String>, Spanned<String>)>>,
    group: Option<Spanned<String>>,
    messages: Spanned<Vec<MessageEntry>>,
}

/// A message of the past.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageEntry {
    from: Spanned<String>,
    text: String,
    /// When; a minute after the one before, the last one now, when missing.
    at: Option<Spanned<toml::value::Datetime>>,
    /// Whether it has been read; true when missing.
    read: Option<bool>,
}

/// A past to be drawn from the sandbox's seed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HistoryEntry {
    phone: Spanned<String>,
    chats: Spanned<usize>,
    messages: usize,
    /// 30 when missing.
    days: Option<u32>,
}

/// A world file that was read, and what it takes to say where something is in it.
pub(super) struct WorldFile {
    path: PathBuf,
    text: String,
    written: Written,
}

impl WorldFile {
    /// Reads a world file. Fails with the line and the key that is wrong.
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::new(Code::Validation, format!("the world file {} cannot be read: {error}", path.display()))
        })?;
        Self::parse(path, text)
    }

    fn parse(path: &Path, text: String) -> Result<Self> {
        match toml::from_str(&text) {
            Ok(written) => Ok(Self { path: path.to_owned(), text, written }),
            Err(error) => Err(wrong(path, &text, error.span().unwrap_or(0..0), error.message())),
        }
    }

    /// Something in the file that cannot be so.
    fn wrong(&self, place: Range<usize>, key: &str, why: &str) -> Error {
        wrong(&self.path, &self.text, place, &format!("{key}: {why}"))
    }
}

fn wrong(path: &Path, text: &str, place: Range<usize>, why: &str) -> Error {
    let line = text.get(..place.start).unwrap_or_default().matches('\n').count() + 1;
    let key = text.get(place).unwrap_or_default().lines().next().unwrap_or_default();
    let shown: String = key.chars().take(60).collect();
    Error::new(Code::Validation, format!("{} line {line}: {} (at `{shown}`)", path.display(), why.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::{Ambient, Time};
    use crate::sandbox::server::World;
    use crate::sandbox::server::media::MediaStore;

    fn load(text: &str) -> Result<World> {
        let ambient = Ambient::held(Time(1_800_000_000_000));
        let media = MediaStore::new(None, 1 << 20, std::time::Duration::from_secs(60), [0; 32]);
        let mut world = World::new(ambient, true, media);
        WorldFile::parse(Path::new("world.toml"), text.to_owned())?.fill(&mut world, 7)?;
        Ok(world)
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        let phones = "[[phones]]\nnumber = '5511900000001'\n[[phones]]\nnumber = '5511900000002'\n";
        for (rest, says) in [
            ("[[phones]]\nnumbr = '1'\n", "line 6: unknown field `numbr`"),
            ("[[phones]]\nname = 'X'\n", "missing field `number`"),
            ("[[phones]]\nnumber = 'abc'\n", "line 6: phones.number"),
            ("[[phones]]\nnumber = '5511900000001'\n", "line 6: phones.number: there is a phone with this number already"),
            (
                "[[groups]]\nsubject = 'A'\nowner = '5511900000001'\nmembers = [\n  '5511900000002',\n  '5511900000009',\n]\n",
                "line 10: groups.members: no phone in this file has the number 5511900000009",
            ),
            (
                "[[phones]]\nnumber = '5511900000003'\nprivacy = { mesages = 'contacts' }\n",
                "line 7: phones.privacy: there is no setting mesages of contacts",
            ),
            (
                "[[phones]]\nnumber = '5511900000003'\n[phones.business]\nname = 'X'\nhours = [{ day = 'mon', between = [9, 8] }]\n",
                "phones.business: profile.hours: opening hours",
            ),
            ("[[channels]]\nname = 'A'\nowner = '55'\n", "line 7: channels.owner"),
            ("[[chats]]\nmessages = []\n", "chats: needs either `between` or `group`"),
            ("[[chats]]\ngroup = 'B'\nmessages = []\n", "line 6: chats.group: no group in this file has this subject"),
            (
                "[[chats]]\nbetween = ['5511900000001', '5511900000002']\nmessages = [{ from = '5511900000003', text = 'x' }]\n",
                "line 7: chats.messages.from",
            ),
            (
                "[[chats]]\nbetween = ['5511900000001', '5511900000002']\nmessages = [{ from = '5511900000001', text = 'x', at = 2026-01-01T00:00:00 }]\n",
                "chats.messages.at: needs its offset",
            ),
            ("[[histories]]\nphone = '5511900000001'\nchats = 5000\nmessages = 3\n", "line 7: histories.chats"),
        ] {
            let error = load(&format!("{phones}{rest}")).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.starts_with("world.toml line ") && error.contains(says), "{rest}: {error}");
        }
        assert!(load(phones).is_ok() && load("").is_ok());
    }
}
