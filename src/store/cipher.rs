//! Sealing of stored secrets.
