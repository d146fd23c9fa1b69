//! Time, randomness and fresh ids, passed in from the composition root so that tests can hold them still.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::Rng;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

/// A moment, in milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(pub i64);

impl Time {
    /// This moment and `span` more.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This moment, `span` earlier.
    #[must_use]
    pub fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(span.as_millis()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this moment is; zero when it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// Whether `now` is less than `span` after this moment. Not when it is before it: then the clock was set back, and nothing is known.
    pub fn holds(self, now: Self, span: Duration) -> bool {
        now >= self && now.since(self) < span
    }

    /// From whole seconds since 1970.
    pub fn from_secs(secs: i64) -> Self {
        Self(secs.saturating_mul(1000))
    }
}

#[derive(Clone, Debug)]
enum Clock {
    System,
    Held(Arc<AtomicI64>),
}

/// The clock and the random source of one running program (or of one test). Cheap to clone.
#[derive(Clone, Debug)]
pub struct Ambient {
    clock: Clock,
    /// The latest id that was made.
    last: Arc<Mutex<Ulid>>,
}

impl Ambient {
    /// The machine's own clock. Made once, in the composition root.
    pub fn system() -> Self {
        Self { clock: Clock::System, last: Arc::default() }
    }

    /// A clock that stands at `start` until [`Ambient::advance`] moves it.
    pub fn held(start: Time) -> Self {
        Self { clock: Clock::Held(Arc::new(AtomicI64::new(start.0))), last: Arc::default() }
    }

    /// Moves a held clock; the system's clock stays as it is.
    pub fn advance(&self, span: Duration) {
        if let Clock::Held(now) = &self.clock {
            now.fetch_add(i64::try_from(span.as_millis()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }

    /// The present moment.
    pub fn now(&self) -> Time {
        match &self.clock {
            #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the machine for the time")]
            Clock::System => {
                let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
            }
            Clock::Held(now) => Time(now.load(Ordering::SeqCst)),
        }
    }

    /// `N` bytes from the operating system's random source, good for secrets.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks for randomness")]
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        rand::rng().fill_bytes(&mut bytes);
        bytes
    }

    /// A random generator good for secrets, seeded by the operating system, for code that wants to draw from one itself.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks for randomness")]
    pub fn rng(&self) -> rand::rngs::StdRng {
        rand::SeedableRng::from_rng(&mut rand::rng())
    }

    /// A fresh id that sorts behind every earlier one, those of the same millisecond too.
    pub fn ulid(&self) -> String {
        let now = u64::try_from(self.now().0).unwrap_or(0);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        *last = if now > last.timestamp_ms() {
            // With room for those that follow in this millisecond.
            Ulid::from_parts(now, u128::from_be_bytes(self.random()) & (u128::MAX >> 49))
        } else {
            Ulid(last.0.saturating_add(1 + u128::from(u32::from_be_bytes(self.random()))))
        };
        last.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_their_making_within_a_millisecond_too() {
        let ambient = Ambient::held(Time(1_800_000_000_000));
        let other = ambient.clone();
        let ids: Vec<String> = (0..1000).map(|n| if n % 2 == 0 { ambient.ulid() } else { other.ulid() }).collect();
        assert!(ids.is_sorted_by(|a, b| a < b));
        ambient.advance(Duration::from_millis(1));
        assert!(ambient.ulid() > ids[999]);
    }
}
