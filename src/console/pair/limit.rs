//! How much one link may ask for. A page that somebody uses stays far below; a script that has the token gets no further.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::domain::clock::{Ambient, Time};
use crate::domain::ids::PairingLinkId;
use crate::error::{Code, Error, Result};

/// How long a window lasts.
const WINDOW: Duration = Duration::from_secs(600);

/// How many pages of one link may be open at a time.
const OPEN: u32 = 4;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// A page is opened, or opened again.
    Open,
    /// A pairing code is asked for.
    Code,
    /// An answer in the passkey step.
    Passkey,
}

impl Act {
    /// How often it may be done within a window.
    fn most(self) -> u32 {
        match self {
            Self::Open => 60,
            Self::Code => 5,
            Self::Passkey => 20,
        }
    }
}

#[derive(Default)]
struct Used {
    since: Time,
    done: [u32; 3],
    open: u32,
}

/// The counts of all links. Only links that were found alive are counted, and forgotten after their window, which bounds the map.
#[derive(Clone)]
pub(super) struct Limits {
    ambient: Ambient,
    used: Arc<Mutex<HashMap<PairingLinkId, Used>>>,
}

/// An open page; it is not open any more when this is dropped.
pub(super) struct StreamGuard {
    limits: Limits,
    link: PairingLinkId,
}

impl Limits {
    pub(super) fn new(ambient: Ambient) -> Self {
        Self { ambient, used: Arc::default() }
    }

    /// Counts an act, or refuses it.
    pub(super) fn take(&self, link: &PairingLinkId, act: Act) -> Result<()> {
        let now = self.ambient.now();
        let mut all = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|id, used| id == link || used.open > 0 || now.since(used.since) < WINDOW);
        let used = all.entry(link.clone()).or_default();
        if now.since(used.since) >= WINDOW {
            (used.since, used.done) = (now, [0; 3]);
        }
        let count = &mut used.done[act as usize];
        if *count >= act.most() {
            let wait = used.since.plus(WINDOW).since(now);
            return Err(Error::new(Code::RateLimited, "too many tries with this link; wait a few minutes").retry_after(wait));
        }
        *count += 1;
        Ok(())
    }

    /// Counts an open page.
    pub(super) fn stream(&self, link: &PairingLinkId) -> Result<StreamGuard> {
        self.take(link, Act::Open)?;
        let mut all = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let used = all.entry(link.clone()).or_default();
        if used.open >= OPEN {
            let message = "this link is open in too many windows; close the others";
            return Err(Error::new(Code::RateLimited, message).retry_after(Duration::from_secs(5)));
        }
        used.open += 1;
        Ok(StreamGuard { limits: self.clone(), link: link.clone() })
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        let mut all = self.limits.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = all.get_mut(&self.link) {
            used.open = used.open.saturating_sub(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_link_has_its_own_window() {
        let ambient = Ambient::held(Time(1_000_000));
        let limits = Limits::new(ambient.clone());
        let (one, other) = (PairingLinkId::new("1"), PairingLinkId::new("2"));
        for _ in 0..5 {
            limits.take(&one, Act::Code).unwrap();
        }
        let refused = limits.take(&one, Act::Code).unwrap_err();
        assert_eq!((refused.code, refused.retry_after), (Code::RateLimited, Some(WINDOW)));
        limits.take(&one, Act::Passkey).unwrap();
        limits.take(&other, Act::Code).unwrap();
        ambient.advance(WINDOW);
        limits.take(&one, Act::Code).unwrap();
        assert_eq!(limits.used.lock().unwrap().len(), 1, "the other one's window is over and forgotten");
    }

    #[test]
    fn pages_that_close_make_room() {
        let limits = Limits::new(Ambient::held(Time(0)));
        let link = PairingLinkId::new("1");
        let mut open: Vec<_> = (0..OPEN).map(|_| limits.stream(&link).unwrap()).collect();
        assert!(limits.stream(&link).is_err());
        open.pop();
        assert!(limits.stream(&link).is_ok());
    }
}
