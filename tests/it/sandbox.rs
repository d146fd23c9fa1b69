//! The sandbox, driven by the real client library over a real socket.

mod app_state;
mod client;
mod contacts;
mod faults;
mod groups;
mod history;
mod media;
mod messages;
mod newsletters;
mod pairing;
mod restart;
mod trust;
mod wire;
