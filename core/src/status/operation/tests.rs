use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn reconcile(outcome: Outcome) -> Operation {
    Operation {
        kind: OperationKind::Reconcile,
        outcome,
    }
}

fn failure(cause: &str) -> Failure {
    Failure {
        code: Code::Sync(Component::StatefulSet),
        message: "Error creating or patching [StatefulSet: n/e, Replicas: 1] for etcd: n/e"
            .to_owned(),
        cause: cause.to_owned(),
    }
}

#[test]
fn what_etcd_druid_says_is_said_in_its_words() {
    let describe = |outcome| reconcile(outcome).description();
    let progress = "Etcd cluster reconciliation is in progress";
    assert_eq!(describe(Outcome::Processing(None)), progress);
    let done = "Etcd cluster has been successfully reconciled";
    assert_eq!(describe(Outcome::Succeeded), done);
    assert_eq!(
        failure("no secretRef").to_string(),
        "[Operation: Sync, Code: ERR_SYNC_STATEFULSET] message: Error creating or patching \
         [StatefulSet: n/e, Replicas: 1] for etcd: n/e, cause: no secretRef"
    );
    for (code, word) in [
        (
            Code::Sync(Component::ClientService),
            "ERR_SYNC_CLIENT_SERVICE",
        ),
        (
            Code::Delete(Component::ClientService),
            "ERR_DELETE_CLIENT_SERVICE",
        ),
        (
            Code::Delete(Component::SnapshotLease),
            "ERR_DELETE_SNAPSHOT_LEASE",
        ),
        (Code::Get(Component::ConfigMap), "ERR_GET_CONFIGMAP"),
        (Code::UpgradeHalted, "ERR_UPGRADE_HALTED"),
    ] {
        assert_eq!(code.to_string(), word);
    }
}

#[test]
fn no_two_codes_are_the_same() {
    let of = |component| [Code::Get, Code::Sync, Code::Delete].map(|code| code(component));
    let codes = Component::ALL.into_iter().flat_map(of);
    let mut codes: Vec<_> = codes.map(|it| it.to_string()).collect();
    codes.sort();
    codes.dedup();
    assert_eq!(codes.len(), 30);
}

#[test]
fn what_is_said_again_is_the_same_to_the_second() {
    let mut status = EtcdStatus::default();
    let failed = reconcile(Outcome::Failed(vec![failure("a")]));
    failed.apply(&mut status, "run 1", at(1));
    assert_eq!(
        last(&status),
        Some((OperationKind::Reconcile, OperationState::Error))
    );
    let said = status.clone();
    failed.apply(&mut status, "run 2", at(2));
    assert_eq!(status, said);
    assert_eq!(
        said.last_operation.as_ref().unwrap().description,
        "Etcd cluster reconciliation failed with ERR_SYNC_STATEFULSET. Operation will be retried."
    );
    // The same error of another cause, and one that is known.
    let two = reconcile(Outcome::Failed(vec![failure("b"), failure("a")]));
    two.apply(&mut status, "run 3", at(3));
    let errors = status.last_errors.clone().unwrap();
    let times: Vec<_> = errors.iter().map(|it| it.observed_at.clone()).collect();
    assert_eq!(times, [Time::seconds(at(3)), Time::seconds(at(1))]);
    reconcile(Outcome::Succeeded).apply(&mut status, "run 4", at(4));
    assert_eq!(status.last_errors, None);
    let last = status.last_operation.unwrap();
    assert_eq!((&*last.run_id, &*last.state), ("run 4", "Succeeded"));
    assert_eq!(last.last_update_time, Time::seconds(at(4)));
}

#[test]
fn words_of_others_are_not_guessed_at() {
    let mut status = EtcdStatus::default();
    assert_eq!(last(&status), None);
    let operation = Operation {
        kind: OperationKind::Delete,
        outcome: Outcome::Waiting("1 object is left".to_owned()),
    };
    operation.apply(&mut status, "r", at(0));
    assert_eq!(
        last(&status),
        Some((OperationKind::Delete, OperationState::Requeue))
    );
    let said = status.last_operation.as_mut().unwrap();
    assert_eq!(
        said.description,
        "1 object is left. Operation will be retried."
    );
    said.state = "Pondering".to_owned();
    assert_eq!(last(&status), None);
}

#[test]
fn success_is_said_when_the_last_member_is_there() {
    let shown = |phase| Shown::example(phase, "m");
    let behind = || Some("e-0 has to be updated".to_owned());
    let of = |upgrade: Option<ShownPhase>, behind| {
        let upgrade = upgrade.map(shown);
        Outcome::reconciled(Vec::new(), upgrade.as_ref(), behind)
    };
    assert_eq!(of(None, None), Outcome::Succeeded);
    assert_eq!(of(None, behind()), Outcome::Processing(behind()));
    for phase in ShownPhase::ALL {
        let expected = match phase {
            ShownPhase::Succeeded => OperationState::Succeeded,
            ShownPhase::Preflight
            | ShownPhase::Snapshot
            | ShownPhase::Rolling
            | ShownPhase::Finalizing
            | ShownPhase::PuttingBack => OperationState::Processing,
            ShownPhase::RolledBack | ShownPhase::Blocked => OperationState::Error,
            ShownPhase::Refused | ShownPhase::Waiting | ShownPhase::Paused => {
                OperationState::Requeue
            }
        };
        assert_eq!(of(Some(phase), None).state(), expected, "{phase:?}");
    }
    let succeeded = shown(ShownPhase::Succeeded);
    let outcome = Outcome::reconciled(vec![failure("a")], Some(&succeeded), None);
    assert_eq!(outcome.state(), OperationState::Error);
}
