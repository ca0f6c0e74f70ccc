//! Real etcd processes. The test binary itself serves as the shim: one of its tests, which is
//! ignored unless called by name, becomes etcd.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use druid_core::make::Make;
use druid_core::member::MemberName;
use druid_core::observed::Process;
use druid_core::version::Version;
use tokio::time::{Instant, sleep, timeout};

use super::binaries::{Binaries, EtcdAt};
use super::cluster::{Lab, LabError, Size, Spec};
use super::config::Tuning;
use super::events::{Cause, Event, What};
use super::ports::Held;
use super::probe;
use super::shim::{Shim, shim};
use super::supervisor::MemberError;
use super::workdir::WorkDir;

pub(crate) const V34: Version = Version::new(3, 4, 34);
pub(super) const V35: Version = Version::new(3, 5, 27);

/// Becomes etcd when the lab starts this binary as its shim.
#[test]
#[ignore = "not a test: the lab of the other tests starts etcd through it"]
fn shim_entry() {
    let mut args = env::args_os()
        .skip_while(|arg| arg != "--")
        .skip(1)
        .peekable();
    if args.peek().is_some() {
        let _ = shim(args);
        std::process::exit(1);
    }
}

pub(super) fn test_shim() -> Shim {
    let prefix = [
        "lab::tests::shim_entry",
        "--exact",
        "--ignored",
        "--nocapture",
        "--",
    ];
    Shim {
        program: env::current_exe().unwrap(),
        prefix: prefix.map(OsString::from).into(),
    }
}

pub(super) fn both() -> Binaries {
    let named = vec![
        EtcdAt {
            version: V34,
            path: PathBuf::from(etcd34::etcd_bin_path().unwrap()),
        },
        EtcdAt {
            version: V35,
            path: PathBuf::from(etcd35::etcd_bin_path().unwrap()),
        },
    ];
    Binaries::new(named, None, Vec::new())
}

pub(crate) fn spec(members: Size, version: Version) -> Spec {
    Spec {
        members,
        version,
        binaries: both(),
        shim: test_shim(),
        parent: None,
        broken: None,
        tuning: Tuning::default(),
        seed: None,
    }
}

fn name(number: usize) -> MemberName {
    MemberName(format!("etcd-{number}"))
}

fn address(url: &str) -> SocketAddrV4 {
    url.strip_prefix("http://").unwrap().parse().unwrap()
}

async fn get(lab: &Lab, member: usize, path: &str) -> String {
    let at = address(&lab.client_urls()[&name(member)]);
    until(|| async move { probe::get(at, path).await.ok() }).await
}

/// Polls until there is something.
pub(super) async fn until<T, F: Future<Output = Option<T>>>(mut look: impl FnMut() -> F) -> T {
    let found = timeout(Duration::from_secs(20), async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            sleep(Duration::from_millis(20)).await;
        }
    });
    found.await.expect("it never came")
}

async fn process(lab: &Lab, member: usize, wanted: impl Fn(&Process) -> bool) -> Process {
    until(|| async {
        let process = lab.processes().remove(&name(member)).unwrap();
        wanted(&process).then_some(process)
    })
    .await
}

fn running(incarnation: u64, version: Version) -> Process {
    Process::Running {
        incarnation,
        make: Make::plain(version),
    }
}

fn alive(pid: u32) -> bool {
    // A zombie is dead, though it has a directory.
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap().starts_with(" Z"))
}

fn starts(lab: &Lab, wanted: Cause) -> usize {
    let of_cause =
        |event: &Event| matches!(event.what, What::Started { cause, .. } if cause == wanted);
    lab.events().iter().filter(|event| of_cause(event)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_gets_the_template_only_when_told_to() {
    let lab = Lab::start(spec(Size::Three, V34)).await.unwrap();
    for member in 0..3 {
        assert!(get(&lab, member, "/health").await.contains("true"));
    }
    lab.set_template(V35).await.unwrap();
    assert_eq!(lab.template(), Make::plain(V35));
    let before = lab.pids();
    sleep(Duration::from_millis(300)).await;
    assert_eq!(lab.pids(), before, "a template restarts nobody");

    // Both calls speak of the same process: one restart.
    lab.restart(&name(1), 1).await.unwrap();
    lab.restart(&name(1), 1).await.unwrap();
    process(&lab, 1, |seen| *seen == running(2, V35)).await;
    assert!(
        get(&lab, 1, "/version")
            .await
            .contains("\"etcdserver\":\"3.5.27\"")
    );
    assert!(
        get(&lab, 0, "/version")
            .await
            .contains("\"etcdserver\":\"3.4.34\"")
    );
    assert_eq!(starts(&lab, Cause::Demanded), 1);

    let refused = lab.restart(&name(1), 1).await.unwrap_err();
    let LabError::Member(MemberError::Conflict {
        expected, actual, ..
    }) = &refused
    else {
        panic!("{refused}");
    };
    assert_eq!((*expected, *actual), (1, 2));
    assert_eq!(lab.processes()[&name(1)], running(2, V35));
    let unknown = lab.restart(&"etcd-7".into(), 1).await.unwrap_err();
    assert!(
        matches!(unknown, LabError::NoSuchMember { .. }),
        "{unknown}"
    );

    let (dir, pids) = (lab.dir().to_owned(), lab.pids());
    assert_eq!(pids.len(), 3);
    lab.shutdown().await;
    assert!(!dir.exists());
    assert!(pids.values().all(|pid| !alive(*pid)));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_stop_on_the_way_up_and_back_is_clean() {
    let lab = Lab::start(spec(Size::One, V34)).await.unwrap();
    for (incarnation, version) in [(2, V35), (3, V34), (4, V35)] {
        lab.set_template(version).await.unwrap();
        lab.restart(&name(0), incarnation - 1).await.unwrap();
        process(&lab, 0, |seen| *seen == running(incarnation, version)).await;
        let cluster = format!("\"etcdcluster\":\"{}.0\"", version.minor);
        until(|| async {
            get(&lab, 0, "/version")
                .await
                .contains(&cluster)
                .then_some(())
        })
        .await;
    }
    let ends: Vec<_> = lab
        .events()
        .into_iter()
        .filter_map(|event| match event.what {
            What::Stopped { how, .. } => Some(how),
            What::Exited {
                how, last_words, ..
            } => Some(format!("{how}: {last_words}")),
            What::Started { .. } | What::TemplateSet { .. } => None,
        })
        .collect();
    assert_eq!(ends, ["SIGTERM", "SIGTERM", "SIGTERM"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_cannot_start_fails_with_its_last_words_and_can_be_put_back() {
    let broken = Spec {
        broken: Some(V35),
        ..spec(Size::One, V34)
    };
    let lab = Lab::start(broken).await.unwrap();
    lab.set_template(V35).await.unwrap();
    lab.restart(&name(0), 1).await.unwrap();
    let often = |seen: &Process| matches!(seen, Process::Failing { exits: 2.., .. });
    let Process::Failing {
        incarnation,
        make,
        last_words,
        ..
    } = process(&lab, 0, often).await
    else {
        unreachable!()
    };
    assert_eq!((incarnation, make.version), (2, V35));
    assert!(last_words.contains("bad-image"), "{last_words}");

    lab.set_template(V34).await.unwrap();
    lab.restart(&name(0), 2).await.unwrap();
    process(&lab, 0, |seen| *seen == running(3, V34)).await;
    assert!(get(&lab, 0, "/health").await.contains("true"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_member_comes_back_as_it_was() {
    let lab = Lab::start(spec(Size::One, V34)).await.unwrap();
    // The template is not for those that come back by themselves.
    lab.set_template(V35).await.unwrap();
    let before = lab.pids();
    lab.kill(&name(0)).unwrap();
    let failing = process(&lab, 0, |seen| matches!(seen, Process::Failing { .. })).await;
    let Process::Failing {
        incarnation,
        make,
        exits,
        ..
    } = failing
    else {
        unreachable!()
    };
    assert_eq!((incarnation, make.version, exits), (1, V34, 1));
    assert!(
        get(&lab, 0, "/version")
            .await
            .contains("\"etcdserver\":\"3.4.34\"")
    );
    assert_ne!(lab.pids(), before);
    let back = Instant::now();
    process(&lab, 0, |seen| *seen == running(1, V34)).await;
    assert!(
        back.elapsed() > Duration::from_secs(3),
        "it has to stay up first"
    );
    assert_eq!(
        (starts(&lab, Cause::Demanded), starts(&lab, Cause::Recovery)),
        (0, 1)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_held_down_stays_down() {
    let lab = Lab::start(spec(Size::One, V35)).await.unwrap();
    lab.hold_down(&name(0)).await.unwrap();
    assert_eq!(lab.processes()[&name(0)], Process::Absent);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(lab.processes()[&name(0)], Process::Absent);
    assert_eq!(lab.pids(), BTreeMap::new());
    let refused = lab.restart(&name(0), 1).await.unwrap_err();
    assert!(
        matches!(refused, LabError::Member(MemberError::NotRunning { .. })),
        "{refused}"
    );
    lab.release(&name(0)).await.unwrap();
    assert_eq!(lab.processes()[&name(0)], running(1, V35));
    assert!(get(&lab, 0, "/health").await.contains("true"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_is_in_one_value_and_etcd_does_not_notice() {
    for version in [V34, V35] {
        let lab = Lab::start(spec(Size::One, version)).await.unwrap();
        let client = lab.client_urls()[&name(0)].clone();
        for value in ["YQ==", "YmFy"] {
            let put = format!(r#"{{"key":"Zm9v","value":"{value}"}}"#);
            gateway::post(&client, "/v3/kv/put", &put).await.unwrap();
        }
        lab.flip_byte(&name(0)).await.unwrap();
        assert!(get(&lab, 0, "/health").await.contains("true"));
        let answer = gateway::post(&client, "/v3/kv/range", r#"{"key":"Zm9v"}"#)
            .await
            .unwrap();
        // "bar" became "bas".
        assert!(answer.contains(r#""value":"YmFz""#), "{answer}");
        assert_eq!(lab.processes()[&name(0)], running(1, version));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_makes_one_member_differ_from_the_others() {
    let lab = Lab::start(spec(Size::Three, V34)).await.unwrap();
    let clients = lab.client_urls();
    let put = r#"{"key":"Zm9v","value":"YmFy"}"#;
    gateway::post(&clients[&name(0)], "/v3/kv/put", put)
        .await
        .unwrap();
    lab.flip_byte(&name(1)).await.unwrap();
    assert!(get(&lab, 1, "/health").await.contains("true"));
    let mut hashes = Vec::new();
    for client in clients.values() {
        let hash_kv = gateway::post(client, "/v3/maintenance/hash", r#"{"revision":"2"}"#).await;
        let answer = hash_kv.unwrap();
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        hashes.push(body["hash"].as_u64().unwrap());
    }
    assert_eq!(hashes[0], hashes[2]);
    assert_ne!(hashes[0], hashes[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stray_learner_is_not_among_the_members() {
    let lab = Lab::start(spec(Size::One, V34)).await.unwrap();
    let new = lab.new_member("stray".into()).unwrap();
    let stray = new.client();
    let add = format!(r#"{{"peerURLs":["{}"],"isLearner":true}}"#, new.peer_url());
    let client = &lab.client_urls()[&name(0)];
    gateway::post(client, "/v3/cluster/member/add", &add)
        .await
        .unwrap();
    lab.add_member_process(new).unwrap();
    let version = until(|| async { probe::get(stray, "/version").await.ok() }).await;
    assert!(version.contains("3.4.34"), "{version}");
    assert_eq!(lab.processes().into_keys().collect::<Vec<_>>(), [name(0)]);
    let pids = lab.pids();
    assert_eq!(pids.len(), 2);
    drop(lab);
    assert!(pids.values().all(|pid| !alive(*pid)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_lab_leaves_neither_process_nor_directory() {
    let mut lab = Lab::start(spec(Size::Three, V35)).await.unwrap();
    let (dir, pids) = (lab.dir().to_owned(), lab.pids());
    let dropped = Instant::now();
    drop(lab);
    assert!(dropped.elapsed() < Duration::from_secs(2));
    assert!(!dir.exists());
    assert_eq!(pids.len(), 3);
    assert!(pids.values().all(|pid| !alive(*pid)));

    lab = Lab::start(spec(Size::One, V35)).await.unwrap();
    lab.keep();
    let dir = lab.dir().to_owned();
    lab.shutdown().await;
    assert!(dir.join("etcd-0/etcd.log").exists());
    // The next lab does not take it for one that was left behind.
    drop(Lab::start(spec(Size::One, V35)).await.unwrap());
    assert!(dir.exists());
    fs::remove_dir_all(dir).unwrap();
}

#[tokio::test]
async fn a_start_that_is_given_up_midway_leaves_nothing() {
    let parent = tempfile::tempdir().unwrap();
    let parented = Spec {
        parent: Some(parent.path().to_owned()),
        ..spec(Size::Three, V34)
    };
    let given_up = timeout(Duration::from_millis(150), Lab::start(parented)).await;
    assert!(given_up.is_err());
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}

/// Not a test: what `nothing_outlives_a_parent_that_is_killed` kills.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "not a test: a lab in a process of its own"]
async fn lab_that_waits_to_be_killed() {
    let Some(parent) = env::var_os("DRUID_TEST_LAB_IN") else {
        return;
    };
    let parented = Spec {
        parent: Some(parent.into()),
        ..spec(Size::Three, V34)
    };
    let lab = Lab::start(parented).await.unwrap();
    let pids: Vec<_> = lab.pids().values().map(ToString::to_string).collect();
    println!("\npids {}", pids.join(" "));
    std::future::pending::<()>().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_outlives_a_parent_that_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut parent = Command::new(env::current_exe().unwrap())
        .args([
            "lab::tests::lab_that_waits_to_be_killed",
            "--exact",
            "--ignored",
            "--nocapture",
        ])
        .env("DRUID_TEST_LAB_IN", dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(parent.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let pids: Vec<u32> = lines
        .find_map(|line| Some(line.strip_prefix("pids ")?.to_owned()))
        .map(|pids| pids.split(' ').map(|pid| pid.parse().unwrap()).collect())
        .unwrap_or_default();
    let lived = pids.iter().filter(|pid| alive(**pid)).count();
    parent.kill().unwrap();
    parent.wait().unwrap();
    assert_eq!(lived, 3);
    until(|| async { (!pids.iter().any(|pid| alive(*pid))).then_some(()) }).await;
    // Its directory could not go with it; the next lab removes it, and never that of a living one.
    let labs = || fs::read_dir(dir.path()).unwrap().count();
    assert_eq!(labs(), 1);
    let (first, second) = (WorkDir::new(dir.path()), WorkDir::new(dir.path()));
    assert_eq!(labs(), 2);
    drop((first, second));
    assert_eq!(labs(), 0);
}

fn taken() -> (TcpListener, u16) {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = other.local_addr().unwrap().port();
    (other, port)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_was_taken_meanwhile_is_replaced_and_at_last_reported() {
    let (_other, port) = taken();
    // The same socket twice stands for a program that took the port after we looked.
    let clash = |listener: &TcpListener| Held::of(listener.try_clone().unwrap(), taken().0);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let once = |attempt| {
        if attempt == 1 {
            Ok(clash(&listener))
        } else {
            Held::pick()
        }
    };
    let lab = Lab::start_on(spec(Size::One, V34), once).await.unwrap();
    assert_ne!(
        lab.client_urls()[&name(0)],
        format!("http://127.0.0.1:{port}")
    );
    drop(lab);

    let error = Lab::start_on(spec(Size::One, V35), |_| Ok(clash(&listener)))
        .await
        .unwrap_err();
    let LabError::PortTaken { times, .. } = &error else {
        panic!("{error}");
    };
    assert!(*times > 1);
    let text = error.to_string();
    assert!(
        text.starts_with("etcd-0: another program took its port"),
        "{text}"
    );
}

#[tokio::test]
async fn a_directory_that_cannot_be_made_is_named() {
    for parent in ["/nonexistent/place", "/proc", "/etc/hostname"] {
        let parented = Spec {
            parent: Some(parent.into()),
            ..spec(Size::One, V34)
        };
        let error = Lab::start(parented).await.unwrap_err().to_string();
        assert!(
            error.starts_with(parent) && error.contains("--dir"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_broken_first_release_is_reported_with_its_last_words() {
    let broken = Spec {
        broken: Some(V34),
        ..spec(Size::One, V34)
    };
    let error = Lab::start(broken).await.unwrap_err().to_string();
    assert!(
        error.starts_with("etcd-0 ends at its start: ") && error.contains("bad-image"),
        "{error}"
    );
}

/// etcd's JSON gateway, so that these tests need no client.
pub(super) mod gateway {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpStream;

    pub(crate) async fn post(url: &str, path: &str, body: &str) -> std::io::Result<String> {
        let at = address(url);
        let mut stream = TcpStream::connect(at).await?;
        let length = body.len();
        let request =
            format!("POST {path} HTTP/1.0\r\nHost: {at}\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        assert!(answer.contains(" 200 OK"), "{answer}");
        Ok(answer)
    }
}
