//! Packing and unpacking, in a stream and in bounded memory. Both block; they belong on threads
//! that may.

mod pack;
mod unpack;

#[cfg_attr(
    not(test),
    expect(unused_imports, reason = "its commands are on their way")
)]
pub(crate) use pack::PackError;
pub(crate) use pack::{Packer, Packing};
pub(crate) use unpack::{Limit, unpack};

#[cfg(test)]
mod tests;
