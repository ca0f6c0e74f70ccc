//! A cluster under load to which everything happens at once: what is done to it, when, and what must be
//! so in the end.
//!
//! [`Plan`] follows from a seed and nothing else, so a seed that found something is tried again: it says
//! what happens in each of three lanes, in which order, for how long and after which pauses. It cannot say
//! when. A pause begins when the one before is over, which depends on how the cluster does, so lanes meet
//! otherwise in each run, and what was planned may come too late or be impossible. And a number of a member
//! is counted around the members that there are at that moment, so it may be another one's.
//!
//! `may` holds back what would destroy data that nobody promised to keep. `verdict` is what must be so when
//! it is over; that all of this took place is a part of it.

mod may;
mod plan;
mod verdict;

pub use may::{Health, NotYet, may};
pub use plan::{Fault, Plan, Roll, Task, Turn};
pub use verdict::{Facts, FaultSeen, Finding, TaskSeen, Tasks, judge};
