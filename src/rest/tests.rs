//! Tests of the JSON rules.
