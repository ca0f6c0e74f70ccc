//! What `kubectl druid` shows and writes: objects of the API server in, text, rows for programs and
//! patches out.
//!
//! What others have written is shown without its control characters: no object can move the cursor
//! of whoever looks at it.

pub(crate) mod age;
mod change;
pub(crate) mod colour;
mod documents;
pub(crate) mod found;
pub(crate) mod image;
mod list;
mod maintenance;
mod preflight;
mod progress;
mod reconciliation;
mod recovery;
mod resources;
mod snapshot;
pub(crate) mod table;
mod target;
mod task;
mod tasks;
mod version;

pub use change::{Came, Decided, NoSense, NotHalted, Outcome, Wish};
pub use colour::Colours;
pub use documents::{Document, Documents, Named};
pub use found::Found;
pub use list::{Row, list};
pub use maintenance::{CompactTo, maintenance_task};
pub use preflight::{Against, Judged, Looked, judge};
pub use progress::{Changes, Progress, bars};
pub use reconciliation::{Reconciliation, Standing, reconciliations};
pub use recovery::{Recover, recovery_task};
pub use resources::{
    Belonging, Belongings, Filter, NoFilter, Resource, Unlisted, belongings, part_of, raw,
};
pub use snapshot::{SnapshotKind, snapshot_task};
pub use target::{
    Consent, Given, Key, Name, NoName, NotChosen, Scope, Targets, Unanswered, consent, is_yes,
};
pub use task::TaskShown;
pub use tasks::{TaskChanges, TaskRow, tasks};
pub use version::Build;
