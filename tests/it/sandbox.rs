//! The sandbox, driven by the real client library over a real socket.

mod acts;
mod app_state;
mod behaviours;
mod business;
pub(crate) mod client;
mod contacts;
mod faults;
mod groups;
mod history;
mod media;
mod messages;
mod newsletters;
mod pairing;
mod people;
mod raw;
mod reports;
mod restart;
mod strangers;
mod surprises;
mod tokens;
mod trust;
mod wire;
mod world;
