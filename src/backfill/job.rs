//! The work of one backfill.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::worker::{LEASE, Workers};
use crate::domain::backfill::{BackfillJob, BackfillStatus, Phase};
use crate::domain::event::Payload;
use crate::domain::identity::{Names, Seen, Source};
use crate::domain::jid::Address;
use crate::error::{Code, Error, Result};
use crate::wa::connection::Sender;
use crate::wa::failure::Refused;

/// How many cached contacts are taken over at a time.
const CONTACTS: i64 = 500;

/// How many numbers one question asks for.
const PHONES: i64 = 50;

/// How long a backfill waits for the session to be connected, and for WhatsApp to be answering again, before a source counts as failed.
const PATIENCE: Duration = Duration::from_secs(600);

/// How often it looks whether the session is connected again.
const LOOK: Duration = Duration::from_millis(250);

/// How often one question is put that is not answered in time.
const TRIES: u32 = 5;

/// Progress is told at most this often.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Marks what WhatsApp did not answer, as against a store that does not work.
const SOURCE_FAILED: &str = "source_failed";

/// Why a backfill stops before its end.
enum Stop {
    /// The gateway stops, or somebody else works on it.
    Leave,
    /// Somebody wants it to end.
    Cancelled,
    /// The store does not work.
    Broken(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

/// One backfill under way.
pub struct Job {
    workers: Workers,
    row: BackfillJob,
    token: String,
    draining: CancellationToken,
    told: Option<Instant>,
}

impl Job {
    /// The backfill that was claimed with `token`.
    pub(super) fn new(workers: Workers, row: BackfillJob, token: String, draining: CancellationToken) -> Self {
        Self { workers, row, token, draining, told: None }
    }

    /// Works until the end, or until somebody else has to go on.
    pub(super) async fn run(mut self) {
        let (job, session) = (self.row.id.clone(), self.row.session.clone());
        tracing::info!(job, %session, phase = self.row.phase.word(), "a backfill is under way");
        let ended = match Box::pin(self.phases()).await {
            Ok(()) => self.finish().await,
            Err(Stop::Cancelled) => {
                (self.row.status, self.row.error) = (BackfillStatus::Failed, Some("cancelled".to_owned()));
                self.close().await
            }
            Err(Stop::Leave) => {
                if let Err(error) = self.workers.db.release_backfill(&self.row.id, &self.token).await {
                    tracing::warn!(job, %error, "a backfill could not be given back; its claim runs out by itself");
                }
                return;
            }
            Err(Stop::Broken(error)) => Err(error.into()),
        };
        match ended {
            Ok(()) => {
                tracing::info!(job, %session, status = self.row.status.word(), queries = self.row.queries, "a backfill ended");
            }
            Err(Stop::Broken(error)) => {
                // Its claim runs out, and somebody goes on where it is.
                tracing::error!(job, %session, %error, cause = error.cause().map(tracing::field::display), "a backfill came to a halt");
            }
            Err(Stop::Leave | Stop::Cancelled) => {}
        }
    }

    /// The phases that are left. Each source fails by itself.
    async fn phases(&mut self) -> Result<(), Stop> {
        loop {
            let (next, source, done) = match self.row.phase {
                Phase::Contacts => (Phase::Lids, "contacts", self.contacts().await),
                Phase::Lids => (Phase::Groups, "contacts", self.lids().await),
                Phase::Groups => (Phase::Members, "groups", self.groups().await),
                Phase::Members => (Phase::Done, "groups", self.members().await),
                Phase::Done => return Ok(()),
            };
            if let Err(stop) = done {
                let Stop::Broken(error) = stop else { return Err(stop) };
                if error.reason != Some(SOURCE_FAILED) {
                    return Err(Stop::Broken(error));
                }
                tracing::warn!(job = self.row.id, source, %error, "a source of a backfill failed");
                self.row.fail(source, error.message);
            }
            self.row.phase = next;
            self.row.position.clear();
            self.save().await?;
        }
    }

    /// Takes over which LID belongs to which number, as the device has it cached.
    async fn contacts(&mut self) -> Result<(), Stop> {
        let db = self.workers.db.clone();
        self.row.total_contacts = Some(db.cached_contact_count(&self.row.session).await?);
        loop {
            let page = db.cached_contacts(&self.row.session, &self.row.position, CONTACTS).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            let seen = page.iter().filter_map(|(lid, phone)| {
                let addresses = [person(lid, "lid"), person(phone, "s.whatsapp.net")];
                Seen::new(addresses.iter().map(String::as_str), Names::default(), Some(Source::Dm))
            });
            let seen: Vec<Seen> = seen.collect();
            self.row.position.clone_from(last);
            self.row.contacts += i64::try_from(page.len()).unwrap_or(0);
            self.learn(&seen).await?;
        }
    }

    /// Asks WhatsApp for the LIDs of those who are known by number alone.
    async fn lids(&mut self) -> Result<(), Stop> {
        let db = self.workers.db.clone();
        loop {
            let after = self.row.position.parse().unwrap_or(0);
            let page = db.phones_without_lid(&self.row.session, after, PHONES).await?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            let phones: Vec<String> = page.iter().map(|(_, phone)| phone.clone()).collect();
            let question = |sender: Sender| -> BoxFuture<'static, _> {
                let phones = phones.clone();
                Box::pin(async move { sender.check_phones(&phones).await })
            };
            let checked = self.ask(question).await?;
            let seen = checked.into_iter().filter(|one| one.registered).filter_map(|one| {
                let (phone, names) =
                    (person(&one.phone, "s.whatsapp.net"), Names { business: one.business_name, ..Names::default() });
                Seen::new([phone.as_str()].into_iter().chain(one.lid.as_deref()), names, None)
            });
            let seen: Vec<Seen> = seen.collect();
            self.row.position = last.to_string();
            self.row.contacts += i64::try_from(page.len()).unwrap_or(0);
            self.learn(&seen).await?;
        }
    }

    /// Stores people together with how far the backfill has come.
    async fn learn(&mut self, seen: &[Seen]) -> Result<(), Stop> {
        let mut recording = self.workers.log.begin().await?;
        recording.tx.learn(&self.row.session, seen, self.workers.ambient.now()).await?;
        self.commit(recording).await
    }

    /// Asks which groups there are, and makes a list of them.
    async fn groups(&mut self) -> Result<(), Stop> {
        let joined = self.ask(|sender| Box::pin(async move { sender.joined_groups().await })).await?;
        let now = self.workers.ambient.now();
        let mut recording = self.workers.log.begin().await?;
        for group in &joined {
            recording.tx.record_group(&self.row.session, group, now).await?;
        }
        let jids: Vec<&str> = joined.iter().map(|group| group.jid.as_str()).collect();
        recording.tx.add_backfill_groups(&self.row.id, &jids).await?;
        self.row.total_groups = Some(i64::try_from(jids.len()).unwrap_or(i64::MAX));
        self.commit(recording).await
    }

    /// Asks for the members of one group after another.
    async fn members(&mut self) -> Result<(), Stop> {
        let db = self.workers.db.clone();
        while let Some(jid) = db.next_backfill_group(&self.row.id).await? {
            let group = Address::parse("group", &jid)?;
            let question = |sender: Sender| -> BoxFuture<'static, _> {
                let group = group.clone();
                Box::pin(async move { sender.group(&group).await })
            };
            let facts = match self.ask(question).await {
                Ok(facts) => Some(facts),
                // Left meanwhile, dissolved, not to be seen: this one alone.
                Err(Stop::Broken(error)) if is_refusal(&error) => {
                    self.row.fail(&jid, error.message);
                    None
                }
                Err(stop) => return Err(stop),
            };
            let mut recording = self.workers.log.begin().await?;
            let members = facts.as_ref().and_then(|facts| facts.members.as_ref());
            let members = members.map(|members| i64::try_from(members.len()).unwrap_or(i64::MAX));
            if let Some(facts) = &facts {
                recording.tx.record_group(&self.row.session, facts, self.workers.ambient.now()).await?;
            }
            recording.tx.finish_backfill_group(&self.row.id, &jid, members).await?;
            if let Some(members) = members {
                self.row.groups += 1;
                self.row.group_members += members;
            }
            self.commit(recording).await?;
        }
        Ok(())
    }

    /// Puts one question, as often as it takes: waits for the connection, and for as long as WhatsApp wants.
    async fn ask<T>(&mut self, question: impl Fn(Sender) -> BoxFuture<'static, Result<T, Refused>> + Send) -> Result<T, Stop> {
        let end = Instant::now() + PATIENCE;
        let mut tries = 0;
        loop {
            let sender = self.online(end).await?;
            self.row.queries += 1;
            let mut error = match sender.turn(LEASE / 2).await {
                Ok(mut turn) => match turn.ask(question(sender.clone())).await {
                    Ok(answer) => return Ok(answer),
                    Err(error) => error,
                },
                // Not even put.
                Err(error) => {
                    self.row.queries -= 1;
                    error
                }
            };
            let passes = match error.code {
                Code::RateLimited | Code::SessionNotConnected | Code::Unavailable => true,
                Code::Timeout => {
                    tries += 1;
                    tries < TRIES
                }
                _ => false,
            };
            if !passes || Instant::now() > end {
                if error.code == Code::Internal {
                    // Of one question, not of the store: told as such, with its cause in the log.
                    tracing::warn!(
                        job = self.row.id,
                        cause = error.cause().map(tracing::field::display),
                        "an answer of WhatsApp is not understood"
                    );
                    error = Error::new(Code::Conflict, "WhatsApp's answer is not understood");
                }
                return Err(Stop::Broken(error.reason(SOURCE_FAILED)));
            }
            self.save().await?;
            self.pause(error.retry_after.unwrap_or(LOOK).min(LEASE / 2)).await?;
        }
    }

    /// The way to ask, as soon as the session is connected.
    async fn online(&mut self, end: Instant) -> Result<Sender, Stop> {
        let mut saved = Instant::now();
        loop {
            let live = self.workers.supervisor.live(&self.row.session);
            if let Some(sender) = live.and_then(|live| live.borrow().online().cloned()) {
                return Ok(sender);
            }
            if Instant::now() > end {
                let error = Error::new(Code::SessionNotConnected, "the session is not connected").reason(SOURCE_FAILED);
                return Err(Stop::Broken(error));
            }
            if saved.elapsed() > LEASE / 4 {
                self.save().await?;
                saved = Instant::now();
            }
            self.pause(LOOK).await?;
        }
    }

    async fn pause(&self, span: Duration) -> Result<(), Stop> {
        tokio::select! {
            biased;
            () = self.draining.cancelled() => Err(Stop::Leave),
            () = sleep(span) => Ok(()),
        }
    }

    /// Stores how far it has come.
    async fn save(&mut self) -> Result<(), Stop> {
        let recording = self.workers.log.begin().await?;
        self.commit(recording).await
    }

    /// Commits a piece of work together with how far that brings the backfill, and tells it from time to time.
    async fn commit(&mut self, mut recording: crate::event::Recording) -> Result<(), Stop> {
        let now = self.workers.ambient.now();
        self.row.updated_at = now;
        let Some(cancel) = recording.tx.advance_backfill(&self.row, &self.token, now, LEASE).await? else {
            return Err(Stop::Leave);
        };
        let over = self.row.finished_at.is_some();
        if over || self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            self.told = Some(Instant::now());
            let progress = Payload::BackfillProgress(Box::new(self.row.clone()));
            recording.tell(&self.row.organization, &self.row.session, progress);
        }
        recording.commit().await?;
        if cancel && !over {
            return Err(Stop::Cancelled);
        }
        if self.draining.is_cancelled() && !over {
            return Err(Stop::Leave);
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), Stop> {
        let (contacts, groups) = (self.row.has_failed("contacts"), self.row.has_failed("groups"));
        self.row.status = if contacts && groups { BackfillStatus::Failed } else { BackfillStatus::Succeeded };
        if contacts && groups {
            self.row.error = self.row.failures.first().map(|failure| failure.message.clone());
        }
        self.close().await
    }

    async fn close(&mut self) -> Result<(), Stop> {
        self.row.finished_at = Some(self.workers.ambient.now());
        self.save().await
    }
}

/// Whether WhatsApp refused this one question, and others may be answered.
fn is_refusal(error: &Error) -> bool {
    error.reason == Some(SOURCE_FAILED)
        && !matches!(error.code, Code::SessionNotConnected | Code::RateLimited | Code::Unavailable)
}

/// The address of a person that is kept without its server.
fn person(user: &str, server: &str) -> String {
    if user.contains('@') { user.to_owned() } else { format!("{user}@{server}") }
}
