//! Words between gateways on one PostgreSQL. It carries them to whoever listens now and keeps none; SQLite has one gateway, which needs
//! none.

use sqlx::postgres::{PgListener, PgPoolOptions};

use crate::error::Result;
use crate::store::{Db, args};

const CHANNEL: &str = "wagw";

/// Hears what gateways on this database say, the own one included. Has a connection of its own, beside the pool's.
pub struct Ear(PgListener);

impl Db {
    /// Begins to listen; `None` where nobody else can speak.
    pub async fn hear(&self) -> Result<Option<Ear>> {
        let Self::Postgres(pool) = self else { return Ok(None) };
        let one = PgPoolOptions::new().max_connections(1).idle_timeout(None).max_lifetime(None);
        let own = one.connect_with(pool.connect_options().as_ref().clone()).await?;
        let mut listener = PgListener::connect_with(&own).await?;
        listener.listen(CHANNEL).await?;
        Ok(Some(Ear(listener)))
    }

    /// Says a word of less than 8000 bytes. Not within a transaction: PostgreSQL lets those that speak commit only one after another.
    pub async fn say(&self, word: &str) -> Result<()> {
        match self {
            Self::Sqlite { .. } => Ok(()),
            Self::Postgres(_) => self.execute("SELECT pg_notify($1, $2)", args![CHANNEL, word]).await.map(drop),
        }
    }
}

impl Ear {
    /// The next word; `None` when the connection broke and is there again: words may have been missed.
    pub async fn next(&mut self) -> Result<Option<String>> {
        Ok(self.0.try_recv().await?.map(|said| said.payload().to_owned()))
    }
}
