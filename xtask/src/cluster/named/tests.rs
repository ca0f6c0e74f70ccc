//! Against real processes.

use std::process::Command;

use super::*;

fn clusters() -> (tempfile::TempDir, Clusters) {
    let dir = tempfile::tempdir().unwrap();
    let clusters = Clusters::in_directory(dir.path().join("cluster"));
    (dir, clusters)
}

/// Takes it down when the test fails, too.
struct TakenDown<'a>(&'a Clusters, &'a ClusterName);

impl Drop for TakenDown<'_> {
    fn drop(&mut self) {
        let _ = self.0.down(self.1);
    }
}

#[test]
fn a_cluster_comes_up_once_and_leaves_nothing_behind() {
    let (dir, clusters) = clusters();
    let name: ClusterName = "one".parse().unwrap();
    let _taken_down = TakenDown(&clusters, &name);
    let error = clusters.find(&name).unwrap_err().to_string();
    assert_eq!(
        error,
        "the cluster one is not up; bring it up with `cargo xtask cluster up --name one`"
    );
    assert!(!clusters.down(&name).unwrap());

    assert_eq!(clusters.up(&name, Kind::ControlPlane).unwrap(), Up::Now);
    let record = clusters.find(&name).unwrap();
    assert_eq!(clusters.up(&name, Kind::ControlPlane).unwrap(), Up::Before);
    let pids = |record: &Record| -> Vec<i32> {
        record
            .processes
            .iter()
            .map(|it| it.identity.pid())
            .collect()
    };
    assert_eq!(pids(&clusters.find(&name).unwrap()), pids(&record));

    // One that is broken is replaced as a whole.
    record.processes[0].identity.kill("etcd").unwrap();
    let error = clusters.find(&name).unwrap_err().to_string();
    assert!(
        error.starts_with("etcd of the cluster one has ended"),
        "{error}"
    );
    assert_eq!(clusters.up(&name, Kind::ControlPlane).unwrap(), Up::Now);
    assert!(!record.processes[1].identity.is_running());
    let record = clusters.find(&name).unwrap();
    assert_eq!(clusters.all().unwrap().len(), 1);

    assert!(clusters.down(&name).unwrap());
    assert!(record.processes.iter().all(|it| !it.identity.is_running()));
    assert_eq!(dir.path().join("cluster").read_dir().unwrap().count(), 0);
    assert!(clusters.all().unwrap().is_empty());
}

#[test]
fn taking_a_cluster_down_spares_a_process_that_got_a_number_of_it() {
    let (_dir, clusters) = clusters();
    let name = ClusterName::default();
    let mut stranger = Command::new("sleep").arg("60").spawn().unwrap();
    let layout = clusters.layout(&name);
    std::fs::create_dir_all(layout.directory()).unwrap();
    let record = format!(
        r#"{{"kind":"control-plane","server":"x","processes":[{{"name":"etcd","pid":{},"started":1,"boot":"b"}}]}}"#,
        stranger.id()
    );
    std::fs::write(record::path(&layout), record).unwrap();
    assert!(clusters.down(&name).unwrap());
    assert!(stranger.try_wait().unwrap().is_none());
    stranger.kill().unwrap();
    stranger.wait().unwrap();
}

#[test]
fn nothing_is_removed_when_the_record_cannot_be_read() {
    let (_dir, clusters) = clusters();
    let name = ClusterName::default();
    let layout = clusters.layout(&name);
    std::fs::create_dir_all(layout.directory()).unwrap();
    std::fs::write(record::path(&layout), "{").unwrap();
    let error = clusters.down(&name).unwrap_err().to_string();
    assert!(
        error.contains("end the processes that name its directory"),
        "{error}"
    );
    assert!(record::path(&layout).exists());
}
