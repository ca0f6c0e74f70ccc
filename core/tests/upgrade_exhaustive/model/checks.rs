//! What must never happen.

use druid_core::upgrade::Want;
use druid_core::version::Direction;

use super::NEW;
use super::World;
use super::cluster::{Cluster, Member, Snap, State};

impl World {
    /// The safety of a restart: `again` if it is in hand, has not been seen well since, and goes
    /// once more.
    pub(super) fn check_restart(
        &self,
        m: usize,
        incarnation: u64,
        again: bool,
        want: &Want,
    ) -> Result<(), String> {
        let Self {
            cluster,
            record,
            books,
            ..
        } = self;
        let broken = |promise: &str| Err(format!("restart of m{m}: {promise}"));
        let member = &cluster.members[m];
        let others = cluster.ups() - usize::from(cluster.up(m));
        let alone = cluster.members.len() == 1;
        let putting_back = self.putting_back();
        let failing = member.state == State::Failing;
        let same = record.direction() == Direction::Same;
        if member.incarnation != incarnation {
            return broken("it is another incarnation");
        }
        if !alone && !failing && others < cluster.quorum() {
            return broken("below quorum by our hand");
        }
        let two = (0..cluster.members.len()).any(|other| other != m && books.disrupted[other]);
        let lost = same && failing && cluster.leader.is_none();
        if two && !lost {
            return broken("two disrupted at once");
        }
        if !alone && cluster.leader == Some(m) {
            return broken("it leads");
        }
        // One that is down gets the template of now whatever becomes of its release.
        let stays = again && member.kind.version == cluster.template.version;
        if cluster.template != self.target && !putting_back && !stays {
            return broken("it would come back as what nobody asks for");
        }
        if cluster.template.template != self.target.template {
            return broken("it would come back with an old template");
        }
        if member.kind == cluster.template {
            return broken("it is there already");
        }
        if self.paused && !putting_back && !again {
            return broken("it is paused");
        }
        let crosses = member.kind.version != cluster.template.version;
        let up = crosses && cluster.template.version == NEW && !putting_back;
        let good = cluster.snapshot == Snap::Verified
            && cluster
                .snapshot_name
                .starts_with(&format!("upgrade-{}-", record.attempt));
        if up && want.snapshot && !good {
            return broken("no verified snapshot of this attempt");
        }
        let checked = up || (same && cluster.up(m) && !again);
        if books.began_diverged && checked {
            return broken("the members differ");
        }
        if cluster.alarm && up {
            return broken("an alarm is raised");
        }
        if !books.faults && books.restarts[m] > 0 {
            return broken("a second time");
        }
        self.check_policy(m, want)
    }

    /// What a person wants to look at first: only ever a change of the release.
    fn check_policy(&self, m: usize, want: &Want) -> Result<(), String> {
        let broken = |promise: &str| Err(format!("restart of m{m}: {promise}"));
        let member = &self.cluster.members[m];
        if self.putting_back() || member.kind.version == self.cluster.template.version {
            return Ok(());
        }
        let remaining = self.on_another_release().count();
        let arrived = self.cluster.members.len() - remaining;
        let goes_up = member.kind.version < self.cluster.template.version;
        if want.policy.hold_last && goes_up && remaining == 1 && member.state == State::Up {
            return broken("the last one is held");
        }
        let limit = want.policy.pause_after;
        if limit.is_some_and(|limit| arrived >= limit) && !self.books.faults {
            return broken("it is paused after fewer");
        }
        Ok(())
    }

    fn on_another_release(&self) -> impl Iterator<Item = &Member> {
        let members = self.cluster.members.iter();
        members.filter(|member| member.kind.version != self.target.version)
    }

    pub(super) fn check_move(&self, from: usize, to: usize, want: &Want) -> Result<(), String> {
        let cluster = &self.cluster;
        let broken = |promise: &str| Err(format!("leadership from m{from} to m{to}: {promise}"));
        if cluster.leader != Some(from) {
            return broken("it does not lead");
        }
        if !cluster.up(to) {
            return broken("the successor is down");
        }
        if self.putting_back() {
            return Ok(());
        }
        if cluster.members[to].kind != self.target {
            return broken("the successor is not on the target");
        }
        let others = self.on_another_release().count();
        let held = |member: &Member| {
            let last = others == 1 && member.kind.version < self.target.version;
            want.policy.hold_last && last
        };
        let off = cluster.members.iter().filter(|m| m.kind != self.target);
        if off.filter(|member| !held(member)).count() != 1 {
            return broken("followers go first");
        }
        if self.books.moves > self.books.leader_faults {
            return broken("a second time");
        }
        Ok(())
    }

    pub(super) fn check_snapshots(&self, want: &Want) -> Result<(), String> {
        let up = self.target.version == NEW && self.on_another_release().next().is_some();
        if !want.snapshot || !up {
            return Err("takes a snapshot that nobody asked for".to_owned());
        }
        if self.books.snapshots > 1 + self.books.snapshot_faults {
            return Err("takes a snapshot again for no reason".to_owned());
        }
        if self.record.snapshot.failures >= 3 {
            return Err("three snapshots have failed".to_owned());
        }
        Ok(())
    }

    pub(super) fn check_done(&self) -> Result<(), String> {
        let Cluster {
            members, template, ..
        } = &self.cluster;
        if *template != self.target || members.iter().any(|member| member.kind != self.target) {
            return Err("says done and is not".to_owned());
        }
        Ok(())
    }
}
