//! A client of the v3 API.
