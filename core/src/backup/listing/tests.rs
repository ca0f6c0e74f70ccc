use proptest::prelude::*;

use super::*;

fn listing(names: &[&str]) -> Listing {
    let keys: Vec<String> = names.iter().map(|it| format!("p/v2/{it}")).collect();
    let prefix = Prefix::parse("p").unwrap();
    Listing::read(&prefix, keys.iter().map(|it| (it.as_str(), Some(100))))
}

/// The base, then each delta and what it is applied after.
fn short(chain: &Chain) -> (String, Vec<(String, i64)>) {
    let delta = |it: &Delta| (it.object.key.name.to_string(), it.after.get());
    (
        chain.base.key.name.to_string(),
        chain.deltas.iter().map(delta).collect(),
    )
}

fn newest(names: &[&str]) -> (String, Vec<(String, i64)>, i64) {
    let chain = listing(names).newest().unwrap();
    let (base, deltas) = short(&chain);
    (base, deltas, chain.to.get())
}

fn revision(number: i64) -> Revision {
    Revision::new(number).unwrap()
}

const FULL: &str = "Full-00000000-00000101-1.gz";
const A: &str = "Incr-00000102-00000110-2.gz";
const B: &str = "Incr-00000111-00000120-3.gz";

fn at(name: &str, after: i64) -> (String, i64) {
    (name.to_owned(), after)
}

#[test]
fn the_newest_full_and_what_follows_it_however_the_store_lists_them() {
    let older = "Full-00000000-00000050-9.gz";
    let before = "Incr-00000051-00000101-1.gz";
    let expected = (FULL.to_owned(), vec![at(A, 101), at(B, 110)], 120);
    assert_eq!(newest(&[B, FULL, before, A, older]), expected);
    assert_eq!(newest(&[older, before, FULL, A, B]), expected);
}

#[test]
fn revisions_are_numbers_and_not_text() {
    let long = "Incr-00000102-100000000-2.gz";
    let next = "Incr-100000001-100000009-3.gz";
    let expected = vec![at(long, 101), at(next, 100_000_000)];
    assert_eq!(newest(&[next, long, FULL]).1, expected);
}

#[test]
fn deltas_of_two_writers_overlap_and_restore() {
    let other = "Incr-00000102-00000112-2.gz";
    let chain = listing(&[FULL, A, other, B]).newest().unwrap();
    assert_eq!(short(&chain).1, [at(other, 101), at(B, 112)]);
    let superfluous: Vec<_> = chain
        .superfluous
        .iter()
        .map(|it| it.key.name.to_string())
        .collect();
    assert_eq!(superfluous, [A]);
}

#[test]
fn a_delta_that_begins_early_closes_what_would_be_a_hole() {
    let late = "Incr-00000115-00000120-4.gz";
    let wide = "Incr-00000108-00000130-5.gz";
    assert_eq!(
        newest(&[FULL, A, late, wide]).1,
        [at(A, 101), at(wide, 110)]
    );
}

#[test]
fn a_base_that_holds_more_than_its_name_says_skips_what_it_holds() {
    let listing = listing(&[FULL, A, B]);
    let base = listing.bases().next().unwrap();
    let chain = listing.chain(base, revision(115)).unwrap();
    assert_eq!(short(&chain).1, [at(B, 115)]);
    assert_eq!((chain.from, chain.to), (revision(115), revision(120)));
    let all = listing.chain(base, revision(500)).unwrap();
    assert_eq!((all.deltas.len(), all.to), (0, revision(500)));
    let less = listing.chain(base, revision(100)).unwrap_err();
    assert!(matches!(less, Refusal::BaseHoldsLess { .. }), "{less}");
}

#[test]
fn what_a_base_holds_can_close_a_hole_in_the_names() {
    let listing = listing(&[FULL, B]);
    assert!(matches!(listing.newest(), Err(Refusal::Hole { .. })));
    let base = listing.bases().next().unwrap();
    assert_eq!(
        short(&listing.chain(base, revision(110)).unwrap()).1,
        [at(B, 110)]
    );
}

#[test]
fn a_hole_names_what_comes_after_it_and_what_can_be_restored() {
    let error = listing(&[FULL, A, "Incr-00000113-00000120-3.gz"])
        .newest()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "no object has the revisions 111 to 112: the next, p/v2/Incr-00000113-00000120-3.gz, \
         begins at 113; everything up to revision 110 can be restored"
    );
    let Refusal::Hole { reach, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(short(&reach).1, [at(A, 101)]);
}

#[test]
fn deltas_alone_and_nothing_at_all_are_told_apart() {
    let error = listing(&[A, B]).newest().unwrap_err();
    assert!(
        matches!(error, Refusal::NoFull { deltas: 2, .. }),
        "{error}"
    );
    let prefix = Prefix::parse("p").unwrap();
    let neighbour = [
        "p-2/v2/Full-00000000-00000101-1.gz",
        "p/v2/Full-00000000-00000101-1.gz/0000000001",
    ];
    let listing = Listing::read(&prefix, neighbour.map(|it| (it, None)));
    assert_eq!(
        listing.newest(),
        Err(Refusal::Empty {
            foreign: 1,
            parts: 1
        })
    );
    assert!(matches!(listing.foreign(), [NameError::OtherPrefix { .. }]));
}

#[test]
fn an_unreadable_object_is_named_unless_another_covers_it() {
    let error = listing(&["Full-00000000-00000101-1.zst", A])
        .newest()
        .unwrap_err();
    assert!(
        matches!(
            error,
            Refusal::Base {
                flaw: Flaw::Codec(_),
                ..
            }
        ),
        "{error}"
    );
    let zst = "Incr-00000111-00000120-3.zst";
    let error = listing(&[FULL, A, zst]).newest().unwrap_err();
    assert_eq!(
        error.to_string(),
        "p/v2/Incr-00000111-00000120-3.zst: its suffix .zst is of no known compression (gz, zlib, \
         Z); everything up to revision 110 can be restored"
    );
    assert_eq!(newest(&[FULL, A, zst, B]).1, [at(A, 101), at(B, 110)]);
    let prefix = Prefix::parse("").unwrap();
    let empty = Listing::read(&prefix, [("v2/Full-00000000-00000101-1.gz", Some(0))]);
    let error = empty.newest().unwrap_err();
    assert!(
        matches!(
            error,
            Refusal::Base {
                flaw: Flaw::NoBytes,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn both_layouts_make_one_chain() {
    let prefix = Prefix::parse("dev1").unwrap();
    let keys = [format!("dev1/v2/{A}"), format!("dev1/v1/Backup-1/{FULL}")];
    let chain = Listing::read(&prefix, keys.iter().map(|it| (it.as_str(), None))).newest();
    assert_eq!(short(&chain.unwrap()), (FULL.to_owned(), vec![at(A, 101)]));
}

#[test]
fn a_later_full_of_a_lower_revision_is_reported_if_it_is_much_later() {
    let reset = "Full-00000000-00000007-3602.gz";
    let compacted = "Full-00000000-00000008-3601.gz";
    let listing = listing(&[FULL, reset, compacted, "Full-00000000-00000006-1.gz"]);
    let found: Vec<_> = listing
        .younger_but_lower()
        .map(|it| it.key.name.to_string())
        .collect();
    assert_eq!(found, [reset]);
}

#[test]
fn a_delta_that_begins_below_a_full_snapshot_long_after_it_is_of_another_history() {
    let handed_over = "Incr-00000100-00000103-61.gz";
    let reset = "Incr-00000099-00000120-62.gz";
    let next = "Incr-00000102-00000110-9999.gz";
    let listing = listing(&[
        FULL,
        handed_over,
        reset,
        next,
        "Incr-00000090-00000101-0.gz",
    ]);
    let found: Vec<_> = listing
        .younger_but_lower()
        .map(|it| it.key.name.to_string())
        .collect();
    assert_eq!(found, [reset]);
}

proptest! {
    /// Held against the definition: a chain reaches R if every revision up to R is in some object.
    #[test]
    fn a_chain_reaches_exactly_what_is_covered(
        spans in prop::collection::vec((1_i64..30, 0_i64..8), 0..12),
        base in 1_i64..10,
    ) {
        let mut names = vec![format!("Full-00000000-{base:08}-1.gz")];
        names.extend(spans.iter().zip(2..).map(|((start, more), time)| {
            format!("Incr-{start:08}-{:08}-{time}.gz", start + more)
        }));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let covered = |at: i64| spans.iter().any(|(start, more)| (*start..=start + more).contains(&at));
        let reach = (base..=99).find(|at| !covered(at + 1)).unwrap();
        let highest = spans.iter().map(|(start, more)| start + more).max().unwrap_or(base).max(base);
        let chain = match listing(&names).newest() {
            Ok(chain) => {
                prop_assert_eq!(reach, highest);
                chain
            }
            Err(Refusal::Hole { reach: part, missing_from, .. }) => {
                prop_assert!(reach < highest);
                prop_assert_eq!(missing_from.get(), reach + 1);
                *part
            }
            Err(other) => return Err(TestCaseError::fail(other.to_string())),
        };
        prop_assert_eq!(chain.to.get(), reach);
        let mut to = base;
        for delta in &chain.deltas {
            prop_assert_eq!(delta.after.get(), to);
            prop_assert!(start(&delta.object).get() <= to + 1);
            prop_assert!(delta.object.last().get() > to);
            to = delta.object.last().get();
        }
        prop_assert_eq!(to, reach);
    }
}

#[test]
fn the_tail_is_what_the_names_say_whether_it_connects_or_not() {
    let hole = "Incr-00000130-00000140-4.gz";
    let older = "Full-00000000-00000050-9.gz";
    let names = |listing: &Listing| {
        let (full, deltas) = listing.tail();
        let name = |it: &Object| it.key.name.to_string();
        (full.map(name), deltas.iter().map(name).collect::<Vec<_>>())
    };
    let full = Some(FULL.to_owned());
    assert_eq!(
        names(&listing(&[hole, A, older, FULL])),
        (full, vec![A.to_owned(), hole.to_owned()])
    );
    // A delta and a full snapshot of one second.
    let same = "Incr-00000102-00000110-7.gz";
    let at_once = "Full-00000000-00000110-7.gz";
    let full = Some(at_once.to_owned());
    assert_eq!(names(&listing(&[same, at_once])), (full, Vec::new()));
    assert_eq!(names(&listing(&[A])), (None, vec![A.to_owned()]));
    assert_eq!(names(&listing(&[])), (None, Vec::new()));
}
