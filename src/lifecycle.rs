//! How the program ends: in two stages, and with an honest exit code.
//!
//! Stage 1 begins with the first SIGTERM or SIGINT: `draining` is cancelled, no new work is taken, streams end, sessions disconnect.
//! Stage 2 begins when the grace is over or a second signal comes: `terminated` is cancelled, and what still runs is dropped.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::{FutureExt, Stream, StreamExt, stream};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How the program ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// On request, and everything ended by itself.
    Clean,
    /// On request, and something had to be cut.
    Cut,
    /// Because something vital died, or failed while ending.
    Failed,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Clean => Self::SUCCESS,
            Outcome::Cut | Outcome::Failed => Self::FAILURE,
        }
    }
}

/// The life of one running program. Cheap to clone; the clones are the same life.
#[derive(Clone)]
pub struct Lifecycle {
    grace: Duration,
    draining: CancellationToken,
    terminated: CancellationToken,
    vital: TaskTracker,
    failed: Arc<AtomicBool>,
}

impl Lifecycle {
    /// A life whose first stage of ending lasts at most `grace`.
    pub fn new(grace: Duration) -> Self {
        Self {
            grace,
            draining: CancellationToken::new(),
            terminated: CancellationToken::new(),
            vital: TaskTracker::new(),
            failed: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Cancelled when the program begins to end: take no new work and finish what runs.
    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Cancelled when the grace is over: drop what still runs.
    pub fn terminated(&self) -> CancellationToken {
        self.terminated.clone()
    }

    /// Begins the end as a first signal does.
    pub fn shut_down(&self) {
        self.draining.cancel();
    }

    /// Runs `task`, without which the program makes no sense. When it ends, fails or panics before the program began to end, the
    /// program ends with code 1. From then on it shall end by itself, and is dropped at stage 2.
    pub fn spawn_vital<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let life = self.clone();
        self.vital.spawn(async move {
            let ended = tokio::select! {
                biased;
                ended = AssertUnwindSafe(task).catch_unwind() => ended,
                () = life.terminated.cancelled() => {
                    tracing::warn!(task = name, "had to be cut");
                    return;
                }
            };
            match ended {
                Ok(Ok(())) if life.draining.is_cancelled() => return,
                Ok(Ok(())) => tracing::error!(task = name, "a vital task ended; shutting down"),
                Ok(Err(error)) => {
                    tracing::error!(task = name, error = format!("{error:#}"), "a vital task failed; shutting down");
                }
                Err(panic) => tracing::error!(task = name, panic = words(&*panic), "a vital task panicked; shutting down"),
            }
            life.failed.store(true, Ordering::SeqCst);
            life.draining.cancel();
        });
    }

    /// Waits for the program's end: a signal, [`Lifecycle::shut_down`] or the death of a vital task, then both stages.
    /// Fails when the signals cannot be listened to.
    pub async fn wait(&self) -> anyhow::Result<ExitCode> {
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let signals = stream::poll_fn(move |context| {
            if term.poll_recv(context).is_ready() {
                return Poll::Ready(Some("SIGTERM"));
            }
            int.poll_recv(context).map(|_| Some("SIGINT"))
        });
        // A sleep counts from its making, so it is made when the grace begins.
        let grace = async { tokio::time::sleep(self.grace).await };
        let outcome = self.run(signals, grace).await;
        Ok(outcome.into())
    }

    /// Both stages. `signals` never ends; `grace` begins to run when it is first awaited.
    async fn run(&self, mut signals: impl Stream<Item = &'static str> + Unpin, grace: impl Future<Output = ()>) -> Outcome {
        tokio::select! {
            biased;
            () = self.draining.cancelled() => {}
            Some(name) = signals.next() => {
                tracing::info!(signal = name, "shutting down; a second signal ends at once");
                self.draining.cancel();
            }
        }
        self.vital.close();
        let cut = tokio::select! {
            biased;
            () = self.vital.wait() => false,
            Some(name) = signals.next() => {
                tracing::warn!(signal = name, "second signal; ending at once");
                true
            }
            () = grace => {
                tracing::warn!(grace = ?self.grace, "the grace is over; ending at once");
                true
            }
        };
        self.terminated.cancel();
        // Dropping a future takes no time worth a limit, unless it blocks its thread, which no limit here could help.
        self.vital.wait().await;
        match (self.failed.load(Ordering::SeqCst), cut) {
            (true, _) => Outcome::Failed,
            (false, true) => Outcome::Cut,
            (false, false) => Outcome::Clean,
        }
    }
}

/// What a panic said.
fn words(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::sync::mpsc;

    use super::*;

    /// Signals and the end of the grace are given by hand, so that no clock is needed.
    struct Hand {
        signal: mpsc::UnboundedSender<&'static str>,
        grace: CancellationToken,
        life: Lifecycle,
        end: tokio::task::JoinHandle<Outcome>,
    }

    fn live() -> Hand {
        let life = Lifecycle::new(Duration::from_secs(9));
        let (signal, mut signals) = mpsc::unbounded_channel();
        let grace = CancellationToken::new();
        let (own, over) = (life.clone(), grace.clone());
        let end = tokio::spawn(async move {
            let signals = stream::poll_fn(move |context| signals.poll_recv(context));
            own.run(signals, over.cancelled_owned()).await
        });
        Hand { signal, grace, life, end }
    }

    #[tokio::test]
    async fn a_signal_drains_and_the_end_is_clean() {
        let hand = live();
        let draining = hand.life.draining();
        hand.life.spawn_vital("polite", async move {
            draining.cancelled().await;
            Ok(())
        });
        hand.signal.send("SIGTERM").unwrap();
        assert_eq!(hand.end.await.unwrap(), Outcome::Clean);
        assert!(hand.life.terminated().is_cancelled());
    }

    #[tokio::test]
    async fn the_end_of_the_grace_cuts_what_still_runs() {
        let hand = live();
        hand.life.spawn_vital("stubborn", pending());
        hand.signal.send("SIGINT").unwrap();
        hand.life.draining().cancelled().await;
        assert!(!hand.life.terminated().is_cancelled(), "the grace still runs");
        hand.grace.cancel();
        assert_eq!(hand.end.await.unwrap(), Outcome::Cut);
    }

    #[tokio::test]
    async fn a_second_signal_ends_at_once() {
        let hand = live();
        hand.life.spawn_vital("stubborn", pending());
        hand.signal.send("SIGINT").unwrap();
        hand.signal.send("SIGINT").unwrap();
        assert_eq!(hand.end.await.unwrap(), Outcome::Cut);
    }

    #[tokio::test]
    async fn the_death_of_a_vital_task_ends_the_program_and_is_told() {
        type Death = std::pin::Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>>;
        let deaths: [Death; 3] = [
            Box::pin(async { Ok(()) }),
            Box::pin(async { Err(anyhow::anyhow!("no")) }),
            Box::pin(async { panic!("on purpose") }),
        ];
        for death in deaths {
            let hand = live();
            let draining = hand.life.draining();
            hand.life.spawn_vital("dies", death);
            hand.life.spawn_vital("polite", async move {
                draining.cancelled().await;
                Ok(())
            });
            assert_eq!(hand.end.await.unwrap(), Outcome::Failed);
        }
    }

    #[tokio::test]
    async fn a_failure_while_ending_is_told() {
        let hand = live();
        let draining = hand.life.draining();
        hand.life.spawn_vital("fails late", async move {
            draining.cancelled().await;
            anyhow::bail!("could not store")
        });
        hand.life.shut_down();
        assert_eq!(hand.end.await.unwrap(), Outcome::Failed);
    }

    /// The one place where real time has to pass: a program that has lived longer than its grace still gets the whole of it.
    #[tokio::test]
    async fn the_grace_begins_with_the_end() {
        let grace = Duration::from_secs(2);
        let life = Lifecycle::new(grace);
        let draining = life.draining();
        life.spawn_vital("slow to end", async move {
            draining.cancelled().await;
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok(())
        });
        let (waiting, ending) = (life.clone(), life);
        let (code, ()) = tokio::join!(async move { waiting.wait().await.unwrap() }, async move {
            tokio::time::sleep(grace + Duration::from_millis(200)).await;
            ending.shut_down();
        });
        assert_eq!(code, ExitCode::SUCCESS);
    }
}
