//! One integration binary: real servers on port 0, real databases, the real WhatsApp client library against the sandbox.
// The futures of several real clients in one test are deep.
#![recursion_limit = "512"]
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what it expects by failing")]

mod account;
mod backfill;
mod contract;
mod crash;
mod gateway;
mod link;
mod live;
mod loss;
mod media;
mod rest;
mod sandbox;
mod send;
pub(crate) mod store;
mod support;
mod trust;
mod webhook;
