//! The event log: what happened, stored before anybody is told.
//!
//! - [`log`]: the only writer; an event is stored in the transaction of the change that it tells of
//! - `plan`: webhook deliveries, stored in that transaction too
//! - [`hub`]: wakes followers after a commit; carries nothing
//! - [`relay`]: carries the wakes to other gateways on the same database
//! - [`follow`]: a cursor turned into a stream; followers read the table, so a slow one slows only itself

pub mod follow;
pub mod hub;
pub mod log;
mod plan;
pub mod relay;

pub use follow::{Filter, Follower};
pub use log::{EventLog, Recording};
