//! The gRPC edge: authentication, authorization, validation, limits and errors, the same for every door.
//!
//! A call passes `layers` (request id, time limit, panics) → `guard` (who may call what) → the codec in `validate` → its service.
//! The REST edge enters at the same point, in process.

pub mod admin;
pub mod api_keys;
pub mod attempts;
pub mod auth;
pub mod backfill;
pub mod chats;
pub mod contacts;
pub mod convert;
pub mod events;
pub mod forwarded;
pub mod group_members;
pub mod groups;
pub mod guard;
mod jwks;
pub mod layers;
pub mod login;
pub mod media;
pub mod message_actions;
pub mod messages;
pub mod pairing;
mod record;
pub mod sessions;
pub mod status;
pub mod stream;
pub mod validate;
pub mod webhooks;

use tonic::{Request, Status};

use crate::domain::principal::Principal;
use crate::error::{Code, Error};

/// The caller of a request that passed the guard.
///
/// # Errors
/// `unauthorized` in a method that is declared public and called without a credential.
pub fn principal<T>(request: &Request<T>) -> Result<Principal, Status> {
    let found = request.extensions().get::<Principal>().cloned();
    found.ok_or_else(|| status::to_status(Error::new(Code::Unauthorized, "this call needs a credential")))
}
