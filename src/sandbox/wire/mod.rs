//! Bytes on the wire: websocket, frames, Noise, and the stanzas inside. Knows nothing about accounts.

pub(super) mod connection;
pub(super) mod frames;
pub(super) mod http;
mod media;
pub(super) mod node;
pub(super) mod noise;
