//! The revision-ordered store of key-values.
