//! The ordered, versioned index over the store: ranges, transactions, compaction, hashes.
