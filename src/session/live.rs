//! What callers see of a running session.

use crate::domain::clock::Time;
use crate::domain::event::Code;
use crate::domain::session::State;
use crate::wa::connection::Sender;

/// The state of a session's actor, as others watch it.
#[derive(Clone)]
pub struct Live {
    /// Where it stands.
    pub state: State,
    /// The QR code to scan now.
    pub qr: Option<Code>,
    /// The pairing code that can be typed now.
    pub code: Option<Code>,
    /// The way to send, while there is a client.
    pub sender: Option<Sender>,
}

impl Live {
    /// What is seen before anything has happened.
    pub fn new(state: State) -> Self {
        Self { state, qr: None, code: None, sender: None }
    }

    /// The QR code, unless its time is over.
    pub fn valid_qr(&self, now: Time) -> Option<&Code> {
        self.qr.as_ref().filter(|code| code.expires_at.is_none_or(|end| end > now))
    }

    /// The way to send, if the session is connected now.
    pub fn online(&self) -> Option<&Sender> {
        self.sender.as_ref().filter(|sender| sender.is_online())
    }
}
