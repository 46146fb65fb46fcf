//! Generates the client side of the services. The messages are those of `tenet-proto`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = "../proto/proto";
    println!("cargo:rerun-if-changed={folder}");
    let descriptors = protox::compile(["rpc.proto", "v3lock.proto", "v3election.proto"], [folder])?;
    tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .extern_path(".etcdserverpb", "::tenet_proto::etcdserverpb")
        .extern_path(".mvccpb", "::tenet_proto::mvccpb")
        .extern_path(".authpb", "::tenet_proto::authpb")
        .extern_path(".v3lockpb", "::tenet_proto::v3lockpb")
        .extern_path(".v3electionpb", "::tenet_proto::v3electionpb")
        .compile_fds(descriptors)?;
    Ok(())
}
