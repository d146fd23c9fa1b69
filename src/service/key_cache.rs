//! What was looked up a moment ago, so that a request costs no SQL.
//!
//! An entry holds for [`HOLDS`]: that is how late a revocation on another gateway is seen here. A revocation on this gateway is seen at
//! once: it removes the entry, and a look-up that was under way meanwhile is not believed (its generation is over).

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::api_key::ApiKey;
use crate::domain::clock::Time;
use crate::domain::ids::{ApiKeyId, OrganizationId};

/// How long an entry holds.
pub(super) const HOLDS: Duration = Duration::from_secs(2);

/// How long a stream's question for its key's validity is answered from here; streams ask every second.
const STREAM_HOLDS: Duration = Duration::from_millis(500);

/// How many entries of each kind there are at most.
const MOST: usize = 10_000;

/// The caches of credentials.
#[derive(Default)]
pub struct KeyCache {
    inner: Mutex<Inner>,
    /// Held by the one that asks whether a stream's key is still valid. A thousand streams of one key want to know it at the same moment.
    pub(super) asking: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Inner {
    keys: HashMap<[u8; 32], (ApiKey, Time)>,
    /// When a key was last seen to be valid, for streams.
    alive: HashMap<ApiKeyId, Time>,
    /// Organizations that have a row.
    known: HashSet<OrganizationId>,
    /// Grows with each revocation.
    generation: u64,
}

/// A look-up's ticket: what it found counts only if nothing was revoked meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(u64);

impl KeyCache {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key with this hash, if it was read a moment ago.
    pub(super) fn get(&self, hash: &[u8; 32], now: Time) -> Option<ApiKey> {
        self.inner().keys.get(hash).filter(|(_, at)| at.holds(now, HOLDS)).map(|(key, _)| key.clone())
    }

    /// Begins a look-up.
    pub(super) fn ticket(&self) -> Ticket {
        Ticket(self.inner().generation)
    }

    /// Keeps what a look-up found. False when something was revoked since it began: then it must be repeated.
    pub(super) fn put(&self, ticket: Ticket, key: &ApiKey, now: Time) -> bool {
        let mut inner = self.inner();
        if inner.generation != ticket.0 {
            return false;
        }
        make_room(&mut inner.keys, |(_, at)| at.holds(now, HOLDS));
        inner.keys.insert(key.hash, (key.clone(), now));
        true
    }

    /// Whether a stream's key was seen to be valid a moment ago.
    pub(super) fn is_alive(&self, id: &ApiKeyId, now: Time) -> bool {
        self.inner().alive.get(id).is_some_and(|at| at.holds(now, STREAM_HOLDS))
    }

    /// Notes that a key is valid, unless something was revoked meanwhile.
    pub(super) fn set_alive(&self, ticket: Ticket, id: &ApiKeyId, now: Time) {
        let mut inner = self.inner();
        if inner.generation == ticket.0 {
            make_room(&mut inner.alive, |at| at.holds(now, STREAM_HOLDS));
            inner.alive.insert(id.clone(), now);
        }
    }

    /// Forgets a revoked key. To be called once the revocation is stored.
    pub(super) fn forget(&self, id: &ApiKeyId) {
        let mut inner = self.inner();
        inner.generation += 1;
        inner.keys.retain(|_, (key, _)| key.id != *id);
        inner.alive.remove(id);
    }

    /// Whether the organization is known to have a row.
    pub(super) fn knows(&self, organization: &OrganizationId) -> bool {
        self.inner().known.contains(organization)
    }

    /// Notes that the organization has a row.
    pub(super) fn know(&self, organization: OrganizationId) {
        let mut inner = self.inner();
        if inner.known.len() >= MOST {
            inner.known.clear();
        }
        inner.known.insert(organization);
    }
}

/// Drops what no longer holds when a cache is full; and everything when all of it holds, for it is quickly read again.
fn make_room<K, V>(map: &mut HashMap<K, V>, holds: impl Fn(&V) -> bool) {
    if map.len() < MOST {
        return;
    }
    map.retain(|_, value| holds(value));
    if map.len() >= MOST {
        map.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::principal::Capabilities;

    fn key(id: &str, hash: [u8; 32]) -> ApiKey {
        ApiKey {
            id: ApiKeyId::new(id),
            organization: OrganizationId::new("org"),
            name: String::new(),
            prefix: String::new(),
            hash,
            capabilities: Capabilities::ALL,
            sessions: None,
            expires_at: None,
            created_at: Time(0),
            last_used_at: None,
            revoked_at: None,
        }
    }

    const NOW: Time = Time(1_760_000_000_000);

    #[test]
    fn an_entry_holds_for_two_seconds() {
        let (cache, one) = (KeyCache::default(), key("1", [1; 32]));
        assert!(cache.put(cache.ticket(), &one, NOW));
        assert_eq!(cache.get(&[1; 32], NOW.plus(Duration::from_millis(1999))), Some(one));
        assert_eq!(cache.get(&[1; 32], NOW.plus(HOLDS)), None);
        assert_eq!(cache.get(&[1; 32], NOW.minus(HOLDS)), None, "the clock was set back");
    }

    #[test]
    fn a_look_up_under_way_cannot_bring_a_revoked_key_back() {
        let (cache, one) = (KeyCache::default(), key("1", [1; 32]));
        let ticket = cache.ticket();
        assert!(cache.put(ticket, &one, NOW));
        cache.set_alive(ticket, &one.id, NOW);
        cache.forget(&one.id);
        assert!(cache.get(&[1; 32], NOW).is_none() && !cache.is_alive(&one.id, NOW));
        assert!(!cache.put(ticket, &one, NOW), "what was read before the revocation");
        cache.set_alive(ticket, &one.id, NOW);
        assert!(cache.get(&[1; 32], NOW).is_none() && !cache.is_alive(&one.id, NOW));
    }

    #[test]
    fn the_cache_is_bounded() {
        let cache = KeyCache::default();
        for number in 0..25_000u32 {
            let mut hash = [0; 32];
            hash[..4].copy_from_slice(&number.to_be_bytes());
            assert!(cache.put(cache.ticket(), &key(&number.to_string(), hash), NOW));
            cache.know(OrganizationId::new(number.to_string()));
        }
        let inner = cache.inner();
        assert!(inner.keys.len() <= MOST && inner.known.len() <= MOST);
    }
}
