//! The deadlines of every state that is meant to pass. Nothing stays where it is for ever.

use std::time::Duration;

use tokio::time::Instant;

use super::timing::Timing;

/// Where a connection is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Opened; neither online nor showing a QR code yet.
    Connecting,
    /// Codes are shown.
    Scanning,
    /// WhatsApp waits for a passkey's proof.
    Passkey,
    /// The proof was sent; WhatsApp or the phone has not answered yet.
    PasskeySent,
    /// A person compares the code, or the confirmation is on its way.
    PasskeyConfirm,
    /// The phone has accepted; the device reconnects and syncs.
    Accepted,
    /// Connected.
    Online,
    /// The connection was lost a moment ago; the library makes it anew. Told as `working` with a reason.
    Blip,
    /// It has been lost for longer.
    Lost,
}

impl Phase {
    /// Whether WhatsApp has asked for a passkey on this connection; QR codes no longer count then.
    pub fn is_passkey(self) -> bool {
        matches!(self, Self::Passkey | Self::PasskeySent | Self::PasskeyConfirm)
    }
}

/// A phase and when it ends.
#[derive(Clone, Copy, Debug)]
pub struct Timer {
    /// The phase.
    pub phase: Phase,
    since: Instant,
}

impl Timer {
    /// Enters a phase now.
    pub fn enter(phase: Phase) -> Self {
        Self { phase, since: Instant::now() }
    }

    /// How long it has lasted.
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed()
    }

    /// Waits until the phase has lasted too long; for ever if it may stay.
    pub async fn expired(&self, timing: &Timing) {
        match timing.limit(self.phase) {
            Some(limit) => tokio::time::sleep_until(self.since + limit).await,
            None => std::future::pending().await,
        }
    }
}
