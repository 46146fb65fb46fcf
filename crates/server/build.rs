//! Writes the table of the services that we serve, from our own .proto files: one marker type per
//! method with its messages, and a lookup by path. The messages themselves are `tenet-proto`'s.

use prost_build::{Method, Service, ServiceGenerator};
use std::fmt::Write;

const PROTO_DIR: &str = "../proto/proto";
const FILES: [&str; 4] = [
    "rpc.proto",
    "v3lock.proto",
    "v3election.proto",
    "health.proto",
];
/// Packages and the modules that hold their messages.
const PACKAGES: [(&str, &str); 6] = [
    (".etcdserverpb", "::tenet_proto::etcdserverpb"),
    (".mvccpb", "::tenet_proto::mvccpb"),
    (".authpb", "::tenet_proto::authpb"),
    (".v3lockpb", "::tenet_proto::v3lockpb"),
    (".v3electionpb", "::tenet_proto::v3electionpb"),
    (".grpc.health.v1", "::tenet_proto::health"),
];

/// Answers that say themselves how they are sent (`grpc/frames.rs`).
const OWN_REPLIES: [&str; 2] = ["::RangeResponse", "::DeleteRangeResponse"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed={PROTO_DIR}");
    let descriptors = protox::compile(FILES, [PROTO_DIR])?;
    let services = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let mut config = prost_build::Config::new();
    for (package, module) in PACKAGES {
        config.extern_path(package, module);
    }
    config.service_generator(Box::new(Collect(services.clone())));
    config.compile_fds(descriptors)?;
    let table = table(&services.borrow());
    std::fs::write(format!("{}/methods.rs", std::env::var("OUT_DIR")?), table)?;
    Ok(())
}

/// Keeps the services that the code generator walks over.
struct Collect(std::rc::Rc<std::cell::RefCell<Vec<Service>>>);

impl ServiceGenerator for Collect {
    fn generate(&mut self, service: Service, _code: &mut String) {
        self.0.borrow_mut().push(service);
    }
}

fn table(services: &[Service]) -> String {
    let mut markers = String::new();
    let mut variants = String::new();
    let mut lookup = String::new();
    let mut rows = String::new();
    let mut names = String::new();
    let mut replies = std::collections::BTreeSet::new();
    for service in services {
        let full = format!("{}.{}", service.package, service.proto_name);
        let _ = writeln!(names, "    {full:?},");
        for method in &service.methods {
            let marker = format!("{}{}", service.name, camel(&method.name));
            let (input, output) = (&method.input_type, &method.output_type);
            if !OWN_REPLIES.iter().any(|name| output.ends_with(name)) {
                replies.insert(format!("impl Reply for {output} {{}}\n"));
            }
            let _ = write!(
                markers,
                "/// `{full}.{name}`.\n\
                 #[derive(Debug)]\n\
                 pub(crate) struct {marker};\n\
                 impl Rpc for {marker} {{\n\
                 \x20   type Request = {input};\n\
                 \x20   type Response = {output};\n\
                 }}\n",
                name = method.proto_name,
            );
            let _ = writeln!(
                variants,
                "    /// `{full}.{}`.\n    {marker},",
                method.proto_name
            );
            let _ = writeln!(
                lookup,
                "            \"/{full}/{}\" => Some(Method::{marker}),",
                method.proto_name
            );
            let _ = writeln!(
                rows,
                "    Description {{ service: {full:?}, name: {:?}, path: \"/{full}/{}\", kind: Kind::{} }},",
                method.proto_name,
                method.proto_name,
                kind(method)
            );
        }
    }
    let replies = String::from_iter(replies);
    format!(
        "{markers}\n{replies}\n\
         /// A method that we know, in the order of the table.\n\
         #[derive(Clone, Copy, Debug, PartialEq, Eq)]\n\
         pub(crate) enum Method {{\n{variants}}}\n\n\
         impl Method {{\n\
         \x20   /// The method with this path (`/package.Service/Name`).\n\
         \x20   pub(crate) fn find(path: &str) -> Option<Method> {{\n\
         \x20       match path {{\n{lookup}\x20           _ => None,\n        }}\n    }}\n}}\n\n\
         pub(crate) static TABLE: &[Description] = &[\n{rows}];\n\n\
         pub(crate) static SERVICES: &[&str] = &[\n{names}];\n"
    )
}

/// `hash_kv` as `HashKv`.
fn camel(snake: &str) -> String {
    let part = |part: &str| part[..1].to_uppercase() + &part[1..];
    snake.split('_').map(part).collect()
}

fn kind(method: &Method) -> &'static str {
    match (method.client_streaming, method.server_streaming) {
        (false, false) => "Unary",
        (true, false) => "ClientStream",
        (false, true) => "ServerStream",
        (true, true) => "BidiStream",
    }
}
