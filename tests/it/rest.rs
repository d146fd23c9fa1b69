//! Tests of `rest`.
