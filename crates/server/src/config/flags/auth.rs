//! Flags about users and their tokens, which do not exist yet.

use tenet_cli::flag::{Flag, Kind};

const NO_AUTH: &str = "users and passwords do not exist yet";

static AUTH_TOKEN: Flag = Flag::new(
    "auth-token",
    Kind::Text,
    "simple",
    "Kind of token: simple, or jwt with options.",
)
.in_file()
.refused(NO_AUTH);
static BCRYPT_COST: Flag = Flag::new(
    "bcrypt-cost",
    Kind::Uint,
    "10",
    "Cost of hashing a password: 4 to 31.",
)
.in_file()
.refused(NO_AUTH);
static AUTH_TOKEN_TTL: Flag = Flag::new(
    "auth-token-ttl",
    Kind::Uint,
    "300",
    "Seconds that an unused token lives.",
)
.in_file()
.refused(NO_AUTH);

/// The flags of this group.
pub static FLAGS: &[&Flag] = &[&AUTH_TOKEN, &BCRYPT_COST, &AUTH_TOKEN_TTL];
