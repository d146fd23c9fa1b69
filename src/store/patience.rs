//! Patience with a database that restarts or moves to another machine.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::error::{Code, Result};

/// How long one waits for the database to answer again: as long as a session's lease lasts, after which its client is cut anyhow.
const PATIENCE: Duration = Duration::from_secs(30);

/// The first pause and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Does `work` again for as long as the database does not answer, and gives the last error when it takes too long. For work that may be
/// done twice: of a connection that broke during a commit nobody knows whether it took place.
///
/// For what cannot be asked for again. A message whose keys have moved on in memory, but that could not be stored, is lost; a receipt
/// that was acknowledged does not come a second time.
///
/// # Errors
/// What `work` says in the end.
pub async fn patiently<T, F: Future<Output = Result<T>>>(work: impl Fn() -> F) -> Result<T> {
    within(PATIENCE, work).await
}

async fn within<T, F: Future<Output = Result<T>>>(patience: Duration, work: impl Fn() -> F) -> Result<T> {
    let (begun, mut pause) = (Instant::now(), PAUSES.0);
    loop {
        match work().await {
            Err(error) if error.code == Code::Unavailable && begun.elapsed() + pause < patience => {
                tracing::debug!(%error, cause = ?error.cause(), "the database does not answer; it is asked again");
                sleep(pause).await;
                pause = (pause * 2).min(PAUSES.1);
            }
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::error::Error;

    #[tokio::test]
    async fn only_silence_is_waited_for_and_not_for_ever() {
        let asked = AtomicUsize::new(0);
        let ask = async |answers: usize| match asked.fetch_add(1, Ordering::Relaxed) {
            before if before < answers => Err(Error::new(Code::Unavailable, "silent")),
            before => Ok(before),
        };
        assert_eq!(patiently(|| ask(2)).await.unwrap(), 2);
        // The first pause still fits, the next one does not.
        asked.store(0, Ordering::Relaxed);
        let given_up = within(PAUSES.0 * 2, || ask(usize::MAX)).await.unwrap_err();
        assert_eq!((given_up.code, asked.swap(0, Ordering::Relaxed)), (Code::Unavailable, 2));
        let refused = patiently(async || {
            asked.fetch_add(1, Ordering::Relaxed);
            Err::<(), _>(Error::field("x", "wrong"))
        });
        assert_eq!((refused.await.unwrap_err().code, asked.load(Ordering::Relaxed)), (Code::Validation, 1));
    }
}
