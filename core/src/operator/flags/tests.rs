use super::super::gates::Gate;
use super::*;

fn problems(flags: &DeprecatedFlags) -> Vec<String> {
    let ConfigErrors(problems) = flags.config().unwrap_err();
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn without_flags_copies_are_made_and_all_else_is_as_without_a_word() {
    let by_flags = DeprecatedFlags::default().config().unwrap();
    let by_file = json!({
        "apiVersion": API_VERSION, "kind": KIND,
        "controllers": {"etcdCopyBackupsTask": {"enabled": true}},
    });
    assert_eq!(by_flags, Config::read(by_file).unwrap());
    assert!(by_flags.config.copy_task_workers.is_some());
}

#[test]
fn every_flag_stands_for_a_field_that_there_is() {
    let flags = DeprecatedFlags {
        metrics_bind_address: Some("127.0.0.1".to_owned()),
        metrics_port: Some(1),
        webhook_server_bind_address: Some("127.0.0.1".to_owned()),
        webhook_server_port: Some(2),
        webhook_server_tls_server_cert_dir: Some("/certs".to_owned()),
        enable_leader_election: Some(true),
        leader_election_id: Some("mine".to_owned()),
        leader_election_resource_lock: Some("leases".to_owned()),
        disable_lease_cache: Some(true),
        etcd_workers: Some(4),
        enable_etcd_spec_auto_reconcile: Some(true),
        disable_etcd_serviceaccount_automount: Some(true),
        etcd_status_sync_period: Some("5s".to_owned()),
        etcd_member_notready_threshold: Some("6s".to_owned()),
        etcd_member_unknown_threshold: Some("7s".to_owned()),
        enable_backup_compaction: Some(true),
        compaction_workers: Some(8),
        etcd_events_threshold: Some(9),
        active_deadline_duration: Some("10s".to_owned()),
        metrics_scrape_wait_duration: Some("11s".to_owned()),
        enable_etcd_copy_backups_task: Some(true),
        etcd_copy_backups_task_workers: Some(12),
        etcd_ops_task_workers: Some(13),
        etcd_ops_task_requeue_interval: Some("14s".to_owned()),
        secret_workers: Some(15),
        enable_etcd_components_webhook: Some(true),
        reconciler_service_account: Some("system:serviceaccount:a:b".to_owned()),
        etcd_components_webhook_exempt_service_accounts: Some(vec!["c".to_owned()]),
        feature_gates: Some("UpgradeEtcdVersion=true".to_owned()),
    };
    let rows = flags.rows();
    assert!(rows.iter().all(|(_, _, value)| value.is_some()));
    // Each one alone is read: none is a field that nobody knows.
    for (flag, path, value) in &rows {
        let mut file = json!({ "apiVersion": API_VERSION, "kind": KIND });
        put(&mut file, path, value.clone().unwrap());
        let unknown = |warning: &ConfigWarning| matches!(warning, ConfigWarning::Unknown { .. });
        let read = Config::read(file);
        assert!(
            read.is_err() || !read.unwrap().warnings.iter().any(unknown),
            "{flag}"
        );
    }
    let config = flags.config().unwrap().config;
    assert_eq!(config.metrics.port, 1);
    assert_eq!(config.webhook_server.listen.port, 2);
    assert_eq!(config.election.unwrap().lease, "mine");
    assert_eq!(config.etcd.workers.get(), 4);
    assert_eq!(config.etcd.thresholds.not_ready.as_secs(), 6);
    assert_eq!(config.etcd.thresholds.unknown.as_secs(), 7);
    assert_eq!(config.compaction.unwrap().events, 9);
    assert_eq!(config.copy_task_workers.unwrap().get(), 12);
    assert_eq!(config.ops_task.workers.get(), 13);
    assert_eq!(config.secret_workers.get(), 15);
    assert_eq!(config.protection.unwrap().operator.name, "b");
    assert!(config.gates.is_on(Gate::UpgradeEtcdVersion));
    let beside = flags.beside_a_file();
    assert_eq!(beside.len(), rows.len() + 1);
    assert_eq!(
        beside[1].to_string(),
        "--metrics-port has no effect: with --config, only the file counts"
    );
    assert_eq!(DeprecatedFlags::default().beside_a_file(), []);
}

#[test]
fn what_is_wrong_is_told_of_the_flag() {
    let of = DeprecatedFlags::default;
    for (flags, expected) in [
        (
            DeprecatedFlags {
                etcd_workers: Some(0),
                ..of()
            },
            "--etcd-workers: 0 cannot be: write a number from 1 to 10000",
        ),
        (
            DeprecatedFlags {
                feature_gates: Some("UpgradeEtcdVersion".to_owned()),
                ..of()
            },
            "--feature-gates: \"UpgradeEtcdVersion\" sets no feature gate: write NAME=true or \
             NAME=false, separated by commas",
        ),
        (
            DeprecatedFlags {
                feature_gates: Some("UseEtcdWrapper=false".to_owned()),
                ..of()
            },
            "--feature-gates: feature gate UseEtcdWrapper is always on: leave it out",
        ),
        (
            DeprecatedFlags {
                enable_etcd_components_webhook: Some(true),
                ..of()
            },
            "--reconciler-service-account: it is missing: write \
             system:serviceaccount:NAMESPACE:NAME, the operator's own",
        ),
    ] {
        assert_eq!(problems(&flags), [expected]);
    }
    let both = DeprecatedFlags {
        etcd_workers: Some(0),
        feature_gates: Some("x".to_owned()),
        ..of()
    };
    assert_eq!(problems(&both).len(), 2);
}
