//! Values and rules, without I/O: what every other room talks about.

pub mod api_key;
pub mod audit;
pub mod backfill;
pub mod backup;
pub mod channel;
pub mod clock;
pub mod content;
pub mod event;
pub mod gateway;
pub mod group;
pub mod identity;
pub mod ids;
pub mod jid;
pub mod label;
pub mod login;
pub mod media;
pub mod message;
pub mod network;
pub mod pairing_link;
pub mod payload;
pub mod presence;
pub mod principal;
pub mod profile;
pub mod range;
pub mod session;
pub mod webhook;
