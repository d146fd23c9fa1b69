//! Questions to WhatsApp's server: one at a time for each session, slower when the server says so.
//!
//! WhatsApp restricts accounts that ask for group metadata and contacts in bursts. Whoever asks takes a turn first; the turns of one
//! connection come one after another, callers' and background work's alike.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore, TryAcquireError};
use tokio::time::Instant;
use whatsapp_rust::request::IqError;

use super::connection::Sender;
use super::failure::Refused;
use crate::domain::clock::Time;
use crate::error::{Code, Error, Result};

/// How many may wait for their turn; more are refused at once.
const WAITING: usize = 64;

/// How long one question may take.
const LIMIT: Duration = Duration::from_secs(30);

/// The first wait after "too much", which doubles each time.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The longest wait that is chosen here; WhatsApp's own wish counts in any case.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// The turns of one connection.
#[derive(Clone, Debug)]
pub struct Queries {
    pace: Arc<Mutex<Pace>>,
    waiting: Arc<Semaphore>,
    /// When the list of all groups was last asked for, as [`Time`] counts; 0 for never.
    listed_at: Arc<AtomicI64>,
}

#[derive(Debug, Default)]
struct Pace {
    /// No question before this.
    not_before: Option<Instant>,
    /// How often in a row it was too much.
    strikes: u32,
}

impl Default for Queries {
    fn default() -> Self {
        Self { pace: Arc::default(), waiting: Arc::new(Semaphore::new(WAITING)), listed_at: Arc::default() }
    }
}

/// The right to ask, until it is dropped.
#[derive(Debug)]
pub struct Turn(OwnedMutexGuard<Pace>);

impl Sender {
    /// Waits for a turn.
    ///
    /// # Errors
    /// `rate_limited` when too many wait, or when WhatsApp wants to be left alone for longer than `patience`; `timeout` when those
    /// before take longer than that.
    pub async fn turn(&self, patience: Duration) -> Result<Turn> {
        let queries = self.queries();
        let too_many = || Error::new(Code::RateLimited, "too many questions to WhatsApp are waiting").reason("query_queue_full");
        let _place = match queries.waiting.try_acquire() {
            Ok(place) => place,
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => return Err(too_many().retry_after(LIMIT)),
        };
        let end = Instant::now() + patience;
        let late = |_| Error::new(Code::Timeout, "earlier questions to WhatsApp take too long").reason("query_queue_slow");
        let pace = tokio::time::timeout_at(end, queries.pace.clone().lock_owned()).await.map_err(late)?;
        if let Some(not_before) = pace.not_before.filter(|at| *at > Instant::now()) {
            if not_before > end {
                let wait = not_before.saturating_duration_since(Instant::now());
                return Err(slow_down().retry_after(wait));
            }
            tokio::time::sleep_until(not_before).await;
        }
        Ok(Turn(pace))
    }

    /// When the list of all groups was last asked for on this connection.
    pub fn listed_at(&self) -> Option<Time> {
        Some(Time(self.queries().listed_at.load(Ordering::Relaxed))).filter(|at| at.0 > 0)
    }

    /// Notes that the list of all groups was asked for.
    pub fn set_listed_at(&self, at: Time) {
        self.queries().listed_at.store(at.0, Ordering::Relaxed);
    }

    /// Takes a turn and asks one question.
    pub async fn ask<T, E: Into<Refused>>(&self, patience: Duration, question: impl Future<Output = Result<T, E>>) -> Result<T> {
        self.turn(patience).await?.ask(question).await
    }
}

impl Turn {
    /// Asks a question, and remembers when the answer was "too much".
    ///
    /// # Errors
    /// What [`Refused`] becomes; `timeout` without an answer in 30 seconds.
    pub async fn ask<T, E: Into<Refused>>(&mut self, question: impl Future<Output = Result<T, E>>) -> Result<T> {
        let refused = match tokio::time::timeout(LIMIT, question).await {
            Ok(Ok(answer)) => {
                self.0.strikes = 0;
                return Ok(answer);
            }
            Ok(Err(refused)) => refused.into(),
            Err(_) => Refused::Iq(IqError::Timeout),
        };
        if let Some(wish) = refused.is_too_much() {
            let own = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(self.0.strikes)).min(LONGEST_WAIT);
            let wait = wish.map_or(own, |wish| wish.max(own));
            self.0.strikes += 1;
            self.0.not_before = Some(Instant::now() + wait);
            tracing::info!(wait_ms = wait.as_millis(), strikes = self.0.strikes, "WhatsApp wants fewer questions");
            return Err(slow_down().retry_after(wait));
        }
        Err(refused.into())
    }
}

fn slow_down() -> Error {
    Error::new(Code::RateLimited, "WhatsApp wants fewer questions for now").reason("whatsapp_rate_limit")
}
