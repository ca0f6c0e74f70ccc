//! One test for each rule.

use super::*;

/// A leader that was told of this store and of etcd at this revision, and what it does first.
fn leading(objects: &[Object], etcd: i64) -> (Snapshotter<Hourly>, Vec<Action>) {
    leading_with(config(), objects, etcd)
}

fn leading_with(
    config: Config,
    objects: &[Object],
    etcd: i64,
) -> (Snapshotter<Hourly>, Vec<Action>) {
    let mut it = Snapshotter::new(config, Hourly);
    assert_eq!(it.on(Event::Led, at(0), 0), [Action::Survey]);
    let store = Box::new(view(objects));
    let etcd = r(etcd);
    let first = it.on(Event::Surveyed { store, etcd }, at(0), 0);
    (it, first)
}

/// One with a chain to revision 10 and an open watch, which has asked for the revision.
fn watching() -> Snapshotter<Hourly> {
    let (mut it, first) = leading(&[full(5, at(-60), false), delta(6, 10, at(-30))], 10);
    assert_eq!(
        first,
        [Action::OpenWatch { from: r(11) }, Action::AskRevision]
    );
    let renewed = it.on(Event::AtRevision(r(10)), at(0), 0);
    let last = Some(r(10));
    assert_eq!(renewed, [Action::Renew(Lease::Delta { last })]);
    it
}

fn spooled(start: i64, to: i64, bytes: u64) -> Event {
    Event::Spooled(Spool {
        start: r(start),
        to: r(to),
        bytes,
    })
}

fn sealed(id: u64, start: i64, last: i64) -> Sealed {
    Sealed {
        id,
        start: r(start),
        last: r(last),
    }
}

fn answers(actions: &[Action]) -> Vec<(u64, Answer)> {
    let answer = |it: &Action| {
        let Action::Answer { id, answer } = it else {
            return None;
        };
        Some((*id, answer.clone()))
    };
    actions.iter().filter_map(answer).collect()
}

fn ask(id: u64, wanted: Wanted) -> Event {
    let by = at(100_000);
    Event::Asked { id, wanted, by }
}

const FULL: Wanted = Wanted::Full { is_final: false };
const FINAL: Wanted = Wanted::Full { is_final: true };

#[test]
fn a_full_snapshot_is_due_at_the_start_when_there_is_none_to_build_on() {
    let broken = [full(5, at(-60), false), delta(8, 10, at(-30))];
    let missed = [full(5, at(-3600), false)];
    let old = [full(5, at(-25 * 3600), false)];
    for (objects, due) in [
        (&[][..], "there is none"),
        (&[delta(6, 10, at(-30))], "there is none"),
        (&[full(5, at(-60), true)], "the newest is final"),
        (&old, "the newest is older"),
        (&missed, "a slot of the schedule went by"),
        (
            &broken,
            "the newest chain is broken: no object has the revisions 6 to 7",
        ),
    ] {
        let (_, first) = leading(objects, 10);
        let why = first.iter().find_map(|it| {
            let Action::TakeFull { why, .. } = it else {
                return None;
            };
            Some(why.to_string())
        });
        assert!(
            why.is_some_and(|it| it.starts_with(due)),
            "{due}: {first:?}"
        );
    }
    let (_, first) = leading(&[full(5, at(-60), false)], 10);
    assert_eq!(
        first,
        [Action::OpenWatch { from: r(6) }, Action::AskRevision]
    );
}

#[test]
fn a_chain_without_a_hole_is_continued_while_a_full_snapshot_is_taken() {
    let (mut it, first) = leading(&[full(5, at(-3600), false)], 10);
    assert_eq!(first[0], Action::OpenWatch { from: r(6) });
    assert!(matches!(
        first[2],
        Action::TakeFull {
            why: Why::SlotMissed,
            ..
        }
    ));
    it.on(spooled(6, 9, 10), at(1), 0);
    let began = it.on(Event::FullBegan { named: r(10) }, at(1), 0);
    assert_eq!(began, [Action::SplitAfter(r(10))]);
    // What ends at the name or below may be cut, whatever the upper bound is.
    it.on(spooled(6, 10, 20), at(1), 0);
    let cut = it.on(Event::AtRevision(r(10)), at(1), 0);
    assert_eq!(cut, [Action::Seal]);
    let up = it.on(Event::Sealed(Some(sealed(1, 6, 10))), at(1), 0);
    assert_eq!(up, [Action::Upload { id: 1 }]);
}

#[test]
fn a_delta_after_a_name_is_not_cut_before_the_upper_bound() {
    let mut it = watching();
    it.on(ask(1, FULL), at(1), 0);
    it.on(Event::FullBegan { named: r(10) }, at(1), 0);
    // Above the limit, and still.
    assert_eq!(it.on(spooled(11, 12, 5000), at(1), 0), []);
    assert_eq!(it.on(Event::FullBound { upper: r(14) }, at(1), 0), []);
    assert_eq!(it.on(spooled(11, 13, 5000), at(1), 0), []);
    assert_eq!(it.on(spooled(11, 14, 5000), at(1), 0), [Action::Seal]);
}

#[test]
fn every_period_what_was_acknowledged_before_is_cut() {
    let mut it = watching();
    assert_eq!(it.on(spooled(11, 12, 30), at(5), 0), []);
    assert_eq!(it.next_wakeup(), Some(at(20)));
    assert_eq!(it.on(Event::Tick, at(20), 0), [Action::AskRevision]);
    // The watch is not there yet.
    assert_eq!(it.on(Event::AtRevision(r(14)), at(20), 0), []);
    assert_eq!(it.on(spooled(11, 14, 60), at(20), 0), [Action::Seal]);
    let up = it.on(Event::Sealed(Some(sealed(7, 11, 14))), at(20), 0);
    assert_eq!(up, [Action::Upload { id: 7 }]);
    let object = delta(11, 14, at(21));
    let done = it.on(Event::DeltaDone { id: 7, object }, at(22), 0);
    let last = Some(r(14));
    assert_eq!(done, [Action::Renew(Lease::Delta { last })]);
    let state = it.state(at(22));
    assert_eq!((state.covered, state.as_of), (Some(r(14)), Some(at(20))));
}

#[test]
fn a_delta_is_cut_at_the_limit_and_the_watch_waits_when_too_many_wait() {
    let mut it = watching();
    for id in 0..4 {
        let from = 11 + i64::try_from(id).unwrap();
        assert_eq!(it.on(spooled(from, from, 999), at(1), 0), []);
        assert_eq!(it.on(spooled(from, from, 1000), at(1), 0), [Action::Seal]);
        let cut = it.on(Event::Sealed(Some(sealed(id, from, from))), at(1), 0);
        let upload = [Action::Upload { id: 0 }];
        assert_eq!(cut, if id == 0 { &upload[..] } else { &[] });
    }
    assert_eq!(it.on(spooled(15, 15, 1000), at(1), 0), [Action::Pause]);
    let object = delta(11, 11, at(1));
    let done = it.on(Event::DeltaDone { id: 0, object }, at(2), 0);
    // The place that is free is for what waits.
    assert_eq!(
        done[1..],
        [Action::Resume, Action::Seal, Action::Upload { id: 1 }]
    );
}

#[test]
fn an_upload_that_fails_is_kept_and_tried_again_later_in_order() {
    let mut it = watching();
    it.on(spooled(11, 12, 2000), at(1), 0);
    it.on(Event::Sealed(Some(sealed(1, 11, 12))), at(1), 0);
    it.on(spooled(13, 14, 2000), at(2), 0);
    it.on(Event::Sealed(Some(sealed(2, 13, 14))), at(2), 0);
    let mut now = 3;
    for wait in [2, 4, 8, 16, 32, 64, 128, 128] {
        let why = "403".to_owned();
        let failed = it.on(Event::DeltaFailed { id: 1, why }, at(now), 0);
        assert!(!failed.contains(&Action::Upload { id: 1 }));
        let early = it.on(Event::Tick, at(now + wait - 1), 0);
        assert!(!early.contains(&Action::Upload { id: 1 }), "{wait}");
        now += wait;
        let again = it.on(Event::Tick, at(now), 0);
        assert!(again.contains(&Action::Upload { id: 1 }), "{wait}");
    }
    let Health::Failing { why } = it.state(at(now)).health else {
        panic!("{:?}", it.state(at(now)));
    };
    assert_eq!(why, "403");
    let object = delta(11, 12, at(now));
    let done = it.on(Event::DeltaDone { id: 1, object }, at(now), 0);
    assert!(done.contains(&Action::Upload { id: 2 }));
}

#[test]
fn chance_shortens_a_wait_by_up_to_a_half() {
    let backoff = Backoff::default();
    assert_eq!(backoff.wait(1, 0).as_millis(), 2000);
    assert_eq!(backoff.wait(1, 999).as_millis(), 1001);
    assert_eq!(backoff.wait(3, 500).as_millis(), 6000);
    assert_eq!(backoff.wait(u32::MAX, 0).as_secs(), 128);
}

#[test]
fn compacted_revisions_lead_to_a_full_snapshot_at_once_and_the_next_time_later() {
    let mut it = watching();
    it.on(spooled(11, 12, 10), at(1), 0);
    let end = Event::WatchEnded(WatchEnd::Compacted);
    assert_eq!(it.on(end.clone(), at(1), 0), [Action::Seal]);
    let cut = it.on(Event::Sealed(Some(sealed(1, 11, 12))), at(1), 0);
    assert_eq!(cut[0], Action::Upload { id: 1 });
    assert!(matches!(
        cut[1],
        Action::TakeFull {
            why: Why::Missed(_),
            ..
        }
    ));
    it.on(Event::FullBegan { named: r(20) }, at(1), 0);
    // The watch goes on after the name, when it is its time.
    let opened = it.on(Event::Tick, at(3), 0);
    assert!(
        opened.contains(&Action::OpenWatch { from: r(21) }),
        "{opened:?}"
    );
    it.on(Event::FullBound { upper: r(20) }, at(3), 0);
    let again = it.on(end, at(4), 0);
    assert_eq!(again, []);
    let done = it.on(Event::FullDone(full(20, at(4), false)), at(5), 0);
    assert_eq!(done.len(), 1, "{done:?}");
    let later = it.on(Event::Tick, at(6), 0);
    assert!(matches!(later[..], [Action::TakeFull { .. }]), "{later:?}");
}

#[test]
fn an_etcd_behind_the_store_is_left_alone_until_a_full_snapshot_can_be_taken() {
    let store = [full(5, at(-60), false), delta(6, 10, at(-30))];
    let (mut it, first) = leading(&store, 9);
    assert_eq!(first, []);
    let Health::Diverged(diverged) = it.state(at(0)).health else {
        panic!("{:?}", it.state(at(0)));
    };
    assert_eq!(
        diverged.to_string(),
        format!(
            "etcd is at revision 9 and the store has 10 ({}): they do not have the same history, so \
             nothing is written; restore etcd from the store, or give it another --store-prefix",
            store[1].key
        )
    );
    let refused = it.on(ask(3, FULL), at(1), 0);
    assert_eq!(
        answers(&refused),
        [(3, Answer::Refused(Denial::Diverged(diverged)))]
    );
    assert_eq!(it.on(Event::Tick, at(59), 0), []);
    assert_eq!(it.on(Event::Tick, at(60), 0), [Action::Survey]);
    // It has grown past the store: still not the same history.
    let store = Box::new(view(&store));
    let etcd = r(11);
    let actions = it.on(Event::Surveyed { store, etcd }, at(60), 0);
    assert!(matches!(
        actions[..],
        [Action::TakeFull {
            why: Why::Diverged,
            ..
        }]
    ));
}

#[test]
fn an_etcd_that_goes_back_while_it_is_watched_is_noticed() {
    let mut it = watching();
    it.on(Event::Tick, at(20), 0);
    assert_eq!(it.on(Event::AtRevision(r(9)), at(20), 0), [Action::Abandon]);
    assert!(!it.state(at(20)).health.is_good());
}

#[test]
fn a_watch_that_hangs_is_opened_again() {
    let mut it = watching();
    it.on(spooled(11, 12, 10), at(1), 0);
    it.on(Event::Tick, at(20), 0);
    it.on(Event::AtRevision(r(14)), at(20), 0);
    assert_eq!(it.on(Event::Tick, at(49), 0), []);
    let closed = it.on(Event::Tick, at(50), 0);
    assert_eq!(closed, [Action::CloseWatch, Action::AskRevision]);
    let again = it.on(Event::Tick, at(52), 0);
    assert_eq!(again[0], Action::OpenWatch { from: r(11) });
}

#[test]
fn requests_are_answered_with_what_was_taken_for_them() {
    let mut it = watching();
    assert_eq!(
        it.on(ask(1, Wanted::Delta), at(1), 0),
        [Action::AskRevision]
    );
    let nothing = it.on(Event::AtRevision(r(10)), at(1), 0);
    assert_eq!(answers(&nothing), [(1, Answer::Nothing)]);

    it.on(ask(2, FULL), at(2), 0);
    // Asked after it began: it waits for the next.
    it.on(ask(3, FULL), at(3), 0);
    it.on(Event::FullBegan { named: r(10) }, at(3), 0);
    it.on(Event::FullBound { upper: r(10) }, at(3), 0);
    let first = full(10, at(3), false);
    let done = it.on(Event::FullDone(first.clone()), at(4), 0);
    assert_eq!(answers(&done), [(2, Answer::Taken(Box::new(first)))]);
    assert!(
        matches!(done.last(), Some(Action::TakeFull { .. })),
        "{done:?}"
    );
    let failed = it.on(Event::FullFailed("no".to_owned()), at(5), 0);
    let why = Denial::Failed("no".to_owned());
    assert_eq!(answers(&failed), [(3, Answer::Refused(why))]);
}

#[test]
fn a_final_snapshot_is_not_taken_twice_at_one_revision() {
    let mut it = watching();
    it.on(ask(1, FINAL), at(1), 0);
    it.on(Event::FullBegan { named: r(10) }, at(1), 0);
    let object = full(10, at(1), true);
    it.on(Event::FullDone(object.clone()), at(2), 0);
    let again = it.on(ask(2, FINAL), at(3), 0);
    assert_eq!(
        again,
        [Action::TakeFull {
            why: Why::Asked,
            is_final: true,
            unless: Some(r(10)),
        }]
    );
    let same = it.on(Event::FullUnneeded, at(3), 0);
    assert_eq!(same[0], Action::Release);
    assert_eq!(answers(&same), [(2, Answer::Taken(Box::new(object)))]);
}

#[test]
fn requests_that_cannot_be_served_are_refused_at_once() {
    let mut it = Snapshotter::new(config(), Hourly);
    let refused = |actions: Vec<Action>| match answers(&actions).pop() {
        Some((_, Answer::Refused(denial))) => denial,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(it.on(ask(1, FULL), at(0), 0)), Denial::NotLeading);
    it.on(Event::LeaderUnknown, at(0), 0);
    assert_eq!(
        refused(it.on(ask(2, FULL), at(0), 0)),
        Denial::LeaderUnknown
    );
    let off = Config {
        delta_period: None,
        ..config()
    };
    let (mut it, first) = leading_with(off, &[full(5, at(-60), false)], 10);
    assert_eq!(first, []);
    let denial = refused(it.on(ask(3, Wanted::Delta), at(0), 0));
    assert_eq!(denial, Denial::DeltasDisabled);
    it.on(Event::SurveyFailed("403".to_owned()), at(0), 0);
    let mut it = Snapshotter::new(config(), Hourly);
    it.on(Event::Led, at(0), 0);
    it.on(Event::SurveyFailed("403".to_owned()), at(0), 0);
    let by = at(5);
    let wanted = Wanted::Delta;
    it.on(Event::Asked { id: 4, wanted, by }, at(1), 0);
    let denial = refused(it.on(Event::Tick, at(5), 0));
    assert!(denial.to_string().ends_with("later; 403"), "{denial}");
}

/// Whether a full snapshot is taken now.
fn takes(actions: &[Action]) -> bool {
    let full = |it: &Action| matches!(it, Action::TakeFull { .. });
    actions.iter().any(full)
}

#[test]
fn a_request_does_not_wait_for_the_backoff_of_what_failed_before_it() {
    // The store refuses what the schedule wants, again and again.
    let (mut it, first) = leading(&[], 10);
    assert!(takes(&first));
    for failure in 1..8 {
        it.on(Event::FullFailed("503".to_owned()), at(failure * 200), 0);
        let next = it.on(Event::Tick, at(failure * 200 + 199), 0);
        assert!(takes(&next), "{failure}");
    }
    assert!(!takes(&it.on(
        Event::FullFailed("503".to_owned()),
        at(2000),
        0
    )));
    assert!(!takes(&it.on(Event::Tick, at(2001), 0)));
    // Whoever asks is tried for at once, and told why if it fails.
    assert!(takes(&it.on(ask(1, FULL), at(2002), 0)));
    let failed = it.on(Event::FullFailed("still 503".to_owned()), at(2003), 0);
    let denial = Denial::Failed("still 503".to_owned());
    assert_eq!(answers(&failed), [(1, Answer::Refused(denial))]);
    // By itself it goes on as patiently as before.
    assert!(!takes(&failed) && !takes(&it.on(Event::Tick, at(2004), 0)));
    assert!(takes(&it.on(Event::Tick, at(2200), 0)));
}

#[test]
fn a_request_is_not_answered_by_an_attempt_that_was_under_way_before_it() {
    let (mut it, _) = leading(&[], 10);
    it.on(Event::FullFailed("503".to_owned()), at(0), 0);
    assert!(takes(&it.on(Event::Tick, at(2), 0)));
    assert!(!takes(&it.on(ask(1, FULL), at(3), 0)));
    let failed = it.on(Event::FullFailed("503".to_owned()), at(4), 0);
    assert_eq!(answers(&failed), []);
    assert!(takes(&failed), "{failed:?}");
    it.on(Event::FullBegan { named: r(10) }, at(4), 0);
    let done = it.on(Event::FullDone(full(10, at(5), false)), at(5), 0);
    assert!(matches!(answers(&done)[..], [(1, Answer::Taken(_))]));
}

#[test]
fn a_request_has_the_store_listed_again_now_and_is_told_why_that_fails() {
    let mut it = Snapshotter::new(config(), Hourly);
    it.on(Event::Led, at(0), 0);
    for failure in 0..7 {
        it.on(
            Event::SurveyFailed("503".to_owned()),
            at(failure * 200 + 1),
            0,
        );
        it.on(Event::Tick, at(failure * 200 + 200), 0);
    }
    it.on(Event::SurveyFailed("503".to_owned()), at(1401), 0);
    assert_eq!(it.on(Event::Tick, at(1402), 0), []);
    assert_eq!(it.on(ask(1, FULL), at(1403), 0), [Action::Survey]);
    // This one came after it began.
    assert_eq!(it.on(ask(2, FULL), at(1404), 0), []);
    let failed = it.on(Event::SurveyFailed("still 503".to_owned()), at(1405), 0);
    let refused = Answer::Refused(Denial::Failed("still 503".to_owned()));
    assert_eq!(answers(&failed), [(1, refused)]);
    assert_eq!(failed.last(), Some(&Action::Survey));
}

#[test]
fn a_delta_that_is_asked_for_has_the_one_before_it_uploaded_now() {
    let mut it = watching();
    it.on(spooled(11, 12, 2000), at(1), 0);
    it.on(Event::Sealed(Some(sealed(1, 11, 12))), at(1), 0);
    let failed = |why: &str| Event::DeltaFailed {
        id: 1,
        why: why.to_owned(),
    };
    it.on(failed("503"), at(2), 0);
    assert_eq!(it.on(Event::Tick, at(3), 0), []);
    let asked = it.on(ask(1, Wanted::Delta), at(3), 0);
    assert!(asked.contains(&Action::Upload { id: 1 }), "{asked:?}");
    let denial = Denial::Failed("still 503".to_owned());
    let refused = it.on(failed("still 503"), at(4), 0);
    assert_eq!(answers(&refused), [(1, Answer::Refused(denial))]);
}

#[test]
fn at_the_end_what_was_acknowledged_is_uploaded_and_a_full_snapshot_given_up() {
    let mut it = watching();
    it.on(ask(1, FULL), at(1), 0);
    it.on(Event::FullBegan { named: r(10) }, at(1), 0);
    it.on(spooled(11, 12, 10), at(1), 0);
    let by = at(31);
    let stop = it.on(Event::Stop { by }, at(1), 0);
    assert_eq!(answers(&stop), [(1, Answer::Refused(Denial::Stopping))]);
    assert!(stop.contains(&Action::CancelFull) && stop.contains(&Action::AskRevision));
    // Another member leads meanwhile.
    assert_eq!(it.on(Event::Deposed, at(1), 0), []);
    assert_eq!(it.on(Event::AtRevision(r(12)), at(1), 0), [Action::Seal]);
    let up = it.on(Event::Sealed(Some(sealed(1, 11, 12))), at(1), 0);
    assert_eq!(up, [Action::Upload { id: 1 }]);
    let object = delta(11, 12, at(1));
    let done = it.on(Event::DeltaDone { id: 1, object }, at(2), 0);
    assert_eq!(done.last(), Some(&Action::Finish));
    let late = it.on(ask(2, FULL), at(3), 0);
    assert_eq!(answers(&late), [(2, Answer::Refused(Denial::Stopping))]);
}

#[test]
fn an_end_with_an_etcd_that_is_gone_uploads_what_was_seen() {
    let mut it = watching();
    it.on(spooled(11, 12, 10), at(1), 0);
    it.on(Event::Stop { by: at(31) }, at(1), 0);
    let failed = it.on(Event::RevisionFailed("gone".to_owned()), at(2), 0);
    assert_eq!(failed, [Action::Seal]);
}

#[test]
fn what_is_wanted_while_etcd_is_asked_is_asked_at_once_afterwards() {
    for wanted in [ask(1, Wanted::Delta), Event::Stop { by: at(30) }] {
        let (mut it, first) = leading(&[full(5, at(-60), false), delta(6, 10, at(-30))], 10);
        assert_eq!(first[1], Action::AskRevision);
        assert_eq!(it.on(wanted.clone(), at(0), 0), []);
        let last = Some(r(10));
        let renewed = Action::Renew(Lease::Delta { last });
        let again = it.on(Event::AtRevision(r(10)), at(0), 0);
        assert_eq!(again, [renewed.clone(), Action::AskRevision], "{wanted:?}");
        let then = it.on(Event::AtRevision(r(10)), at(0), 0);
        let over = [Action::Abandon, Action::Finish].as_slice();
        let answer = Action::Answer {
            id: 1,
            answer: Answer::Nothing,
        };
        let rest = if matches!(wanted, Event::Stop { .. }) {
            over
        } else {
            &[answer]
        };
        assert_eq!(then.first(), Some(&renewed));
        assert_eq!(then.get(1..), Some(rest));
    }
}

#[test]
fn an_end_is_not_put_off() {
    let mut it = watching();
    it.on(spooled(11, 12, 2000), at(1), 0);
    it.on(Event::Sealed(Some(sealed(1, 11, 12))), at(1), 0);
    it.on(Event::Stop { by: at(10) }, at(1), 0);
    let over = it.on(Event::Tick, at(10), 0);
    assert_eq!(over.last(), Some(&Action::Finish));
}

#[test]
fn a_slot_of_the_schedule_takes_a_full_snapshot_even_if_nothing_happened() {
    let mut it = watching();
    assert!(
        !it.on(Event::Tick, at(1799), 0)
            .iter()
            .any(|it| matches!(it, Action::TakeFull { .. }))
    );
    let slot = it.on(Event::Tick, at(1800), 0);
    let why = Why::Scheduled;
    assert!(slot.contains(&Action::TakeFull {
        why,
        is_final: false,
        unless: None,
    }));
}

#[test]
fn a_clock_that_goes_back_does_not_put_off_what_is_due() {
    let mut it = watching();
    // A year ahead, and back.
    let year = 365 * 86_400;
    it.on(Event::Tick, at(year), 0);
    it.on(Event::AtRevision(r(10)), at(year), 0);
    it.on(Event::Tick, at(10), 0);
    let next = it.next_wakeup().unwrap();
    assert!(next <= at(31), "{next}");
    let slot = it.on(Event::Tick, at(1800), 0);
    assert!(slot.contains(&Action::AskRevision), "{slot:?}");
}

#[test]
fn garbage_is_collected_every_period_one_round_at_a_time() {
    let mut it = watching();
    assert!(it.on(Event::Tick, at(60), 0).contains(&Action::Collect));
    assert!(!it.on(Event::Tick, at(120), 0).contains(&Action::Collect));
    it.on(Event::Collected, at(121), 0);
    assert!(it.on(Event::Tick, at(180), 0).contains(&Action::Collect));
}

#[test]
fn health_follows_the_age_of_what_is_covered() {
    let mut it = watching();
    let health = |it: &Snapshotter<Hourly>, now| it.state(at(now)).health;
    let age = Some(SignedDuration::from_secs(90));
    assert_eq!(health(&it, 90), Health::Healthy { age });
    let age = SignedDuration::from_secs(91);
    assert_eq!(health(&it, 91), Health::Late { age });
    it.on(Event::Tick, at(91), 0);
    it.on(Event::AtRevision(r(10)), at(91), 0);
    assert!(health(&it, 92).is_good());
    it.on(Event::Deposed, at(93), 0);
    assert_eq!(health(&it, 93), Health::Idle);
}

#[test]
fn whoever_leads_again_continues_from_what_the_store_has_by_then() {
    let mut it = watching();
    assert_eq!(it.on(Event::Deposed, at(1), 0), [Action::Abandon]);
    assert_eq!(it.on(Event::Led, at(2), 0), [Action::Survey]);
    let objects = [
        full(5, at(-60), false),
        delta(6, 10, at(-30)),
        delta(9, 15, at(1)),
    ];
    let store = Box::new(view(&objects));
    let etcd = r(16);
    let actions = it.on(Event::Surveyed { store, etcd }, at(2), 0);
    assert_eq!(actions[0], Action::OpenWatch { from: r(16) });
}
