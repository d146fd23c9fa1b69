//! Backfills.

use super::timestamp;
use crate::domain::backfill::{BackfillJob, BackfillStatus, Phase};
use crate::domain::clock::Time;
use crate::proto::gateway as pb;

/// A backfill as it stands at the moment.
pub fn backfill(it: BackfillJob, now: Time) -> pb::BackfillJob {
    let status = match it.status {
        BackfillStatus::Running => pb::BackfillStatus::Running,
        BackfillStatus::Succeeded => pb::BackfillStatus::Succeeded,
        BackfillStatus::Failed => pb::BackfillStatus::Failed,
    };
    let phase = match it.phase {
        Phase::Contacts => pb::BackfillPhase::Contacts,
        Phase::Lids => pb::BackfillPhase::Lids,
        Phase::Groups => pb::BackfillPhase::Groups,
        Phase::Members => pb::BackfillPhase::Members,
        Phase::Done => pb::BackfillPhase::Done,
    };
    let failures = it.failures.iter();
    pb::BackfillJob {
        status: status.into(),
        phase: phase.into(),
        queries_per_second: it.rate(now),
        estimated_finish_at: it.estimate(now).map(timestamp),
        failures: failures.map(|one| pb::BackfillFailure { source: one.source.clone(), message: one.message.clone() }).collect(),
        id: it.id,
        session_id: it.session.to_string(),
        organization_id: it.organization.to_string(),
        contacts: it.contacts,
        groups: it.groups,
        group_members: it.group_members,
        started_at: Some(timestamp(it.started_at)),
        finished_at: it.finished_at.map(timestamp),
        error: it.error,
        total_contacts: it.total_contacts,
        total_groups: it.total_groups,
        queries: it.queries,
        updated_at: Some(timestamp(it.updated_at)),
    }
}
