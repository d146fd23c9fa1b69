//! The only room that knows the WhatsApp library.
//!
//! - [`connection`]: one live client for one session, and the signals that it gives
//! - [`endpoint`]: where clients connect, WhatsApp or the sandbox, and how the sandbox is trusted
//! - [`normalize`]: the library's events as our values; pure
//! - [`outgoing`]: our messages as the library's; pure
//! - [`passkey`]: the passkey step of a pairing
//! - [`device`]: the library's state (keys, ratchets, app state) in our database
//! - [`http`]: the HTTP client that the library is given

pub mod connection;
pub mod device;
pub mod endpoint;
pub mod http;
pub mod normalize;
pub mod outgoing;
pub mod passkey;

pub use connection::{Commit, Connection, Signal};
pub use endpoint::Endpoint;
