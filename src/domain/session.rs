//! Sessions: slots for WhatsApp numbers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::domain::clock::Time;
use crate::domain::ids::{GatewayId, OrganizationId, SessionId};
use crate::error::{Error, Result};

/// Words of the owner's own, by which its programs know what a session is for.
pub type Metadata = BTreeMap<String, String>;

/// How many entries [`Metadata`] may have, and how many characters a key and a value.
const METADATA: (usize, usize, usize) = (20, 64, 512);

/// Whether the session's owner wants it to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Desired {
    /// It shall be connected, or pairing.
    Running,
    /// It shall be left alone.
    Stopped,
}

/// Where a session stands. The documented words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Connecting, or waiting for the gateway that holds it.
    Starting,
    /// Waiting for a phone to scan or for a pairing code to be typed.
    ScanQrCode,
    /// Connected, and proved so.
    Working,
    /// Given up, with a reason.
    Failed,
    /// Not wanted to run.
    Stopped,
    /// The number was unlinked.
    LoggedOut,
}

macro_rules! words {
    ($type:ident: $($variant:ident = $word:literal),+ $(,)?) => {
        impl $type {
            /// The word that stands for it in JSON and in the store.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
            /// From its word.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}
pub(crate) use words;

words!(Desired: Running = "running", Stopped = "stopped");
words!(Status:
    Starting = "starting",
    ScanQrCode = "scan_qr_code",
    Working = "working",
    Failed = "failed",
    Stopped = "stopped",
    LoggedOut = "logged_out",
);

/// Why a session has its status. The words are part of the contract; new ones may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Created and never started.
    Created,
    /// Stopped by a caller.
    StoppedByCaller,
    /// Wanted to run; its gateway has not taken it up yet.
    Waiting,
    /// Connecting to WhatsApp.
    Connecting,
    /// A QR code or pairing code can be used now.
    WaitingForScan,
    /// WhatsApp wants proof by a passkey of the account; the state's data is its request.
    PasskeyRequired,
    /// The proof was sent; WhatsApp has not answered yet.
    PasskeySent,
    /// The person compares the code in the state's data with the one on the phone.
    PasskeyConfirm,
    /// The passkey step failed, or nobody took it in time.
    PasskeyFailed,
    /// The phone has accepted; WhatsApp makes the new device reconnect once.
    PairingAccepted,
    /// Connected.
    Connected,
    /// The connection was lost and is being made anew.
    Reconnecting,
    /// Another connection took this device's place.
    Replaced,
    /// WhatsApp has banned the number for a time.
    Banned,
    /// WhatsApp no longer accepts this client's version.
    ClientOutdated,
    /// Nobody scanned any of the codes.
    QrExhausted,
    /// No connection within the time limit.
    ConnectTimeout,
    /// WhatsApp refused the connection.
    Refused,
    /// The phone unlinked the device.
    Unlinked,
    /// A caller logged the session out.
    LoggedOut,
    /// Deleted by a caller; the number, if there was one, is unlinked on WhatsApp's side.
    Deleted,
    /// Deleted by a caller while it was not connected: the phone still lists the device.
    DeletedStillLinked,
    /// Another gateway holds the session now.
    LeaseLost,
    /// A fault of ours.
    Internal,
}

words!(Reason:
    Created = "created",
    StoppedByCaller = "stopped_by_caller",
    Waiting = "waiting",
    Connecting = "connecting",
    WaitingForScan = "waiting_for_scan",
    PasskeyRequired = "passkey_required",
    PasskeySent = "passkey_sent",
    PasskeyConfirm = "passkey_confirm",
    PasskeyFailed = "passkey_failed",
    PairingAccepted = "pairing_accepted",
    Connected = "connected",
    Reconnecting = "reconnecting",
    Replaced = "replaced",
    Banned = "banned",
    ClientOutdated = "client_outdated",
    QrExhausted = "qr_exhausted",
    ConnectTimeout = "connect_timeout",
    Refused = "refused",
    Unlinked = "unlinked",
    LoggedOut = "logged_out",
    Deleted = "deleted",
    DeletedStillLinked = "deleted_still_linked",
    LeaseLost = "lease_lost",
    Internal = "internal",
);

impl Reason {
    /// One sentence for people.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Created => "created and not started yet",
            Self::StoppedByCaller => "stopped on request",
            Self::Waiting => "waiting for a gateway to take it up",
            Self::Connecting => "connecting to WhatsApp",
            Self::WaitingForScan => "waiting for a phone to scan the QR code or to enter a pairing code",
            Self::PasskeyRequired => "WhatsApp wants proof by the account's passkey",
            Self::PasskeySent => "the passkey's proof was sent; waiting for WhatsApp",
            Self::PasskeyConfirm => "compare the code with the one on the phone, and confirm",
            Self::PasskeyFailed => "the passkey step failed or nobody took it in time; start to pair again",
            Self::PairingAccepted => "the phone has accepted; connecting as its new device",
            Self::Connected => "connected to WhatsApp",
            Self::Reconnecting => "the connection was lost and is being made anew",
            Self::Replaced => "another connection uses this device; stop it there, then restart here",
            Self::Banned => "WhatsApp has banned the number for a time",
            Self::ClientOutdated => "WhatsApp no longer accepts this client's version; update the gateway",
            Self::QrExhausted => "nobody scanned any of the QR codes; start again for new ones",
            Self::ConnectTimeout => "no connection to WhatsApp within the time limit",
            Self::Refused => "WhatsApp refused the connection",
            Self::Unlinked => "the phone has unlinked this device; start to pair again",
            Self::LoggedOut => "logged out on request; start to pair again",
            Self::Deleted => "deleted on request",
            Self::DeletedStillLinked => {
                "deleted on request while not connected: the phone still lists the device; remove it there"
            }
            Self::LeaseLost => "another gateway holds the session",
            Self::Internal => "an internal fault; see the gateway's log",
        }
    }
}

/// The observed state: the status, why, since when, and until when if that is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// Where it stands.
    pub status: Status,
    /// Why.
    pub reason: Reason,
    /// Since when.
    pub since: Time,
    /// Until when, if that is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until: Option<Time>,
    /// What goes with the reason: WhatsApp's passkey request as JSON, or the code to compare.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub data: Option<String>,
}

impl State {
    /// A state that holds from `since` on.
    pub fn new(status: Status, reason: Reason, since: Time) -> Self {
        Self { status, reason, since, until: None, data: None }
    }
}

/// The WhatsApp account that is attached to a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The number in digits with country code.
    pub phone_number: String,
    /// Its address, without the device part.
    pub wa_jid: String,
    /// Its LID, without the device part.
    pub wa_lid: Option<String>,
}

/// What callers can set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A name for people, at most 128 characters.
    pub label: Option<String>,
    /// Mark incoming messages as read at once.
    pub auto_read: bool,
    /// Show "typing" before a text is sent.
    pub presence_typing: bool,
    /// Refuse every call.
    pub auto_reject_calls: bool,
    /// Messages per minute.
    pub rate_per_min: i32,
    /// Messages per hour.
    pub rate_per_hour: i32,
    /// Whose messages are left out.
    pub ignore: Ignore,
    /// Words of the owner's own.
    pub metadata: Metadata,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            label: None,
            auto_read: false,
            presence_typing: true,
            auto_reject_calls: false,
            rate_per_min: 20,
            rate_per_hour: 600,
            ignore: Ignore::default(),
            metadata: Metadata::new(),
        }
    }
}

/// Sources whose messages are neither stored nor told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ignore {
    /// Status posts.
    pub status: bool,
    /// Groups.
    pub groups: bool,
    /// Channels.
    pub channels: bool,
    /// Broadcast lists.
    pub broadcast: bool,
}

impl Ignore {
    /// All of them.
    pub const ALL: Self = Self { status: true, groups: true, channels: true, broadcast: true };

    /// Whether messages of this chat are left out. Chats with one person never are.
    pub fn covers(self, chat_jid: &str) -> bool {
        match chat_jid.rsplit_once('@') {
            Some((_, "g.us")) => self.groups,
            Some((_, "newsletter")) => self.channels,
            Some(("status", "broadcast")) => self.status,
            Some((_, "broadcast")) => self.broadcast,
            _ => false,
        }
    }
}

/// `old` with `changes`: a key with an empty text is removed.
///
/// # Errors
/// `validation_error` for more, or longer, entries than fit; for an empty key.
pub fn merged(old: &Metadata, changes: Metadata) -> Result<Metadata> {
    let (most, key_len, value_len) = METADATA;
    let mut merged = old.clone();
    for (key, value) in changes {
        if key.is_empty() || key.chars().count() > key_len {
            return Err(Error::field("metadata", format!("keys must have 1 to {key_len} characters")));
        }
        if value.chars().count() > value_len {
            return Err(Error::field("metadata", format!("values must have at most {value_len} characters")));
        }
        match value.is_empty() {
            true => merged.remove(&key),
            false => merged.insert(key, value),
        };
    }
    match merged.len() > most {
        true => Err(Error::field("metadata", format!("must have at most {most} entries"))),
        false => Ok(merged),
    }
}

/// A stored session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// The owner.
    pub organization: OrganizationId,
    /// The gateway that holds it, or shall take it up.
    pub gateway: GatewayId,
    /// `sub` of the login that created it.
    pub created_by_user: Option<String>,
    /// What callers can set.
    pub settings: Settings,
    /// Whether it shall run.
    pub desired: Desired,
    /// Grows when a caller asks for a restart; a running actor that has seen a smaller number reconnects.
    pub generation: i64,
    /// Where it stands.
    pub state: State,
    /// The attached account, once paired.
    pub account: Option<Account>,
    /// The platform's own session.
    pub is_admin: bool,
    /// When it last became `working`.
    pub last_connected_at: Option<Time>,
    /// When it was created.
    pub created_at: Time,
    /// When its settings or its status last changed.
    pub updated_at: Time,
}

/// A gateway's right to run a session. The epoch grows with each holder, so that a former holder's writes can be told and refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The session.
    pub session: SessionId,
    /// Who holds it.
    pub holder: GatewayId,
    /// Which holding this is; grows by one with each acquisition.
    pub epoch: i64,
    /// When it ends unless renewed.
    pub expires_at: Time,
}

/// What a holder's writes are checked against: they take place only while the row's lease and wishes are still those that the holder
/// started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The lease's epoch.
    pub epoch: i64,
    /// The row's generation.
    pub generation: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_filter_covers_its_own_source() {
        let chats = ["status@broadcast", "1203@g.us", "99@newsletter", "123@broadcast", "628@s.whatsapp.net", "5@lid", "x"];
        let none = Ignore::default();
        let cases = [
            (none, [false; 7]),
            (Ignore { status: true, ..none }, [true, false, false, false, false, false, false]),
            (Ignore { groups: true, ..none }, [false, true, false, false, false, false, false]),
            (Ignore { channels: true, ..none }, [false, false, true, false, false, false, false]),
            (Ignore { broadcast: true, ..none }, [false, false, false, true, false, false, false]),
        ];
        for (ignore, expected) in cases {
            assert_eq!(chats.map(|chat| ignore.covers(chat)), expected, "{ignore:?}");
        }
    }

    #[test]
    fn metadata_is_merged_within_its_limits() {
        let of = |all: &[(&str, &str)]| all.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Metadata>();
        let old = of(&[("a", "1"), ("b", "2")]);
        assert_eq!(merged(&old, of(&[("b", ""), ("c", "3")])).unwrap(), of(&[("a", "1"), ("c", "3")]));
        assert_eq!(merged(&old, Metadata::new()).unwrap(), old);
        let twenty: Metadata = (0..20).map(|n| (format!("k{n}"), "v".to_owned())).collect();
        assert!(merged(&Metadata::new(), twenty.clone()).is_ok());
        assert!(merged(&old, twenty).is_err());
        for bad in [("", "x".to_owned()), (&*"k".repeat(65), "x".into()), ("k", "x".repeat(513))] {
            assert!(merged(&old, of(&[(bad.0, &bad.1)])).is_err(), "{bad:?}");
        }
        assert!(merged(&old, of(&[(&"ü".repeat(64), &"ü".repeat(512))])).is_ok());
    }
}
