//! Migrations: the same tables on both engines, and nothing is lost on the way.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use sqlx::Row as _;
use whatsapp_gateway::domain::clock::Time;
use whatsapp_gateway::domain::ids::OrganizationId;
use whatsapp_gateway::error::Code;
use whatsapp_gateway::store::{Db, Options};

use super::{NOW, organization};
use crate::support::{ENGINES, Engine, sqlite_url};

fn files(engine: &str) -> BTreeSet<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(engine);
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn both_engines_have_the_same_files() {
    assert_eq!(files("sqlite"), files("postgres"));
    assert!(files("sqlite").len() >= 2);
}

/// `table.column kind null?` of every column, and the names of the indexes that are not a constraint's.
async fn shape(db: &Db) -> BTreeSet<String> {
    let rows: Vec<(String, String, String, bool)> = match db {
        Db::Sqlite { read, .. } => {
            let sql =
                "SELECT t.name, c.name, c.type, c.\"notnull\" = 0 AND c.pk = 0 FROM sqlite_schema t, pragma_table_info(t.name) c
                       WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'
                       UNION ALL SELECT name, '', 'index', 0 FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL";
            let rows = sqlx::query(sql).fetch_all(read).await.unwrap();
            rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get::<i64, _>(3) != 0)).collect()
        }
        Db::Postgres(pool) => {
            let sql = "SELECT table_name::text, column_name::text, data_type::text, is_nullable = 'YES'
                       FROM information_schema.columns WHERE table_schema = 'public'
                       UNION ALL SELECT indexname::text, '', 'index', false FROM pg_indexes
                       WHERE schemaname = 'public' AND indexname NOT IN (SELECT conname FROM pg_constraint)";
            let rows = sqlx::query(sql).fetch_all(pool).await.unwrap();
            rows.iter().map(|row| (row.get(0), row.get(1), row.get(2), row.get(3))).collect()
        }
    };
    let kind = |kind: &str| match kind {
        "INTEGER" | "bigint" | "boolean" => "integer",
        "TEXT" | "text" => "text",
        "BLOB" | "bytea" => "bytes",
        "index" => "index",
        other => panic!("an unexpected column type: {other}"),
    };
    rows.into_iter()
        // The search has tables of its own in SQLite and an index in PostgreSQL.
        .filter(|(table, ..)| table != "_sqlx_migrations" && !table.starts_with("message_texts"))
        .map(|(table, column, type_, null)| format!("{table}.{column} {} {null}", kind(&type_)))
        .collect()
}

#[tokio::test]
async fn both_engines_get_the_same_tables() {
    let (sqlite, postgres) = (Engine::Sqlite.open().await, Engine::Postgres.open().await);
    let (ours, theirs) = (shape(&sqlite.db).await, shape(&postgres.db).await);
    assert_eq!(ours.difference(&theirs).collect::<Vec<_>>(), Vec::<&String>::new(), "only in SQLite");
    assert_eq!(theirs.difference(&ours).collect::<Vec<_>>(), Vec::<&String>::new(), "only in PostgreSQL");
    assert!(ours.len() > 100, "{}", ours.len());
}

#[tokio::test]
async fn migrating_again_changes_nothing() {
    for engine in ENGINES {
        let test = engine.open().await;
        test.db.ensure_organization(&organization("a"), NOW).await.unwrap();
        assert_eq!(test.db.migrate().await.unwrap(), None, "{engine:?}");
        let again = Db::open(&test.url, Options::default()).await.unwrap();
        assert_eq!(again.migrate().await.unwrap(), None, "{engine:?}");
        assert_eq!(again.event_bounds(&organization("a")).await.unwrap(), (1, 0));
    }
}

#[tokio::test]
async fn a_newer_programs_database_is_left_alone() {
    for engine in ENGINES {
        let test = engine.open().await;
        let sql = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
                   SELECT 9999, 'future', success, checksum, 0 FROM _sqlx_migrations WHERE version = 1";
        match &test.db {
            Db::Sqlite { write, .. } => drop(sqlx::query(sql).execute(write).await.unwrap()),
            Db::Postgres(pool) => drop(sqlx::query(sql).execute(pool).await.unwrap()),
        }
        let error = test.db.migrate().await.unwrap_err();
        assert!(error.message.contains("9999") && error.message.contains("newer"), "{engine:?}: {error}");
    }
}

#[tokio::test]
async fn a_file_with_data_is_copied_before_it_is_migrated() {
    let (folder, url) = sqlite_url();
    let db = Db::open(&url, Options::default()).await.unwrap();
    assert_eq!(db.migrate().await.unwrap(), None, "a fresh file has nothing to copy");
    let seen = OrganizationId::new("seen");
    db.ensure_organization(&seen, Time(7)).await.unwrap();
    // Back to the state before the last migration.
    let Db::Sqlite { write, .. } = &db else { panic!("an SQLite file") };
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'wa\\_%' ESCAPE '\\'")
            .fetch_all(write)
            .await
            .unwrap();
    for table in tables {
        sqlx::query(sqlx::AssertSqlSafe(format!("DROP TABLE {table}"))).execute(write).await.unwrap();
    }
    sqlx::query("DELETE FROM _sqlx_migrations WHERE version = 2").execute(write).await.unwrap();
    let copy = db.migrate().await.unwrap().expect("a copy is made");
    assert_eq!(copy, folder.path().join("gateway.db.before-0002"));
    let old = Db::open(&format!("sqlite://{}", copy.display()), Options::default()).await.unwrap();
    let Db::Sqlite { read, .. } = &old else { panic!("an SQLite file") };
    let found: i64 = sqlx::query_scalar("SELECT created_at FROM organizations WHERE id = 'seen'").fetch_one(read).await.unwrap();
    assert_eq!(found, 7);
    assert_eq!(mode(&copy), 0o600);
    assert!(!folder.path().join("gateway.db.copying").exists());
    assert_eq!(db.event_bounds(&seen).await.unwrap(), (1, 0));
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn files_and_folders_are_made_for_this_user_only() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("deep/er/gateway.db");
    let db = Db::open(&format!("sqlite://{}", file.display()), Options::default()).await.unwrap();
    db.migrate().await.unwrap();
    assert_eq!(mode(file.parent().unwrap()), 0o700);
    for name in ["gateway.db", "gateway.db-wal", "gateway.db-shm"] {
        assert_eq!(mode(&file.with_file_name(name)), 0o600, "{name}");
    }
    db.close().await;
    assert!(!file.with_file_name("gateway.db-wal").exists(), "closing leaves one file");
}

#[tokio::test]
async fn the_writer_is_durable_and_readers_cannot_write() {
    let test = Engine::Sqlite.open().await;
    let Db::Sqlite { read, write } = &test.db else { panic!("an SQLite file") };
    let pragma = async |pool, sql| sqlx::query_scalar::<_, String>(sql).fetch_one(pool).await.unwrap();
    assert_eq!(pragma(write, "SELECT CAST(journal_mode AS TEXT) FROM pragma_journal_mode").await, "wal");
    assert_eq!(pragma(write, "SELECT CAST(synchronous AS TEXT) FROM pragma_synchronous").await, "2");
    assert_eq!(pragma(write, "SELECT CAST(foreign_keys AS TEXT) FROM pragma_foreign_keys").await, "1");
    assert!(sqlx::query("DELETE FROM organizations").execute(read).await.is_err());
}

#[tokio::test]
async fn what_cannot_be_opened_says_why() {
    for url in ["", "mysql://x", "/data/gateway.db", "sqlite::memory:", "sqlite://x?mode=memory", "postgres://:::::"] {
        let error = Db::open(url, Options::default()).await.unwrap_err();
        assert_eq!((error.code, error.fields.len()), (Code::Validation, 1), "{url}: {error}");
    }
    let nobody = "postgres://user:hunter2@127.0.0.1:1/none";
    let options = Options { acquire_timeout: std::time::Duration::from_millis(200), ..Options::default() };
    let error = Db::open(nobody, options).await.unwrap_err();
    assert_eq!(error.code, Code::Unavailable);
    assert!(!error.message.contains("hunter2"));
    let error = Db::open("sqlite:///proc/none/gateway.db", Options::default()).await.unwrap_err();
    assert_eq!(error.code, Code::Unavailable, "{error}");
}
