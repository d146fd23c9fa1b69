//! Encrypted backups of WhatsApp's Android app (`msgstore.db.crypt15`), brought into the store.
//!
//! - [`key`]: the key in whichever form people have it
//! - [`crypt15`]: the file's form: decrypted, inflated and checked piece by piece, in bounded memory, into a file
//! - [`md5`]: the file's checksum
//! - [`msgstore`]: the database in it, whatever version of the app wrote it
//! - [`merge`]: the work of one import: batches that are committed together with the mark that they are done
//! - [`worker`]: claims imports with a lease, one task each
//!
//! Nothing is merged before the whole file is known to be right. What is merged is keyed like what came live, so an import that is
//! repeated, or that is gone on with after a crash, adds nothing twice.

pub mod crypt15;
pub mod key;
mod md5;
pub mod merge;
pub mod msgstore;
pub mod worker;

pub use worker::Workers;
