//! One declaration per flag.
