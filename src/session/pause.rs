//! The time between two connections of a session.

use std::time::Duration;

use tokio::time::Instant;

use super::actor::{Actor, Command, Memory};
use super::recorder::Written;
use crate::domain::payload::Restriction;
use crate::domain::session::{Reason, State, Status};

impl Actor {
    /// Waits for the next attempt; true when the actor is over.
    pub(super) async fn wait(&mut self, memory: &mut Memory, reason: Reason, wait: Option<Duration>) -> bool {
        let troubled = *memory.troubled_since.get_or_insert_with(Instant::now);
        let wait = wait.unwrap_or_else(|| memory.backoff.next(&self.context.ambient, &self.context.timing));
        let (status, reason) = match troubled.elapsed() > self.context.timing.hopeful {
            true => (Status::Failed, Reason::ConnectTimeout),
            false => (Status::Starting, reason),
        };
        let now = self.now();
        let state = State { until: Some(now.plus(wait)), ..State::new(status, reason, now) };
        match self.show(state).await {
            Ok(true) => {}
            Ok(false) => return true,
            Err(e) => {
                tracing::error!(session = %self.session, error = %e, cause = ?e.cause(), "the session's state could not be recorded");
            }
        }
        self.pause(wait).await
    }

    /// Tells that the number is banned for a time, and waits until that is over; true when the actor is.
    pub(super) async fn banned(&mut self, memory: &mut Memory, code: String, ttl: Duration) -> bool {
        memory.troubled_since.get_or_insert_with(Instant::now);
        tracing::warn!(session = %self.session, code, seconds = ttl.as_secs(), "WhatsApp has banned the number for a time");
        let now = self.now();
        let state = State { until: Some(now.plus(ttl)), ..State::new(Status::Failed, Reason::Banned, now) };
        let told = Restriction {
            restricted: true,
            kind: "banned".to_owned(),
            code: Some(code),
            message: Reason::Banned.sentence().to_owned(),
            until: state.until,
        };
        match self.recorder.restricted(told, state.clone()).await {
            Ok(Written::Yes) => self.live.send_modify(|live| live.state = state),
            Ok(Written::Fenced) => return true,
            Err(e) => {
                tracing::error!(session = %self.session, error = %e, cause = ?e.cause(), "the session's ban could not be recorded");
            }
        }
        self.pause(ttl).await
    }

    /// Waits for the end of a ban that came before this actor: WhatsApp is left alone meanwhile, unless a caller wants a try, who has
    /// given the row another state. True when the actor is over.
    pub(super) async fn sit_out(&mut self, memory: &mut Memory) -> bool {
        let (state, now) = (self.live.borrow().state.clone(), self.now());
        let Some(until) = state.until.filter(|until| state.reason == Reason::Banned && *until > now) else { return false };
        memory.troubled_since.get_or_insert_with(Instant::now);
        self.pause(until.since(now)).await
    }

    /// Waits before the next attempt; true when the actor is over.
    async fn pause(&mut self, wait: Duration) -> bool {
        let next = Instant::now() + wait;
        loop {
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => return true,
                Some(command) = self.commands.recv() => if let Command::Logout(done) = command {
                    let over = self.end(Status::LoggedOut, Reason::LoggedOut).await;
                    let _ = done.send(());
                    return over;
                },
                () = tokio::time::sleep_until(next) => return false,
            }
        }
    }
}
