//! What a look at an Etcd is made of, and what follows from it, as values: which release it is to
//! run and which one its template is of, what its pods are made from, how far the snapshot of an
//! upgrade is, which volumes pods wait for, when something has to be written, and when to look again.
//!
//! The decisions themselves are elsewhere: [`crate::render`] says what there is to be,
//! [`crate::upgrade`] which member may go, [`crate::status`] what people are told.

mod claims;
mod makes;
mod pace;
mod processes;
mod snapshot;
mod wish;

pub use claims::{awaited, claim_warning, is_bound};
pub use makes::{Make as Made, Makes, OwnImage, Releases, release_of};
pub use pace::{Pace, Writing};
pub use processes::{Process, endpoint, incarnation, process, ready, stranded};
pub use snapshot::{SNAPSHOT_KEPT, snapshot_task, snapshot_work, task_name};
pub use wish::wish;
