use super::*;

#[test]
fn the_numbers_have_etcd_druids_names() {
    let mut numbers = Numbers::default();
    assert_eq!(numbers.text(), "");
    let took = |seconds, failure| {
        Conclusion::Job(Outcome {
            took: Some(std::time::Duration::from_secs(seconds)),
            ..outcome(failure)
        })
    };
    numbers.concluded("n", "a", &took(30, None));
    numbers.concluded("n", "a", &took(400, Some(Failure::EvictionByEvictionApi)));
    numbers.concluded("n", "a", &took(400, Some(Failure::TerminationByKubelet)));
    numbers.concluded("n", "a", &Conclusion::NotMade(Trouble::Rolling));
    numbers.concluded("n", "a", &Conclusion::FullSnapshot(Ok(snapshot())));
    numbers.concluded("n", "a", &Conclusion::FullSnapshot(Err(Trouble::Rolling)));
    numbers.concluded("n", "b", &took(30, None));
    numbers.tell("n", "a", true, Some(7));
    numbers.tell("n", "b", true, Some(8));
    numbers.tell("n", "c", false, None);
    let text = numbers.text();
    let none = "succeeded=\"true\",failureReason=\"none\",etcd_namespace=\"n\",etcd=\"a\"";
    let evicted = "succeeded=\"false\",failureReason=\"evicted\",etcd_namespace=\"n\",etcd=\"a\"";
    for line in [
        &format!("etcddruid_compaction_jobs_total{{{none}}} 1"),
        &format!("etcddruid_compaction_jobs_total{{{evicted}}} 2"),
        &format!("etcddruid_compaction_job_duration_seconds_bucket{{{none},le=\"60\"}} 1"),
        &format!("etcddruid_compaction_job_duration_seconds_bucket{{{evicted},le=\"300\"}} 0"),
        &format!("etcddruid_compaction_job_duration_seconds_bucket{{{evicted},le=\"600\"}} 2"),
        "etcddruid_compaction_full_snapshot_triggered_total{succeeded=\"true\",etcd_namespace=\"n\",etcd=\"a\"} 1",
        "etcddruid_compaction_full_snapshot_triggered_total{succeeded=\"false\",etcd_namespace=\"n\",etcd=\"a\"} 1",
        "etcddruid_compaction_jobs_total{succeeded=\"true\",failureReason=\"none\",etcd_namespace=\"n\",etcd=\"b\"} 1",
        "etcddruid_compaction_jobs_current{etcd_namespace=\"n\",etcd=\"a\"} 1",
        "etcddruid_compaction_jobs_current{etcd_namespace=\"n\",etcd=\"c\"} 0",
        "etcddruid_compaction_num_delta_events{etcd_namespace=\"n\",etcd=\"b\"} 8",
    ] {
        assert!(text.lines().any(|it| it == line), "{line}\n{text}");
    }
    assert_eq!(text.matches("# TYPE").count(), 5, "{text}");
    assert_eq!(text.matches("jobs_total{").count(), 3, "{text}");
    numbers.forget("n", "a");
    let text = numbers.text();
    assert!(!text.contains("etcd=\"a\"") && text.contains("jobs_total{"));
    numbers.forget("n", "b");
    numbers.forget("n", "c");
    assert_eq!(numbers.text(), "");
}
