//! `sessions backfill`: pulls a session's directory anew and, if asked to, shows how it comes on.

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::client::{Connection, Target, call};
use super::{Failure, Outcome, output, render};
use crate::proto::gateway::{BackfillJob, BackfillStatus, GetBackfillRequest, StartBackfillRequest, WatchBackfillRequest};

/// How often a lost stream is opened again before the command gives up.
const ATTEMPTS: u32 = 5;

pub(super) async fn run(target: &Target, connection: &Connection, session: String, watch: bool) -> Outcome {
    let started = connection.backfills().start_backfill(call(StartBackfillRequest { session: session.clone() })).await;
    let job = match started {
        Ok(job) => job.into_inner(),
        // Somebody started it before: that one is watched.
        Err(status) if watch && matches!(status.code(), tonic::Code::Aborted | tonic::Code::AlreadyExists) => {
            connection.backfills().get_backfill(call(GetBackfillRequest { session: session.clone() })).await?.into_inner()
        }
        Err(status) => return Err(status.into()),
    };
    if !watch {
        return finish(target, &job);
    }
    let bar = bar();
    show(&bar, &job);
    let (mut last, mut lost) = (job, 0);
    while last.status() == BackfillStatus::Running {
        match follow(connection, &session, &bar, &mut last).await {
            Ok(()) => {}
            Err(failure) if failure.passes() && lost < ATTEMPTS => {
                lost += 1;
                bar.set_message(format!("lost the gateway ({}), trying again", failure.line()));
                tokio::time::sleep(Duration::from_secs(1 << lost.min(4))).await;
            }
            Err(failure) => {
                bar.finish_and_clear();
                return Err(failure);
            }
        }
    }
    bar.finish_and_clear();
    finish(target, &last)
}

async fn follow(connection: &Connection, session: &str, bar: &ProgressBar, last: &mut BackfillJob) -> Result<(), Failure> {
    let request = WatchBackfillRequest { session: session.to_owned() };
    let mut updates = connection.backfills().watch_backfill(request).await?.into_inner();
    while let Some(job) = updates.message().await? {
        show(bar, &job);
        *last = job;
    }
    Ok(())
}

/// Invisible unless a person looks at the standard error output.
fn bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {wide_bar} {pos}/{len} groups  {msg}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr()).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

fn show(bar: &ProgressBar, job: &BackfillJob) {
    bar.set_length(job.total_groups.and_then(|total| u64::try_from(total).ok()).unwrap_or(0));
    bar.set_position(u64::try_from(job.groups).unwrap_or(0));
    let phase = render::word("BackfillPhase", job.phase);
    let failures = if job.failures.is_empty() { String::new() } else { format!(", {} failures", job.failures.len()) };
    bar.set_message(format!(
        "{phase}: {} contacts, {} members, {:.1} questions/s{failures}",
        job.contacts, job.group_members, job.queries_per_second
    ));
}

fn finish(target: &Target, job: &BackfillJob) -> Outcome {
    if target.json {
        output::json(&render::json("BackfillJob", job)?)?;
    } else {
        output::sheet(&[
            ("id", job.id.clone()),
            ("status", render::word("BackfillStatus", job.status)),
            ("phase", render::word("BackfillPhase", job.phase)),
            ("contacts", job.contacts.to_string()),
            ("groups", job.groups.to_string()),
            ("members", job.group_members.to_string()),
            ("questions", format!("{} ({:.1} per second)", job.queries, job.queries_per_second)),
            ("error", job.error.clone().unwrap_or_default()),
            ("started", render::moment(job.started_at.as_ref())),
            ("finished", render::moment(job.finished_at.as_ref())),
        ])?;
        for failure in &job.failures {
            output::line(format_args!("failed: {}: {}", failure.source, failure.message))?;
        }
    }
    Ok(if job.status() == BackfillStatus::Failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
