//! The sandbox, driven by the real client library over a real socket.

mod client;
mod messages;
mod pairing;
mod restart;
mod trust;
mod wire;
