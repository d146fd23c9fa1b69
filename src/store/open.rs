//! Opening and closing a database.

use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::error::{Code, Error, Result};
use crate::store::Db;

/// How a database is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The most connections to PostgreSQL. SQLite always has one writer and [`Options::SQLITE_READERS`] readers.
    pub postgres_connections: u32,
    /// How long a call waits for a free connection before it fails as unavailable.
    pub acquire_timeout: Duration,
}

impl Options {
    /// How many connections read an SQLite file.
    pub const SQLITE_READERS: u32 = 4;
}

impl Default for Options {
    fn default() -> Self {
        Self { postgres_connections: 16, acquire_timeout: Duration::from_secs(10) }
    }
}

impl Db {
    /// Opens the database at `url`: `sqlite://PATH`, whose file and folder are made when they are missing (readable by this user only),
    /// or `postgres://…`. Does not migrate; see [`Db::migrate`].
    pub async fn open(url: &str, options: Options) -> Result<Self> {
        if url.starts_with("sqlite:") {
            open_sqlite(url, options).await
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            open_postgres(url, options).await
        } else {
            Err(Error::field("database url", "starts with neither sqlite:// nor postgres://"))
        }
    }

    /// How many connections there are to read with.
    pub fn readers(&self) -> usize {
        let most = match self {
            Self::Sqlite { read, .. } => read.options().get_max_connections(),
            Self::Postgres(pool) => pool.options().get_max_connections(),
        };
        usize::try_from(most).unwrap_or(usize::MAX)
    }

    /// Asks the database for a sign of life, through the connections that reads take.
    pub async fn ping(&self) -> Result<()> {
        self.row("SELECT CAST(1 AS BIGINT)", &[]).await.map(drop)
    }

    /// Closes every connection; an SQLite file is left with nothing in its write-ahead log.
    pub async fn close(&self) {
        match self {
            Self::Sqlite { read, write } => {
                read.close().await;
                write.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

async fn open_sqlite(url: &str, options: Options) -> Result<Db> {
    let bad = |error: sqlx::Error| Error::field("database url", "not a valid sqlite:// address").because(error);
    let connect = SqliteConnectOptions::from_str(url).map_err(bad)?;
    let path = connect.get_filename().to_path_buf();
    if url.contains(":memory:") || url.contains("mode=memory") || path.as_os_str().is_empty() {
        return Err(Error::field("database url", "names no file; readers and the writer need one to share"));
    }
    make_private_file(&path).map_err(|error| {
        Error::new(Code::Unavailable, format!("cannot make or open the database file {}: {error}", path.display())).because(error)
    })?;
    let connect = connect
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(5))
        .foreign_keys(true)
        .disable_statement_logging();
    // FULL: each commit is on the disk before it returns. WhatsApp is told that a message has arrived, and Signal's counters move on, only
    // after a commit; with NORMAL a power cut could take back what both believe.
    let writer = connect.clone().synchronous(SqliteSynchronous::Full);
    let reader = connect.synchronous(SqliteSynchronous::Normal).pragma("query_only", "on");
    let pool = || SqlitePoolOptions::new().acquire_timeout(options.acquire_timeout).test_before_acquire(false);
    let write = pool().max_connections(1).min_connections(1).connect_with(writer).await.map_err(cannot_open)?;
    let read = pool().max_connections(Options::SQLITE_READERS).connect_lazy_with(reader);
    Ok(Db::Sqlite { read, write })
}

async fn open_postgres(url: &str, options: Options) -> Result<Db> {
    let bad = |error: sqlx::Error| Error::field("database url", "not a valid postgres:// address").because(error);
    let connect = PgConnectOptions::from_str(url).map_err(bad)?.disable_statement_logging();
    let pool = PgPoolOptions::new().max_connections(options.postgres_connections.max(2)).acquire_timeout(options.acquire_timeout);
    Ok(Db::Postgres(pool.connect_with(connect).await.map_err(cannot_open)?))
}

/// The address may hold a password, so it is not told; what the driver says is the cause.
fn cannot_open(error: sqlx::Error) -> Error {
    Error::new(Code::Unavailable, "cannot open the database").because(error)
}

/// Makes the file and its folder, for this user's eyes only, unless they are there already. SQLite gives its side files the same mode.
fn make_private_file(path: &Path) -> std::io::Result<()> {
    let mut folder = std::fs::DirBuilder::new();
    let mut file = std::fs::OpenOptions::new();
    folder.recursive(true);
    file.create(true).append(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
        folder.mode(0o700);
        file.mode(0o600);
    }
    if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        folder.create(parent)?;
    }
    file.open(path).map(drop)
}
