use super::*;
use crate::observed::Alarm;

const OLD: Version = Version::new(3, 4, 34);
const NEW: Version = Version::new(3, 5, 27);

struct Scene {
    ask: Ask,
    etcd: Etcd,
    deep: Deep,
}

fn status(id: u64, version: Version) -> Status {
    Status {
        id: MemberId(id),
        version,
        cluster_version: Some(version.minor),
        leader: MemberId(1),
        term: 5,
        raft_index: 1000,
        raft_applied_index: 1000,
        revision: 900,
        db_size: 10,
        db_size_in_use: 5,
        quota: Some(100),
        learner: false,
        ready: Ok(()),
        errors: Vec::new(),
    }
}

fn listed(id: u64, name: &str) -> Listed {
    Listed {
        id: MemberId(id),
        name: name.into(),
        learner: false,
    }
}

/// Three healthy members `m1` to `m3`; the first leads.
fn healthy(from: Version, to: Version) -> Scene {
    sized(3, from, to)
}

fn sized(members: u64, from: Version, to: Version) -> Scene {
    let name = |id: u64| MemberName(format!("m{id}"));
    let asked = (1..=members).map(|id| (name(id), Answer::Status(status(id, from))));
    let jobs = (1..=members).map(|id| (name(id), Answered::Known(Switch::Off)));
    Scene {
        ask: Ask {
            to,
            config: None,
            allowed_mixed: None,
        },
        etcd: Etcd {
            members: asked.collect(),
            membership: Answered::Known((1..=members).map(|id| listed(id, &name(id).0)).collect()),
            alarms: Answered::Known(Vec::new()),
        },
        deep: Deep {
            hashes: Hashes::Equal {
                revision: 900,
                hash: 7,
            },
            auth: Answered::Known(Switch::Off),
            downgrade: jobs.filter(|_| from.minor >= Minor::new(3, 5)).collect(),
            terms: (5, 5),
            write: None,
            verifier: None,
        },
    }
}

impl Scene {
    fn judge(&self) -> Preflight {
        judge(&self.ask, &self.etcd, &self.deep)
    }

    fn codes(&self) -> Vec<&'static str> {
        self.judge().refusals.iter().map(Refusal::code).collect()
    }

    fn member(&mut self, name: &str) -> &mut Status {
        match self.etcd.members.get_mut(&name.into()) {
            Some(Answer::Status(status)) => status,
            other => panic!("{name}: {other:?}"),
        }
    }

    fn list(&mut self) -> &mut Vec<Listed> {
        match &mut self.etcd.membership {
            Answered::Known(list) => list,
            Answered::Unknown(why) => panic!("{why}"),
        }
    }

    fn silence(&mut self, name: &str) {
        let silent = Answer::Silent("no answer within 1s".to_owned());
        self.etcd.members.insert(name.into(), silent);
    }

    fn raise(&mut self, kind: AlarmKind) {
        let member = MemberId(2);
        self.etcd.alarms = Answered::Known(vec![Alarm { member, kind }]);
    }
}

#[track_caller]
fn only(scene: &Scene, code: &str) {
    assert_eq!(scene.codes(), [code], "{:#?}", scene.judge());
    assert_eq!(scene.judge().verdict(), Verdict::Refused);
}

#[track_caller]
fn unknown(scene: &Scene) {
    let found = scene.judge();
    assert_eq!(found.verdict(), Verdict::Unknown, "{found:#?}");
    assert_eq!(found.unknowns.len(), 1, "{found:#?}");
}

#[track_caller]
fn allowed(scene: &Scene) {
    let found = scene.judge();
    assert_eq!(found.verdict(), Verdict::Allowed, "{found:#?}");
}

/// What is done to a scene.
type Spoil = fn(&mut Scene);

#[test]
fn healthy_clusters_may_go_both_ways() {
    for members in [1, 3, 5] {
        for (from, to) in [(OLD, NEW), (NEW, OLD)] {
            let found = sized(members, from, to).judge();
            let expected = Preflight {
                from: Some(from),
                ..Preflight::default()
            };
            assert_eq!(found, expected);
        }
    }
}

#[test]
fn unsupported_steps_are_refused() {
    for to in ["3.6.15", "3.3.0", "3.5.16"] {
        only(&healthy(OLD, to.parse().unwrap()), "VersionStepUnsupported");
    }
    only(
        &healthy(Version::new(3, 4, 31), NEW),
        "VersionStepUnsupported",
    );
}

#[test]
fn being_there_already_is_a_warning() {
    let scene = healthy(NEW, NEW);
    allowed(&scene);
    assert!(scene.judge().warnings[0].contains("nothing to do"));
}

#[test]
fn a_restart_is_no_step_on_any_release() {
    for version in ["3.3.27", "3.5.2", "3.7.1"] {
        let version = version.parse().unwrap();
        allowed(&healthy(version, version));
    }
}

/// Whatever makes a restart unsafe is refused, and nothing else.
#[test]
fn a_restart_is_kept_from_a_cluster_that_is_not_well_only() {
    let mut full = healthy(NEW, NEW);
    full.raise(AlarmKind::NoSpace);
    full.member("m3").db_size = 100;
    full.member("m2").quota = None;
    full.deep.auth = Answered::Known(Switch::On);
    allowed(&full);
    assert!(
        full.judge()
            .warnings
            .iter()
            .any(|text| text.contains("NOSPACE"))
    );
    full.deep.auth = Answered::Unknown("no answer".to_owned());
    allowed(&full);
    let table: [(&str, Spoil); 9] = [
        ("AlarmActive", |scene| scene.raise(AlarmKind::Corrupt)),
        ("AlarmActive", |scene| scene.raise(AlarmKind::Unknown)),
        ("MemberUnreachable", |scene| scene.silence("m3")),
        ("MemberUnreachable", |scene| {
            scene.member("m3").ready = Err("no".to_owned());
        }),
        ("LearnerPresent", |scene| scene.list()[1].learner = true),
        ("MemberCountMismatch", |scene| {
            scene.list().push(listed(4, "m4"));
        }),
        ("NoStableLeader", |scene| scene.deep.terms = (5, 6)),
        ("HashMismatch", |scene| {
            scene.deep.hashes = Hashes::Different {
                revision: 9,
                hashes: BTreeMap::new(),
            };
        }),
        ("DowngradeInProgress", |scene| {
            scene
                .deep
                .downgrade
                .insert("m2".into(), Answered::Known(Switch::On));
        }),
    ];
    for (code, spoil) in table {
        let mut scene = healthy(NEW, NEW);
        spoil(&mut scene);
        only(&scene, code);
    }
}

#[test]
fn the_odd_version_is_named() {
    let mut scene = healthy(OLD, NEW);
    scene.member("m2").version = Version::new(3, 4, 45);
    only(&scene, "VersionSkew");
    assert_eq!(scene.judge().refusals[0].member(), Some(&"m2".into()));
    assert_eq!(scene.judge().from, Some(OLD));
}

#[test]
fn on_a_draw_the_earlier_release_is_where_the_cluster_is() {
    let mut scene = sized(2, OLD, NEW);
    scene.member("m1").version = Version::new(3, 4, 45);
    assert_eq!(scene.judge().from, Some(OLD));
}

#[test]
fn a_roll_that_has_begun_may_go_on_and_back_from_two_releases() {
    for (to, cluster) in [(NEW, OLD), (OLD, OLD), (OLD, NEW), (NEW, NEW)] {
        let mut scene = healthy(OLD, to);
        scene.ask.allowed_mixed = Some((OLD, NEW));
        scene.member("m3").version = NEW;
        let jobs = &mut scene.deep.downgrade;
        jobs.insert("m3".into(), Answered::Known(Switch::Off));
        for name in ["m1", "m2", "m3"] {
            scene.member(name).cluster_version = Some(cluster.minor);
        }
        allowed(&scene);
        let other = if to == OLD { NEW } else { OLD };
        assert_eq!(scene.judge().from, Some(other));
        scene.member("m2").version = Version::new(3, 4, 45);
        only(&scene, "VersionSkew");
    }
}

#[test]
fn a_roll_that_has_begun_may_not_go_to_a_third_release_that_one_end_cannot_reach() {
    let mut scene = healthy(OLD, Version::new(3, 5, 34));
    scene.ask.allowed_mixed = Some((OLD, NEW));
    allowed(&scene);
    scene.ask.to = Version::new(3, 6, 15);
    assert!(
        scene
            .codes()
            .iter()
            .all(|code| *code == "VersionStepUnsupported")
    );
    assert_eq!(scene.codes().len(), 2);
}

#[test]
fn the_cluster_version_has_to_be_that_of_the_members() {
    for found in [None, Some(Minor::new(3, 5)), Some(Minor::new(3, 3))] {
        let mut scene = healthy(OLD, NEW);
        scene.member("m3").cluster_version = found;
        only(&scene, "ClusterVersionUnexpected");
    }
    let mut mixed = healthy(OLD, NEW);
    mixed.ask.allowed_mixed = Some((OLD, NEW));
    mixed.member("m3").cluster_version = None;
    only(&mixed, "ClusterVersionUnexpected");
}

#[test]
fn a_silent_member_is_refused_by_name() {
    let mut scene = healthy(OLD, NEW);
    scene.silence("m3");
    only(&scene, "MemberUnreachable");
    assert_eq!(scene.judge().refusals[0].member(), Some(&"m3".into()));
}

#[test]
fn a_member_that_is_not_ready_is_refused() {
    let mut scene = healthy(OLD, NEW);
    scene.member("m2").ready = Err("[-]read_index failed".to_owned());
    only(&scene, "MemberUnreachable");
}

#[test]
fn if_nobody_answers_it_is_unknown_and_not_refused() {
    let mut scene = healthy(OLD, NEW);
    for name in ["m1", "m2", "m3"] {
        scene.silence(name);
    }
    let found = scene.judge();
    assert_eq!((found.verdict(), found.from), (Verdict::Unknown, None));
    assert_eq!(found.unknowns.len(), 3);
    scene.etcd.members.clear();
    unknown(&scene);
}

#[test]
fn a_member_that_was_not_given_is_named() {
    let mut scene = healthy(OLD, NEW);
    scene.list().push(listed(4, "m4"));
    only(&scene, "MemberCountMismatch");
    assert!(scene.judge().refusals[0].to_string().contains("m4"));
    scene.list()[3].name = "".into();
    assert!(
        scene.judge().refusals[0]
            .to_string()
            .contains("4 (never started)")
    );
}

#[test]
fn a_member_given_twice_is_a_mismatch() {
    let mut scene = healthy(OLD, NEW);
    scene.member("m3").id = MemberId(2);
    scene.list()[2].name = "m9".into();
    only(&scene, "MemberCountMismatch");
}

#[test]
fn one_member_behind_two_addresses_is_a_mismatch_although_all_names_are_there() {
    let mut scene = healthy(OLD, NEW);
    scene.member("m3").id = MemberId(2);
    only(&scene, "MemberCountMismatch");
}

#[test]
fn a_member_of_another_cluster_is_a_mismatch() {
    let mut scene = healthy(OLD, NEW);
    scene.member("m3").id = MemberId(77);
    only(&scene, "MemberCountMismatch");
}

#[test]
fn a_silent_endpoint_may_be_the_member_that_is_missing_and_only_one() {
    let mut scene = healthy(OLD, NEW);
    scene.etcd.members.remove(&"m3".into());
    scene.silence("http://10.0.0.3:2379");
    only(&scene, "MemberUnreachable");

    scene.etcd.members.remove(&"m2".into());
    scene.silence("m1-again");
    scene.list()[0].name = "m1-again".into();
    assert!(
        scene.codes().contains(&"MemberCountMismatch"),
        "{:?}",
        scene.judge()
    );
}

#[test]
fn an_address_that_is_no_member_is_a_mismatch() {
    let mut scene = healthy(OLD, NEW);
    scene.silence("http://10.0.0.9:2379");
    assert_eq!(scene.codes(), ["MemberUnreachable", "MemberCountMismatch"]);
}

#[test]
fn members_that_go_by_their_addresses_are_found_by_their_numbers() {
    let mut scene = healthy(OLD, NEW);
    let members = std::mem::take(&mut scene.etcd.members).into_iter();
    scene.etcd.members = members
        .map(|(name, answer)| (MemberName(format!("http://{name}")), answer))
        .collect();
    allowed(&scene);
    scene.list()[1].learner = true;
    scene.member("http://m2").learner = true;
    only(&scene, "LearnerPresent");
}

#[test]
fn an_unknown_member_list_is_unknown() {
    let mut scene = healthy(OLD, NEW);
    scene.etcd.membership = Answered::Unknown("no answer".to_owned());
    unknown(&scene);
    scene.member("m2").learner = true;
    assert_eq!(scene.codes(), ["LearnerPresent"]);
}

#[test]
fn a_learner_is_refused_once_by_the_list_or_by_itself() {
    let mut scene = healthy(OLD, NEW);
    scene.list()[1].learner = true;
    only(&scene, "LearnerPresent");
    scene.member("m2").learner = true;
    only(&scene, "LearnerPresent");
    scene.list()[1].learner = false;
    only(&scene, "LearnerPresent");
    assert_eq!(scene.judge().refusals[0].member(), Some(&"m2".into()));
}

#[test]
fn a_learner_does_not_count_for_a_majority() {
    let mut scene = sized(2, OLD, NEW);
    scene.list()[1].learner = true;
    scene.member("m2").learner = true;
    only(&scene, "LearnerPresent");
}

#[test]
fn a_learner_that_never_started_goes_by_its_number() {
    let mut scene = healthy(OLD, NEW);
    let mut learner = listed(0xab, "");
    learner.learner = true;
    scene.list().push(learner);
    assert_eq!(scene.codes(), ["LearnerPresent", "MemberCountMismatch"]);
    assert_eq!(scene.judge().refusals[0].member(), Some(&"ab".into()));
}

#[test]
fn two_members_are_a_warning() {
    let scene = sized(2, OLD, NEW);
    allowed(&scene);
    assert_eq!(scene.judge().warnings.len(), 1);
}

#[test]
fn all_members_have_to_name_one_leader() {
    for leader in [MemberId::NOBODY, MemberId(2)] {
        let mut scene = healthy(OLD, NEW);
        scene.member("m3").leader = leader;
        only(&scene, "NoStableLeader");
    }
    let mut nobody = healthy(OLD, NEW);
    for name in ["m1", "m2", "m3"] {
        nobody.member(name).leader = MemberId::NOBODY;
    }
    only(&nobody, "NoStableLeader");
}

#[test]
fn all_members_have_to_be_in_one_term() {
    let mut scene = healthy(OLD, NEW);
    scene.member("m3").term = 4;
    only(&scene, "NoStableLeader");
}

#[test]
fn one_of_three_cannot_vouch_for_a_leader() {
    let mut scene = healthy(OLD, NEW);
    scene.silence("m2");
    scene.silence("m3");
    let codes = scene.codes();
    assert_eq!(
        codes,
        ["MemberUnreachable", "MemberUnreachable", "NoStableLeader"]
    );
}

#[test]
fn a_leader_that_was_not_given_is_a_leader() {
    let mut scene = healthy(OLD, NEW);
    scene.etcd.members.remove(&"m1".into());
    only(&scene, "MemberCountMismatch");
}

#[test]
fn only_voters_can_vouch_for_a_leader() {
    let mut scene = healthy(OLD, NEW);
    scene.silence("m2");
    scene.list()[2].learner = true;
    scene.member("m3").learner = true;
    assert_eq!(
        scene.codes(),
        ["MemberUnreachable", "LearnerPresent", "NoStableLeader"]
    );
}

#[test]
fn addresses_that_are_no_members_do_not_count_against_a_leader() {
    let mut scene = sized(1, OLD, NEW);
    scene.silence("http://10.0.0.9:2379");
    assert!(!scene.codes().contains(&"NoStableLeader"));
}

#[test]
fn without_a_member_list_a_majority_of_those_asked_has_to_vouch() {
    let mut scene = healthy(OLD, NEW);
    scene.etcd.membership = Answered::Unknown("no answer".to_owned());
    scene.silence("m2");
    only(&scene, "MemberUnreachable");
    scene.silence("m3");
    assert!(scene.codes().contains(&"NoStableLeader"));
}

#[test]
fn an_election_while_we_watch_is_refused() {
    let mut scene = healthy(OLD, NEW);
    scene.deep.terms = (5, 6);
    only(&scene, "NoStableLeader");
}

#[test]
fn a_lag_of_100_entries_is_allowed_and_101_are_not() {
    let mut scene = healthy(OLD, NEW);
    scene.member("m2").raft_applied_index = 900;
    allowed(&scene);
    scene.member("m2").raft_applied_index = 899;
    only(&scene, "RaftLag");
}

#[test]
fn every_alarm_keeps_a_cluster_from_going_up() {
    for kind in [AlarmKind::NoSpace, AlarmKind::Corrupt, AlarmKind::Unknown] {
        let mut scene = healthy(OLD, NEW);
        scene.raise(kind);
        only(&scene, "AlarmActive");
    }
}

#[test]
fn only_a_full_database_may_go_down_with_its_alarm() {
    let mut scene = healthy(NEW, OLD);
    scene.raise(AlarmKind::NoSpace);
    scene.member("m2").errors = vec!["memberID:2 alarm:NOSPACE".to_owned()];
    allowed(&scene);
    assert_eq!(scene.judge().warnings.len(), 1);
    for kind in [AlarmKind::Corrupt, AlarmKind::Unknown] {
        scene.raise(kind);
        only(&scene, "AlarmActive");
    }
}

#[test]
fn unknown_alarms_are_unknown() {
    let mut scene = healthy(OLD, NEW);
    scene.etcd.alarms = Answered::Unknown("no answer".to_owned());
    unknown(&scene);
}

#[test]
fn what_a_member_complains_of_is_passed_on() {
    let mut scene = healthy(OLD, NEW);
    scene.member("m2").errors = vec!["something new".to_owned()];
    assert_eq!(scene.judge().warnings, ["m2 reports: something new"]);
}

#[test]
fn different_data_is_refused_with_the_hashes() {
    let mut scene = healthy(OLD, NEW);
    scene.deep.hashes = Hashes::Different {
        revision: 9,
        hashes: BTreeMap::from([("m1".into(), 0x1a), ("m2".into(), 0x1b)]),
    };
    only(&scene, "HashMismatch");
    let message = scene.judge().refusals[0].to_string();
    assert!(message.ends_with("m1 0000001a, m2 0000001b"), "{message}");
}

#[test]
fn data_that_could_not_be_compared_is_not_equal() {
    let mut scene = healthy(OLD, NEW);
    scene.deep.hashes = Hashes::Unknown("compacting".to_owned());
    unknown(&scene);
}

#[test]
fn exactly_80_percent_of_the_quota_is_allowed() {
    let mut scene = healthy(OLD, NEW);
    scene.member("m3").db_size = 80;
    allowed(&scene);
    scene.member("m3").db_size = 81;
    only(&scene, "QuotaHeadroom");
}

#[test]
fn huge_quotas_do_not_overflow() {
    let mut scene = healthy(OLD, NEW);
    scene.member("m3").quota = Some(u64::MAX);
    scene.member("m3").db_size = u64::MAX;
    only(&scene, "QuotaHeadroom");
}

#[test]
fn a_full_database_may_go_down() {
    let mut scene = healthy(NEW, OLD);
    scene.member("m3").db_size = 100;
    scene.member("m2").quota = None;
    allowed(&scene);
}

#[test]
fn a_quota_that_nobody_says_is_unknown() {
    let mut scene = healthy(OLD, NEW);
    scene.member("m3").quota = None;
    unknown(&scene);
}

#[test]
fn authentication_is_refused_in_both_directions() {
    for (from, to) in [(OLD, NEW), (NEW, OLD)] {
        let mut scene = healthy(from, to);
        scene.deep.auth = Answered::Known(Switch::On);
        only(&scene, "AuthEnabled");
        scene.deep.auth = Answered::Unknown("no answer".to_owned());
        unknown(&scene);
    }
}

#[test]
fn a_downgrade_job_is_refused_and_not_knowing_is_unknown() {
    let mut scene = healthy(NEW, OLD);
    let job = |scene: &mut Scene, answer| scene.deep.downgrade.insert("m2".into(), answer);
    job(&mut scene, Answered::Known(Switch::On));
    only(&scene, "DowngradeInProgress");
    job(&mut scene, Answered::Unknown("no answer".to_owned()));
    unknown(&scene);
    scene.deep.downgrade.remove(&"m2".into());
    unknown(&scene);
}

#[test]
fn a_probe_write_that_failed_is_unknown() {
    let mut scene = healthy(OLD, NEW);
    scene.deep.write = Some(Answered::Known(()));
    allowed(&scene);
    scene.deep.write = Some(Answered::Unknown("no answer".to_owned()));
    unknown(&scene);
}

#[test]
fn the_configuration_is_judged_with_the_cluster() {
    let mut scene = healthy(OLD, NEW);
    scene.ask.config = Some(Config::default());
    only(&scene, "ConfigKeyUnsupported");
    assert_eq!(scene.judge().warnings.len(), 1);
    scene.ask.to = Version::new(3, 4, 45);
    allowed(&scene);
}

#[test]
fn a_refusal_outweighs_what_is_unknown() {
    let mut scene = healthy(OLD, NEW);
    scene.deep.auth = Answered::Unknown("no answer".to_owned());
    scene.raise(AlarmKind::Corrupt);
    only(&scene, "AlarmActive");
}

#[test]
fn members_without_a_raft_snapshot_are_a_warning() {
    let mut saved = BTreeMap::from([
        ("m1".into(), Answered::Known(1)),
        ("m2".into(), Answered::Unknown("no answer".to_owned())),
    ]);
    assert_eq!(raft_snapshot_warning(&saved), None);
    saved.insert("m3".into(), Answered::Known(0));
    assert!(raft_snapshot_warning(&saved).is_some_and(|text| text.contains("m3")));
}

#[test]
fn an_upgrade_whose_snapshot_nobody_could_verify_is_refused() {
    let with = |from, to, verifier| {
        let mut scene = healthy(from, to);
        scene.deep.verifier = Some(verifier);
        scene
    };
    allowed(&with(OLD, NEW, Answered::Known(Verifier::Able)));
    let foreign = || Answered::Known(Verifier::Foreign);
    only(&with(OLD, NEW, foreign()), "SidecarCannotVerify");
    unknown(&with(OLD, NEW, Answered::Unknown("refused".to_owned())));
    // These take no snapshot, and are how another sidecar comes to the members.
    for to in [OLD, NEW] {
        allowed(&with(NEW, to, foreign()));
        allowed(&with(NEW, to, Answered::Unknown("refused".to_owned())));
    }
}

#[test]
fn a_sidecar_is_known_by_how_it_asks_back() {
    assert_eq!(Verifier::of(400), Answered::Known(Verifier::Able));
    assert_eq!(Verifier::of(404), Answered::Known(Verifier::Foreign));
    for odd in [200, 405, 429, 500, 503] {
        assert!(matches!(Verifier::of(odd), Answered::Unknown(_)), "{odd}");
    }
}
