//! The real world for a member: threads, disk, clocks.
