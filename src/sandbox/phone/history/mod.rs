//! The history that a phone gives to its linked devices: at linking in pieces, later on demand.
//!
//! What goes out at linking, in this order: the newest messages of every chat (`INITIAL_BOOTSTRAP`), the names of people
//! (`PUSH_NAME`), what is younger than [`RECENT`], and what is older (`FULL`). Each kind comes in pieces of at most [`PIECE`] messages
//! with its progress in percent. A small first piece, and what has no chats in it, lies in the notification itself; others are on the media host.

mod chats;
mod peer;
mod seed;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use buffa::{Message as _, MessageField};
use flate2::Compression;
use flate2::write::ZlibEncoder;
use tracing::warn;
use wacore::download::MediaType;
use wacore_binary::Jid;
use waproto::whatsapp as wa;
use waproto::whatsapp::history_sync::HistorySyncType;
use waproto::whatsapp::message::{HistorySyncNotification, ProtocolMessage, protocol_message};

use self::chats::Taken;
pub use self::seed::Past;
pub(in crate::sandbox) use self::seed::{Remembered, drawn_id};
use crate::sandbox::server::World;
use crate::sandbox::server::account::{Account, Place};
use crate::sandbox::server::tokens::nct_salt;

/// How many of each chat's newest messages come first.
const FIRST: usize = 10;

/// How many messages one piece has at most.
const PIECE: usize = 500;

/// What is younger than this is recent.
const RECENT: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// A piece of at most this size lies in the notification itself.
const INLINE: usize = 16 * 1024;

/// How many pieces the phone remembers, to put one up again.
const REMEMBERED: usize = 64;

/// A piece that went out, by the id of the message that announced it.
#[derive(Clone)]
pub(in crate::sandbox) struct SentPiece {
    order: u64,
    content: Vec<u8>,
    notification: HistorySyncNotification,
}

impl World {
    /// Sends a newly linked device everything that the phone remembers.
    pub(in crate::sandbox) fn phone_sends_history(&mut self, device: &Place) {
        let Some(account) = self.accounts.get(&device.number) else { return };
        let border = self.ambient.now().minus(RECENT);
        let (first, rest) = self.taken(account).split_newest(FIRST);
        let (recent, old) = rest.split_at_time(border);
        let mut bootstrap = self.pieces(account, HistorySyncType::INITIAL_BOOTSTRAP, &first);
        if let Some(piece) = bootstrap.first_mut() {
            piece.nct_salt = Some(nct_salt(account));
            piece.phone_number_to_lid_mappings =
                self.known_people(account).into_iter().map(|number| self.mapping(&number)).collect();
            piece.past_participants = Vec::new();
        }
        let names = wa::HistorySync { pushnames: self.push_names(account), ..empty(HistorySyncType::PUSH_NAME) };
        let mut pieces = bootstrap;
        pieces.push(names);
        // An account without older messages is told so once, or devices would wait for more.
        pieces.extend(self.pieces(account, HistorySyncType::RECENT, &recent));
        if !old.is_empty() {
            pieces.extend(self.pieces(account, HistorySyncType::FULL, &old));
        }
        for piece in pieces {
            self.send_piece(device, &piece, None);
        }
    }

    /// One kind of history in pieces; an empty one when there is nothing to tell.
    fn pieces(&self, account: &Account, kind: HistorySyncType, taken: &Taken<'_>) -> Vec<wa::HistorySync> {
        let parts = taken.in_pieces(PIECE);
        let count = parts.len().max(1);
        let mut pieces: Vec<wa::HistorySync> = parts
            .iter()
            .enumerate()
            .map(|(at, part)| wa::HistorySync {
                conversations: self.conversations(account, part),
                chunk_order: u32::try_from(at + 1).ok(),
                progress: u32::try_from((at + 1) * 100 / count).ok(),
                ..empty(kind)
            })
            .collect();
        if pieces.is_empty() {
            pieces.push(empty(kind));
        }
        pieces
    }

    /// Sends one piece to a device; `request` is the message by which the device asked for it.
    fn send_piece(&mut self, device: &Place, piece: &wa::HistorySync, request: Option<&str>) {
        let packed = match deflate(&piece.encode_to_vec()) {
            Ok(packed) => packed,
            Err(error) => return warn!(%error, "a piece of the history cannot be packed"),
        };
        let small =
            packed.len() <= INLINE && (piece.conversations.is_empty() || piece.sync_type == HistorySyncType::INITIAL_BOOTSTRAP);
        let mut notification = HistorySyncNotification {
            sync_type: Some(sync_type(piece.sync_type)),
            chunk_order: piece.chunk_order,
            progress: piece.progress,
            file_length: u64::try_from(packed.len()).ok(),
            peer_data_request_session_id: request.map(str::to_owned),
            ..Default::default()
        };
        if small {
            notification.initial_hist_bootstrap_inline_payload = Some(packed);
            self.announce_piece(device, notification);
            return;
        }
        if self.put_up_piece(&mut notification, &packed) {
            let kept = notification.clone();
            let id = self.announce_piece(device, notification);
            self.remember_piece(&device.number, id, packed, kept);
        }
    }

    fn put_up_piece(&mut self, notification: &mut HistorySyncNotification, packed: &[u8]) -> bool {
        match self.upload_media(packed, MediaType::History) {
            Ok(file) => {
                notification.direct_path = Some(file.direct_path);
                notification.media_key = Some(file.media_key);
                notification.file_sha256 = Some(file.file_sha256);
                notification.file_enc_sha256 = Some(file.file_enc_sha256);
                true
            }
            Err(error) => {
                warn!(%error, "a piece of the history is not sent");
                false
            }
        }
    }

    fn announce_piece(&mut self, device: &Place, notification: HistorySyncNotification) -> String {
        let protocol = ProtocolMessage {
            r#type: Some(protocol_message::Type::HISTORY_SYNC_NOTIFICATION),
            history_sync_notification: MessageField::some(notification),
            ..Default::default()
        };
        let content = wa::Message { protocol_message: MessageField::some(protocol), ..Default::default() };
        self.send_peer_message(device, &content)
    }

    fn remember_piece(&mut self, number: &str, id: String, content: Vec<u8>, notification: HistorySyncNotification) {
        let Some(account) = self.accounts.get_mut(number) else { return };
        let order = account.sent_pieces.values().map(|piece| piece.order).max().unwrap_or(0) + 1;
        account.sent_pieces.insert(id, SentPiece { order, content, notification });
        if account.sent_pieces.len() > REMEMBERED {
            let oldest = account.sent_pieces.iter().min_by_key(|(_, piece)| piece.order).map(|(id, _)| id.clone());
            account.sent_pieces.retain(|id, _| Some(id) != oldest.as_ref());
        }
    }

    /// A device could not get a piece: the phone puts it up again and announces it once more.
    pub(super) fn phone_resends_piece(&mut self, device: &Place, id: &str) -> bool {
        let piece = self.accounts.get(&device.number).and_then(|account| account.sent_pieces.get(id)).cloned();
        let Some(SentPiece { content, mut notification, .. }) = piece else { return false };
        notification.original_message_id = Some(id.to_owned());
        if !self.put_up_piece(&mut notification, &content) {
            return false;
        }
        let kept = notification.clone();
        let again = self.announce_piece(device, notification);
        self.remember_piece(&device.number, again, content, kept);
        true
    }

    /// The people that a phone has to do with, by number.
    fn known_people(&self, account: &Account) -> Vec<String> {
        let mut people = account.peers.clone();
        people.extend(account.contacts.keys().cloned());
        let in_chats = account.messages.values().flat_map(|row| [&row.shown.chat, &row.shown.sender]);
        people.extend(in_chats.filter_map(|name| self.number_of(&name.parse::<Jid>().ok()?)));
        people.retain(|number| *number != account.number && self.accounts.contains_key(number));
        people.into_iter().collect()
    }

    fn push_names(&self, account: &Account) -> Vec<wa::Pushname> {
        let mut people = self.known_people(account);
        people.push(account.number.clone());
        let named = people.iter().filter_map(|number| self.accounts.get(number));
        named
            .map(|person| wa::Pushname { id: Some(person.jid(0, false).to_string()), pushname: Some(person.notify.clone()) })
            .collect()
    }

    fn mapping(&self, number: &str) -> wa::PhoneNumberToLIDMapping {
        let person = self.accounts.get(number);
        wa::PhoneNumberToLIDMapping {
            pn_jid: person.map(|person| person.jid(0, false).to_string()),
            lid_jid: person.map(|person| person.jid(0, true).to_string()),
        }
    }
}

fn empty(kind: HistorySyncType) -> wa::HistorySync {
    wa::HistorySync { sync_type: kind, chunk_order: Some(1), progress: Some(100), ..Default::default() }
}

/// The same kinds have two names in the protocol.
fn sync_type(kind: HistorySyncType) -> wa::message::HistorySyncType {
    use wa::message::HistorySyncType as Named;
    match kind {
        HistorySyncType::INITIAL_BOOTSTRAP => Named::INITIAL_BOOTSTRAP,
        HistorySyncType::INITIAL_STATUS_V3 => Named::INITIAL_STATUS_V3,
        HistorySyncType::FULL => Named::FULL,
        HistorySyncType::RECENT => Named::RECENT,
        HistorySyncType::PUSH_NAME => Named::PUSH_NAME,
        HistorySyncType::NON_BLOCKING_DATA => Named::NON_BLOCKING_DATA,
        HistorySyncType::ON_DEMAND => Named::ON_DEMAND,
    }
}

fn deflate(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(plain)?;
    packer.finish()
}

/// The pieces that a phone has sent.
pub(in crate::sandbox) type SentPieces = BTreeMap<String, SentPiece>;
