//! The consensus core: etcd's raft as a pure function of its inputs.
