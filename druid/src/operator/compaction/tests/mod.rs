//! The controller against a genuine API server. Nobody runs Jobs there: tests say how they end, as the
//! controller of Jobs does. The node tests run one.

mod jobs;
mod quiet;
pub(in crate::operator) mod room;
mod snapshots;
