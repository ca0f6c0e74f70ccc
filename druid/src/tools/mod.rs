//! The commands that work on a store: what is in it, is it whole, restore it, shrink it, copy it.

pub(crate) mod at;
pub(crate) mod compact;
pub(crate) mod copy;
pub(crate) mod inspect;
mod output;
pub(crate) mod restore;
pub(crate) mod snapshot;
mod table;
pub(crate) mod verify;
