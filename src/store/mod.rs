//! The database: SQLite and PostgreSQL behind one value, [`Db`], by the same SQL texts.
//!
//! One file per noun. What one statement does is a function on [`Db`]; what callers combine is a function on [`Tx`], a value that
//! [`Tx::commit`] consumes and that rolls back when it is dropped. A transaction never spans a call over the network: SQLite has one
//! writer, and PostgreSQL's row locks order the event log.
//!
//! The engines differ in `driver.rs` and in the two folders of migrations, nowhere else.

mod api_key;
mod audit;
mod backfill;
mod backup;
mod chat;
pub mod cipher;
mod conversation;
mod deed;
mod driver;
mod error;
mod event;
mod gateway;
mod group;
mod history;
mod identity;
mod label;
mod lease;
mod media;
mod message;
mod migrate;
mod open;
mod organization;
mod outbox;
mod pairing_link;
mod patience;
mod restriction;
mod session;
mod signal;
mod stats;
mod ticket;
mod webhook;
mod webhook_delivery;

pub use cipher::Cipher;
pub use driver::{Arg, Db, Row, Tx};
pub use event::Appended;
pub use history::HistoryPart;
pub use open::Options;
pub use patience::patiently;
pub use signal::Ear;
pub use stats::{PoolUse, Stats};
pub use webhook::Subscription;
pub use webhook_delivery::{Claimed, Ending};

pub(crate) use driver::{args, list, one_of};
