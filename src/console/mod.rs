//! The embedded web pages. They know use cases, and nothing of the edges that serve them.

pub mod pair;
