//! A cluster under load to which everything happens at once: what is done to it, when, and what must be
//! so in the end.
//!
//! [`Plan`] follows from a seed and nothing else, so a seed that found something is tried again. When
//! exactly a process dies in the middle of what it does differs from run to run; what is done to whom,
//! in which order and with which pauses, does not. `may` holds back what would destroy data that nobody
//! promised to keep. `verdict` is what must be so when it is over.

mod may;
mod plan;
mod verdict;

pub use may::{Health, NotYet, may};
pub use plan::{Fault, Plan, Roll, Task, Turn};
pub use verdict::{Facts, Finding, TaskSeen, judge};
