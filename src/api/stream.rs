//! Streams that end when their caller's credential does.

use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::AbortOnDropHandle;
use tonic::Status;
use tracing::Instrument as _;

use super::status::to_status;
use crate::domain::principal::Principal;
use crate::error::{Code, Error};
use crate::service::Service;

/// How often a stream asks whether its caller would still be let in. With what the answer's cache adds, a revoked key's streams end
/// within two seconds.
const RECHECK: Duration = Duration::from_secs(1);

/// What a streaming call answers with.
pub type Stream<T> = Pin<Box<dyn futures_util::Stream<Item = Result<T, Status>> + Send>>;

/// `items`, until the caller's credential is revoked or expires; then the stream ends with `unauthorized`.
///
/// They are made by a task of its own. A stream is polled only while its client takes what it gets, and whoever stops in the middle of a
/// question to the database would keep a connection that others wait for. One item waits for the client, no more are made meanwhile.
pub fn guarded<T, S>(service: Service, caller: Principal, items: S) -> Stream<T>
where
    T: Send + 'static,
    S: futures_util::Stream<Item = Result<T, Status>> + Send + 'static,
{
    let (out, taken) = mpsc::channel(1);
    let pump = AbortOnDropHandle::new(tokio::spawn(pump(service, caller, items, out).in_current_span()));
    Box::pin(futures_util::stream::unfold((taken, pump), async |(mut taken, pump)| Some((taken.recv().await?, (taken, pump)))))
}

async fn pump<T, S>(service: Service, caller: Principal, items: S, out: mpsc::Sender<Result<T, Status>>)
where
    S: futures_util::Stream<Item = Result<T, Status>>,
{
    let mut recheck = interval(RECHECK);
    recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut items, mut end) = (pin!(items), pin!(until_invalid(service, caller, recheck)));
    loop {
        // Whichever comes first: the end of the credential, or room for the next item and the item.
        let item = tokio::select! {
            biased;
            status = &mut end => Some(Err(status)),
            item = async {
                // Closed when the client is gone.
                let room = out.reserve().await.ok()?;
                drop(room);
                items.next().await
            } => item,
        };
        let Some(item) = item else { return };
        let last = item.is_err();
        if out.send(item).await.is_err() || last {
            return;
        }
    }
}

/// Resolves when the caller would no longer be let in.
async fn until_invalid(service: Service, caller: Principal, mut recheck: tokio::time::Interval) -> Status {
    loop {
        recheck.tick().await;
        match service.is_still_valid(&caller).await {
            Ok(true) => {}
            Ok(false) => return to_status(Error::new(Code::Unauthorized, "the credential was revoked or has expired")),
            // Not being able to ask is no reason to cut a stream.
            Err(e) => tracing::warn!(error = %e, "a stream's credential could not be checked"),
        }
    }
}
