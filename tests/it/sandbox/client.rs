//! A running sandbox and real clients for it.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wacore::store::{CachedNoiseCert, CachedServerCertChain, InMemoryBackend};
use wacore::types::events::{ChannelEventHandler, Event, Subscription};
use wacore_binary::Jid;
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::sandbox::{PLACEHOLDER, Phone, PhoneMessage, Sandbox, SandboxConfig};
use whatsapp_gateway::wa::Endpoint;
use whatsapp_gateway::wa::endpoint::SandboxEndpoint;
use whatsapp_gateway::wa::http::Http;
use whatsapp_rust::async_channel::Receiver;
use whatsapp_rust::store::persistence_manager::PersistenceManager;
use whatsapp_rust::store::traits::Backend;
use whatsapp_rust::transport::TokioWebSocketTransportFactory;
use whatsapp_rust::{Client, TokioRuntime};

/// Long enough for a debug build on a busy machine; reached only when something is broken.
pub(super) const PATIENCE: Duration = Duration::from_secs(40);

pub(super) const ALICE: &str = "5511900000001";
pub(super) const BOB: &str = "5511900000002";

/// A sandbox that serves on a port of its own until dropped.
pub(super) struct Running {
    pub(super) sandbox: Sandbox,
    pub(super) address: SocketAddr,
    pub(super) ambient: Ambient,
    shutdown: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

impl Running {
    pub(super) async fn start() -> Self {
        Self::with(SandboxConfig::default(), Ambient::system()).await
    }

    pub(super) async fn with(config: SandboxConfig, ambient: Ambient) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, config, ambient).await
    }

    pub(super) async fn on(listener: TcpListener, config: SandboxConfig, ambient: Ambient) -> Self {
        let sandbox = Sandbox::open(config, ambient.clone()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let (serving, token) = (sandbox.clone(), shutdown.clone());
        let serving = tokio::spawn(async move { serving.serve(listener, token).await });
        Self { sandbox, address, ambient, shutdown, serving }
    }

    /// With the phones of Alice and Bob.
    pub(super) async fn with_phones() -> Self {
        let running = Self::start().await;
        running.sandbox.create_phone(ALICE, "Alice", true).await.unwrap();
        running.sandbox.create_phone(BOB, "Bob", true).await.unwrap();
        running
    }

    pub(super) async fn stop(mut self) {
        self.shutdown.cancel();
        (&mut self.serving).await.unwrap();
    }

    /// A client that trusts this sandbox and is not paired.
    pub(super) async fn client(&self) -> Peer {
        Peer::new(self.address, Arc::new(InMemoryBackend::new()), Some((self.sandbox.static_public_key(), true))).await
    }

    /// A client that this phone has linked, connected, with all of its app state: while the library fetches that for the first time it
    /// passes over the news of what changes meanwhile, and would hear of it at its next login only.
    pub(super) async fn linked(&self, number: &str) -> Peer {
        let client = self.client().await;
        let code = client.qr().await;
        self.sandbox.scan_qr(number, &code).await.unwrap();
        client.wait("connected", |event| matches!(event, Event::Connected(_)).then_some(())).await;
        let version = async || client.backend.get_version("regular_high").await.unwrap().version;
        eventually("the first app state", || async { (version().await > 0).then_some(()) }).await;
        // What is left of that has no more to wait for than this.
        client.client.fetch_privacy_settings().await.unwrap();
        client
    }

    /// Waits until the phone's messages satisfy `found`.
    pub(super) async fn messages<T>(&self, number: &str, what: &str, found: impl Fn(&[PhoneMessage]) -> Option<T>) -> T {
        eventually(what, || async { found(&self.sandbox.list_messages(number, None).await.unwrap()) }).await
    }

    pub(super) async fn phone<T>(&self, number: &str, what: &str, found: impl Fn(&Phone) -> Option<T>) -> T {
        eventually(what, || async { found(&self.sandbox.get_phone(number).await.unwrap()) }).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Polls until there is an answer.
pub(super) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, check: impl Fn() -> F) -> T {
    let poll = async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            tick.tick().await;
            if let Some(found) = check().await {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, poll).await.unwrap_or_else(|_| panic!("never: {what}"))
}

/// A real client of the library.
pub(crate) struct Peer {
    pub(crate) client: Arc<Client>,
    pub(super) backend: Arc<dyn Backend>,
    events: Receiver<Arc<Event>>,
    _subscription: Subscription,
    run: tokio::task::JoinHandle<()>,
}

fn seed(device: &mut wacore::store::Device, key: [u8; 32], placeholder: bool) {
    let certificate = CachedNoiseCert { key, not_before: 0, not_after: i64::MAX };
    device.server_cert_chain = Some(CachedServerCertChain { intermediate: certificate.clone(), leaf: certificate });
    if placeholder {
        device.pn = Some(Jid::pn(PLACEHOLDER));
    }
}

impl Peer {
    /// `trust`: the pinned key, and whether the placeholder number is set.
    pub(crate) async fn new(address: SocketAddr, backend: Arc<dyn Backend>, trust: Option<([u8; 32], bool)>) -> Self {
        let manager = Arc::new(PersistenceManager::new(backend.clone()).await.unwrap());
        if let Some((key, placeholder)) = trust {
            manager.modify_device(|device| seed(device, key, placeholder)).await;
        }
        let url = format!("ws://{address}/ws/chat");
        // The gateway's own: it reaches the sandbox and nothing else.
        let key = trust.map(|(key, _)| key).unwrap_or_default();
        let http = Http::new(&Endpoint::Sandbox(SandboxEndpoint { url: url.clone(), key })).unwrap();
        let client = Client::builder()
            .with_runtime(TokioRuntime)
            .with_persistence_manager(manager)
            .with_transport_factory(TokioWebSocketTransportFactory::new().with_url(url))
            .with_http_client(http)
            .with_version_override((2, 3000, 1_042_742_319))
            .with_wanted_pre_key_count(30)
            .build()
            .await
            .unwrap()
            .into_client();
        let (handler, events) = ChannelEventHandler::new();
        let subscription = client.subscribe_handler(handler);
        let running = client.clone();
        let run = tokio::spawn(async move {
            let _ = running.run().await;
        });
        Self { client, backend, events, _subscription: subscription, run }
    }

    /// Waits for an event that `found` accepts, skipping others.
    pub(crate) async fn wait<T>(&self, what: &str, mut found: impl FnMut(&Event) -> Option<T>) -> T {
        let search = async {
            loop {
                let event = self.events.recv().await.unwrap();
                if let Some(found) = found(&event) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, search).await.unwrap_or_else(|_| panic!("never: {what}"))
    }

    /// The error in the server's answer to a message, if it refuses it.
    pub(super) async fn refusal(&self, id: &str) -> Option<String> {
        let ack = self.wait("the ack", |event| match event {
            Event::ServerAck(ack) if ack.id == id => Some(ack.error.clone()),
            _ => None,
        });
        ack.await
    }

    /// Whether such an event has come already.
    pub(super) fn saw(&self, accept: impl Fn(&Event) -> bool) -> bool {
        std::iter::from_fn(|| self.events.try_recv().ok()).any(|event| accept(&event))
    }

    pub(crate) async fn qr(&self) -> String {
        self.wait("a QR code", |event| match event {
            Event::PairingQrCode(qr) => Some(qr.code.clone()),
            _ => None,
        })
        .await
    }

    /// Waits for a message with this text from somebody else; gives its id and whether it came from the offline queue.
    pub(super) async fn text(&self, text: &str) -> (String, bool) {
        self.wait(text, |event| match event {
            Event::Messages(batch) => batch
                .iter()
                .find(|message| message.message.conversation.as_deref() == Some(text))
                .map(|message| (message.info.id.clone(), message.info.is_offline)),
            _ => None,
        })
        .await
    }

    pub(super) async fn connected(&self) {
        self.client.wait_for_connected(PATIENCE).await.unwrap();
    }

    pub(super) async fn stop(self) -> Arc<dyn Backend> {
        self.client.disconnect().await;
        self.run.abort();
        self.backend.clone()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.run.abort();
    }
}
