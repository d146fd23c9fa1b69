//! Values and rules, without I/O: what every other room talks about.

pub mod api_key;
pub mod audit;
pub mod backfill;
pub mod chat;
pub mod clock;
pub mod content;
pub mod event;
pub mod gateway;
pub mod group;
pub mod identity;
pub mod ids;
pub mod jid;
pub mod login;
pub mod media;
pub mod message;
pub mod network;
pub mod outbox;
pub mod outgoing;
pub mod pairing_link;
pub mod payload;
pub mod principal;
pub mod range;
pub mod session;
pub mod webhook;
