//! How long to wait before the next attempt.

use std::time::Duration;

use super::timing::Timing;
use crate::domain::clock::Ambient;

/// A connection that lasted this long counts as stable, and the waiting begins anew after it.
pub const STABLE: Duration = Duration::from_secs(30);

/// Doubling waits with a fifth of jitter, by default from one second to five minutes.
#[derive(Clone, Debug, Default)]
pub struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// The next wait.
    pub fn next(&mut self, ambient: &Ambient, timing: &Timing) -> Duration {
        let wait = timing.first_wait.saturating_mul(2u32.saturating_pow(self.attempts)).min(timing.longest_wait);
        self.attempts = self.attempts.saturating_add(1).min(16);
        let [random] = ambient.random::<1>();
        // From four fifths to six fifths.
        wait.mul_f64(0.8 + 0.4 * f64::from(random) / 255.0)
    }

    /// Begins anew; to be called after a connection that lasted [`STABLE`], never earlier.
    pub fn reset(&mut self) {
        self.attempts = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes_and_differ() {
        let (ambient, timing, mut backoff) = (Ambient::system(), Timing::default(), Backoff::default());
        let waits: Vec<f64> = (0..12).map(|_| backoff.next(&ambient, &timing).as_secs_f64()).collect();
        for (n, wait) in waits.iter().enumerate() {
            let middle = 2f64.powi(i32::try_from(n).unwrap()).min(300.0);
            assert!((0.79..=1.21).contains(&(wait / middle)), "wait {n} is {wait}");
        }
        backoff.reset();
        assert!(backoff.next(&ambient, &timing).as_secs_f64() < 1.3);
    }
}
