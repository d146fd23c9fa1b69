//! Schedules of faults: every account is struck again and again by dice of its own, so that what one account does does not change what
//! another one meets.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::World;
use crate::domain::clock::Time;
use crate::error::{Code, Error, Result};
use crate::sandbox::fault::{
    FaultKind, FaultSchedule, FaultSpec, Injection, REPORTED, ScheduleSpec, ScheduledCount, ScheduledInjection,
};

/// How many schedules there may be, ended ones included.
const MAX_SCHEDULES: usize = 100;

/// A schedule with its dice.
pub(super) struct Scheduled {
    spec: ScheduleSpec,
    started: Time,
    ends: Time,
    /// When which account is struck next.
    next: BTreeSet<(Time, String)>,
    dice: HashMap<String, StdRng>,
    counts: BTreeMap<FaultKind, (u64, u64)>,
    injections: VecDeque<ScheduledInjection>,
    /// Ends the task that waits for the next moment.
    _waiting: DropGuard,
}

/// All schedules, by id.
#[derive(Default)]
pub(super) struct Schedules {
    running: BTreeMap<u64, Scheduled>,
    next: u64,
}

impl Schedules {
    /// A fault of a schedule has struck.
    pub(super) fn struck(&mut self, id: u64, kind: FaultKind, injection: Injection) {
        let Some(schedule) = self.running.get_mut(&id) else { return };
        schedule.counts.entry(kind).or_default().1 += 1;
        if schedule.injections.len() == REPORTED {
            schedule.injections.pop_front();
        }
        schedule.injections.push_back(ScheduledInjection { kind, injection });
    }
}

impl Scheduled {
    fn show(&self, id: u64, now: Time) -> FaultSchedule {
        let counts =
            self.counts.iter().map(|(kind, (due, injected))| ScheduledCount { kind: *kind, due: *due, injected: *injected });
        FaultSchedule {
            id,
            spec: self.spec.clone(),
            started_at: self.started,
            ends_at: self.ends,
            running: now < self.ends,
            accounts: self.dice.len(),
            counts: counts.collect(),
            injections: self.injections.iter().cloned().collect(),
        }
    }
}

/// How long until the next one: many short spans and few long ones, as things go wrong that know nothing of each other.
fn span(dice: &mut StdRng, mean: Duration) -> Duration {
    let luck: f64 = dice.random();
    mean.mul_f64(-(1.0 - luck).max(f64::MIN_POSITIVE).ln())
}

/// An account's own dice.
fn dice(seed: i64, number: &str) -> StdRng {
    StdRng::from_seed(Sha256::new().chain_update(seed.to_be_bytes()).chain_update(number).finalize().into())
}

impl World {
    /// Begins a schedule. Gives it and the token that ends with it.
    pub(in crate::sandbox) fn begin_schedule(&mut self, spec: ScheduleSpec) -> Result<(FaultSchedule, CancellationToken)> {
        spec.check()?;
        if self.schedules.running.len() >= MAX_SCHEDULES {
            return Err(Error::new(Code::RateLimited, "there are too many schedules; delete some").reason("too_many_schedules"));
        }
        for number in &spec.phone_numbers {
            self.known(number)?;
        }
        let now = self.ambient.now();
        let ends = now.plus(spec.run);
        let numbers =
            if spec.phone_numbers.is_empty() { self.accounts.keys().cloned().collect() } else { spec.phone_numbers.clone() };
        let with_dice = numbers.into_iter().map(|number| (number.clone(), dice(spec.seed, &number)));
        let mut dice: HashMap<String, StdRng> = with_dice.collect();
        let next = dice.iter_mut().map(|(number, dice)| (now.plus(span(dice, spec.interval)), number.clone())).collect();
        let token = CancellationToken::new();
        let (counts, injections, waiting) = (BTreeMap::new(), VecDeque::new(), token.clone().drop_guard());
        let schedule = Scheduled { spec, started: now, ends, next, dice, counts, injections, _waiting: waiting };
        self.schedules.next += 1;
        let id = self.schedules.next;
        let shown = schedule.show(id, now);
        self.schedules.running.insert(id, schedule);
        Ok((shown, token))
    }

    /// Strikes whom it is time for. Gives how long to wait for the next one; `None` when the schedule is over.
    pub(in crate::sandbox) fn advance_schedule(&mut self, id: u64) -> Option<Duration> {
        let now = self.ambient.now();
        loop {
            let schedule = self.schedules.running.get_mut(&id)?;
            let (at, number) =
                schedule.next.first().filter(|(at, _)| *at < schedule.ends).cloned().unwrap_or((schedule.ends, String::new()));
            if at > now {
                return Some(at.since(now));
            }
            if number.is_empty() {
                schedule.next.clear();
                self.disarm_scheduled(id, None);
                return None;
            }
            schedule.next.pop_first();
            let dice = schedule.dice.get_mut(&number)?;
            let kind = *schedule.spec.kinds.get(dice.random_range(0..schedule.spec.kinds.len()))?;
            schedule.next.insert((at.plus(span(dice, schedule.spec.interval)), number.clone()));
            schedule.counts.entry(kind).or_default().0 += 1;
            let spec = FaultSpec {
                kind,
                phone_number: number.clone(),
                stanza: schedule.spec.stanza.clone(),
                count: Some(1),
                probability: None,
                seed: 0,
                code: schedule.spec.code,
                duration: schedule.spec.duration,
                bytes_per_second: schedule.spec.bytes_per_second,
            };
            // One at a time: what has met nothing to strike is given up.
            self.disarm_scheduled(id, Some(&number));
            self.arm_unchecked(spec, Some(id));
        }
    }

    /// All schedules, oldest first.
    pub(in crate::sandbox) fn list_schedules(&self) -> Vec<FaultSchedule> {
        let now = self.ambient.now();
        self.schedules.running.iter().map(|(id, schedule)| schedule.show(*id, now)).collect()
    }

    /// Ends and forgets a schedule.
    pub(in crate::sandbox) fn end_schedule(&mut self, id: u64) -> Result<()> {
        self.disarm_scheduled(id, None);
        self.schedules.running.remove(&id).map(drop).ok_or_else(|| Error::not_found("schedule"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn world() -> World {
        let mut world = World::for_tests();
        for number in ["5511900000001", "5511900000002", "5511900000003"] {
            world.create_account(number, "", false).unwrap();
        }
        world
    }

    fn spec(seed: i64) -> ScheduleSpec {
        ScheduleSpec {
            kinds: vec![FaultKind::Drop, FaultKind::Stall, FaultKind::Corrupt],
            phone_numbers: Vec::new(),
            stanza: String::new(),
            interval: Duration::from_secs(10),
            run: Duration::from_secs(1000),
            seed,
            code: None,
            duration: None,
            bytes_per_second: None,
        }
    }

    /// What came due, by kind, after running to the end in steps of a second.
    fn run(world: &mut World, seed: i64) -> Vec<ScheduledCount> {
        let (schedule, token) = world.begin_schedule(spec(seed)).unwrap();
        let mut over = false;
        for _ in 0..=1000 {
            over |= world.advance_schedule(schedule.id).is_none();
            world.ambient.advance(Duration::from_secs(1));
        }
        assert!(over && !token.is_cancelled());
        let shown = world.list_schedules().pop().unwrap();
        assert!(!shown.running);
        world.end_schedule(schedule.id).unwrap();
        assert!(token.is_cancelled(), "its task ends with it");
        shown.counts
    }

    #[test]
    fn the_same_seed_gives_the_same_faults_at_the_asked_rate() {
        let first = run(&mut world(), 7);
        assert_eq!(first, run(&mut world(), 7));
        assert_ne!(first, run(&mut world(), 8));
        // Three accounts, a thousand seconds, one every ten.
        let due: u64 = first.iter().map(|count| count.due).sum();
        assert!((220..=380).contains(&due), "{due}");
        assert!(first.len() == 3 && first.iter().all(|count| count.due > 60), "{first:?}");
    }

    #[test]
    fn nothing_is_left_armed_behind_a_schedule() {
        let mut world = world();
        let (schedule, _token) = world.begin_schedule(spec(1)).unwrap();
        world.ambient.advance(Duration::from_secs(300));
        assert!(world.advance_schedule(schedule.id).is_some());
        assert!(world.list_faults().is_empty(), "a schedule's faults are in its own report");
        assert_eq!(world.armed_for("5511900000001"), 1, "one at a time");
        world.end_schedule(schedule.id).unwrap();
        assert_eq!(world.armed_for("5511900000001"), 0);
        assert!(world.end_schedule(schedule.id).is_err());
    }

    #[test]
    fn nonsense_is_refused() {
        let mut world = world();
        assert!(world.begin_schedule(ScheduleSpec { kinds: Vec::new(), ..spec(1) }).is_err());
        let unknown = ScheduleSpec { phone_numbers: vec!["4911111".into()], ..spec(1) };
        assert!(world.begin_schedule(unknown).is_err());
        let long = ScheduleSpec { duration: Some(Duration::from_secs(601)), ..spec(1) };
        assert!(world.begin_schedule(long).is_err());
    }
}
