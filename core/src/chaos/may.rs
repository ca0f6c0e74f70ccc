//! Which fault has to wait.

use thiserror::Error;

use super::Fault;

/// A member, as it says itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// It answers, votes, knows a leader, and has applied all but what is on its way.
    Well,
    /// Not all of that.
    Unwell,
}

/// Why a fault has to wait.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotYet {
    /// Another one is not well.
    #[error("member {member} is not well, and what it has could be the only copy but one")]
    Unwell {
        /// Which.
        member: u32,
    },
    /// They are not all there.
    #[error("{there} of {wanted} members are there")]
    Missing {
        /// So many.
        there: usize,
        /// Of so many.
        wanted: usize,
    },
}

/// Whether a fault may happen now, to `wanted` members of which these are there.
///
/// What stops a member may always happen: it comes back with what it has. What destroys its data may only
/// while all are well. A write is acknowledged when most members have it; if one of these loses its
/// volume while another is not there yet, the rest cannot make up for it, whatever an operator does.
///
/// # Errors
/// It has to wait.
pub fn may(fault: Fault, wanted: usize, members: &[(u32, Health)]) -> Result<(), NotYet> {
    if !fault.destroys() {
        return Ok(());
    }
    let there = members.len();
    if there != wanted {
        return Err(NotYet::Missing { there, wanted });
    }
    let unwell = members.iter().find(|(_, health)| *health != Health::Well);
    unwell.map_or(Ok(()), |&(member, _)| Err(NotYet::Unwell { member }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOSE: Fault = Fault::LoseVolume { member: 1 };

    #[test]
    fn a_volume_is_lost_only_while_all_are_well() {
        let well = [(0, Health::Well), (1, Health::Well), (2, Health::Well)];
        assert_eq!(may(LOSE, 3, &well), Ok(()));
        let mut one = well;
        one[2].1 = Health::Unwell;
        assert_eq!(may(LOSE, 3, &one), Err(NotYet::Unwell { member: 2 }));
        let missing = NotYet::Missing {
            there: 3,
            wanted: 5,
        };
        assert_eq!(may(LOSE, 5, &well), Err(missing));
    }

    #[test]
    fn what_leaves_the_data_never_waits() {
        let unwell = [(0, Health::Unwell)];
        for fault in [Fault::KillMember { member: 0 }, Fault::KillOperator] {
            assert_eq!(may(fault, 3, &unwell), Ok(()));
        }
    }
}
