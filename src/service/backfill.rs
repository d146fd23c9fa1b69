//! Backfills: started, looked at and ended by the platform's own people.

use std::time::Duration;

use futures_util::Stream;

use super::Service;
use super::admin::require_platform;
use crate::domain::backfill::{BackfillJob, BackfillStatus};
use crate::domain::ids::SessionId;
use crate::domain::principal::Principal;
use crate::domain::session::Session;
use crate::error::{Code, Error, Result};

/// How often a watcher looks.
const LOOK: Duration = Duration::from_millis(500);

impl Service {
    /// Starts a backfill of a session of whichever organization.
    pub async fn start_backfill(&self, caller: &Principal, id: &SessionId) -> Result<BackfillJob> {
        require_platform(caller)?;
        if !self.0.backfill {
            return Err(Error::new(Code::NotImplemented, "this gateway is configured to do no backfills (`backfill = false`)"));
        }
        let session = self.any_session(id).await?;
        if session.account.is_none() {
            let text = "no number is attached to the session; pair it first";
            return Err(Error::new(Code::SessionNotConnected, text).reason("not_paired"));
        }
        self.online(&session)?;
        let job = BackfillJob::new(self.0.ambient.ulid(), session.id, session.organization, self.0.ambient.now());
        let mut tx = self.0.db.begin().await?;
        match tx.insert_backfill(&job).await {
            Ok(()) => tx.commit().await?,
            Err(e) if e.code == Code::Conflict => {
                let text = "a backfill is already running for this session; wait until it ends";
                return Err(Error::new(Code::Conflict, text).reason("backfill_running"));
            }
            Err(e) => return Err(e),
        }
        Ok(job)
    }

    /// The backfill that runs, or else the latest.
    pub async fn get_backfill(&self, caller: &Principal, id: &SessionId) -> Result<BackfillJob> {
        require_platform(caller)?;
        self.any_session(id).await?;
        self.0.db.latest_backfill(id).await?.ok_or_else(|| Error::not_found("backfill"))
    }

    /// Ends the backfill that runs.
    pub async fn cancel_backfill(&self, caller: &Principal, id: &SessionId) -> Result<BackfillJob> {
        require_platform(caller)?;
        self.any_session(id).await?;
        if !self.0.db.cancel_backfill(id).await? {
            return Err(Error::new(Code::Conflict, "no backfill is running for this session").reason("no_backfill_running"));
        }
        self.get_backfill(caller, id).await
    }

    /// How the backfill stands now, then each change, until it ends.
    pub async fn watch_backfill(
        &self,
        caller: &Principal,
        id: &SessionId,
    ) -> Result<impl Stream<Item = Result<BackfillJob>> + use<>> {
        let first = self.get_backfill(caller, id).await?;
        let (db, job) = (self.0.db.clone(), first.id.clone());
        // What was shown last, and whether that is still to be shown.
        let begin = Some((first, true));
        Ok(futures_util::stream::unfold(begin, move |state| {
            let (db, job) = (db.clone(), job.clone());
            async move {
                let (shown, fresh) = state?;
                if fresh {
                    let next = (shown.status == BackfillStatus::Running).then(|| (shown.clone(), false));
                    return Some((Ok(shown), next));
                }
                loop {
                    tokio::time::sleep(LOOK).await;
                    match db.backfill(&job).await {
                        Ok(Some(now)) if now == shown => {}
                        Ok(Some(now)) => {
                            let next = (now.status == BackfillStatus::Running).then(|| (now.clone(), false));
                            return Some((Ok(now), next));
                        }
                        // It went with its session.
                        Ok(None) => return None,
                        Err(e) => return Some((Err(e), None)),
                    }
                }
            }
        }))
    }

    pub(super) async fn any_session(&self, id: &SessionId) -> Result<Session> {
        self.0.db.session_by_id(id).await?.ok_or_else(|| Error::not_found("session"))
    }
}
