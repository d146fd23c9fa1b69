//! The loop that claims imports whose database lies here.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::merge::Merge;
use crate::domain::backfill::BackfillStatus;
use crate::domain::backup::BackupImport;
use crate::domain::clock::Ambient;
use crate::domain::ids::GatewayId;
use crate::error::Result;
use crate::store::Db;

/// How long a claim holds without a sign of life: well above the longest batch.
pub(super) const LEASE: Duration = Duration::from_secs(60);

/// How often the table is looked into.
const TICK: Duration = Duration::from_millis(500);

/// Imports under way at a time; more wait. They share the store's one writer with everybody else.
const MOST: usize = 2;

/// The workers of one gateway.
#[derive(Clone)]
pub struct Workers {
    /// The store.
    pub db: Db,
    /// Where decrypted databases lie until they are merged.
    pub folder: PathBuf,
    /// This gateway.
    pub gateway: GatewayId,
    /// Clock and randomness.
    pub ambient: Ambient,
}

/// Where the decrypted database of an import lies.
pub fn database(folder: &Path, id: &str) -> PathBuf {
    folder.join(format!("{id}.db"))
}

impl Workers {
    /// Works until `draining` is cancelled; what is under way then is given back, to be gone on with after the next start.
    pub async fn run(self, draining: CancellationToken) {
        // What a former life was at goes on at once, and not when its claim has run out.
        if let Err(error) = self.db.adopt_imports(&self.gateway).await {
            tracing::warn!(%error, cause = error.cause().map(tracing::field::display), "cannot take up former imports");
        }
        if let Err(error) = self.sweep().await {
            tracing::warn!(%error, cause = error.cause().map(tracing::field::display), "cannot tidy up after former imports");
        }
        let mut under_way = JoinSet::new();
        loop {
            while let Some(ended) = under_way.try_join_next() {
                if let Err(error) = ended {
                    tracing::error!(%error, "an import's task died; it is taken up again when its claim has run out");
                }
            }
            if under_way.len() < MOST {
                match self.claim(&draining).await {
                    Ok(Some(merge)) => {
                        under_way.spawn(merge.run());
                        continue;
                    }
                    Ok(None) => {}
                    Err(error) => {
                        tracing::warn!(%error, cause = error.cause().map(tracing::field::display), "cannot look for imports");
                    }
                }
            }
            tokio::select! {
                biased;
                () = draining.cancelled() => break,
                () = sleep(TICK) => {}
            }
        }
        // Each notices by itself that the gateway stops.
        while under_way.join_next().await.is_some() {}
    }

    async fn claim(&self, draining: &CancellationToken) -> Result<Option<Merge>> {
        let token = self.ambient.ulid();
        let Some(row) = self.db.claim_import(&self.gateway, &token, self.ambient.now(), LEASE).await? else { return Ok(None) };
        let session = self.db.session_by_id(&row.session).await?;
        let Some(account) = session.and_then(|session| session.account) else {
            // It was unlinked meanwhile: whose messages these are cannot be told any more.
            let (now, why) = (self.ambient.now(), "the session has no number any more; pair it and import again");
            let error = Some(why.to_owned());
            let failed = BackupImport { status: BackfillStatus::Failed, error, finished_at: Some(now), ..row };
            let mut tx = self.db.begin().await?;
            tx.advance_import(&failed, &token, now, LEASE).await?;
            tx.commit().await?;
            self.forget(&failed.id).await;
            return Ok(None);
        };
        Ok(Some(Merge::new(self.clone(), row, token, account, draining.clone())))
    }

    /// Where the decrypted database of an import lies.
    pub(super) fn database(&self, id: &str) -> PathBuf {
        database(&self.folder, id)
    }

    /// Removes the decrypted database of an import that is over.
    pub(super) async fn forget(&self, id: &str) {
        if let Err(error) = tokio::fs::remove_file(self.database(id)).await {
            tracing::warn!(%error, "a decrypted backup could not be removed; it is tried again at the next start");
        }
    }

    /// Removes it when nobody needs it any more: the import went with its session.
    pub(super) async fn forget_if_gone(&self, id: &str) -> Result<()> {
        if !self.db.running_imports(&self.gateway).await?.contains(id) {
            self.forget(id).await;
        }
        Ok(())
    }

    /// Removes what a crash has left: files of imports that are over, or that never began.
    async fn sweep(&self) -> Result<()> {
        let needed = self.db.running_imports(&self.gateway).await?;
        let Ok(mut entries) = tokio::fs::read_dir(&self.folder).await else { return Ok(()) };
        while let Ok(Some(entry)) = entries.next_entry().await {
            let path = entry.path();
            let id = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            let is_needed = path.extension().is_some_and(|kind| kind == "db") && needed.contains(&id);
            if !is_needed && tokio::fs::remove_file(&path).await.is_err() {
                tracing::warn!("a file that a former import has left could not be removed");
            }
        }
        Ok(())
    }
}
