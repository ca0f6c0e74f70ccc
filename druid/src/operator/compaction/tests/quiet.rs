use super::room::{Room, a_while};

#[tokio::test(flavor = "multi_thread")]
async fn etcds_without_new_snapshots_cost_nothing() {
    let room = Room::new("quiet").await;
    for index in 0..10 {
        room.etcd(&format!("etcd-{index}"), 1, 50).await;
    }
    let made = room.bed.requests("create", "");
    let patched = room.bed.requests("patch", "");
    let looks = || room.bed.requests("get", "/etcds/");
    let before = looks();
    let _operator = room.operator();
    a_while().await;
    // One for each of its leases at most.
    assert!((10..=20).contains(&(looks() - before)), "{}", looks());
    let before = looks();
    for _ in 0..3 {
        for index in 0..10 {
            // Renewed, and nothing new in it.
            room.snapshot(&format!("etcd-{index}"), "delta", 1050).await;
        }
    }
    a_while().await;
    assert_eq!(looks(), before);
    assert_eq!(room.bed.requests("get", "/jobs/"), 0);
    assert_eq!(room.bed.requests("list", "/etcdopstasks"), 0);
    assert_eq!(room.bed.requests("create", ""), made);
    assert_eq!(
        room.bed.requests("patch", ""),
        patched + 30,
        "those of the test"
    );
    assert_eq!(room.bed.requests("delete", ""), 0);
    // One new snapshot costs one look.
    room.snapshot("etcd-3", "delta", 1051).await;
    a_while().await;
    assert_eq!(looks(), before + 1);
}
