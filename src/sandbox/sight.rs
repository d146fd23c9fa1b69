//! What the world sees, for those who look on: a bounded stream that tells a slow watcher how much it missed.

use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use super::Sandbox;
use crate::domain::clock::Time;
use crate::domain::jid::phone_digits;
use crate::error::Result;

/// How many events a watcher may be behind before it misses some.
pub(in crate::sandbox) const BUFFER: usize = 1024;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SightKind {
    /// A device logged in.
    Login,
    /// A device's connection ended.
    Logout,
    /// A device sent a stanza.
    Stanza,
    /// Something was put into a device's queue.
    Delivery,
    /// A phone sent or got a message for the first time.
    Message,
    /// A device sent a receipt.
    Receipt,
    /// A fault struck.
    Fault,
    /// The watcher was too slow: this many events are not shown.
    Missed(u64),
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    /// When.
    pub at: Time,
    /// What.
    pub kind: SightKind,
    /// The account's number.
    pub number: String,
    /// Its device; 0 is the phone.
    pub device: u16,
    /// The stanza (`message`, `iq/encrypt/key`, …), the message's kind, the receipt's type, or the fault's kind.
    pub name: String,
    /// The id of the stanza, the message, or the message that a receipt is for; the stanza that a fault struck.
    pub id: String,
    /// The other side's address, when there is one.
    pub peer: String,
}

/// Somebody who looks on.
pub struct Watcher {
    receiver: Receiver<Sight>,
    number: Option<String>,
    ambient: crate::domain::clock::Ambient,
}

impl Sandbox {
    /// Looks on from now on, at everything or at one account. Fails when `number` is no number.
    pub fn watch(&self, number: Option<&str>) -> Result<Watcher> {
        let number = number.map(|number| phone_digits("phoneNumber", number)).transpose()?;
        let receiver = self.inner.world().sights.subscribe();
        Ok(Watcher { receiver, number, ambient: self.ambient().clone() })
    }
}

impl Watcher {
    /// The next thing that happens; none when the sandbox has ended.
    pub async fn next(&mut self) -> Option<Sight> {
        loop {
            match self.receiver.recv().await {
                Ok(sight) if self.number.as_ref().is_none_or(|number| *number == sight.number) => return Some(sight),
                Ok(_) => {}
                // Of all accounts: nobody knows whose they were.
                Err(RecvError::Lagged(missed)) => {
                    let (at, empty) = (self.ambient.now(), String::new());
                    return Some(Sight {
                        at,
                        kind: SightKind::Missed(missed),
                        number: empty.clone(),
                        device: 0,
                        name: empty.clone(),
                        id: empty.clone(),
                        peer: empty,
                    });
                }
                Err(RecvError::Closed) => return None,
            }
        }
    }
}
