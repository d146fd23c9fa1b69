//! WhatsApp Gateway: one program that holds many WhatsApp numbers ("sessions") for many organizations and offers them over gRPC,
//! gRPC-Web and REST.
//!
//! # The house
//!
//! Calls go one way: `rest → api → service → {store, event, session} → …`; `tests/architecture.rs` holds the arrows.
//!
//! | room | what it does | knows |
//! |---|---|---|
//! | [`domain`] | values and rules, no I/O | nothing |
//! | [`error`] | the one error type, the closed list of codes | `domain` |
//! | [`store`] | SQLite and PostgreSQL by the same SQL; one file per noun | `domain` |
//! | [`event`] | the event log: its only writer, its followers | `store` |
//! | [`egress`] | the guard of calls to addresses that others name | `domain` |
//! | [`webhook`] | deliveries: claimed with a lease, signed, sent, recorded | `egress`, `event`, `store` |
//! | [`media`] | files: kept, looked at, fetched from WhatsApp, made ready for sending | `egress`, `wa`, `store` |
//! | [`wa`] | the only room that knows the WhatsApp library | `store` |
//! | [`session`] | supervision: one actor per session, made to follow the rows | `wa`, `event`, `store` |
//! | [`outbox`] | messages on their way: claimed in turn, within budgets, sent again under the same id until it is known | `media`, `telemetry`, `session`, `wa`, `event`, `store` |
//! | [`backfill`] | directories pulled anew: claimed with a lease, piece by piece | `session`, `wa`, `event`, `store` |
//! | [`backup`] | encrypted backups: decrypted, checked, merged batch by batch | `store` |
//! | [`service`] | use cases: a principal and a command in, a domain value or an error out | `outbox`, `session`, `webhook`, `media`, `backup`, `telemetry`, `wa` (the sender of a live session), `event`, `store` |
//! | [`api`] | the gRPC edge: layers, authentication, errors, conversion | `service`, `proto` |
//! | [`rest`] | the HTTP edge, derived from the descriptors; knows no nouns of ours | `api`, `proto` |
//! | [`console`] | the embedded web pages | `service` |
//! | [`sandbox`] | a WhatsApp server simulator with simulated phones | `proto` |
//! | [`cli`] | one file per command | everything |
//! | [`app`] | the composition root: builds the rooms, shuts them down in order | everything |
#![recursion_limit = "256"]

pub mod api;
pub mod app;
pub mod backfill;
pub mod backup;
pub mod cli;
pub mod config;
pub mod console;
pub mod domain;
pub mod egress;
pub mod error;
pub mod event;
pub mod lifecycle;
pub mod media;
pub mod outbox;
pub mod proto;
pub mod rest;
pub mod sandbox;
pub mod service;
pub mod session;
pub mod store;
pub mod telemetry;
pub mod wa;
pub mod webhook;
