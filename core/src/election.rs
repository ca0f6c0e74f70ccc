//! Which of several operators works: the one whose name a Lease holds.
//!
//! The rules are those of client-go's leader election, so that replicas of ours and of etcd-druid
//! exclude each other. No two clocks are compared: what counts is how long this process has seen a
//! lease unchanged, by a clock that only goes forward.

use jiff::{SignedDuration, Timestamp};

/// How long a lease lasts, and how it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// After so long without a change anybody may take it.
    pub lease: SignedDuration,
    /// A leader that could not renew it for so long stops to be one. Less than `lease`.
    pub deadline: SignedDuration,
    /// Between two tries.
    pub retry: SignedDuration,
}

/// What a Lease says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Who holds it; nobody if empty.
    pub holder: String,
    /// Since when.
    pub acquired: Timestamp,
    /// When it was last renewed.
    pub renewed: Timestamp,
    /// How often it went from one to another.
    pub transitions: i32,
    /// How long its holder says that it lasts.
    pub lease: SignedDuration,
}

/// The two clocks of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// For people, and never compared.
    pub wall: Timestamp,
    /// Since the process began; it only goes forward.
    pub steady: SignedDuration,
}

/// What to do about a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Write this, if the lease is still as it was read. Then say [`Campaign::written`].
    Write(Held),
    /// Another holds it.
    Stand,
    /// Another has taken it from us, or we could not renew it in time: nothing of this process may go on.
    Lost,
}

/// One operator's part in it.
#[derive(Clone, Debug)]
pub struct Campaign {
    me: String,
    terms: Terms,
    /// The lease as it was last seen to change, and when.
    seen: Option<(Held, SignedDuration)>,
    /// When the last renewal was begun that went in.
    renewed: Option<SignedDuration>,
}

impl Campaign {
    /// Nothing is held yet. `me` differs from the names of all other processes.
    pub fn new(me: String, terms: Terms) -> Self {
        Self {
            me,
            terms,
            seen: None,
            renewed: None,
        }
    }

    /// Whether a lease is held in our name.
    pub fn is_ours(&self, lease: &Held) -> bool {
        lease.holder == self.me
    }

    /// Whether this one leads, as far as it knows.
    pub fn leads(&self) -> bool {
        self.renewed.is_some()
    }

    /// When a leader that is not heard of again has to stop.
    pub fn ends(&self) -> Option<SignedDuration> {
        self.renewed.map(|at| at + self.terms.deadline)
    }

    /// What to do, now that the lease was read; `None` if there is none.
    pub fn read(&mut self, lease: Option<Held>, now: Moment) -> Step {
        if self.overdue(now) {
            return Step::Lost;
        }
        let changed = match (&self.seen, &lease) {
            (Some((seen, _)), Some(lease)) => seen != lease,
            (Some(_), None) => {
                self.seen = None;
                false
            }
            (None, _) => true,
        };
        if let (true, Some(lease)) = (changed, &lease) {
            self.seen = Some((lease.clone(), now.steady));
        }
        let Some(lease) = lease else {
            return Step::Write(self.taken(0, now));
        };
        if self.is_ours(&lease) {
            // Of a process that had this name before, if it was not written by this one.
            return Step::Write(Held {
                renewed: now.wall,
                lease: self.terms.lease,
                ..lease
            });
        }
        if self.leads() {
            return Step::Lost;
        }
        let unchanged = self.seen.as_ref().map(|(_, since)| now.steady - *since);
        // As long as its holder says, or as we would, whichever is longer.
        let lasts = lease.lease.max(self.terms.lease);
        if lease.holder.is_empty() || unchanged.is_some_and(|it| it > lasts) {
            return Step::Write(self.taken(lease.transitions + 1, now));
        }
        Step::Stand
    }

    /// The lease could not be read or written.
    pub fn failed(&self, now: Moment) -> Option<Step> {
        self.overdue(now).then_some(Step::Lost)
    }

    /// What was to be written is written. `begun` is when it was decided.
    pub fn written(&mut self, lease: Held, begun: Moment) {
        self.renewed = Some(begun.steady);
        self.seen = Some((lease, begun.steady));
    }

    /// What to write when the leader ends in good order, so that nobody has to wait.
    pub fn released(&self, now: Moment) -> Option<Held> {
        let (lease, _) = self.seen.as_ref().filter(|_| self.leads())?;
        Some(Held {
            holder: String::new(),
            renewed: now.wall,
            lease: SignedDuration::from_secs(1),
            ..lease.clone()
        })
    }

    fn overdue(&self, now: Moment) -> bool {
        self.ends().is_some_and(|ends| now.steady >= ends)
    }

    fn taken(&self, transitions: i32, now: Moment) -> Held {
        Held {
            holder: self.me.clone(),
            acquired: now.wall,
            renewed: now.wall,
            transitions,
            lease: self.terms.lease,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms {
        lease: SignedDuration::from_secs(15),
        deadline: SignedDuration::from_secs(10),
        retry: SignedDuration::from_secs(2),
    };

    fn at(second: i64) -> Moment {
        Moment {
            wall: Timestamp::from_second(1_000 + second).unwrap(),
            steady: SignedDuration::from_secs(second),
        }
    }

    /// One that got the lease at a second.
    fn leader(name: &str, second: i64) -> (Campaign, Held) {
        let mut campaign = Campaign::new(name.to_owned(), TERMS);
        let Step::Write(held) = campaign.read(None, at(second)) else {
            panic!()
        };
        campaign.written(held.clone(), at(second));
        assert!(campaign.leads());
        (campaign, held)
    }

    #[test]
    fn a_lease_that_nobody_has_is_taken_and_renewed() {
        let (mut a, held) = leader("a", 0);
        assert_eq!((held.holder.as_str(), held.transitions), ("a", 0));
        let Step::Write(renewed) = a.read(Some(held.clone()), at(2)) else {
            panic!()
        };
        assert_eq!(renewed.acquired, held.acquired);
        assert_eq!(renewed.renewed, at(2).wall);
    }

    #[test]
    fn a_lease_that_another_renews_is_left_alone_however_old_it_says_it_is() {
        let (_, mut held) = leader("a", 0);
        let mut b = Campaign::new("b".to_owned(), TERMS);
        for second in 0..100 {
            // Its clock is an hour behind.
            held.renewed = at(second - 3600).wall;
            assert_eq!(b.read(Some(held.clone()), at(second)), Step::Stand);
        }
    }

    #[test]
    fn a_lease_is_taken_once_it_was_seen_unchanged_for_longer_than_it_lasts() {
        let (mut a, held) = leader("a", 0);
        let mut b = Campaign::new("b".to_owned(), TERMS);
        assert_eq!(b.read(Some(held.clone()), at(100)), Step::Stand);
        assert_eq!(b.read(Some(held.clone()), at(115)), Step::Stand);
        let Step::Write(taken) = b.read(Some(held.clone()), at(116)) else {
            panic!()
        };
        assert_eq!((taken.holder.as_str(), taken.transitions), ("b", 1));
        assert_eq!(a.read(Some(taken), at(5)), Step::Lost);
        // One that says it lasts longer is waited for.
        let longer = Held {
            lease: SignedDuration::from_secs(60),
            ..held
        };
        let mut c = Campaign::new("c".to_owned(), TERMS);
        assert_eq!(c.read(Some(longer.clone()), at(0)), Step::Stand);
        assert_eq!(c.read(Some(longer.clone()), at(60)), Step::Stand);
        assert!(matches!(c.read(Some(longer), at(61)), Step::Write(_)));
    }

    #[test]
    fn a_leader_that_cannot_renew_stops_before_another_may_begin() {
        let (mut a, held) = leader("a", 0);
        assert_eq!(a.failed(at(9)), None);
        assert_eq!(a.failed(at(10)), Some(Step::Lost));
        assert_eq!(a.read(Some(held), at(10)), Step::Lost);
        assert!(TERMS.deadline < TERMS.lease);
    }

    #[test]
    fn a_lease_that_was_given_back_is_free_at_once() {
        let (a, _) = leader("a", 0);
        let free = a.released(at(3)).unwrap();
        let mut b = Campaign::new("b".to_owned(), TERMS);
        assert_eq!(b.released(at(3)), None);
        assert!(matches!(b.read(Some(free), at(3)), Step::Write(_)));
    }

    #[test]
    fn a_lease_that_was_deleted_is_made_anew_by_its_leader() {
        let (mut a, _) = leader("a", 0);
        assert!(matches!(a.read(None, at(2)), Step::Write(held) if held.holder == "a"));
    }

    /// A candidate, and what it is about to write on what version of the lease, since when.
    type Candidate = (Campaign, Option<(Held, u32, Moment)>);

    /// Two of them with a store of one lease, every interleaving of read and write up to a length:
    /// never two leaders whose time has not run out.
    #[test]
    fn never_two_lead() {
        fn go(store: &(Option<Held>, u32), who: &[Candidate], second: i64, left: u32) {
            let leading = who.iter().filter(|(it, _)| {
                it.ends()
                    .is_some_and(|ends| SignedDuration::from_secs(second) < ends)
            });
            assert!(leading.count() <= 1, "{who:?}");
            if left == 0 {
                return;
            }
            for index in 0..who.len() {
                for wait in [0, 9, 16] {
                    let (mut store, mut who) = (store.clone(), who.to_vec());
                    let now = at(second + wait);
                    let (campaign, pending) = &mut who[index];
                    match pending.take() {
                        // The write goes in only if nobody wrote since it was read.
                        Some((held, version, begun)) => {
                            if store.1 == version {
                                store = (Some(held.clone()), version + 1);
                                campaign.written(held, begun);
                            }
                        }
                        None => match campaign.read(store.0.clone(), now) {
                            Step::Write(held) => *pending = Some((held, store.1, now)),
                            Step::Stand => {}
                            Step::Lost => *campaign = Campaign::new(format!("{index}'"), TERMS),
                        },
                    }
                    go(&store, &who, second + wait, left - 1);
                }
            }
        }
        let who = ["a", "b"].map(|name| (Campaign::new(name.to_owned(), TERMS), None));
        go(&(None, 0), &who, 0, 7);
    }
}
