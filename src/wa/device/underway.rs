//! Which writes go first.
//!
//! The library notes a received message in two rows: the message, until it is stored for good, and the ratchet that has moved on because
//! of it. It writes them on two tasks. If the ratchet's row were there and the process died before the message's was, the message would come
//! again, look like a repetition, and be gone. So ratchets wait until nothing else has been written for the session for a moment: long enough
//! for a message that is just being decrypted to reach its row. It matters most when the database is back after a silence, for then
//! everything that waited goes on at once.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// How long nothing else must have begun. Between decrypting and the row there is work in memory, and what is asked of the database in
/// between counts as begun.
const MOMENT: Duration = Duration::from_millis(2);

/// The longest wait, for sessions that are never quiet; longer than the pauses of those who wait for the database.
const LIMIT: Duration = Duration::from_secs(5);

/// A session's questions to the database that are being answered.
#[derive(Debug, Default)]
pub(super) struct Underway {
    now: AtomicUsize,
    begun: AtomicU64,
    none: Notify,
}

/// One of them, until it is dropped.
pub(super) struct One<'a>(&'a Underway);

impl Underway {
    pub(super) fn enter(&self) -> One<'_> {
        self.now.fetch_add(1, Ordering::SeqCst);
        self.begun.fetch_add(1, Ordering::SeqCst);
        One(self)
    }

    /// Waits until there has been none for a moment, though not for ever.
    pub(super) async fn quiet(&self) {
        let quiet = async {
            loop {
                let begun = self.begun.load(Ordering::SeqCst);
                self.idle().await;
                sleep(MOMENT).await;
                if self.begun.load(Ordering::SeqCst) == begun {
                    return;
                }
            }
        };
        let _ = timeout(LIMIT, quiet).await;
    }

    async fn idle(&self) {
        loop {
            let told = self.none.notified();
            if self.now.load(Ordering::SeqCst) == 0 {
                return;
            }
            told.await;
        }
    }
}

impl Drop for One<'_> {
    fn drop(&mut self) {
        if self.0.now.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.0.none.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_under_way_goes_first() {
        let underway = Underway::default();
        underway.quiet().await;
        let (first, second) = (underway.enter(), underway.enter());
        let mut quiet = std::pin::pin!(underway.quiet());
        assert!(timeout(MOMENT * 5, &mut quiet).await.is_err(), "two are under way");
        drop(first);
        assert!(timeout(MOMENT * 5, &mut quiet).await.is_err(), "one is");
        drop(second);
        quiet.await;
    }
}
