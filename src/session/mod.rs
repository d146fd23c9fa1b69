//! Supervision: reality follows the rows.
//!
//! - [`supervisor`]: owns one actor per session that shall run here, and makes the set of actors follow the rows
//! - [`actor`]: the loop of one session: connects, listens, heals, gives up with a reason; `errands`: what it does beside that; `pause`: the
//!   time between two connections
//! - [`phase`]: the deadlines of every state that is meant to pass
//! - [`timing`]: how long each of them is, and how long an actor waits
//! - [`recorder`]: what an actor writes, fenced by its lease; what it receives: `inbox` (messages and what is done to them),
//!   `happened` (everything beside messages), `history` (what the phone shares of the past)
//! - [`recap`]: what came of polls, told when they end
//! - [`backoff`]: how long to wait before the next attempt
//! - [`live`]: what callers see of a running session

pub mod actor;
pub mod backoff;
mod errands;
mod happened;
mod health;
mod history;
mod inbox;
pub mod live;
mod pause;
pub mod phase;
pub mod recap;
pub mod recorder;
pub mod supervisor;
pub mod timing;

pub use live::Live;
pub use supervisor::{Context, Supervisor};
pub use timing::Timing;
