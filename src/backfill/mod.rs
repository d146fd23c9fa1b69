//! Backfills: the directory of a session pulled anew from WhatsApp, in the background.
//!
//! A backfill pulls what WhatsApp gives directly: the contacts that the device has cached, and the groups that the account is in, with
//! their members. Messages are no part of it: there is no way to ask WhatsApp for them; they come by history sync and as they are written.
//!
//! - [`worker`]: claims backfills with a lease, one task each
//! - [`job`]: the work of one: pieces that are committed together with the mark that they are done
//!
//! Each piece is one transaction, so that a worker that dies leaves nothing half done, and whoever goes on repeats nothing.

pub mod job;
pub mod worker;

pub use worker::Workers;
