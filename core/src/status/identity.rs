//! What a member's lease says of it: `ID:ROLE`, or `ID:CLUSTER:ROLE`.

use thiserror::Error;

use super::facts::MemberLease;

/// A member, as it has written itself into its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity<'a> {
    /// Its number, in hexadecimal.
    pub(super) id: &'a str,
    /// The cluster's number, in hexadecimal.
    pub(super) cluster: Option<&'a str>,
    /// Whether it leads.
    pub(super) role: Option<Role>,
}

/// Whether a member leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It does.
    Leader,
    /// It does not.
    Member,
}

impl Role {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Leader => "Leader",
            Self::Member => "Member",
        }
    }

    pub(super) fn read(word: &str) -> Option<Self> {
        [Self::Leader, Self::Member]
            .into_iter()
            .find(|role| role.word() == word)
    }
}

/// A lease that names nobody.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(super) enum IdentityError {
    /// Nobody has held it yet.
    #[error("lease holder identity is nil")]
    Nobody,
    /// It says something else.
    #[error("unexpected lease holder identity format: {0}")]
    Format(String),
}

impl<'a> Identity<'a> {
    pub(super) fn of(lease: &'a MemberLease) -> Result<Self, IdentityError> {
        let text = lease.holder.as_deref().ok_or(IdentityError::Nobody)?;
        let parts: Vec<_> = text.split(':').collect();
        match parts[..] {
            [id, role] => Ok(Self {
                id,
                cluster: None,
                role: Role::read(role),
            }),
            [id, cluster, role] => Ok(Self {
                id,
                cluster: Some(cluster),
                role: Role::read(role),
            }),
            [..] => Err(IdentityError::Format(text.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> MemberLease {
        MemberLease {
            holder: Some(text.to_owned()),
            renewed: None,
        }
    }

    #[test]
    fn two_and_three_parts_name_a_member_and_nothing_else_does() {
        let short = of("a1:Leader");
        let found = Identity::of(&short).unwrap();
        assert_eq!(
            (found.id, found.cluster, found.role),
            ("a1", None, Some(Role::Leader))
        );
        let long = of("a1:c1:Member");
        let found = Identity::of(&long).unwrap();
        assert_eq!(
            (found.id, found.cluster, found.role),
            ("a1", Some("c1"), Some(Role::Member))
        );
        assert_eq!(Identity::of(&of("a1:c1:King")).unwrap().role, None);
        for text in ["", "a1", "a1:c1:Leader:x"] {
            let error = Identity::of(&of(text)).unwrap_err();
            assert_eq!(error, IdentityError::Format(text.to_owned()));
        }
        assert_eq!(
            Identity::of(&MemberLease::default()),
            Err(IdentityError::Nobody)
        );
    }
}
