//! Webhooks: every event that somebody wants is delivered until it is taken, or lies as a dead letter where it can be sent again.
//!
//! Deliveries are planned by [`crate::event`], in the transaction of their events. What remains to be done here:
//! - [`worker`]: claims what is due with a lease, records what came of it, decides when to try again
//! - [`send`]: one signed request through the egress guard
//! - [`sign`]: the headers that tell a receiver who sends
//!
//! At least once: a worker that dies after the receiver took an event leaves a lease that runs out, and the event comes again with the
//! same id. Never dropped: a breaker that opens, a `Retry-After`, a webhook that is off only make deliveries wait.

pub mod send;
pub mod sign;
pub mod worker;

pub use send::{Render, Sender};
pub use worker::Workers;
