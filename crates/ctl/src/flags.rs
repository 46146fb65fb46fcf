//! The flags that every command has, and those that several share.

use tenet_cli::flag::{Flag, Kind};

use crate::display::Format;

macro_rules! flag {
    ($name:ident, $text:literal, $kind:ident, $default:literal, $help:literal) => {
        pub(crate) static $name: Flag = Flag::new($text, Kind::$kind, $default, $help);
    };
}
pub(crate) use flag;

flag!(
    ENDPOINTS,
    "endpoints",
    List,
    "127.0.0.1:2379",
    "Where the members listen, by commas."
);
flag!(
    DEBUG,
    "debug",
    Bool,
    "false",
    "Print every setting before the command."
);
pub(crate) static WRITE_OUT: Flag = Flag::new(
    "write-out",
    Kind::Text,
    "simple",
    "Format of the answer: fields, json, protobuf, simple or table.",
)
.short('w');
flag!(
    HEX,
    "hex",
    Bool,
    "false",
    "Show bytes and ids in hexadecimal."
);
flag!(
    DIAL_TIMEOUT,
    "dial-timeout",
    Duration,
    "2s",
    "Time to prove who the user is."
);
flag!(
    COMMAND_TIMEOUT,
    "command-timeout",
    Duration,
    "5s",
    "Time for a command that is short."
);
flag!(
    KEEPALIVE_TIME,
    "keepalive-time",
    Duration,
    "2s",
    "Silence before a connection is probed."
);
flag!(
    KEEPALIVE_TIMEOUT,
    "keepalive-timeout",
    Duration,
    "6s",
    "Time to answer a probe."
);
flag!(
    MAX_REQUEST_BYTES,
    "max-request-bytes",
    Int,
    "0",
    "Largest request; 0 means 2 MiB."
);
flag!(
    MAX_RECV_BYTES,
    "max-recv-bytes",
    Int,
    "0",
    "Largest answer; 0 means 2 GiB."
);
flag!(
    INSECURE_TRANSPORT,
    "insecure-transport",
    Bool,
    "true",
    "Connect without TLS."
);
flag!(
    INSECURE_DISCOVERY,
    "insecure-discovery",
    Bool,
    "true",
    "Take SRV records that name endpoints without TLS."
);
flag!(
    INSECURE_SKIP_TLS_VERIFY,
    "insecure-skip-tls-verify",
    Bool,
    "false",
    "Do not check the certificate of the server. For tests only."
);
flag!(
    CERT,
    "cert",
    Text,
    "",
    "File with the certificate of this client."
);
flag!(KEY, "key", Text, "", "File with the key of this client.");
flag!(
    CACERT,
    "cacert",
    Text,
    "",
    "File with the authorities that vouch for the server."
);
flag!(
    AUTH_JWT_TOKEN,
    "auth-jwt-token",
    Text,
    "",
    "A token instead of user and password."
);
flag!(
    USER,
    "user",
    Text,
    "",
    "Name of the user, or name:password."
);
flag!(PASSWORD, "password", Text, "", "Password of the user.");
pub(crate) static DISCOVERY_SRV: Flag = Flag::new(
    "discovery-srv",
    Kind::Text,
    "",
    "Domain whose SRV records name the endpoints.",
)
.short('d');
flag!(
    DISCOVERY_SRV_NAME,
    "discovery-srv-name",
    Text,
    "",
    "Service to ask for in that domain."
);

/// The flags of all commands.
pub(crate) static GLOBAL: &[&Flag] = &[
    &ENDPOINTS,
    &DEBUG,
    &WRITE_OUT,
    &HEX,
    &DIAL_TIMEOUT,
    &COMMAND_TIMEOUT,
    &KEEPALIVE_TIME,
    &KEEPALIVE_TIMEOUT,
    &MAX_REQUEST_BYTES,
    &MAX_RECV_BYTES,
    &INSECURE_TRANSPORT,
    &INSECURE_DISCOVERY,
    &INSECURE_SKIP_TLS_VERIFY,
    &CERT,
    &KEY,
    &CACERT,
    &AUTH_JWT_TOKEN,
    &USER,
    &PASSWORD,
    &DISCOVERY_SRV,
    &DISCOVERY_SRV_NAME,
];

flag!(
    CLUSTER,
    "cluster",
    Bool,
    "false",
    "Ask the cluster for all its endpoints and use those."
);
flag!(
    CONSISTENCY,
    "consistency",
    Text,
    "l",
    "Linearizable (l) or serializable (s) read."
);

/// The texts that complete the value of a flag, where there are few. Values are checked by the
/// commands, which have more to say about a wrong one than the parser.
pub(crate) fn completions(flag: &Flag) -> &'static [&'static str] {
    match flag.name {
        "write-out" => Format::NAMES,
        "consistency" => &["l", "s"],
        "load" => &["small", "medium", "large", "xLarge"],
        "order" => &["ASCEND", "DESCEND"],
        "sort-by" => &["CREATE", "KEY", "MODIFY", "VALUE", "VERSION"],
        _ => &[],
    }
}
