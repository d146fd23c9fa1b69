//! Forward-only migrations, embedded in the program: one folder per engine, the same file names and the same tables in both.

use std::path::{Path, PathBuf};

use sqlx::SqlitePool;
use sqlx::migrate::{MigrateError, Migrator};

use crate::error::{Code, Error, Result};
use crate::store::Db;

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

impl Db {
    /// Whether the tables are what this program expects: every migration that it knows has been applied, and no other.
    pub async fn is_migrated(&self) -> Result<bool> {
        let (known, sql) =
            (SQLITE.iter().map(|one| one.version), "SELECT version FROM _sqlx_migrations WHERE success ORDER BY version");
        let applied: Vec<i64> = self.rows(sql, &[]).await?.iter().map(|row| row.get(0)).collect::<Result<_>>()?;
        Ok(known.eq(applied))
    }

    /// Brings the tables to what this program expects. An SQLite file that has data is copied beside itself first, as
    /// `NAME.before-VERSION`; the copy's path is given back.
    pub async fn migrate(&self) -> Result<Option<PathBuf>> {
        match self {
            Self::Sqlite { write, .. } => {
                let copy = back_up(write).await?;
                SQLITE.run(write).await.map_err(cannot_migrate)?;
                Ok(copy)
            }
            Self::Postgres(pool) => {
                POSTGRES.run(pool).await.map_err(cannot_migrate)?;
                Ok(None)
            }
        }
    }
}

fn cannot_migrate(error: MigrateError) -> Error {
    let message = match &error {
        MigrateError::VersionMissing(version) => {
            format!("the database is at version {version}, made by a newer program than this; use that one")
        }
        MigrateError::VersionMismatch(version) => {
            format!("migration {version} was applied in another form than this program has")
        }
        _ => "cannot migrate the database".to_owned(),
    };
    Error::new(Code::Internal, message).because(error)
}

/// Copies a file that is to be migrated and was migrated before, hence has data.
async fn back_up(pool: &SqlitePool) -> Result<Option<PathBuf>> {
    let known: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'").fetch_one(pool).await?;
    if known == 0 {
        return Ok(None);
    }
    let applied: Vec<i64> = sqlx::query_scalar("SELECT version FROM _sqlx_migrations").fetch_all(pool).await?;
    let Some(next) = SQLITE.iter().map(|one| one.version).find(|version| !applied.contains(version)) else {
        return Ok(None);
    };
    if applied.is_empty() {
        return Ok(None);
    }
    let file = pool.connect_options().get_filename().to_path_buf();
    let copy = beside(&file, &format!(".before-{next:04}"));
    // A copy that is there was made by an earlier try of the same migration, which left the tables as they were.
    if copy.exists() {
        return Ok(Some(copy));
    }
    let part = beside(&file, ".copying");
    let told = |error: std::io::Error| Error::new(Code::Unavailable, "cannot back up the database file").because(error);
    empty_private_file(&part).map_err(told)?;
    sqlx::query("VACUUM INTO $1").bind(part.to_string_lossy().into_owned()).execute(pool).await?;
    std::fs::rename(&part, &copy).map_err(told)?;
    Ok(Some(copy))
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// SQLite writes its copy into an empty file, which keeps its mode.
fn empty_private_file(path: &Path) -> std::io::Result<()> {
    let mut file = std::fs::OpenOptions::new();
    file.create(true).write(true).truncate(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        file.mode(0o600);
    }
    file.open(path).map(drop)
}
