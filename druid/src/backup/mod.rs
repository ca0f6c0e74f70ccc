//! Taking backups: packing, and what is built on it.

pub(crate) mod codec;
