//! Compiles our .proto files with a compiler written in Rust: no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = [
        "kv.proto",
        "auth.proto",
        "rpc.proto",
        "membership.proto",
        "raft_internal.proto",
        "lease.proto",
        "v3lock.proto",
        "v3election.proto",
        "health.proto",
    ];
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(files, ["proto"])?;
    prost_build::Config::new()
        .bytes(["."])
        .btree_map(["."])
        .compile_fds(descriptors)?;
    Ok(())
}
