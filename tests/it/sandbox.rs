//! The sandbox, driven by the real client library over a real socket.

mod acts;
mod client;
mod contacts;
mod faults;
mod groups;
mod media;
mod messages;
mod pairing;
mod people;
mod raw;
mod restart;
mod strangers;
mod surprises;
mod trust;
mod wire;
