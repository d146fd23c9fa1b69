//! Failed authentications, counted per network address.
//!
//! An address with more than [`FAILURES`] in a minute is told `rate_limited` instead of `unauthorized`, and its credentials are looked up
//! through a narrow door, so that guessing costs the database little. A valid credential still passes, after a second at the latest:
//! nobody can lock out somebody else who shares the address. Behind a proxy it is the address that a trusted proxy tells, see
//! [`super::forwarded`].

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::clock::{Ambient, Time};

/// How many failures an address has in a minute before it is slowed down.
pub const FAILURES: u32 = 30;

/// How many refused calls of one address go into the audit log in a minute.
pub const AUDITED: u32 = 20;

const WINDOW: Duration = Duration::from_secs(60);
const MOST: usize = 10_000;
const DOOR: usize = 4;
const PATIENCE: Duration = Duration::from_secs(1);

/// The network address that a request came from, as an extension; only the port's own code sets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// The counts. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Attempts {
    counts: Arc<Mutex<HashMap<IpAddr, Count>>>,
    door: Arc<Semaphore>,
    most: u32,
    ambient: Ambient,
}

#[derive(Debug)]
struct Count {
    since: Time,
    failed: u32,
    audited: u32,
}

impl Attempts {
    pub(super) fn new(ambient: Ambient) -> Self {
        Self::with_most(FAILURES, ambient)
    }

    /// With another number of failures a minute.
    pub(super) fn with_most(most: u32, ambient: Ambient) -> Self {
        Self { counts: Arc::default(), door: Arc::new(Semaphore::new(DOOR)), most, ambient }
    }

    /// Waits at the narrow door if the address has failed too often.
    pub(super) async fn pass(&self, peer: Option<Peer>) -> Option<OwnedSemaphorePermit> {
        if !self.count(peer, |count| count.failed >= self.most) {
            return None;
        }
        tokio::time::timeout(PATIENCE, self.door.clone().acquire_owned()).await.ok()?.ok()
    }

    /// Notes a failure; after how long the address may try again if it has too many.
    pub(super) fn failed(&self, peer: Option<Peer>) -> Option<Duration> {
        let now = self.ambient.now();
        self.count(peer, |count| {
            count.failed = count.failed.saturating_add(1);
            (count.failed > self.most).then(|| WINDOW.saturating_sub(now.since(count.since)).max(Duration::from_secs(1)))
        })
    }

    /// Whether one more refusal of this address is worth a line in the audit log.
    pub(super) fn audits(&self, peer: Option<Peer>) -> bool {
        self.count(peer, |count| {
            count.audited = count.audited.saturating_add(1);
            count.audited <= AUDITED
        })
    }

    /// Calls without an address, such as tests', share one count.
    fn count<T>(&self, peer: Option<Peer>, look: impl FnOnce(&mut Count) -> T) -> T {
        let address = peer.map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |peer| household(peer.0));
        let now = self.ambient.now();
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= MOST && !counts.contains_key(&address) {
            counts.retain(|_, count| count.since.holds(now, WINDOW));
            if counts.len() >= MOST {
                counts.clear();
            }
        }
        let fresh = || Count { since: now, failed: 0, audited: 0 };
        let count = counts.entry(address).or_insert_with(fresh);
        if !count.since.holds(now, WINDOW) {
            *count = fresh();
        }
        look(count)
    }
}

/// What counts as one address: a subscriber has a whole /64 of IPv6 addresses.
pub(crate) fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => {
            let [a, b, c, d, ..] = six.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        four => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Option<Peer> {
        Some(Peer(text.parse().unwrap()))
    }

    fn attempts() -> (Attempts, Ambient) {
        let ambient = Ambient::held(Time(1_760_000_000_000));
        (Attempts::new(ambient.clone()), ambient)
    }

    #[tokio::test]
    async fn an_address_that_fails_often_is_slowed_for_the_rest_of_the_minute_and_others_are_not() {
        let (attempts, clock) = attempts();
        for _ in 0..FAILURES {
            assert_eq!(attempts.failed(peer("10.0.0.1")), None);
        }
        assert_eq!(attempts.failed(peer("10.0.0.1")), Some(WINDOW));
        assert_eq!(attempts.failed(peer("::ffff:10.0.0.1")), Some(WINDOW), "the same address in other clothes");
        assert_eq!(attempts.failed(peer("10.0.0.2")), None);
        assert!(attempts.pass(peer("10.0.0.1")).await.is_some() && attempts.pass(peer("10.0.0.2")).await.is_none());
        clock.advance(WINDOW);
        assert_eq!(attempts.failed(peer("10.0.0.1")), None);
    }

    #[tokio::test]
    async fn the_narrow_door_delays_and_never_blocks() {
        let (attempts, _) = attempts();
        for _ in 0..FAILURES {
            attempts.failed(peer("10.0.0.1"));
        }
        let mut held = Vec::new();
        for _ in 0..DOOR {
            held.push(attempts.pass(peer("10.0.0.1")).await);
        }
        assert!(held.iter().all(Option::is_some));
        assert!(attempts.pass(peer("10.0.0.1")).await.is_none(), "the one behind the last place waited, and went on");
    }

    #[test]
    fn a_household_counts_as_one_and_the_counts_are_bounded() {
        let (attempts, _) = attempts();
        for host in 0..=AUDITED {
            assert_eq!(attempts.audits(peer(&format!("2001:db8::{host:x}"))), host < AUDITED);
        }
        for number in 0..30_000u32 {
            attempts.failed(Some(Peer(IpAddr::V4(number.into()))));
        }
        assert!(attempts.counts.lock().unwrap().len() <= MOST);
    }
}
