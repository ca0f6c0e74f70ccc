use proptest::prelude::*;

use super::*;

const A: Tag = Tag { writer: 1, seq: 1 };
const B: Tag = Tag { writer: 2, seq: 1 };
const C: Tag = Tag { writer: 3, seq: 1 };

fn known(client: u16, call: u64, returned: u64, action: Action) -> Operation {
    Operation {
        client,
        register: 0,
        call,
        end: End::Known { returned, action },
    }
}

fn unknown(client: u16, call: u64, intent: Intent) -> Operation {
    Operation {
        client,
        register: 0,
        call,
        end: End::Unknown(intent),
    }
}

fn write(call: u64, returned: u64, tag: Tag) -> Operation {
    known(1, call, returned, Action::Write(tag))
}

fn read(call: u64, returned: u64, found: Option<Tag>) -> Operation {
    known(2, call, returned, Action::Read(found))
}

fn swapped(call: u64, returned: u64, expect: Option<Tag>, new: Tag) -> Operation {
    known(3, call, returned, Action::Swapped { expect, new })
}

fn refused(call: u64, returned: u64, expect: Option<Tag>, found: Option<Tag>) -> Operation {
    known(3, call, returned, Action::Refused { expect, found })
}

fn culprit(history: &[Operation]) -> Option<Operation> {
    match check(history, BOUND) {
        Verdict::Linearizable => None,
        Verdict::NotLinearizable(witness) => Some(witness.culprit),
        undecided @ Verdict::Undecided { .. } => panic!("{undecided}"),
    }
}

#[track_caller]
fn accepts(history: &[Operation]) {
    assert_eq!(culprit(history), None, "{}", check(history, BOUND));
    assert!(brute_force(history));
}

#[track_caller]
fn rejects(history: &[Operation], expected: Operation) {
    assert_eq!(culprit(history), Some(expected));
    assert!(!brute_force(history));
}

#[test]
fn an_empty_history_and_one_in_sequence_are_explained() {
    accepts(&[]);
    accepts(&[
        read(0, 1, None),
        write(2, 3, A),
        read(4, 5, Some(A)),
        swapped(6, 7, Some(A), B),
        refused(8, 9, Some(A), Some(B)),
        read(10, 11, Some(B)),
    ]);
}

#[test]
fn a_read_may_see_either_side_of_a_write_that_overlaps_it() {
    accepts(&[write(0, 10, A), read(1, 5, None), read(6, 9, Some(A))]);
    accepts(&[write(0, 10, A), read(1, 2, Some(A)), read(20, 30, Some(A))]);
}

#[test]
fn a_stale_read_is_found() {
    let stale = read(6, 7, Some(A));
    rejects(&[write(0, 1, A), write(2, 5, B), stale], stale);
    let absent = read(2, 3, None);
    rejects(&[write(0, 1, A), absent], absent);
}

#[test]
fn a_read_that_goes_back_is_found() {
    let back = read(5, 6, Some(A));
    rejects(
        &[write(0, 1, A), write(2, 20, B), read(3, 4, Some(B)), back],
        back,
    );
}

#[test]
fn two_readers_cannot_see_two_writes_in_opposite_orders() {
    let first = read(4, 5, Some(A));
    let last = read(6, 7, Some(B));
    accepts(&[write(0, 10, A), write(0, 10, B), first, last]);
    let back = read(8, 9, Some(A));
    rejects(&[write(0, 10, A), write(0, 10, B), first, last, back], back);
}

#[test]
fn a_value_that_nobody_wrote_is_found() {
    let impossible = read(2, 3, Some(C));
    rejects(&[write(0, 1, A), impossible], impossible);
    // Nor from a write that has not begun yet.
    let early = read(2, 3, Some(B));
    rejects(&[write(0, 1, A), early, write(4, 5, B)], early);
}

#[test]
fn a_lost_update_is_found() {
    let second = swapped(3, 6, Some(A), C);
    rejects(&[write(0, 1, A), swapped(2, 5, Some(A), B), second], second);
    let refused_wrongly = refused(2, 3, Some(A), Some(A));
    rejects(&[write(0, 1, A), refused_wrongly], refused_wrongly);
    let invented = refused(2, 3, Some(A), Some(B));
    rejects(&[write(0, 1, A), invented], invented);
}

#[test]
fn an_unanswered_write_may_be_seen_late_or_never() {
    let lost = unknown(4, 0, Intent::Write(B));
    accepts(&[lost, write(1, 2, A), read(3, 4, Some(A))]);
    accepts(&[
        lost,
        write(1, 2, A),
        read(3, 4, Some(A)),
        read(500, 501, Some(B)),
        read(502, 503, Some(B)),
    ]);
    let back = read(7, 8, Some(A));
    rejects(&[lost, write(1, 2, A), read(5, 6, Some(B)), back], back);
    // It takes effect once.
    let again = read(9, 10, Some(B));
    rejects(
        &[
            lost,
            write(1, 2, A),
            read(3, 4, Some(B)),
            write(5, 6, C),
            read(7, 8, Some(C)),
            again,
        ],
        again,
    );
    // And not before its call.
    let early = read(0, 1, Some(B));
    rejects(&[early, unknown(4, 2, Intent::Write(B))], early);
}

#[test]
fn an_unanswered_swap_needs_what_it_expects() {
    let lost = unknown(
        4,
        0,
        Intent::Swap {
            expect: Some(A),
            new: B,
        },
    );
    accepts(&[lost, write(1, 2, A), read(3, 4, Some(B))]);
    accepts(&[lost, write(1, 2, C), read(3, 4, Some(C))]);
    let impossible = read(3, 4, Some(B));
    rejects(&[lost, write(1, 2, C), impossible], impossible);
    // A chain of two that only the last read betrays.
    accepts(&[
        lost,
        unknown(
            5,
            0,
            Intent::Swap {
                expect: Some(B),
                new: C,
            },
        ),
        write(1, 2, A),
        read(3, 4, Some(C)),
    ]);
}

#[test]
fn explanations_that_spent_different_writes_are_all_kept() {
    const X: Tag = Tag { writer: 7, seq: 1 };
    const Z: Tag = Tag { writer: 7, seq: 2 };
    const W: Tag = Tag { writer: 7, seq: 3 };
    let swap = |expect, new| Intent::Swap {
        expect: Some(expect),
        new,
    };
    // All three set A. Only if the second is saved up can the last read be explained.
    accepts(&[
        write(0, 1, X),
        unknown(4, 2, swap(X, A)),
        unknown(5, 2, Intent::Write(A)),
        unknown(6, 2, swap(Z, A)),
        read(3, 4, Some(A)),
        write(5, 6, Z),
        read(7, 8, Some(A)),
        write(9, 10, W),
        read(11, 12, Some(A)),
    ]);
}

#[test]
fn operations_at_the_same_instant_are_concurrent_and_one_later_are_not() {
    accepts(&[write(0, 5, A), write(5, 6, B), read(7, 8, Some(A))]);
    let stale = read(8, 9, Some(A));
    rejects(&[write(0, 5, A), write(6, 7, B), stale], stale);
}

#[test]
fn registers_do_not_mix_and_the_bad_one_is_named() {
    let elsewhere = |mut operation: Operation, register| {
        operation.register = register;
        operation
    };
    let bad = elsewhere(read(4, 5, Some(A)), 7);
    let history = [write(0, 1, A), elsewhere(write(2, 3, B), 7), bad];
    let Verdict::NotLinearizable(witness) = check(&history, BOUND) else {
        panic!("{}", check(&history, BOUND));
    };
    assert_eq!((witness.register, witness.culprit), (7, bad));
    assert_eq!(witness.possible, [Some(B)]);
}

#[test]
fn a_witness_reads_well() {
    let history = [write(0, 1_000_000, A), write(2_000_000, 2_500_000, B), {
        read(3_000_000, 3_000_001, Some(A))
    }];
    assert_eq!(
        check(&history, BOUND).to_string(),
        "not linearizable: nothing explains this operation on rehearse/load/r/000, which held \
         w2#1 before it:
  client 2 at 3.000000 ms to 3.000001 ms: read w1#1
the last of 3 operations up to its return:
  client 1 at 0.000000 ms to 1.000000 ms: wrote w1#1
  client 1 at 2.000000 ms to 2.500000 ms: wrote w2#1
  client 2 at 3.000000 ms to 3.000001 ms: read w1#1"
    );
}

#[test]
fn a_search_that_is_too_large_says_so() {
    // Twenty writes at once, and a read of something else that has to be refuted.
    let mut history: Vec<_> = (0..20)
        .map(|seq| write(0, 100, Tag { writer: 9, seq }))
        .collect();
    history.push(read(200, 201, Some(A)));
    assert!(matches!(
        check(&history, 1_000),
        Verdict::Undecided { register: 0, after } if after > 1_000
    ));
    // More operations at once than there is room for.
    let history: Vec<_> = (0..200)
        .map(|seq| write(0, 100, Tag { writer: 9, seq }))
        .collect();
    assert!(matches!(check(&history, BOUND), Verdict::Undecided { .. }));
    // An undecided register does not hide a wrong one.
    let mut both = history;
    both.extend([write(0, 1, A), read(2, 3, None)].map(|mut operation| {
        operation.register = 1;
        operation
    }));
    assert!(matches!(check(&both, BOUND), Verdict::NotLinearizable(_)));
}

/// Whether some order explains the history: tries them all.
fn brute_force(history: &[Operation]) -> bool {
    fn go(left: &[Operation], state: Option<Tag>) -> bool {
        let first_return = left
            .iter()
            .filter_map(|operation| match operation.end {
                End::Known { returned, .. } => Some(returned),
                End::Unknown(_) => None,
            })
            .min();
        let Some(first_return) = first_return else {
            return true;
        };
        (0..left.len()).any(|at| {
            let mut rest = left.to_vec();
            let next = rest.remove(at);
            if next.call > first_return {
                return false;
            }
            let state = match next.end {
                End::Known { action, .. } => match action {
                    Action::Write(new) => Some(new),
                    Action::Read(found) if found == state => state,
                    Action::Swapped { expect, new } if expect == state => Some(new),
                    Action::Refused { expect, found } if found == state && expect != state => state,
                    Action::Read(_) | Action::Swapped { .. } | Action::Refused { .. } => {
                        return false;
                    }
                },
                End::Unknown(Intent::Write(new)) => Some(new),
                End::Unknown(Intent::Swap { expect, new }) if expect == state => Some(new),
                End::Unknown(Intent::Swap { .. }) => return false,
            };
            go(&rest, state)
        })
    }
    go(history, None)
}

/// A register that does one thing at a time, at times that it is given.
fn sequential(plan: &[(u8, u8, u64, u64, bool)], unique: bool) -> Vec<Operation> {
    let mut state: Option<Tag> = None;
    let mut history = Vec::new();
    for (at, (kind, value, before, after, answered)) in plan.iter().enumerate() {
        let at = u64::try_from(at).unwrap();
        // Takes effect at `at * 10`; the interval around it is what the client sees.
        let (call, returned) = ((at * 10).saturating_sub(*before), at * 10 + after);
        let client = u16::try_from(at).unwrap();
        let new = if unique {
            Tag {
                writer: client,
                seq: 1,
            }
        } else {
            Tag {
                writer: 0,
                seq: u32::from(*value),
            }
        };
        let guess = Some(Tag {
            writer: 0,
            seq: u32::from(value / 2),
        });
        let expect = if kind % 2 == 0 { state } else { guess };
        let action = match kind % 6 {
            0 | 1 => Action::Write(new),
            2 | 3 => Action::Read(state),
            _ if expect == state => Action::Swapped { expect, new },
            _ => Action::Refused {
                expect,
                found: state,
            },
        };
        let applied = !answered && value % 2 == 0;
        let end = match action {
            Action::Write(tag) if !answered => Some(Intent::Write(tag)),
            Action::Swapped { .. } | Action::Refused { .. } if !answered => {
                Some(Intent::Swap { expect, new })
            }
            Action::Write(_)
            | Action::Read(_)
            | Action::Swapped { .. }
            | Action::Refused { .. } => None,
        };
        if end.is_none() || applied {
            state = match action {
                Action::Write(new) | Action::Swapped { new, .. } => Some(new),
                Action::Read(_) | Action::Refused { .. } => state,
            };
        }
        history.push(match end {
            Some(intent) => unknown(client, call, intent),
            None => known(client, call, returned, action),
        });
    }
    history
}

fn plans(
    length: std::ops::Range<usize>,
    overlap: u64,
    answered: f64,
) -> impl Strategy<Value = Vec<(u8, u8, u64, u64, bool)>> {
    let step = (
        0..6_u8,
        0..6_u8,
        0..overlap,
        0..overlap,
        prop::bool::weighted(answered),
    );
    prop::collection::vec(step, length)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_a_real_register_did_is_explained(plan in plans(1..120, 35, 0.85), unique: bool) {
        let history = sequential(&plan, unique);
        prop_assert_eq!(check(&history, BOUND), Verdict::Linearizable);
    }

    #[test]
    fn one_altered_read_is_found(plan in plans(4..80, 30, 0.85), pick: prop::sample::Index) {
        let mut history = sequential(&plan, true);
        let reads: Vec<usize> = (0..history.len())
            .filter(|at| matches!(history[*at].end, End::Known { action: Action::Read(_), .. }))
            .collect();
        prop_assume!(!reads.is_empty());
        let at = reads[pick.index(reads.len())];
        let End::Known { returned, .. } = history[at].end else { unreachable!() };
        let impossible = Some(Tag { writer: 9_999, seq: 1 });
        history[at].end = End::Known { returned, action: Action::Read(impossible) };
        let Verdict::NotLinearizable(witness) = check(&history, BOUND) else {
            return Err(TestCaseError::fail("not found"));
        };
        prop_assert_eq!(witness.culprit, history[at]);
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn small_histories_of_every_kind_agree_with_trying_all_orders(
        plan in prop_oneof![plans(1..8, 25, 0.85), plans(3..10, 40, 0.4)],
        alter: Option<(prop::sample::Index, u8)>,
        unique: bool,
    ) {
        let mut history = sequential(&plan, unique);
        if let Some((pick, value)) = alter {
            let at = pick.index(history.len());
            let found = (value > 0).then(|| {
                let other = history[usize::from(value) % history.len()];
                wrote(&other).unwrap_or(Tag { writer: 0, seq: u32::from(value % 6) })
            });
            if let End::Known { returned, .. } = history[at].end {
                history[at].end = End::Known { returned, action: Action::Read(found) };
            }
        }
        prop_assert_eq!(
            check(&history, BOUND) == Verdict::Linearizable,
            brute_force(&history),
            "{:#?}", history
        );
    }
}

/// A long history of `clients` clients on `registers` registers, each operation overlapping its
/// neighbours; every fiftieth write has no answer and half of those are applied.
fn long_history(count: u64, registers: u16, clients: u16) -> Vec<Operation> {
    let mut state = vec![None; usize::from(registers)];
    let mut random = 1;
    (0..count)
        .map(|at| {
            let word = crate::oracle::next_random(&mut random);
            let register = u16::try_from(word % u64::from(registers)).unwrap();
            let slot = &mut state[usize::from(register)];
            let client = u16::try_from(at % u64::from(clients)).unwrap();
            let width = u64::from(clients) * 500;
            let (call, returned) = (at * 1_000 + width - word % width, at * 1_000 + width * 2);
            let new = Tag {
                writer: client,
                seq: u32::try_from(at).unwrap(),
            };
            let action = match (word >> 32) % 10 {
                0..5 => Action::Read(*slot),
                5..8 => Action::Write(new),
                _ => Action::Swapped { expect: *slot, new },
            };
            let unanswered = (word >> 40).is_multiple_of(50);
            let dropped = unanswered && (word >> 50).is_multiple_of(2);
            let intent = match action {
                Action::Write(tag) => Some(Intent::Write(tag)),
                Action::Swapped { expect, new } => Some(Intent::Swap { expect, new }),
                Action::Read(_) | Action::Refused { .. } => None,
            };
            if intent.is_some() && !dropped {
                *slot = Some(new);
            }
            let end = match intent {
                Some(intent) if unanswered => End::Unknown(intent),
                _ => End::Known { returned, action },
            };
            Operation {
                client,
                register,
                call,
                end,
            }
        })
        .collect()
}

#[test]
fn hundreds_of_thousands_of_operations_are_checked() {
    let mut history = long_history(300_000, 20, 24);
    assert_eq!(check(&history, BOUND), Verdict::Linearizable);
    // One stale read in the midst of it.
    let last = history
        .iter()
        .rposition(|o| {
            o.register == 3
                && matches!(
                    o.end,
                    End::Known {
                        action: Action::Read(_),
                        ..
                    }
                )
        })
        .unwrap();
    let old = history.iter().find(|o| o.register == 3).and_then(wrote);
    let End::Known { returned, .. } = history[last].end else {
        unreachable!()
    };
    history[last].end = End::Known {
        returned,
        action: Action::Read(old),
    };
    assert!(matches!(
        check(&history, BOUND),
        Verdict::NotLinearizable(_)
    ));
}

#[test]
fn thousands_of_unanswered_writes_cost_no_more_than_they_are() {
    let seen = Tag {
        writer: 7,
        seq: 1_500,
    };
    let mut history: Vec<_> = (0..3_000)
        .map(|seq| unknown(7, u64::from(seq), Intent::Write(Tag { writer: 7, seq })))
        .collect();
    history.push(write(5_000, 5_001, A));
    history.push(read(5_002, 5_003, Some(seen)));
    for at in 0..2_000 {
        let start = 6_000 + at * 10;
        let tag = Tag {
            writer: 8,
            seq: u32::try_from(at).unwrap(),
        };
        history.push(write(start, start + 5, tag));
        history.push(read(start + 6, start + 7, Some(tag)));
    }
    assert_eq!(check(&history, 20_000), Verdict::Linearizable);
}
