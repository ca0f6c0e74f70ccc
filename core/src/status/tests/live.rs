//! What members answer counts for more than their leases.

use super::*;

fn serving(ordinal: u64) -> Answer {
    Answer::Status(answer(ordinal))
}

fn leaderless(ordinal: u64) -> Answer {
    Answer::Status(Status {
        leader: MemberId::NOBODY,
        ready: Err("no leader".to_owned()),
        ..answer(ordinal)
    })
}

/// It still names the leader, and cannot read.
fn stuck(ordinal: u64) -> Answer {
    Answer::Status(Status {
        ready: Err("timed out".to_owned()),
        ..answer(ordinal)
    })
}

fn silent() -> Answer {
    Answer::Silent("connection refused".to_owned())
}

fn was_ready() -> Facts {
    let mut facts = facts();
    facts.previous = status(&facts, at(0)).status;
    assert_eq!(condition(&facts.previous, Kind::Ready).0, "True");
    facts
}

/// What is said of `Ready` at once, after four seconds and after five.
fn in_time(answers: [Answer; 3]) -> [(String, String); 3] {
    let mut facts = was_ready();
    facts.live = Some(live(answers));
    [10, 14, 15].map(|second| {
        facts.previous = status(&facts, at(second)).status;
        let (status, reason) = condition(&facts.previous, Kind::Ready);
        (status.to_owned(), reason.to_owned())
    })
}

#[test]
fn a_lost_quorum_is_told_at_once_and_an_election_is_none() {
    let quorate = ("True", "Quorate");
    let lost = ("False", "QuorumLost");
    let election = ("Unknown", "NoLeader");
    for (answers, expected) in [
        ([serving(0), serving(1), serving(2)], [quorate; 3]),
        ([serving(0), serving(1), silent()], [quorate; 3]),
        // Whoever serves has read from a quorum, whether we reach the others or not.
        ([serving(0), silent(), silent()], [quorate; 3]),
        ([serving(0), leaderless(1), leaderless(2)], [quorate; 3]),
        ([leaderless(0), silent(), silent()], [lost; 3]),
        (
            [leaderless(0), leaderless(1), silent()],
            [election, election, lost],
        ),
        (
            [leaderless(0), leaderless(1), leaderless(2)],
            [election, election, lost],
        ),
        // One that names a leader may be slow, and those that are silent may be well.
        ([stuck(0), silent(), silent()], [election, election, lost]),
        ([stuck(0), stuck(1), stuck(2)], [election, election, lost]),
    ] {
        let found = in_time(answers.clone());
        let found = found
            .each_ref()
            .map(|(status, reason)| (status.as_str(), reason.as_str()));
        assert_eq!(found, expected, "{answers:?}");
    }
}

#[test]
fn a_lost_quorum_stays_lost_until_a_member_serves() {
    let mut facts = was_ready();
    facts.live = Some(live([leaderless(0), silent(), silent()]));
    facts.previous = status(&facts, at(1)).status;
    facts.live = Some(live([leaderless(0), leaderless(1), leaderless(2)]));
    facts.previous = status(&facts, at(2)).status;
    assert_eq!(condition(&facts.previous, Kind::Ready).1, "QuorumLost");
    facts.live = Some(live([serving(0), leaderless(1), leaderless(2)]));
    facts.previous = status(&facts, at(3)).status;
    assert_eq!(condition(&facts.previous, Kind::Ready).1, "Quorate");
}

#[test]
fn a_member_is_as_it_answers() {
    let mut facts = was_ready();
    let learner = Answer::Status(Status {
        learner: true,
        ..answer(1)
    });
    for (second, expected) in [
        (serving(1), ("Ready", "LeaseSucceeded")),
        (silent(), ("NotReady", "NotAnswering")),
        (stuck(1), ("NotReady", "NotServing")),
        (learner, ("NotReady", "Learner")),
        // It belongs to another cluster.
        (serving(7), ("NotReady", "NotServing")),
    ] {
        facts.live = Some(live([serving(0), second, serving(2)]));
        let status = status(&facts, at(1)).status;
        assert_eq!(reasons(&status)[1], expected);
        let all = condition(&status, Kind::AllMembersReady);
        assert_eq!(all.0 == "True", expected.0 == "Ready");
        assert_eq!(condition(&status, Kind::Ready).0, "True");
    }
}

#[test]
fn the_leader_is_the_one_that_leads_now() {
    let mut facts = was_ready();
    let of_other = |ordinal| {
        Answer::Status(Status {
            leader: MemberId(0xa2),
            ..answer(ordinal)
        })
    };
    facts.live = Some(live([of_other(0), of_other(1), of_other(2)]));
    facts.previous = status(&facts, at(1)).status;
    let roles = |status: &EtcdStatus| {
        let members = status.members.iter().flatten();
        let roles = members.map(|it| it.role.clone().unwrap_or_default());
        roles.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(roles(&facts.previous), "Member Member Leader");
    // In an election it stays as it was, though the leases are older.
    facts.live = Some(live([leaderless(0), leaderless(1), leaderless(2)]));
    assert_eq!(roles(&status(&facts, at(2)).status), "Member Member Leader");
    facts.previous.members = None;
    assert_eq!(roles(&status(&facts, at(2)).status), "Leader Member Member");
}

#[test]
fn a_member_that_serves_is_one_before_it_has_a_lease() {
    let mut facts = facts();
    facts.leases.clear();
    facts.live = Some(live([serving(0), serving(1), silent()]));
    let status = status(&facts, at(1)).status;
    assert_eq!(reasons(&status), [("Ready", "Serving"); 2]);
    assert_eq!(
        status.members.as_ref().unwrap()[0].id.as_deref(),
        Some("a0")
    );
    assert_eq!(condition(&status, Kind::Ready).0, "True");
    assert_eq!(condition(&status, Kind::AllMembersReady).0, "False");
}

#[test]
fn a_member_whose_sidecar_is_gone_is_not_ready_though_it_serves() {
    let mut facts = was_ready();
    facts.live = Some(live([serving(0), serving(1), serving(2)]));
    let status = status(&facts, at(60)).status;
    assert_eq!(reasons(&status), [("Unknown", "LeaseExpired"); 3]);
    assert_eq!(condition(&status, Kind::Ready).0, "True");
}

#[test]
fn if_nobody_answers_the_pods_tell_whether_it_is_the_network() {
    let mut facts = was_ready();
    facts.live = Some(live([silent(), silent(), silent()]));
    let told = status(&facts, at(1)).status;
    assert_eq!(reasons(&told), [("Ready", "LeaseSucceeded"); 3]);
    assert_eq!(condition(&told, Kind::Ready).0, "True");
    for pod in ["e-0", "e-1"] {
        facts.pods.get_mut(pod).unwrap().containers_ready = false;
    }
    let told = status(&facts, at(1)).status;
    assert_eq!(
        reasons(&told)[1..],
        [("NotReady", "NotAnswering"), ("Ready", "LeaseSucceeded")]
    );
    assert_eq!(condition(&told, Kind::Ready), ("False", "QuorumLost"));
}
