//! One member without sockets: consensus, log writer and applier as message-driven actors.
