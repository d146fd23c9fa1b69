//! One gateway's workers on a clock that the test holds, with the receiver in its hands: the bench of the tests in `deliver.rs`.

use std::time::Duration;

use prost::Message as _;
use tokio_util::sync::CancellationToken;
use whatsapp_gateway::api::convert;
use whatsapp_gateway::domain::clock::{Ambient, Time};
use whatsapp_gateway::domain::event::{Code, Payload};
use whatsapp_gateway::domain::ids::{OrganizationId, SessionId, WebhookId};
use whatsapp_gateway::domain::network::Own;
use whatsapp_gateway::domain::webhook::{Delivery, Page, Policy, Retry, Secrets, Webhook};
use whatsapp_gateway::egress::Guard;
use whatsapp_gateway::event::EventLog;
use whatsapp_gateway::event::hub::Hub;
use whatsapp_gateway::proto;
use whatsapp_gateway::rest::render::Renderer;
use whatsapp_gateway::store::cipher::Key;
use whatsapp_gateway::store::{Cipher, Db};
use whatsapp_gateway::webhook::{Render, Sender, Workers};

use super::{Killable, Receiver, until};

pub(super) const START: Time = Time(1_760_000_000_000);
pub(super) const ORGANIZATION: &str = "org_1";

/// A gateway's webhooks, without the gateway.
#[derive(Clone)]
pub(super) struct Bench {
    pub(super) db: Db,
    pub(super) log: EventLog,
    pub(super) ambient: Ambient,
    pub(super) cipher: Cipher,
    pub(super) workers: Workers,
}

impl Bench {
    pub(super) async fn new(db: Db) -> Self {
        let ambient = Ambient::held(START);
        db.ensure_organization(&organization(), START).await.unwrap();
        Self::beside(db, ambient)
    }

    /// Another gateway on the same database and clock.
    pub(super) fn beside(db: Db, ambient: Ambient) -> Self {
        let hub = Hub::default();
        let log = EventLog::new(db.clone(), hub.clone(), ambient.clone());
        let cipher = Cipher::new(ambient.clone(), Some(Key::new([7; 32])), Vec::new());
        let guard = Guard::new(vec![Own::parse("127.0.0.0/8").unwrap()]).unwrap();
        let sender = Sender::new(guard, render(), ambient.clone()).with_timeout(Duration::from_secs(2));
        let workers = Workers {
            db: db.clone(),
            log: log.clone(),
            hub,
            cipher: cipher.clone(),
            sender,
            ambient: ambient.clone(),
            retention: Duration::from_secs(86_400),
        };
        Self { db, log, ambient, cipher, workers }
    }

    /// Lets the workers run until the value is dropped.
    pub(super) fn run(&self) -> Killable {
        Killable(tokio::spawn(self.workers.clone().run(CancellationToken::new())))
    }

    /// Stores a webhook for `receiver`, changed by `change`.
    pub(super) async fn webhook(&self, receiver: &Receiver, change: impl FnOnce(&mut Webhook)) -> WebhookId {
        let now = self.ambient.now();
        let mut webhook = Webhook {
            id: WebhookId::new(self.ambient.ulid()),
            organization: organization(),
            session: None,
            url: receiver.url(),
            events: vec!["*".into()],
            // So long that a try is never due again unless the test moves the clock.
            retry: Retry { policy: Policy::Constant, delay_seconds: 7200, attempts: 30 },
            headers: [("X-Customer".to_owned(), "7".to_owned())].into(),
            secrets: Secrets { current: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".into(), former: None },
            disabled: None,
            ordered: false,
            concurrency: 4,
            failures: 0,
            paused_until: None,
            created_at: now,
            updated_at: now,
        };
        change(&mut webhook);
        self.put(&webhook).await;
        webhook.id
    }

    /// Stores a webhook as callers do.
    pub(super) async fn put(&self, webhook: &Webhook) {
        let mut tx = self.db.begin().await.unwrap();
        tx.change_webhooks(&organization()).await.unwrap();
        tx.put_webhook(&self.cipher, webhook).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(super) async fn get(&self, id: &WebhookId) -> Webhook {
        self.db.webhook(&self.cipher, &organization(), id).await.unwrap().unwrap()
    }

    /// Records an event of a session.
    pub(super) async fn tell(&self, session: &str, payload: Payload) {
        self.log.record(&organization(), &SessionId::new(session), payload).await.unwrap();
    }

    /// Records a QR code, which is as good an event as any.
    pub(super) async fn tell_qr(&self, session: &str, code: &str) {
        self.tell(session, Payload::AuthQr(Code { code: code.into(), expires_at: None })).await;
    }

    /// All deliveries of a webhook, oldest first.
    pub(super) async fn deliveries(&self, id: &WebhookId) -> Vec<Delivery> {
        let page = Page { status: None, before: None, limit: 1000 };
        let mut all = self.db.list_deliveries(&organization(), id, page).await.unwrap();
        all.reverse();
        all
    }

    /// Waits until all deliveries of a webhook fit.
    pub(super) async fn until_all(&self, id: &WebhookId, what: &str, fits: impl Fn(&Delivery) -> bool) -> Vec<Delivery> {
        until(what, async || {
            let all = self.deliveries(id).await;
            !all.is_empty() && all.iter().all(&fits)
        })
        .await;
        self.deliveries(id).await
    }
}

pub(super) fn organization() -> OrganizationId {
    OrganizationId::new(ORGANIZATION)
}

/// The contract's JSON, as the gateway writes it.
pub(super) fn render() -> Render {
    let renderer = Renderer::new(proto::DESCRIPTORS, "whatsapp.gateway.v1.Event").unwrap();
    std::sync::Arc::new(move |event| renderer.json(&convert::event::event(event).encode_to_vec()).map(Into::into))
}
