//! The seam between our SQL and the two drivers: arguments, rows, statements, transactions.
//!
//! Every text is written once, with `$1` placeholders, and runs on both engines. Native pools are used because `sqlx::Any` cannot carry
//! booleans and some integers across both.
use std::borrow::Cow;

use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, PgPool, Postgres, Row as _, SqlSafeStr, SqlStr, Sqlite, SqlitePool, Transaction};

use crate::domain::clock::Time;
use crate::domain::ids::{ApiKeyId, GatewayId, OrganizationId, PairingLinkId, SessionId, WebhookId};
use crate::error::{Error, Result};

/// An open database. Cheap to clone: the pools are shared.
#[derive(Clone, Debug)]
pub enum Db {
    /// An SQLite file.
    Sqlite {
        /// Several readers; write-ahead logging lets them read while the writer writes.
        read: SqlitePool,
        /// The one writer. With more, transactions that read first and write later fail as busy.
        write: SqlitePool,
    },
    /// A PostgreSQL database.
    Postgres(PgPool),
}

/// An open transaction. Dropping it rolls it back.
#[derive(Debug)]
#[must_use = "a transaction that is not committed is rolled back"]
pub struct Tx(Inner);

#[derive(Debug)]
enum Inner {
    Sqlite(Transaction<'static, Sqlite>),
    Postgres(Transaction<'static, Postgres>),
}

/// One value given to a statement.
#[derive(Clone, Copy, Debug)]
pub enum Arg<'a> {
    /// A whole number, or NULL.
    Int(Option<i64>),
    /// A text, or NULL.
    Text(Option<&'a str>),
    /// Bytes.
    Blob(&'a [u8]),
    /// A flag.
    Bool(bool),
}

/// One row of an answer.
#[derive(Debug)]
pub enum Row {
    /// From SQLite.
    Sqlite(SqliteRow),
    /// From PostgreSQL.
    Postgres(PgRow),
}

/// What a column can be read as on both engines.
pub trait Column: Sized {
    /// Reads column `index` of an SQLite row.
    fn sqlite(row: &SqliteRow, index: usize) -> sqlx::Result<Self>;
    /// Reads column `index` of a PostgreSQL row.
    fn postgres(row: &PgRow, index: usize) -> sqlx::Result<Self>;
}

macro_rules! columns {
    ($($type:ty),+) => {$(
        impl Column for $type {
            fn sqlite(row: &SqliteRow, index: usize) -> sqlx::Result<Self> {
                row.try_get(index)
            }
            fn postgres(row: &PgRow, index: usize) -> sqlx::Result<Self> {
                row.try_get(index)
            }
        }
    )+};
}
columns!(i64, Option<i64>, String, Option<String>, Vec<u8>, bool);

macro_rules! through {
    ($($type:ty: $inner:ty, $make:expr);+ $(;)?) => {$(
        impl Column for $type {
            fn sqlite(row: &SqliteRow, index: usize) -> sqlx::Result<Self> {
                <$inner>::sqlite(row, index).map($make)
            }
            fn postgres(row: &PgRow, index: usize) -> sqlx::Result<Self> {
                <$inner>::postgres(row, index).map($make)
            }
        }
    )+};
}
through!(
    Time: i64, Time;
    Option<Time>: Option<i64>, |at| at.map(Time);
    SessionId: String, SessionId::new;
    OrganizationId: String, OrganizationId::new;
    GatewayId: String, GatewayId::new;
    ApiKeyId: String, ApiKeyId::new;
    WebhookId: String, WebhookId::new;
    PairingLinkId: String, PairingLinkId::new;
    Option<SessionId>: Option<String>, |id| id.map(SessionId::new);
);

impl Row {
    /// Reads column `index`, counted from 0.
    pub fn get<T: Column>(&self, index: usize) -> Result<T> {
        Ok(match self {
            Self::Sqlite(row) => T::sqlite(row, index)?,
            Self::Postgres(row) => T::postgres(row, index)?,
        })
    }

    /// Reads column `index`, a word, by `from_word`. A word that this program does not know is a fault.
    pub fn word<T>(&self, index: usize, from_word: impl FnOnce(&str) -> Option<T>) -> Result<T> {
        let word: String = self.get(index)?;
        from_word(&word).ok_or_else(|| Error::internal(anyhow::anyhow!("column {index} holds the unknown word `{word}`")))
    }
}

impl From<i64> for Arg<'_> {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}
impl From<i32> for Arg<'_> {
    fn from(value: i32) -> Self {
        Self::Int(Some(value.into()))
    }
}
impl From<u32> for Arg<'_> {
    fn from(value: u32) -> Self {
        Self::Int(Some(value.into()))
    }
}
impl From<Option<i64>> for Arg<'_> {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}
impl From<Time> for Arg<'_> {
    fn from(value: Time) -> Self {
        Self::Int(Some(value.0))
    }
}
impl From<Option<Time>> for Arg<'_> {
    fn from(value: Option<Time>) -> Self {
        Self::Int(value.map(|at| at.0))
    }
}
impl From<bool> for Arg<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}
impl<'a> From<&'a str> for Arg<'a> {
    fn from(value: &'a str) -> Self {
        Self::Text(Some(value))
    }
}
impl<'a> From<&'a String> for Arg<'a> {
    fn from(value: &'a String) -> Self {
        Self::Text(Some(value))
    }
}
impl<'a> From<Option<&'a str>> for Arg<'a> {
    fn from(value: Option<&'a str>) -> Self {
        Self::Text(value)
    }
}
impl<'a> From<&'a Option<String>> for Arg<'a> {
    fn from(value: &'a Option<String>) -> Self {
        Self::Text(value.as_deref())
    }
}
impl<'a> From<&'a [u8]> for Arg<'a> {
    fn from(value: &'a [u8]) -> Self {
        Self::Blob(value)
    }
}
impl<'a> From<&'a Vec<u8>> for Arg<'a> {
    fn from(value: &'a Vec<u8>) -> Self {
        Self::Blob(value)
    }
}
impl<'a, const N: usize> From<&'a [u8; N]> for Arg<'a> {
    fn from(value: &'a [u8; N]) -> Self {
        Self::Blob(value)
    }
}
macro_rules! ids {
    ($($id:ty),+) => {$(
        impl<'a> From<&'a $id> for Arg<'a> {
            fn from(value: &'a $id) -> Self {
                Self::Text(Some(value.as_str()))
            }
        }
    )+};
}
ids!(SessionId, OrganizationId, GatewayId, ApiKeyId, PairingLinkId, WebhookId);
impl<'a> From<&'a Option<SessionId>> for Arg<'a> {
    fn from(value: &'a Option<SessionId>) -> Self {
        Self::Text(value.as_ref().map(SessionId::as_str))
    }
}

/// The arguments of a statement, in the order of its `$1`, `$2`, ….
macro_rules! args {
    ($($value:expr),* $(,)?) => { &[$($crate::store::Arg::from($value)),*] };
}
pub(crate) use args;

/// `$from, $from+1, …`: `count` placeholders.
pub(crate) fn list(from: usize, count: usize) -> String {
    let mut text = String::new();
    for at in from..from + count {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push('$');
        text.push_str(&at.to_string());
    }
    text
}

/// Adds `values` to `args`, the last one repeated until their number is a power of two, and gives the placeholders for an `IN (…)`.
/// The rounding keeps the number of different texts, each of which is prepared and cached, small. `values` must not be empty.
pub(crate) fn one_of<'a>(args: &mut Vec<Arg<'a>>, values: impl ExactSizeIterator<Item = Arg<'a>>) -> String {
    let (from, count) = (args.len() + 1, values.len().next_power_of_two());
    args.extend(values);
    while let Some(last) = args.last().copied().filter(|_| args.len() + 1 < from + count) {
        args.push(last);
    }
    list(from, count)
}

/// PostgreSQL's texts cannot have the character 0, which anybody may send; a message that could never be stored would come for ever.
fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// The same query built for whichever driver `$on` belongs to.
macro_rules! query {
    ($sql:expr, $args:expr) => {{
        let mut query = sqlx::query($sql);
        for arg in $args {
            query = match *arg {
                Arg::Int(value) => query.bind(value),
                Arg::Text(value) => query.bind(value.map(storable)),
                Arg::Blob(value) => query.bind(value),
                Arg::Bool(value) => query.bind(value),
            };
        }
        query
    }};
}

/// Runs `$body` with the pool or connection of whichever engine it is; `$wrap` is the row's variant.
macro_rules! on {
    ($db:expr, $side:ident, $on:ident, $wrap:ident => $body:expr) => {
        match $db {
            Db::Sqlite { $side: $on, .. } => {
                let $wrap = Row::Sqlite;
                $body
            }
            Db::Postgres($on) => {
                let $wrap = Row::Postgres;
                $body
            }
        }
    };
}

impl Db {
    /// Changes rows by one statement and gives their number. Durable when the future resolves.
    pub(crate) async fn execute(&self, sql: &'static str, args: &[Arg<'_>]) -> Result<u64> {
        Ok(match self {
            Self::Sqlite { write, .. } => query!(sql, args).execute(write).await?.rows_affected(),
            Self::Postgres(pool) => query!(sql, args).execute(pool).await?.rows_affected(),
        })
    }

    /// Reads the rows of a query.
    pub(crate) async fn rows(&self, sql: &'static str, args: &[Arg<'_>]) -> Result<Vec<Row>> {
        Ok(on!(self, read, pool, wrap => query!(sql, args).fetch_all(pool).await?.into_iter().map(wrap).collect()))
    }

    /// Reads the rows of a query whose text was put together from pieces of ours.
    pub(crate) async fn rows_built(&self, sql: String, args: &[Arg<'_>]) -> Result<Vec<Row>> {
        let sql = AssertSqlSafe(sql);
        Ok(on!(self, read, pool, wrap => query!(sql, args).fetch_all(pool).await?.into_iter().map(wrap).collect()))
    }

    /// Reads at most one row.
    pub(crate) async fn row(&self, sql: &'static str, args: &[Arg<'_>]) -> Result<Option<Row>> {
        Ok(on!(self, read, pool, wrap => query!(sql, args).fetch_optional(pool).await?.map(wrap)))
    }

    /// Changes at most one row and reads what its `RETURNING` says.
    pub(crate) async fn change(&self, sql: &'static str, args: &[Arg<'_>]) -> Result<Option<Row>> {
        Ok(on!(self, write, pool, wrap => query!(sql, args).fetch_optional(pool).await?.map(wrap)))
    }

    /// Inserts many rows, all or none; see [`Tx::insert`]. What fits into one statement needs no transaction around it.
    pub(crate) async fn insert(&self, head: &str, width: usize, tail: &str, values: &[Arg<'_>]) -> Result<()> {
        let rows = values.len() / width;
        if rows == 0 {
            return Ok(());
        }
        if chunk(rows) == rows {
            let sql = AssertSqlSafe(insert_text(head, width, tail, rows));
            match self {
                Self::Sqlite { write, .. } => query!(sql, values).execute(write).await.map(drop)?,
                Self::Postgres(pool) => query!(sql, values).execute(pool).await.map(drop)?,
            }
            return Ok(());
        }
        let mut tx = self.begin().await?;
        tx.insert(head, width, tail, values).await?;
        tx.commit().await
    }

    /// Begins a transaction. On SQLite it takes the write lock at once, so that it cannot fail for it later.
    pub async fn begin(&self) -> Result<Tx> {
        Ok(Tx(match self {
            Self::Sqlite { write, .. } => Inner::Sqlite(write.begin_with("BEGIN IMMEDIATE").await?),
            Self::Postgres(pool) => Inner::Postgres(pool.begin().await?),
        }))
    }
}

/// How many rows go into one `INSERT` of many. Few different sizes, so that few texts are prepared.
const CHUNKS: [usize; 3] = [64, 8, 1];

/// How many of `left` rows the next `INSERT` takes.
fn chunk(left: usize) -> usize {
    CHUNKS.into_iter().find(|count| *count <= left).unwrap_or(1)
}

/// `HEAD ($1, $2), ($3, $4) TAIL`, with `count` rows of `width` columns.
fn insert_text(head: &str, width: usize, tail: &str, count: usize) -> String {
    let rows: Vec<String> = (0..count).map(|row| format!("({})", list(row * width + 1, width))).collect();
    format!("{head} {} {tail}", rows.join(", "))
}

impl Tx {
    /// Makes everything done in it durable and visible, or fails and leaves nothing.
    pub async fn commit(self) -> Result<()> {
        match self.0 {
            Inner::Sqlite(tx) => tx.commit().await?,
            Inner::Postgres(tx) => tx.commit().await?,
        }
        Ok(())
    }

    /// Changes rows and gives their number.
    pub(crate) async fn execute(&mut self, sql: &'static str, args: &[Arg<'_>]) -> Result<u64> {
        self.run(sql.into_sql_str(), args).await
    }

    /// Changes rows by a text that was put together from pieces of ours.
    pub(crate) async fn execute_built(&mut self, sql: String, args: &[Arg<'_>]) -> Result<u64> {
        self.run(AssertSqlSafe(sql).into_sql_str(), args).await
    }

    async fn run(&mut self, sql: SqlStr, args: &[Arg<'_>]) -> Result<u64> {
        Ok(match &mut self.0 {
            Inner::Sqlite(tx) => query!(sql, args).execute(&mut **tx).await?.rows_affected(),
            Inner::Postgres(tx) => query!(sql, args).execute(&mut **tx).await?.rows_affected(),
        })
    }

    /// Reads or changes rows by a text that was put together from pieces of ours.
    pub(crate) async fn rows_built(&mut self, sql: String, args: &[Arg<'_>]) -> Result<Vec<Row>> {
        let sql = AssertSqlSafe(sql);
        Ok(match &mut self.0 {
            Inner::Sqlite(tx) => query!(sql, args).fetch_all(&mut **tx).await?.into_iter().map(Row::Sqlite).collect(),
            Inner::Postgres(tx) => query!(sql, args).fetch_all(&mut **tx).await?.into_iter().map(Row::Postgres).collect(),
        })
    }

    /// Reads or changes at most one row.
    pub(crate) async fn row(&mut self, sql: &'static str, args: &[Arg<'_>]) -> Result<Option<Row>> {
        Ok(match &mut self.0 {
            Inner::Sqlite(tx) => query!(sql, args).fetch_optional(&mut **tx).await?.map(Row::Sqlite),
            Inner::Postgres(tx) => query!(sql, args).fetch_optional(&mut **tx).await?.map(Row::Postgres),
        })
    }

    /// Inserts many rows of `width` columns with as few statements as sensible: `head` ends with `VALUES`, `tail` is what follows the
    /// rows (such as `ON CONFLICT …`), `values` are the rows one after another. No key may occur twice among them.
    pub(crate) async fn insert(&mut self, head: &str, width: usize, tail: &str, mut values: &[Arg<'_>]) -> Result<()> {
        while !values.is_empty() {
            let count = chunk(values.len() / width);
            let (now, later) = values.split_at((count * width).min(values.len()));
            self.execute_built(insert_text(head, width, tail, count), now).await?;
            values = later;
        }
        Ok(())
    }
}
