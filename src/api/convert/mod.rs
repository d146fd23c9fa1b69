//! Domain values as protobuf messages and back, one file per noun. Nothing is decided here.

pub mod api_key;
pub mod audit;
pub mod backfill;
pub mod chat;
pub mod contact;
pub mod content;
pub mod event;
pub mod group;
pub mod media;
pub mod message;
pub mod payload;
pub mod session;
pub mod webhook;

use tonic::Response;
use tonic::metadata::MetadataValue;

use crate::domain::clock::Time;

/// The name of the metadata by which a reply asks for another HTTP status of success than its method's.
pub const HTTP_STATUS: &str = "x-http-status";

/// Marks a reply as 202 for those who call by HTTP: what was asked for is stored, and still to be done.
pub fn accepted<T>(response: &mut Response<T>) {
    response.metadata_mut().insert(HTTP_STATUS, MetadataValue::from_static("202"));
}

/// A moment as protobuf has it.
pub fn timestamp(at: Time) -> prost_types::Timestamp {
    let nanos = i32::try_from(at.0.rem_euclid(1000) * 1_000_000).unwrap_or(0);
    prost_types::Timestamp { seconds: at.0.div_euclid(1000), nanos }
}

/// A moment as we have it; what is finer than a millisecond is cut.
pub fn time(at: &prost_types::Timestamp) -> Time {
    Time(at.seconds.saturating_mul(1000).saturating_add(i64::from(at.nanos / 1_000_000)))
}
