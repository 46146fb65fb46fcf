//! Compiles our .proto files with a compiler written in Rust: no protoc is needed.

/// The operations of a log payload that are kept on the heap. A payload has one operation and
/// travels through several queues; inline, the unused ones would make it 2 KiB. A put, the
/// commonest, stays inline.
const BOXED_OPERATIONS: &[&str] = &[
    "range",
    "delete_range",
    "txn",
    "compaction",
    "lease_grant",
    "lease_revoke",
    "alarm",
    "lease_checkpoint",
    "auth_enable",
    "auth_disable",
    "authenticate",
    "auth_status",
    "auth_user_add",
    "auth_user_delete",
    "auth_user_get",
    "auth_user_change_password",
    "auth_user_grant_role",
    "auth_user_revoke_role",
    "auth_user_list",
    "auth_role_list",
    "auth_role_add",
    "auth_role_delete",
    "auth_role_get",
    "auth_role_grant_permission",
    "auth_role_revoke_permission",
    "cluster_version_set",
    "cluster_member_attr_set",
    "downgrade_info_set",
    "downgrade_version_test",
];

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
    let mut config = prost_build::Config::new();
    config.bytes(["."]).btree_map(["."]);
    for field in BOXED_OPERATIONS {
        config.boxed(format!(".etcdserverpb.InternalRaftRequest.{field}"));
    }
    config.compile_fds(descriptors)?;
    Ok(())
}
