//! Packing and unpacking, in a stream and in bounded memory. Both block; they belong on threads
//! that may.

mod pack;
mod unpack;

pub(crate) use pack::{Packer, Packing};
pub(crate) use unpack::{Limit, unpack};

#[cfg(test)]
mod tests;
