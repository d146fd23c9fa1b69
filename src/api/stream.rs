//! Streams that end when their caller's credential does.

use std::pin::Pin;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{MissedTickBehavior, interval};
use tonic::Status;

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
pub fn guarded<T, S>(service: Service, caller: Principal, items: S) -> Stream<T>
where
    T: Send + 'static,
    S: futures_util::Stream<Item = Result<T, Status>> + Send + 'static,
{
    let mut recheck = interval(RECHECK);
    recheck.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = until_invalid(service, caller, recheck);
    // Whichever comes first: the end of the credential, or the next item.
    Box::pin(futures_util::stream::unfold(Some((Box::pin(items), Box::pin(end))), async |state| {
        let (mut items, mut end) = state?;
        tokio::select! {
            biased;
            status = &mut end => Some((Err(status), None)),
            item = items.next() => {
                let item = item?;
                let state = item.is_ok().then_some((items, end));
                Some((item, state))
            },
        }
    }))
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
