//! One live client for one session.
//!
//! The library reconnects by itself; a [`Connection`] lives until [`Connection::close`], until it is dropped, or until the library
//! gives up ([`Connection::ended`]). `disconnect` is final for a client of the library, so a restart makes a new one on the same state.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;
use wacore::types::events::Subscription;
use whatsapp_rust::TokioRuntime;
use whatsapp_rust::client::Client;
use whatsapp_rust::pair_code::{PairCodeOptions, PairCodeRejection};
use whatsapp_rust::store::persistence_manager::PersistenceManager;

use super::attention::{Attention, Ringing};
use super::device::DeviceStore;
use super::endpoint::{Endpoint, Mismatch};
use super::http::Http;
use super::normalize::{self, Act, HistoryNotice, Inbound, News, Origin};
use super::outgoing;
use super::queries::Queries;
use super::resync;
use super::tap::{Hook, Mailbox, Tap};
use super::transport::WebSockets;
use crate::domain::clock::{Ambient, Time};
use crate::domain::event::AuthCode;
use crate::domain::jid::Address;
use crate::domain::label::LabelNews;
use crate::domain::message::{MessageStatus, Receipt};
use crate::domain::session::Account;

/// How many signals may wait for the session's actor. Beyond that receipts are dropped (WhatsApp repeats none of them) and counted in
/// the log; messages are never among them, they take the way of [`Commit`].
pub(super) const SIGNALS: usize = 4096;

/// How long the library may take to disconnect or to log out before it is cut.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

/// How many one-time prekeys are uploaded at a time: WhatsApp Web's number, and few for the sandbox, which does not care.
const PRE_KEYS: (usize, usize) = (812, 40);

/// Stores received messages; WhatsApp is told that we have them only after it has returned `Ok`. May be called again with the same ones.
pub type Commit = Arc<dyn Fn(Vec<Inbound>) -> BoxFuture<'static, crate::error::Result<()>> + Send + Sync>;

/// What a connection tells its actor.
#[derive(Clone, Debug)]
pub enum Signal {
    /// A QR code, valid for `ttl`.
    Qr {
        /// The text to show as a QR code.
        code: String,
        /// How long it is valid.
        ttl: Duration,
    },
    /// Messages could not be stored, for the database has not answered for too long.
    Unstored,
    /// There are no more QR codes.
    QrExhausted,
    /// A pairing code that was requested earlier is no longer valid.
    CodeExpired,
    /// WhatsApp wants proof by a passkey of the account.
    PasskeyRequired {
        /// Its request: the JSON of `PublicKeyCredentialRequestOptions`.
        options: String,
    },
    /// The passkey was accepted; the code is to be compared with the phone's.
    PasskeyConfirm {
        /// The code, `XXXX-XXXX`.
        code: String,
    },
    /// The passkey step failed.
    PasskeyFailed,
    /// The phone has accepted; the device reconnects once.
    Paired(AuthCode),
    /// Connected and ready.
    Online,
    /// The connection was lost; the library makes it anew.
    Offline,
    /// The device was unlinked.
    LoggedOut,
    /// Another connection took this device's place.
    Replaced,
    /// WhatsApp has banned the number for `ttl`.
    Banned {
        /// WhatsApp's number for why.
        code: String,
        /// How long.
        ttl: Duration,
    },
    /// WhatsApp no longer accepts this client's version.
    Outdated,
    /// WhatsApp refused the connection with this code.
    Refused(String),
    /// News of messages that were sent from here.
    Receipt(Receipt),
    /// WhatsApp's server has answered to a sent message.
    Ack(Ack),
    /// Messages that were stored; the sender may be told that they are read.
    Stored(Vec<Inbound>),
    /// Messages that do not take the way of [`Commit`]: channels' and those recovered from the phone.
    Messages(Vec<Inbound>),
    /// Somebody calls.
    Ringing(Ringing),
    /// What became of the account's labels.
    Label(LabelNews),
    /// Something else happened; [`Connection::news`] has it.
    News,
    /// A part of the phone's history has come.
    History(HistoryNotice),
    /// A message that could not be decrypted; the library asks for it again.
    Undecryptable {
        /// WhatsApp's id.
        wa_message_id: String,
    },
}

/// WhatsApp's answer to a sent message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ack {
    /// WhatsApp's id of the message.
    pub wa_message_id: String,
    /// The code with which it was refused.
    pub error: Option<String>,
    /// When the server had it.
    pub at: Option<Time>,
}

impl Ack {
    /// What the answer says about the message, as news like any other.
    pub fn into_receipt(self, now: Time) -> Receipt {
        let status = if self.error.is_some() { MessageStatus::Failed } else { MessageStatus::Sent };
        let error = self.error.map(|code| format!("WhatsApp refused the message (code {code})"));
        Receipt { sender_jid: None, message_ids: vec![self.wa_message_id], status, error, timestamp: self.at.unwrap_or(now) }
    }
}

/// Why a connection could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The device belongs to another endpoint.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// The device's state could not be read or written.
    #[error("the device's state: {0}")]
    Store(#[from] whatsapp_rust::store::error::StoreError),
    /// The library refused to build a client.
    #[error("the client: {0}")]
    Build(#[from] whatsapp_rust::client::ClientBuilderError),
    /// The endpoint's address is none.
    #[error("the address: {0:#}")]
    Address(anyhow::Error),
    /// The HTTP client could not be made.
    #[error("the HTTP client: {0:#}")]
    Http(anyhow::Error),
}

/// Why a pairing code was not given.
#[derive(Debug, thiserror::Error)]
pub enum CodeError {
    /// An earlier code is still valid.
    #[error("an earlier code is still valid")]
    Outstanding,
    /// WhatsApp asks to wait.
    #[error("WhatsApp gives no more codes for now")]
    Throttled {
        /// For how long, when it says so.
        wait: Option<Duration>,
    },
    /// There is no connection yet.
    #[error("not connected to WhatsApp yet")]
    NotConnected,
    /// WhatsApp or the library refused the number.
    #[error("refused: {0}")]
    Refused(String),
}

/// A live client. Dropping it ends everything that belongs to it.
pub struct Connection {
    sender: Sender,
    run: AbortOnDropHandle<()>,
    news: Mailbox,
    _subscriptions: [Subscription; 3],
}

/// The part of a connection that sends; cheap to clone, usable by many callers; useless once the connection is gone.
#[derive(Clone)]
pub struct Sender {
    pub(super) client: Arc<Client>,
    waiters: Waiters,
    queries: Queries,
    attention: Attention,
}

pub(super) type Waiters = Arc<Mutex<HashMap<String, oneshot::Sender<Ack>>>>;

impl Connection {
    /// Builds a client on the session's stored state and starts it. Its signals come through the receiver until it ends.
    pub async fn open(
        endpoint: &Endpoint,
        store: DeviceStore,
        commit: Commit,
        ambient: Ambient,
    ) -> Result<(Self, mpsc::Receiver<Signal>), OpenError> {
        let manager = Arc::new(PersistenceManager::new(Arc::new(store)).await?);
        endpoint.prepare(&manager).await?;
        manager.flush().await?;
        let transport = WebSockets::to(endpoint).map_err(OpenError::Address)?;
        let (signals, receiver) = mpsc::channel(SIGNALS);
        let mut builder = Client::builder()
            .with_runtime(TokioRuntime)
            .with_persistence_manager(manager)
            .with_transport_factory(transport)
            .with_http_client(Http::new(endpoint).map_err(OpenError::Http)?)
            .with_inbound_durability_hook(Hook { commit, signals: signals.clone() })
            .with_wanted_pre_key_count(if endpoint.is_sandbox() { PRE_KEYS.1 } else { PRE_KEYS.0 })
            .with_background_saver_interval(Duration::from_secs(5));
        if let Some(version) = endpoint.version() {
            builder = builder.with_version_override(version);
        }
        let client = Box::pin(builder.build()).await?.into_client();
        let waiters = Waiters::default();
        let attention = Attention::new(ambient);
        let heard = attention.listen(&client, signals.clone());
        let news = Mailbox::default();
        let tap = Tap { signals, waiters: waiters.clone(), news: news.clone() };
        let tapped = client.subscribe(Tap::interest(), Arc::new(tap));
        let watched = resync::watch(&client);
        let running = client.clone();
        let run = AbortOnDropHandle::new(tokio::spawn(async move { Box::pin(running.run()).await }));
        let sender = Sender { client, waiters, queries: Queries::default(), attention };
        Ok((Self { sender, run, news, _subscriptions: [heard, tapped, watched] }, receiver))
    }

    /// The part that sends.
    pub fn sender(&self) -> Sender {
        self.sender.clone()
    }

    /// The attached account as the device's own state knows it; `None` before pairing. (The library's `pn()` is no proof: towards the
    /// sandbox it is a placeholder until then.)
    pub fn account(&self) -> Option<Account> {
        let device = self.sender.client.persistence_manager().get_device_snapshot();
        device.account.as_ref()?;
        Some(normalize::account(device.pn.as_ref()?, device.lid.as_ref()))
    }

    /// Writes the device's state now, instead of at the saver's next turn.
    pub async fn flush(&self) -> Result<(), OpenError> {
        // Not by the manager's own flush: that one returns at once while the background saver is still writing.
        let manager = self.sender.client.persistence_manager();
        let device = manager.get_device_arc().await.read().await.to_serializable();
        Ok(manager.backend().save(&device).await?)
    }

    /// Takes some of what happened, oldest first; empty when there is nothing more.
    pub fn news(&self) -> Vec<News> {
        self.news.take()
    }

    /// A mark that changes with every frame that comes in; 0 before the first. By the library's own clock, so good for nothing else.
    pub fn heard(&self) -> u64 {
        self.sender.client.stats().last_data_received_ms
    }

    /// Whether the library can no longer save the device's state; its client must be given up then.
    pub fn is_saver_halted(&self) -> bool {
        self.sender.client.persistence_manager().is_saver_halted()
    }

    /// Drops the socket; the library connects again at once.
    pub async fn reconnect(&self) {
        self.sender.client.reconnect_immediately().await;
    }

    /// Resolves when the library has given up. True when it ended by itself, false when it panicked.
    pub async fn ended(&mut self) -> bool {
        (&mut self.run).await.is_ok()
    }

    /// Disconnects in good order and waits until nothing of the client runs any more, at most ten seconds.
    pub async fn close(mut self) {
        let client = &self.sender.client;
        if tokio::time::timeout(CLOSE_LIMIT, Box::pin(client.disconnect())).await.is_err() {
            tracing::warn!("the client did not disconnect in time and was cut");
        }
        let _ = tokio::time::timeout(CLOSE_LIMIT, &mut self.run).await;
    }

    /// Unlinks the device on WhatsApp's side if there is a connection, then disconnects.
    pub async fn logout(mut self) {
        if tokio::time::timeout(CLOSE_LIMIT, Box::pin(self.sender.client.logout())).await.is_err() {
            tracing::warn!("logging out took too long and was cut");
        }
        let _ = tokio::time::timeout(CLOSE_LIMIT, &mut self.run).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The library's helper tasks hold the client; its own shutdown signal is what ends them.
        self.sender.client.signal_shutdown_sync();
    }
}

impl Sender {
    /// The turns in which this connection asks WhatsApp.
    pub(super) fn queries(&self) -> &Queries {
        &self.queries
    }

    /// What WhatsApp has told this connection in passing.
    pub fn attention(&self) -> &Attention {
        &self.attention
    }

    /// Whether the client is connected and logged in now.
    pub fn is_online(&self) -> bool {
        self.client.is_connected() && self.client.is_logged_in()
    }

    /// Runs what gives a message to WhatsApp, and waits for the server's answer to it; `None` when it did not answer within `limit`.
    pub(super) async fn answered<E>(
        &self,
        wa_message_id: &str,
        limit: Duration,
        sending: impl Future<Output = Result<(), E>>,
    ) -> Result<Option<Ack>, E> {
        let (waiter, answer) = oneshot::channel();
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner).insert(wa_message_id.to_owned(), waiter);
        // However this call ends, nobody waits afterwards.
        let _forget = Forget { waiters: self.waiters.clone(), id: wa_message_id.to_owned() };
        let work = async {
            sending.await?;
            Ok(answer.await.ok())
        };
        tokio::time::timeout(limit, work).await.unwrap_or(Ok(None))
    }

    /// Shows "typing" to the recipient for `span`; failures do not matter.
    pub async fn show_typing(&self, to: &Address, span: Duration) {
        let to = outgoing::jid(to);
        if self.client.chatstate().send_composing(&to).await.is_ok() {
            tokio::time::sleep(span).await;
            let _ = self.client.chatstate().send_paused(&to).await;
        }
    }

    /// Tells the senders of these messages that they have been read.
    pub async fn mark_read(&self, messages: &[Inbound]) -> anyhow::Result<()> {
        let messages = messages.iter().filter(|m| !m.from_me && matches!(m.act, Act::Message { .. }));
        for message in messages {
            let Origin { chat, sender } = &message.origin;
            self.client.mark_as_read(chat, sender.as_ref(), &[&message.wa_message_id]).await?;
        }
        Ok(())
    }

    /// Asks for a code that the phone with this number can type. An earlier code is withdrawn.
    pub async fn request_code(&self, phone_number: &str) -> Result<(String, Duration), CodeError> {
        if self.client.wait_for_socket(Duration::from_secs(20)).await.is_err() {
            return Err(CodeError::NotConnected);
        }
        Box::pin(self.client.cancel_pair_code()).await;
        let options = PairCodeOptions { phone_number: phone_number.to_owned(), ..Default::default() };
        match Box::pin(self.client.pair_with_code(options)).await {
            Ok(code) => Ok((code, Duration::from_secs(180))),
            Err(e) if e.lost_the_flow_to_another_request() => Err(CodeError::Outstanding),
            Err(e) if e.rejection().is_some_and(PairCodeRejection::is_throttled) => {
                Err(CodeError::Throttled { wait: e.backoff() })
            }
            Err(e) => Err(CodeError::Refused(e.to_string())),
        }
    }
}

/// Removes a waiter however its call ends.
struct Forget {
    waiters: Waiters,
    id: String,
}

impl Drop for Forget {
    fn drop(&mut self) {
        self.waiters.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
