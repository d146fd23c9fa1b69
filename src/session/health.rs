//! Whether a working session fares well. Told when it begins to be in trouble and when that is over, and not in between.

use std::collections::VecDeque;
use std::time::Duration;

use crate::domain::clock::Time;
use crate::domain::event::Health;
use crate::domain::payload::Problem;

/// So many losses of the connection within [`WINDOW`] are trouble.
const LOSSES: usize = 5;

/// The span in which losses are counted.
const WINDOW: Duration = Duration::from_secs(600);

/// What is remembered of a session's troubles.
#[derive(Debug, Default)]
pub struct Watch {
    losses: VecDeque<Time>,
    trouble: Option<(Problem, Time)>,
}

impl Watch {
    /// Notes that the connection was lost; what is to be told, if that is news.
    pub fn lost(&mut self, now: Time) -> Option<Health> {
        self.losses.retain(|earlier| earlier.holds(now, WINDOW));
        self.losses.push_back(now);
        if self.losses.len() < LOSSES {
            return None;
        }
        self.losses.clear();
        self.trouble(Problem::Flapping, now)
    }

    /// Notes a problem; what is to be told, if that is news.
    pub fn trouble(&mut self, problem: Problem, now: Time) -> Option<Health> {
        if self.trouble.is_some_and(|(known, _)| known == problem) {
            return None;
        }
        self.trouble = Some((problem, now));
        Some(Health { healthy: false, problem, since: now })
    }

    /// Notes that the session works, and has worked for a while; what is to be told, if that is news.
    pub fn well(&mut self) -> Option<Health> {
        let (problem, since) = self.trouble.take()?;
        Some(Health { healthy: true, problem, since })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_is_told_when_it_begins_and_when_it_ends() {
        let mut watch = Watch::default();
        assert_eq!(watch.well(), None);
        let told = watch.trouble(Problem::Deaf, Time(1)).unwrap();
        assert_eq!((told.healthy, told.problem, told.since), (false, Problem::Deaf, Time(1)));
        assert_eq!(watch.trouble(Problem::Deaf, Time(2)), None);
        assert!(watch.trouble(Problem::SaverHalted, Time(3)).is_some(), "another problem is news");
        let told = watch.well().unwrap();
        assert_eq!((told.healthy, told.problem, told.since), (true, Problem::SaverHalted, Time(3)));
        assert_eq!(watch.well(), None);
    }

    #[test]
    fn losses_count_within_their_span() {
        let mut watch = Watch::default();
        for at in 0..12 {
            // One every three minutes is no flapping.
            assert_eq!(watch.lost(Time::from_secs(at * 180)), None);
        }
        let told: Vec<bool> = (0..4).map(|_| watch.lost(Time::from_secs(12 * 180)).is_some()).collect();
        assert_eq!(told.iter().filter(|told| **told).count(), 1, "{told:?}");
    }
}
