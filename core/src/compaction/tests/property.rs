use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;

fn any_job() -> impl Strategy<Value = JobSeen> {
    let failure = prop_oneof![
        Just(None),
        Just(Some(Failure::DeadlineExceeded)),
        Just(Some(Failure::ProcessFailure))
    ];
    prop_oneof![
        3 => Just(JobSeen::None),
        1 => Just(JobSeen::Foreign),
        1 => Just(JobSeen::Leaves),
        1 => Just(JobSeen::OfTask),
        2 => Just(left()),
        1 => Just(runs()),
        1 => failure.prop_map(over),
    ]
}

proptest! {
    /// Whatever is seen: there is never a second Job, nothing begins while others work, and a look that
    /// is repeated by time alone is in the future.
    #[test]
    fn what_begins_is_alone(
        events in 0_u64..400,
        job in any_job(),
        task in proptest::option::of(Just("t")),
        rolling in any::<bool>(),
        last in proptest::option::of((
            any::<bool>(),
            prop_oneof![Just("None"), Just("DeadlineExceeded"), Just("ErrorTriggeringFullSnapshot")],
            -5000_i64..1,
            -5000_i64..5000,
        )),
        asked in any::<bool>(),
    ) {
        let mut object = last.map_or_else(etcd, |(succeeded, reason, since, updated)| {
            after(if succeeded { "True" } else { "False" }, reason, since, updated)
        });
        if rolling {
            object["status"]["upgrade"] = json!({ "phase": "Rolling" });
        }
        let case = Case {
            job: job.clone(),
            task,
            work: if asked { Work::Asked } else { Work::None },
            ..Case::of(object, events)
        };
        match case.decide() {
            Decision::Act(Act::MakeJob { .. }) => {
                prop_assert_eq!(job, JobSeen::None);
                prop_assert!(task.is_none() && !rolling && !asked);
            }
            Decision::Act(Act::TakeFullSnapshot) => {
                prop_assert!(job == JobSeen::None || job == left());
                prop_assert!(task.is_none() && !rolling && !asked);
            }
            Decision::Act(Act::DeleteJob { .. }) if job == left() => {
                prop_assert!(task.is_none() && !rolling && !asked && (100..300).contains(&events));
            }
            Decision::Act(Act::DeleteJob { .. } | Act::Conclude(_) | Act::ConcludeJob { .. }) => {
                let over = matches!(job, JobSeen::Ended { .. });
                prop_assert!(over);
            }
            Decision::Wait { until, .. } => {
                prop_assert!(until.is_none_or(|it| it > case.now));
                let longest = case.now + SignedDuration::from_mins(31);
                prop_assert!(until.is_none_or(|it| it <= longest));
            }
        }
    }
}
