//! What a cluster's member list says of one of its members.

use crate::backup::initialize::Cluster;
use crate::member::MemberName;

/// A line of a member list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Empty for one that was added and never ran.
    pub name: MemberName,
    /// Where its peers reach it.
    pub peer_urls: Vec<String>,
    /// Whether it is a learner.
    pub learner: bool,
    /// Whether it ever told its client addresses, so ran with the others.
    pub ran: bool,
}

/// What is known of the other members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// None of them answers.
    Silent,
    /// They agree on this list.
    List(Vec<Listed>),
}

impl Listed {
    /// Whether it is the member of that name, or was added for these addresses and never ran.
    pub fn is(&self, name: &MemberName, peer_urls: &[String]) -> bool {
        if self.name.0.is_empty() {
            self.peer_urls.iter().any(|url| peer_urls.contains(url))
        } else {
            self.name == *name
        }
    }
}

/// Where a member stands. `ran_before` is what else is known of it, if nobody answers.
///
/// A founder that comes late is listed under its name before it ever ran.
pub fn standing(seen: &Seen, name: &MemberName, peer_urls: &[String], ran_before: bool) -> Cluster {
    match seen {
        Seen::Silent => Cluster::Silent { ran_before },
        Seen::List(members) => match members.iter().find(|it| it.is(name, peer_urls)) {
            None => Cluster::NotListed,
            Some(member) if member.ran => Cluster::Listed,
            Some(_) => Cluster::Added,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(name: &str, url: &str, ran: bool) -> Listed {
        Listed {
            name: name.into(),
            peer_urls: vec![url.to_owned()],
            learner: false,
            ran,
        }
    }

    #[test]
    fn a_member_is_found_by_its_name_or_by_the_address_it_was_added_for() {
        let own = ["http://c:2380".to_owned()];
        let of =
            |members: &[Listed]| standing(&Seen::List(members.to_vec()), &"c".into(), &own, false);
        let a = listed("a", "http://a:2380", true);
        assert_eq!(of(std::slice::from_ref(&a)), Cluster::NotListed);
        assert_eq!(
            of(&[a.clone(), listed("c", "http://old:1", true)]),
            Cluster::Listed
        );
        assert_eq!(
            of(&[a.clone(), listed("c", "http://c:2380", false)]),
            Cluster::Added
        );
        assert_eq!(
            of(&[a.clone(), listed("", "http://c:2380", false)]),
            Cluster::Added
        );
        // Another's name at our address is not us.
        assert_eq!(
            of(&[a, listed("d", "http://c:2380", true)]),
            Cluster::NotListed
        );
    }

    #[test]
    fn silence_says_only_what_was_known_before() {
        for ran_before in [false, true] {
            let standing = standing(&Seen::Silent, &"c".into(), &[], ran_before);
            assert_eq!(standing, Cluster::Silent { ran_before });
        }
    }
}
