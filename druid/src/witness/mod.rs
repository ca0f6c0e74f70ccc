//! What a rehearsal and the load of a demo see of the members from outside: who answers and who leads
//! while they go on ([`seen`]), and whether all is well in between ([`check`]).

pub(crate) mod check;
pub(crate) mod seen;
