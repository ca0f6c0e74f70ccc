//! Those that need the operator to be away, or broken, for a while. They are the first ones by name:
//! others wait for them.

mod image;
mod takeover;
mod webhook;
