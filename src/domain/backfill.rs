//! Backfills: pulling anew what WhatsApp gives directly.

use serde::{Deserialize, Serialize};

use crate::domain::clock::Time;
use crate::domain::ids::{OrganizationId, SessionId};
use crate::domain::session::words;

/// How a backfill stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackfillStatus {
    /// Under way, or waiting for whoever goes on with it.
    Running,
    /// At least one source was pulled.
    Succeeded,
    /// None was, or it was cancelled.
    Failed,
}

words!(BackfillStatus: Running = "running", Succeeded = "succeeded", Failed = "failed");

/// What a backfill is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// People that the device knows already.
    Contacts,
    /// Numbers whose LID is missing.
    Lids,
    /// Which groups there are.
    Groups,
    /// Who is in each of them.
    Members,
    /// Nothing more.
    Done,
}

words!(Phase: Contacts = "contacts", Lids = "lids", Groups = "groups", Members = "members", Done = "done");

/// Something that a backfill could not pull.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// `contacts`, `groups`, or a group's address.
    pub source: String,
    /// Why.
    pub message: String,
}

/// A backfill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillJob {
    /// A ULID.
    pub id: String,
    /// Whose directory is filled.
    pub session: SessionId,
    /// The session's owner.
    pub organization: OrganizationId,
    /// How it stands.
    pub status: BackfillStatus,
    /// What it is at.
    pub phase: Phase,
    /// People pulled.
    pub contacts: i64,
    /// Groups pulled with their members.
    pub groups: i64,
    /// Memberships pulled.
    pub group_members: i64,
    /// How many people there are to pull, once that is known.
    pub total_contacts: Option<i64>,
    /// How many groups there are to pull, once that is known.
    pub total_groups: Option<i64>,
    /// Questions that were put to WhatsApp.
    pub queries: i64,
    /// Where the present phase goes on.
    pub position: String,
    /// What could not be pulled; the first [`MAX_FAILURES`].
    pub failures: Vec<Failure>,
    /// Why it failed.
    pub error: Option<String>,
    /// Whether somebody wants it to end.
    pub cancel_requested: bool,
    /// When it was wanted.
    pub started_at: Time,
    /// When it last came forward.
    pub updated_at: Time,
    /// When it ended.
    pub finished_at: Option<Time>,
}

/// How many failures are told one by one.
pub const MAX_FAILURES: usize = 100;

impl BackfillJob {
    /// A backfill that is to begin.
    pub fn new(id: String, session: SessionId, organization: OrganizationId, now: Time) -> Self {
        Self {
            id,
            session,
            organization,
            status: BackfillStatus::Running,
            phase: Phase::Contacts,
            contacts: 0,
            groups: 0,
            group_members: 0,
            total_contacts: None,
            total_groups: None,
            queries: 0,
            position: String::new(),
            failures: Vec::new(),
            error: None,
            cancel_requested: false,
            started_at: now,
            updated_at: now,
            finished_at: None,
        }
    }

    /// Notes a failure, unless too many were noted already.
    pub fn fail(&mut self, source: &str, message: impl Into<String>) {
        if self.failures.len() < MAX_FAILURES {
            self.failures.push(Failure { source: source.to_owned(), message: message.into() });
        }
    }

    /// Whether this source failed as a whole.
    pub fn has_failed(&self, source: &str) -> bool {
        self.failures.iter().any(|failure| failure.source == source)
    }

    /// What it has dealt with, by the number of its own pieces of work.
    fn work(&self) -> (i64, Option<i64>) {
        // One question per group, one per page of people: groups are what takes the time.
        let failed = self.failures.iter().filter(|failure| failure.source.contains('@')).count();
        let done = self.groups + i64::try_from(failed).unwrap_or(0);
        (done, self.total_groups)
    }

    /// Questions per second since it began.
    pub fn rate(&self, now: Time) -> f64 {
        let elapsed = self.finished_at.unwrap_or(now).since(self.started_at).as_secs_f64();
        if elapsed > 0.0 { f64::from(i32::try_from(self.queries).unwrap_or(i32::MAX)) / elapsed } else { 0.0 }
    }

    /// When it will probably be over: as soon as it has an idea.
    pub fn estimate(&self, now: Time) -> Option<Time> {
        let (done, total) = self.work();
        let left = total?.saturating_sub(done).max(0);
        if self.status != BackfillStatus::Running || done == 0 {
            return None;
        }
        let spent = u64::try_from(now.since(self.started_at).as_millis()).ok()?;
        let wait = spent.checked_mul(u64::try_from(left).ok()?)? / u64::try_from(done).ok()?;
        Some(now.plus(std::time::Duration::from_millis(wait)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_goes_by_what_is_done() {
        let begin = Time(1_760_000_000_000);
        let mut job = BackfillJob::new("j".into(), SessionId::new("s"), OrganizationId::new("o"), begin);
        assert_eq!(job.estimate(begin), None);
        (job.groups, job.total_groups, job.queries) = (25, Some(100), 26);
        let now = Time(begin.0 + 10_000);
        assert_eq!(job.estimate(now), Some(Time(now.0 + 30_000)));
        assert!((job.rate(now) - 2.6).abs() < 0.001);
        job.status = BackfillStatus::Succeeded;
        assert_eq!(job.estimate(now), None);
    }

    #[test]
    fn failures_are_bounded() {
        let mut job = BackfillJob::new("j".into(), SessionId::new("s"), OrganizationId::new("o"), Time(0));
        (0..2 * MAX_FAILURES).for_each(|n| job.fail(&format!("{n}@g.us"), "gone"));
        assert_eq!(job.failures.len(), MAX_FAILURES);
        assert!(!job.has_failed("contacts"));
    }
}
