//! What the library says: the hook that stores messages before WhatsApp is told, and the ear for everything else.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::mpsc;
use wacore::types::events::{Event, EventHandler, EventInterest, EventKind, InboundMessage};
use whatsapp_rust::InboundDurabilityHook;
use whatsapp_rust::client::Client;

use super::connection::{Ack, Commit, SIGNALS, Signal, Waiters};
use super::normalize::{self, Inbound, News};
use super::passkey;
use crate::domain::clock::Time;
use crate::domain::event::AuthCode;
use crate::error::Code;

/// How many pieces of [`News`] may wait for the session's actor, and how many it takes at a time. A sweep over everything that an account
/// has (its address book, the state of its chats) comes at once and is stored in few transactions. Beyond the limit the oldest are
/// dropped and counted.
const NEWS: (usize, usize) = (100_000, 500);

/// Everything but what stands for the same in a rawer form.
const KINDS: [EventKind; 58] = [
    EventKind::Connected,
    EventKind::Disconnected,
    EventKind::PairSuccess,
    EventKind::PairError,
    EventKind::LoggedOut,
    EventKind::PairingQrCode,
    EventKind::PairingCode,
    EventKind::PairingCodeRefresh,
    EventKind::QrScannedWithoutMultidevice,
    EventKind::ClientOutdated,
    EventKind::Messages,
    EventKind::Receipt,
    EventKind::UndecryptableMessage,
    EventKind::ChatPresence,
    EventKind::Presence,
    EventKind::PictureUpdate,
    EventKind::UserAboutUpdate,
    EventKind::ContactUpdated,
    EventKind::ContactNumberChanged,
    EventKind::ContactSyncRequested,
    EventKind::GroupUpdate,
    EventKind::ContactUpdate,
    EventKind::IncomingCall,
    EventKind::MissedCall,
    EventKind::CallEndedElsewhere,
    EventKind::PushNameUpdate,
    EventKind::SelfPushNameUpdated,
    EventKind::PinUpdate,
    EventKind::MuteUpdate,
    EventKind::ArchiveUpdate,
    EventKind::StarUpdate,
    EventKind::MarkChatAsReadUpdate,
    EventKind::DeleteChatUpdate,
    EventKind::ClearChatUpdate,
    EventKind::UserStatusMuteUpdate,
    EventKind::DeleteMessageForMeUpdate,
    EventKind::LabelAssociationUpdate,
    EventKind::HistorySync,
    EventKind::OfflineSyncPreview,
    EventKind::OfflineSyncCompleted,
    EventKind::DirtyState,
    EventKind::DeviceListUpdate,
    EventKind::IdentityChange,
    EventKind::BusinessStatusUpdate,
    EventKind::StreamReplaced,
    EventKind::TemporaryBan,
    EventKind::ConnectFailure,
    EventKind::StreamError,
    EventKind::DisappearingModeChanged,
    EventKind::NewsletterLiveUpdate,
    EventKind::MexNotification,
    EventKind::PairPasskeyRequest,
    EventKind::PairPasskeyConfirmation,
    EventKind::PairPasskeyError,
    EventKind::ServerAck,
    EventKind::PairingQrCodesExhausted,
    EventKind::PairingCodeError,
    EventKind::AppStateSyncFailed,
];

/// The library's durability hook: commit, then acknowledge.
pub(super) struct Hook {
    pub(super) commit: Commit,
    pub(super) signals: mpsc::Sender<Signal>,
}

#[async_trait]
impl InboundDurabilityHook for Hook {
    async fn on_messages(&self, _client: Arc<Client>, batch: &[InboundMessage]) -> anyhow::Result<()> {
        let messages: Vec<Inbound> = batch.iter().filter_map(normalize::inbound).collect();
        if messages.is_empty() {
            return Ok(());
        }
        if let Err(error) = (self.commit)(messages.clone()).await {
            if error.code == Code::Unavailable {
                // With a full queue the actor waits for the database itself, and begins anew when that fails.
                let _ = self.signals.try_send(Signal::Unstored);
            }
            return Err(error.into());
        }
        // Read receipts are a courtesy: when the actor is that far behind, this one is left out.
        let _ = self.signals.try_send(Signal::Stored(messages));
        Ok(())
    }
}

/// Takes the library's events, on the library's own tasks, and passes them on without waiting.
pub(super) struct Tap {
    pub(super) signals: mpsc::Sender<Signal>,
    pub(super) waiters: Waiters,
    pub(super) news: Mailbox,
}

impl Tap {
    pub(super) fn interest() -> EventInterest {
        EventInterest::of(&KINDS)
    }

    fn signal(&self, event: &Event) -> Option<Signal> {
        Some(match event {
            Event::Connected(_) => Signal::Online,
            Event::Disconnected(_) => Signal::Offline,
            Event::PairSuccess(paired) => Signal::Paired(AuthCode::Accepted {
                account: normalize::account(&paired.id, Some(&paired.lid)),
                platform: Some(paired.platform.clone()).filter(|text| !text.is_empty()),
                business_name: Some(paired.business_name.clone()).filter(|text| !text.is_empty()),
            }),
            Event::LoggedOut(_) => Signal::LoggedOut,
            Event::PairingQrCode(qr) => Signal::Qr { code: qr.code.clone(), ttl: qr.timeout },
            Event::PairingQrCodesExhausted(_) => Signal::QrExhausted,
            Event::PairingCodeRefresh(_) => Signal::CodeExpired,
            Event::PairPasskeyRequest(_) | Event::PairPasskeyConfirmation(_) | Event::PairPasskeyError(_) => {
                passkey::signal(event)?
            }
            Event::ClientOutdated(_) => Signal::Outdated,
            Event::StreamReplaced(_) => Signal::Replaced,
            Event::TemporaryBan(ban) => {
                Signal::Banned { code: ban.code.code().to_string(), ttl: ban.expire.to_std().unwrap_or_default() }
            }
            Event::ConnectFailure(failure) if !failure.reason.should_reconnect() => {
                Signal::Refused(format!("{:?}", failure.reason))
            }
            Event::Receipt(it) => match normalize::receipt(it) {
                Some(receipt) => Signal::Receipt(receipt),
                None => return self.news(event),
            },
            Event::HistorySync(part) => Signal::History(normalize::notice(part)),
            Event::Messages(batch) if !batch.hook_committed => {
                let messages: Vec<_> = batch.iter().filter_map(normalize::inbound).collect();
                (!messages.is_empty()).then_some(Signal::Messages(messages))?
            }
            Event::UndecryptableMessage(it) if it.unavailable_type.is_unrecoverable_fanout() => {
                Signal::Messages(vec![normalize::unavailable(it)?])
            }
            Event::UndecryptableMessage(it) => Signal::Undecryptable { wa_message_id: it.info.id.clone() },
            Event::ServerAck(ack) if ack.class.as_deref() == Some("message") => {
                let ack = Ack {
                    wa_message_id: ack.id.clone(),
                    error: ack.error.clone(),
                    at: ack.timestamp.map(|t| Time(t.timestamp_millis())),
                };
                let waiter = self.waiters.lock().unwrap_or_else(PoisonError::into_inner).remove(&ack.wa_message_id);
                // The caller that waits records the answer; only when there is none any more does the actor.
                match waiter.map(|w| w.send(ack.clone())) {
                    Some(Ok(())) => return None,
                    Some(Err(_)) | None => Signal::Ack(ack),
                }
            }
            // Stored already, by the hook.
            Event::Messages(_) => return None,
            other => return self.news(other),
        })
    }

    /// Puts what an event tells into the mailbox; a ring when that was empty.
    fn news(&self, event: &Event) -> Option<Signal> {
        let news = normalize::several(event);
        if news.is_empty() {
            // Counted, so that what is not understood here is at least seen.
            metrics::counter!("wagw_unhandled_events_total", "kind" => format!("{:?}", event.kind())).increment(1);
            return None;
        }
        self.news.put(news).then_some(Signal::News)
    }
}

/// What happened and was not taken yet.
#[derive(Clone, Default)]
pub(super) struct Mailbox(Arc<Mutex<VecDeque<News>>>);

impl Mailbox {
    /// True when it was empty before.
    fn put(&self, news: Vec<News>) -> bool {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let was_empty = waiting.is_empty();
        waiting.extend(news);
        while waiting.len() > NEWS.0 {
            waiting.pop_front();
            metrics::counter!("wagw_dropped_news_total").increment(1);
        }
        was_empty
    }

    /// Some of it, oldest first.
    pub(super) fn take(&self) -> Vec<News> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = waiting.len().min(NEWS.1);
        waiting.drain(..count).collect()
    }
}

impl EventHandler for Tap {
    fn handle_event(&self, event: Arc<Event>) {
        let Some(signal) = self.signal(&event) else { return };
        if let Err(mpsc::error::TrySendError::Full(_)) = self.signals.try_send(signal) {
            tracing::warn!(limit = SIGNALS, "more signals than the session's actor can take; one was dropped");
        }
    }
}
