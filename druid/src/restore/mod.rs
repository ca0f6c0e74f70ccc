//! From a store to a database: [`read`] is one object, [`survey`] reads all of them, [`database`]
//! replays the newest chain into a file, [`data_dir`] makes the data directory of a member of it,
//! [`compact`] a smaller full snapshot.
//!
//! Everything here is for threads that may block. Which object comes next, and what may be lost, is
//! decided in `druid_core::backup::restorable`.

pub(crate) mod carry;
pub(crate) mod compact;
pub(crate) mod data_dir;
pub(crate) mod database;
mod output;
pub(crate) mod read;
mod replay;
pub(crate) mod survey;

#[cfg(test)]
mod tests;
