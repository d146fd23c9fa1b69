//! How many connections each address has, so that one address cannot have them all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::api::attempts::household;

/// The open connections by address. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Crowd(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A counted connection; it is not counted any more when this is dropped.
#[derive(Debug)]
pub(super) struct Member(Crowd, IpAddr);

impl Crowd {
    /// Counts one more connection of this address (of IPv6, of its network), unless it has `most` already.
    pub(super) fn join(&self, address: IpAddr, most: usize) -> Option<Member> {
        let address = household(address);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Member(self.clone(), address))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut all = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(count) = all.get_mut(&self.1) else { return };
        *count -= 1;
        if *count == 0 {
            all.remove(&self.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_own_bound_and_nothing_is_kept_of_those_that_left() {
        let (crowd, address) = (Crowd::default(), |text: &str| text.parse().unwrap());
        let first = crowd.join(address("192.0.2.1"), 1).unwrap();
        assert!(crowd.join(address("::ffff:192.0.2.1"), 1).is_none(), "the same in other clothes");
        let other = crowd.join(address("192.0.2.2"), 1).unwrap();
        drop(first);
        let again = crowd.join(address("192.0.2.1"), 1).unwrap();
        drop((again, other));
        assert!(crowd.0.lock().unwrap().is_empty());
    }
}
