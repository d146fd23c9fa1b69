//! The egress guard: calls to addresses that somebody else names, webhooks above all.
//!
//! A name is resolved once per connection, by our own resolver, which refuses the name when any of its addresses is not allowed; the
//! connection then goes to exactly those addresses and no second look-up takes place that could answer differently. Addresses that stand
//! in the URL itself never pass a resolver and are checked before the call; odd spellings (decimal, octal, hexadecimal) are the same
//! address by then, for the URL parser normalises them. Redirects are followed here, not by the client, and each is checked like the first.
//! The proxy settings of the environment are ignored: a proxy would resolve for itself.
//!
//! What is told outward is one of few sentences; which address it was stays inside.

mod address;
mod client;

pub use client::{Answer, Arriving, Call, Follow, Guard, Lookup, Refusal, Size};
