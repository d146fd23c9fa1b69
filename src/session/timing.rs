//! How long things may take and how long to wait. The defaults are what a gateway uses; tests are less patient.

use std::time::Duration;

use super::phase::Phase;

/// Limits and waits of every session's actor.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long a connected session may be deaf. Keep-alives are answered at least every 30 seconds. Default 60 s.
    pub deaf: Duration,
    /// How often liveness is looked at. Default 10 s.
    pub look: Duration,
    /// After this long without success a session is told as `failed`; it goes on trying. Default 120 s.
    pub hopeful: Duration,
    /// From opening a connection to being online or showing a QR code. Default 45 s.
    pub connecting: Duration,
    /// While codes are shown. Six codes take 160 seconds, then the library says so itself; this is for when it does not. Default 200 s.
    pub scanning: Duration,
    /// Each part of the passkey step. Default 180 s.
    pub passkey: Duration,
    /// From the phone's acceptance to being online. The library itself gives the first sync 180 seconds. Default 200 s.
    pub accepted: Duration,
    /// How long a lost connection is told as `working`. Default 30 s.
    pub blip: Duration,
    /// How long the library may try after that before a new client is made. Default 120 s.
    pub lost: Duration,
    /// The first wait between attempts; each further one is twice as long. Default 1 s.
    pub first_wait: Duration,
    /// The longest wait between attempts. Default 5 min.
    pub longest_wait: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            deaf: Duration::from_secs(60),
            look: Duration::from_secs(10),
            hopeful: Duration::from_secs(120),
            connecting: Duration::from_secs(45),
            scanning: Duration::from_secs(200),
            passkey: Duration::from_secs(180),
            accepted: Duration::from_secs(200),
            blip: Duration::from_secs(30),
            lost: Duration::from_secs(120),
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(300),
        }
    }
}

impl Timing {
    /// How long a phase may last; `None` for the one that is meant to stay.
    pub fn limit(&self, phase: Phase) -> Option<Duration> {
        match phase {
            Phase::Connecting => Some(self.connecting),
            Phase::Scanning => Some(self.scanning),
            // People look for their passkey, type and compare.
            Phase::Passkey | Phase::PasskeySent | Phase::PasskeyConfirm => Some(self.passkey),
            Phase::Accepted => Some(self.accepted),
            Phase::Online => None,
            Phase::Blip => Some(self.blip),
            Phase::Lost => Some(self.lost),
        }
    }
}
