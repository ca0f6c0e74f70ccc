//! What `kubectl druid` shows and writes: objects of the API server in, text, rows for programs and
//! patches out.
//!
//! What others have written is shown without its control characters: no object can move the cursor
//! of whoever looks at it.

pub(crate) mod age;
mod change;
pub(crate) mod colour;
pub(crate) mod found;
pub(crate) mod image;
mod list;
mod maintenance;
mod preflight;
mod progress;
mod recovery;
mod snapshot;
pub(crate) mod table;
mod task;
mod tasks;

pub use change::{Acknowledge, NotHalted, acknowledge, is_taken, pause};
pub use colour::Colours;
pub use found::Found;
pub use list::{Row, list};
pub use maintenance::{CompactTo, maintenance_task};
pub use preflight::{Against, Judged, Looked, judge};
pub use progress::{Changes, Progress, bars};
pub use recovery::{Recover, recovery_task};
pub use snapshot::{SnapshotKind, snapshot_task};
pub use task::TaskShown;
pub use tasks::{TaskChanges, TaskRow, tasks};
