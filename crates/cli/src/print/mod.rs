//! What etcd's tools print and read beyond the plain values of [`crate::go`]: byte strings in
//! quotes and in hexadecimal, JSON, sizes for people, tables, numbers of a given base.
//!
//! Each module is one form as a Go library gives it, with the error texts of its parser. They know
//! nothing of etcd's messages and do no I/O beyond the writer they are given.

pub mod json;
pub mod number;
pub mod quote;
pub mod size;
pub mod table;
