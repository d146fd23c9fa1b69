//! The only room that knows the WhatsApp library.
//!
//! - [`connection`]: one live client for one session, and the signals that it gives; `transport` is its websocket, `tap` hears the
//!   library, and `resync` asks for what the library leaves out
//! - [`endpoint`]: where clients connect, WhatsApp or the sandbox, and how the sandbox is trusted
//! - [`normalize`]: the library's events as our values; pure
//! - [`outgoing`]: our messages as the library's; pure
//! - [`poll`]: votes in polls, opened; pure
//! - [`passkey`]: the passkey step of a pairing
//! - [`device`]: the library's state (keys, ratchets, app state) in our database
//! - [`queries`]: questions to WhatsApp's server, one at a time; [`failure`]: what it means when it refuses
//! - [`groups`], [`contacts`]: what a live session does with groups, and what it can learn of people
//! - [`chats`]: what a live session does with its conversations
//! - [`media`]: files to and from WhatsApp's media hosts
//! - [`account`]: what a live session does as its account; [`attention`]: what it is told in passing
//! - [`channels`]: what a live session does with channels and status posts
//! - [`http`]: the HTTP client that the library is given

pub mod account;
pub mod attention;
pub mod channels;
pub mod chats;
pub mod connection;
pub mod contacts;
pub mod device;
pub mod endpoint;
pub mod failure;
pub mod groups;
pub mod http;
pub mod media;
pub mod normalize;
pub mod outgoing;
pub mod passkey;
pub mod poll;
pub mod queries;
mod resync;
mod sending;
mod tap;
mod transport;

pub use connection::{Commit, Connection, Signal};
pub use endpoint::Endpoint;
