//! What a linked device asks its phone for: older messages, and a message that it never got.

use buffa::{Message as _, MessageField};
use tracing::debug;
use wacore_binary::Jid;
use waproto::whatsapp as wa;
use waproto::whatsapp::history_sync::HistorySyncType;
use waproto::whatsapp::message::peer_data_operation_request_response_message::PeerDataOperationResult;
use waproto::whatsapp::message::peer_data_operation_request_response_message::peer_data_operation_result::PlaceholderMessageResendResponse;
use waproto::whatsapp::message::{
    PeerDataOperationRequestMessage, PeerDataOperationRequestResponseMessage, PeerDataOperationRequestType, ProtocolMessage,
    protocol_message,
};

use super::empty;
use crate::domain::clock::Time;
use crate::sandbox::server::World;
use crate::sandbox::server::account::Place;

/// How many messages a device gets at once at most.
const MOST: usize = 500;

impl World {
    /// Answers a request that came in the message `id` of an own device.
    pub(in crate::sandbox::phone) fn phone_is_asked_for_data(
        &mut self,
        device: &Place,
        id: &str,
        request: &PeerDataOperationRequestMessage,
    ) {
        match request.peer_data_operation_request_type {
            Some(PeerDataOperationRequestType::HISTORY_SYNC_ON_DEMAND) => {
                if let Some(wanted) = request.history_sync_on_demand_request.as_option() {
                    self.send_older(device, id, wanted);
                }
            }
            Some(PeerDataOperationRequestType::FULL_HISTORY_SYNC_ON_DEMAND) => {
                let Some(account) = self.accounts.get(&device.number) else { return };
                let pieces = self.pieces(account, HistorySyncType::FULL, &self.taken(account));
                for piece in pieces {
                    self.send_piece(device, &piece, Some(id));
                }
            }
            Some(PeerDataOperationRequestType::HISTORY_SYNC_CHUNK_RETRY) => {
                let retry = request.history_sync_chunk_retry_request.as_option();
                if let Some(piece) = retry.and_then(|retry| retry.chunk_notification_id.as_deref()) {
                    self.phone_resends_piece(device, piece);
                }
            }
            Some(PeerDataOperationRequestType::PLACEHOLDER_MESSAGE_RESEND) => {
                let keys = request.placeholder_message_resend_request.iter().filter_map(|wanted| wanted.message_key.as_option());
                let results: Vec<PeerDataOperationResult> = keys.map(|key| self.placeholder(&device.number, key)).collect();
                self.answer_data(device, id, PeerDataOperationRequestType::PLACEHOLDER_MESSAGE_RESEND, results);
            }
            other => debug!(?other, "a request that simulated phones do not answer"),
        }
    }

    fn send_older(
        &mut self,
        device: &Place,
        id: &str,
        wanted: &wa::message::peer_data_operation_request_message::HistorySyncOnDemandRequest,
    ) {
        let chat = wanted.chat_jid.as_deref().and_then(|chat| chat.parse::<Jid>().ok()).and_then(|chat| self.chat_row(&chat));
        let Some(account) = self.accounts.get(&device.number) else { return };
        let count = usize::try_from(wanted.on_demand_msg_count.unwrap_or(50)).unwrap_or(0).min(MOST);
        let conversations = chat.and_then(|chat| {
            let moment = Time(wanted.oldest_msg_timestamp_ms.unwrap_or(i64::MAX));
            let all = self.taken(account);
            let (older, more) = all.before(&chat, wanted.oldest_msg_id.as_deref().unwrap_or_default(), moment, count);
            self.demanded(account, &chat, &older, more)
        });
        let piece = wa::HistorySync { conversations: conversations.into_iter().collect(), ..empty(HistorySyncType::ON_DEMAND) };
        self.send_piece(device, &piece, Some(id));
    }

    /// A message that a device never got; without its content when the phone has none either.
    fn placeholder(&self, number: &str, key: &wa::MessageKey) -> PeerDataOperationResult {
        let chat = key.remote_jid.as_deref().and_then(|chat| chat.parse::<Jid>().ok());
        let id = key.id.clone().unwrap_or_default();
        let found =
            self.accounts.get(number).zip(chat.as_ref().and_then(|chat| self.chat_row(chat))).and_then(|(account, chat)| {
                let row = account.messages.get(account.by_id.get(&(chat.clone(), id))?)?;
                row.content.as_ref()?;
                let mut info = self.web_message(account, row, &chat, &[]);
                // Devices know this message by people's numbers.
                if let Some(key) = info.key.as_option_mut().filter(|key| key.participant.is_some()) {
                    key.participant = Some(row.shown.sender.clone());
                }
                Some(info)
            });
        let info = found.unwrap_or_else(|| wa::WebMessageInfo { key: MessageField::some(key.clone()), ..Default::default() });
        let bytes = PlaceholderMessageResendResponse { web_message_info_bytes: Some(info.encode_to_vec()) };
        PeerDataOperationResult { placeholder_message_resend_response: MessageField::some(bytes), ..Default::default() }
    }

    fn answer_data(
        &mut self,
        device: &Place,
        request: &str,
        kind: PeerDataOperationRequestType,
        results: Vec<PeerDataOperationResult>,
    ) {
        let response = PeerDataOperationRequestResponseMessage {
            peer_data_operation_request_type: Some(kind),
            stanza_id: Some(request.to_owned()),
            peer_data_operation_result: results,
        };
        let protocol = ProtocolMessage {
            r#type: Some(protocol_message::Type::PEER_DATA_OPERATION_REQUEST_RESPONSE_MESSAGE),
            peer_data_operation_request_response_message: MessageField::some(response),
            ..Default::default()
        };
        let content = wa::Message { protocol_message: MessageField::some(protocol), ..Default::default() };
        self.send_peer_message(device, &content);
    }
}
