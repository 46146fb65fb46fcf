//! Flags about who may connect: TLS, which does not exist yet, and the checks of HTTP requests.

use tenet_cli::flag::{Flag, Kind};

/// Why TLS is refused.
const NO_TLS: &str = "TLS does not exist yet; let a proxy in front terminate it, or leave it out";
/// Why details of TLS do nothing.
const ONLY_TLS: &str = "only has a meaning beside certificates, which are refused";

const fn tls(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Flag {
    Flag::new(name, kind, default, help).refused(NO_TLS)
}

static CERT_FILE: Flag = tls(
    "cert-file",
    Kind::Text,
    "",
    "Certificate to show to clients.",
)
.file_key("client-transport-security.cert-file")
.path();
static KEY_FILE: Flag = tls("key-file", Kind::Text, "", "Private key of --cert-file.")
    .file_key("client-transport-security.key-file")
    .path();
static CLIENT_CERT_AUTH: Flag = tls(
    "client-cert-auth",
    Kind::Bool,
    "false",
    "Demand a valid certificate of clients.",
)
.file_key("client-transport-security.client-cert-auth");
static CLIENT_CERT_FILE: Flag = tls(
    "client-cert-file",
    Kind::Text,
    "",
    "Certificate to show where the server is a client itself.",
)
.file_key("client-transport-security.client-cert-file")
.path();
static CLIENT_KEY_FILE: Flag = tls(
    "client-key-file",
    Kind::Text,
    "",
    "Private key of --client-cert-file.",
)
.file_key("client-transport-security.client-key-file")
.path();
static CLIENT_CRL_FILE: Flag = tls(
    "client-crl-file",
    Kind::Text,
    "",
    "Revoked client certificates.",
)
.path();
static CLIENT_CERT_ALLOWED_HOSTNAME: Flag = tls(
    "client-cert-allowed-hostname",
    Kind::List,
    "",
    "Host names of which a client certificate must have one.",
)
.file_list("client-transport-security.allowed-hostname");
static TRUSTED_CA_FILE: Flag = tls(
    "trusted-ca-file",
    Kind::Text,
    "",
    "Authorities for client certificates.",
)
.file_key("client-transport-security.trusted-ca-file")
.path();
static AUTO_TLS: Flag = tls(
    "auto-tls",
    Kind::Bool,
    "false",
    "Serve clients with a certificate of its own making.",
)
.file_key("client-transport-security.auto-tls");
static PEER_CERT_FILE: Flag = tls(
    "peer-cert-file",
    Kind::Text,
    "",
    "Certificate to show to other members.",
)
.file_key("peer-transport-security.cert-file")
.path();
static PEER_KEY_FILE: Flag = tls(
    "peer-key-file",
    Kind::Text,
    "",
    "Private key of --peer-cert-file.",
)
.file_key("peer-transport-security.key-file")
.path();
static PEER_CLIENT_CERT_AUTH: Flag = tls(
    "peer-client-cert-auth",
    Kind::Bool,
    "false",
    "Demand a valid certificate of other members.",
)
.file_key("peer-transport-security.client-cert-auth");
static PEER_CLIENT_CERT_FILE: Flag = tls(
    "peer-client-cert-file",
    Kind::Text,
    "",
    "Certificate to show where the server calls another member.",
)
.file_key("peer-transport-security.client-cert-file")
.path();
static PEER_CLIENT_KEY_FILE: Flag = tls(
    "peer-client-key-file",
    Kind::Text,
    "",
    "Private key of --peer-client-cert-file.",
)
.file_key("peer-transport-security.client-key-file")
.path();
static PEER_TRUSTED_CA_FILE: Flag = tls(
    "peer-trusted-ca-file",
    Kind::Text,
    "",
    "Authorities for members' certificates.",
)
.file_key("peer-transport-security.trusted-ca-file")
.path();
static PEER_CERT_ALLOWED_CN: Flag = tls(
    "peer-cert-allowed-cn",
    Kind::List,
    "",
    "Common names of which a member's certificate must have one.",
)
.file_list("peer-transport-security.allowed-cn");
static PEER_CERT_ALLOWED_HOSTNAME: Flag = tls(
    "peer-cert-allowed-hostname",
    Kind::List,
    "",
    "Host names of which a member's certificate must have one.",
)
.file_list("peer-transport-security.allowed-hostname");
static PEER_AUTO_TLS: Flag = tls(
    "peer-auto-tls",
    Kind::Bool,
    "false",
    "Serve other members with a certificate of its own making.",
)
.file_key("peer-transport-security.auto-tls");
static SELF_SIGNED_CERT_VALIDITY: Flag = Flag::new(
    "self-signed-cert-validity",
    Kind::Uint,
    "1",
    "Years for which a certificate of its own making is valid.",
)
.in_file()
.no_effect(ONLY_TLS);
static PEER_CRL_FILE: Flag = tls(
    "peer-crl-file",
    Kind::Text,
    "",
    "Revoked certificates of members.",
)
.path();
static PEER_SKIP_CLIENT_SAN_VERIFICATION: Flag = Flag::new(
    "peer-skip-client-san-verification",
    Kind::Bool,
    "false",
    "Do not compare a member's certificate with its address.",
)
.file_key("peer-transport-security.skip-client-san-verification")
.no_effect(ONLY_TLS);

/// Cipher suites.
pub static CIPHER_SUITES: Flag = Flag::new(
    "cipher-suites",
    Kind::List,
    "",
    "Cipher suites for TLS 1.2, by Go's names.",
)
.file_list("cipher-suites")
.refused(NO_TLS);

/// Origins of browser requests.
pub static CORS: Flag = Flag::new(
    "cors",
    Kind::Urls { also: &["*"] },
    "*",
    "Origins whose pages may read HTTP answers. `*` allows all.",
)
.in_file();

/// Host names of HTTP requests.
pub static HOST_WHITELIST: Flag = Flag::new(
    "host-whitelist",
    Kind::Set,
    "*",
    "Names in the Host header of plain HTTP requests that are served. `*` allows all.",
)
.in_file();

/// Oldest TLS version.
pub static TLS_MIN_VERSION: Flag = Flag::new(
    "tls-min-version",
    Kind::Text,
    "TLS1.2",
    "Oldest TLS version: TLS1.2 or TLS1.3.",
)
.in_file()
.no_effect(ONLY_TLS);

/// Newest TLS version.
pub static TLS_MAX_VERSION: Flag = Flag::new(
    "tls-max-version",
    Kind::Text,
    "",
    "Newest TLS version: TLS1.2 or TLS1.3; empty for the newest there is.",
)
.in_file()
.no_effect(ONLY_TLS);

/// The flags of this group.
pub static FLAGS: &[&Flag] = &[
    &CERT_FILE,
    &KEY_FILE,
    &CLIENT_CERT_AUTH,
    &CLIENT_CERT_FILE,
    &CLIENT_KEY_FILE,
    &CLIENT_CRL_FILE,
    &CLIENT_CERT_ALLOWED_HOSTNAME,
    &TRUSTED_CA_FILE,
    &AUTO_TLS,
    &PEER_CERT_FILE,
    &PEER_KEY_FILE,
    &PEER_CLIENT_CERT_AUTH,
    &PEER_CLIENT_CERT_FILE,
    &PEER_CLIENT_KEY_FILE,
    &PEER_TRUSTED_CA_FILE,
    &PEER_CERT_ALLOWED_CN,
    &PEER_CERT_ALLOWED_HOSTNAME,
    &PEER_AUTO_TLS,
    &SELF_SIGNED_CERT_VALIDITY,
    &PEER_CRL_FILE,
    &PEER_SKIP_CLIENT_SAN_VERIFICATION,
    &CIPHER_SUITES,
    &CORS,
    &HOST_WHITELIST,
    &TLS_MIN_VERSION,
    &TLS_MAX_VERSION,
];
