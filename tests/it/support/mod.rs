//! What several tests need: databases of their own, on both engines.

pub(crate) mod catalogue;
pub(crate) mod postgres;
pub(crate) mod process;

use tempfile::TempDir;
use whatsapp_gateway::store::{Db, Options};

/// The engines that everything is tested on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Sqlite,
    Postgres,
}

/// Both engines, for tests that go through them one after another.
pub(crate) const ENGINES: [Engine; 2] = [Engine::Sqlite, Engine::Postgres];

/// A migrated database of one test.
pub(crate) struct TestDb {
    pub(crate) db: Db,
    pub(crate) url: String,
    _folder: Option<TempDir>,
}

impl Engine {
    /// The address of an empty database and, for SQLite, the folder that it goes with.
    pub(crate) async fn url(self) -> (Option<TempDir>, String) {
        match self {
            Self::Sqlite => {
                let (folder, url) = sqlite_url();
                (Some(folder), url)
            }
            Self::Postgres => (None, postgres::fresh_url().await),
        }
    }

    /// A fresh, migrated database.
    pub(crate) async fn open(self) -> TestDb {
        let (folder, url) = self.url().await;
        let db = Db::open(&url, Options::default()).await.expect("the test's database opens");
        db.migrate().await.expect("the test's database can be migrated");
        TestDb { db, url, _folder: folder }
    }
}

/// The address of an SQLite file that is not there yet, and the folder that goes when the value is dropped.
pub(crate) fn sqlite_url() -> (TempDir, String) {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let url = format!("sqlite://{}", folder.path().join("gateway.db").display());
    (folder, url)
}
