//! `lifecycle`.
