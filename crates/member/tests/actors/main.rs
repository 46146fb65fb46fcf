//! The actors of one member, driven by hand over a disk that answers only when told to.

mod acknowledgement;
mod driver;
