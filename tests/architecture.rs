//! The house: one-way arrows, policed imports, file sizes.
