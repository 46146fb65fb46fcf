//! What an index is made of.

use super::{Child, Node, Tree};

/// What an index is made of and how much memory its nodes take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexStats {
    /// Keys alive.
    pub live_keys: u64,
    /// Entries, one for each revision of a key.
    pub entries: u64,
    /// Leaves.
    pub leaves: u64,
    /// Inner nodes.
    pub inner_nodes: u64,
    /// Levels, that of the leaves included.
    pub depth: u64,
    /// Bytes of memory of all nodes, as asked of the allocator.
    pub bytes: u64,
}

/// The two counters in front of what an `Arc` holds.
const ARC_BYTES: usize = 16;

impl Tree {
    /// Looks at every node.
    pub(crate) fn stats(&self) -> IndexStats {
        let mut stats = IndexStats {
            live_keys: self.live(),
            entries: self.entries(),
            ..IndexStats::default()
        };
        add(&self.root, &mut stats, 1);
        stats
    }
}

fn add(child: &Child, stats: &mut IndexStats, depth: u64) {
    let mut bytes = ARC_BYTES + size_of::<Node>();
    match &*child.node {
        Node::Leaf(leaf) => {
            stats.leaves += 1;
            stats.depth = stats.depth.max(depth);
            bytes += leaf.heap_bytes() + ARC_BYTES;
        }
        Node::Inner(inner) => {
            stats.inner_nodes += 1;
            bytes += inner.heap_bytes() + ARC_BYTES;
            for child in &inner.children {
                add(child, stats, depth + 1);
            }
        }
    }
    stats.bytes += bytes as u64;
}
