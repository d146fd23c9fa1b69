//! Several gateways on one PostgreSQL: what one records, the followers and webhook workers of another hear at once; and order holds
//! whoever writes.

use serde_json::json;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio_util::sync::CancellationToken;
use whatsapp_gateway::domain::clock::Ambient;
use whatsapp_gateway::domain::event::Payload;
use whatsapp_gateway::domain::ids::{OrganizationId, SessionId};
use whatsapp_gateway::event::follow::Item;
use whatsapp_gateway::event::hub::Hub;
use whatsapp_gateway::event::{EventLog, Filter, Follower, relay};
use whatsapp_gateway::store::{Db, Options};

use super::{ORGANIZATION, Socket, note, patiently, ticket};
use crate::gateway::{Home, KEY};
use crate::support::{ENGINES, Engine};

/// As much of a gateway as events need.
struct Side {
    db: Db,
    hub: Hub,
    log: EventLog,
    _relay: tokio_util::sync::DropGuard,
}

impl Side {
    async fn new(url: &str) -> Self {
        let (db, hub, ambient) = (Db::open(url, Options::default()).await.unwrap(), Hub::default(), Ambient::system());
        let log = EventLog::new(db.clone(), hub.clone(), ambient.clone());
        let end = CancellationToken::new();
        tokio::spawn(relay::run(db.clone(), hub.clone(), ambient, end.clone()));
        Self { db, hub, log, _relay: end.drop_guard() }
    }

    async fn follow(&self) -> Follower {
        let organization = OrganizationId::new(ORGANIZATION);
        Follower::new(self.db.clone(), &self.hub, organization, Filter::default(), Some(0)).await.unwrap().0
    }

    async fn tell(&self, text: &str) {
        let (organization, session) = (OrganizationId::new(ORGANIZATION), SessionId::new(""));
        self.log.record(&organization, &session, note(text)).await.unwrap();
    }
}

async fn text(follower: &mut Follower) -> String {
    loop {
        if let Item::Event(event) = follower.next().await.unwrap() {
            let Payload::AuthQr(code) = event.event.payload else { panic!("{event:?}") };
            return code.code;
        }
    }
}

/// Each answer is written when the other side's word is heard. Without the relay each would wait for the follower's own look, every 15 s,
/// and the patience of this test would not last.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_wake_each_others_followers() {
    let test = Engine::Postgres.open().await;
    test.db.ensure_organization(&OrganizationId::new(ORGANIZATION), Ambient::system().now()).await.unwrap();
    let (one, two) = (Side::new(&test.url).await, Side::new(&test.url).await);
    let (mut of_one, mut of_two) = (one.follow().await, two.follow().await);
    for (round, broken) in [(0, false), (1, true)] {
        if broken {
            // Connections that listen break; they come back by themselves.
            let mut admin = PgConnection::connect(&test.url).await.unwrap();
            let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
            let ended = sqlx::query(AssertSqlSafe(sql)).execute(&mut admin).await.unwrap().rows_affected();
            assert_eq!(ended, 2, "each gateway listens");
        }
        let talk = async {
            for turn in 0..8 {
                let said = format!("{round}.{turn}");
                if turn % 2 == 0 {
                    one.tell(&said).await;
                } else {
                    two.tell(&said).await;
                }
                assert_eq!((text(&mut of_one).await, text(&mut of_two).await), (said.clone(), said));
            }
        };
        patiently("the other gateway's events", talk).await;
    }
    let mut bell = two.hub.listen_deliveries();
    bell.mark_unchanged();
    one.hub.wake_deliveries();
    patiently("the other gateway's webhook bell", bell.changed()).await.unwrap();
    for db in [one.db, two.db, test.db] {
        db.close().await;
    }
}

/// Writers on several gateways, and a follower on each: nobody sees a gap, a repetition or another order than the log's.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn followers_see_the_order_of_commits_whoever_writes() {
    const WRITERS: usize = 8;
    const EACH: usize = 40;
    for engine in ENGINES {
        let test = engine.open().await;
        test.db.ensure_organization(&OrganizationId::new(ORGANIZATION), Ambient::system().now()).await.unwrap();
        let first = Side::new(&test.url).await;
        // An SQLite file has one gateway.
        let second = match engine {
            Engine::Sqlite => Side {
                db: first.db.clone(),
                hub: first.hub.clone(),
                log: first.log.clone(),
                _relay: CancellationToken::new().drop_guard(),
            },
            Engine::Postgres => Side::new(&test.url).await,
        };
        let followers = [first.follow().await, second.follow().await].map(|mut follower| {
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while seen.len() < WRITERS * EACH {
                    if let Item::Event(event) = follower.next().await.unwrap() {
                        assert_eq!(event.sequence, i64::try_from(seen.len()).unwrap() + 1, "a gap or a repetition");
                        seen.push(event.event.id);
                    }
                }
                seen
            })
        });
        let writers = (0..WRITERS).map(|writer| {
            let log = if writer % 2 == 0 { first.log.clone() } else { second.log.clone() };
            async move {
                for turn in 0..EACH {
                    let mut recording = log.begin().await.unwrap();
                    recording.tell(&OrganizationId::new(ORGANIZATION), &SessionId::new(""), note(format!("{writer}.{turn}")));
                    // Between its beginning and its commit others commit.
                    tokio::task::yield_now().await;
                    recording.commit().await.unwrap();
                }
            }
        });
        patiently("all writers", futures_util::future::join_all(writers)).await;
        let mut all = Vec::new();
        for follower in followers {
            all.push(patiently("all events", follower).await.unwrap());
        }
        assert_eq!(all[0], all[1], "{engine:?}");
        let listed = first.db.list_events(&OrganizationId::new(ORGANIZATION), 0, 1000, &[], &[]).await.unwrap();
        assert_eq!(all[0], listed.iter().map(|event| event.event.id.clone()).collect::<Vec<_>>());
        for writer in 0..WRITERS {
            let mine = listed.iter().filter_map(|event| match &event.event.payload {
                Payload::AuthQr(code) => code.code.strip_prefix(&format!("{writer}.")).map(|turn| turn.parse::<usize>().unwrap()),
                _ => None,
            });
            assert!(mine.eq(0..EACH), "each writer's own order");
        }
        first.db.close().await;
        second.db.close().await;
        test.db.close().await;
    }
}

/// Whole gateways: a ticket of one opens a socket of the other, and what happens at either is heard there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_gateway_takes_a_ticket_and_tells_everything() {
    let home = Home::new(Engine::Postgres).await;
    let one = home.start().await;
    let folder = tempfile::tempdir().unwrap();
    let more = [("WAGW_GATEWAY_ID", "gw-test-2".to_owned()), ("WAGW_DATA_DIR", folder.path().display().to_string())];
    let two = home.start_with(&more, Ambient::system()).await;
    let ticket = ticket(&one, KEY).await;
    let mut socket = Socket::open(&two, &format!("/api/v1/realtime?ticket={ticket}&after=0&events=session.status")).await;
    assert!(socket.item().await["position"].is_object());
    let talk = async {
        for turn in 0..6 {
            let gateway = if turn % 2 == 0 { &one } else { &two };
            let session = gateway.post("/api/v1/sessions", json!({"start": true})).await;
            loop {
                let item = socket.item().await;
                if item["event"]["session"] == session["id"] {
                    break;
                }
            }
        }
    };
    patiently("the events of both gateways", talk).await;
    drop(socket);
    two.stop().await;
    one.stop().await;
}
