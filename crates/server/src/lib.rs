//! The transports of the node API: gRPC, HTTP, metrics.
