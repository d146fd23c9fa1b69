//! The simulated primary phones: device 0 of each account, with full Signal both ways.
//!
//! A phone is always on, so it works on what arrives within the same step of the world. It talks to others only through the
//! server's own paths (`distribute`, `relay_receipt`), like any device.

pub(super) mod link;
pub(super) mod message;
pub(super) mod peer;
mod receive;
mod retry;
mod send;
pub(super) mod signal;
