//! `telemetry`.
