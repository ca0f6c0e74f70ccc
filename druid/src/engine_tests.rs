//! Rolls that change no release, on real etcd: the engine on a lab whose template a person changes.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use druid_core::make::{Make, Template};
use druid_core::member::{MemberId, MemberName};
use druid_core::observed::{Alarm, AlarmKind, Answer, Looked};
use druid_core::upgrade::{Halt, Limits, Policy};
use tokio::time::{sleep, timeout};

use super::*;
use crate::etcd::{Client, Kind};
use crate::lab::cluster::{Lab, Size, Spec};
use crate::lab::config::Tuning;
use crate::lab::tests::{V34, spec};
use crate::observe;

const DEADLINE: Duration = Duration::from_secs(2);
const MIB: u64 = 1 << 20;

/// A lab as the platform of one engine.
struct Here {
    lab: Lab,
    clients: Vec<(MemberName, Client)>,
    acts: Vec<Act>,
}

impl Platform for Here {
    type Error = String;

    async fn observe(&mut self, snapshot: &str, needs: &Needs) -> Result<Observed, String> {
        let clients = &self.clients;
        let survey = observe::survey(clients, DEADLINE).await;
        let looked = match needs {
            Needs::Nothing => Looked::Nothing,
            Needs::Preflight => {
                Looked::Preflight(observe::deep(clients, &survey, DEADLINE, false).await)
            }
            Needs::Member(name) => observe::member(name, clients, DEADLINE).await,
            Needs::Data => Looked::Data(observe::hashes(clients, &survey.etcd, DEADLINE).await),
        };
        Ok(Observed {
            template: self.lab.template(),
            processes: self.lab.processes(),
            etcd: survey.etcd,
            snapshot_name: snapshot.to_owned(),
            snapshot: self.lab.snapshots().work(snapshot),
            looked,
        })
    }

    async fn record(&mut self, _: &Record) -> Result<(), String> {
        Ok(())
    }

    async fn report(&mut self, _: &Decision, _: &Observed) -> Result<(), String> {
        Ok(())
    }

    async fn act(&mut self, act: &Act) -> Result<(), String> {
        self.acts.push(act.clone());
        match act {
            Act::SetTemplate(version) => self.lab.set_template(*version).await,
            Act::Restart {
                member,
                incarnation,
            } => self.lab.restart(member, *incarnation).await,
            Act::MoveLeader { from, to } => {
                let moved = self.client(from).move_leader(self.id(to).await, DEADLINE);
                return moved.await.map_err(|error| error.to_string());
            }
            Act::TakeSnapshot(name) | Act::VerifySnapshot(name) => {
                return Err(format!("snapshot {name} is not needed"));
            }
        }
        .map_err(|error| error.to_string())
    }
}

impl Here {
    async fn start(spec: Spec) -> Self {
        let lab = Lab::start(spec).await.unwrap();
        let client = |(name, url): (MemberName, String)| {
            let client = Client::new(url.parse().unwrap(), None).unwrap();
            (name, client)
        };
        let clients = lab.client_urls().into_iter().map(client).collect();
        Self {
            lab,
            clients,
            acts: Vec::new(),
        }
    }

    fn client(&self, name: &MemberName) -> &Client {
        let mut clients = self.clients.iter();
        &clients.find(|(known, _)| known == name).unwrap().1
    }

    async fn id(&self, name: &MemberName) -> MemberId {
        self.client(name).status(DEADLINE).await.unwrap().id
    }

    async fn leader(&self) -> MemberName {
        let seen = observe::etcd(&self.clients, DEADLINE).await;
        seen.leader().unwrap().clone()
    }

    fn config(&self, name: &MemberName) -> PathBuf {
        self.lab.dir().join(&name.0).join("etcd.yaml")
    }

    /// What a person wants now.
    fn ask_for(&self, template: &str) -> Want {
        let template = Template(template.to_owned());
        self.lab.ask_for(template.clone());
        Want {
            target: Make {
                version: V34,
                template,
            },
            snapshot: true,
            policy: Policy {
                hold_last: true,
                ..Policy::default()
            },
            acknowledged: 0,
            limits: Limits::default(),
        }
    }

    /// Rounds until it is done, or a person has to look.
    async fn roll(&mut self, want: &Want, record: &mut Record) -> Step {
        let rounds = async {
            let mut needs = Needs::Nothing;
            loop {
                match round(self, want, record, &needs).await {
                    Ok(step @ (Step::Done | Step::Halt(_) | Step::Refuse(_))) => return step,
                    Ok(Step::Look(more)) => needs = more,
                    Ok(Step::Act(_) | Step::Wait(_)) | Err(_) => {
                        needs = Needs::Nothing;
                        sleep(Duration::from_millis(40)).await;
                    }
                }
            }
        };
        timeout(Duration::from_mins(1), rounds)
            .await
            .expect("it came to no end")
    }

    fn restarted(&self) -> Vec<&MemberName> {
        let acts = self.acts.iter();
        acts.filter_map(|act| match act {
            Act::Restart { member, .. } => Some(member),
            Act::TakeSnapshot(_)
            | Act::VerifySnapshot(_)
            | Act::SetTemplate(_)
            | Act::MoveLeader { .. } => None,
        })
        .collect()
    }
}

fn started() -> Record {
    Record::new(Make::plain(V34), clock::now())
}

#[tokio::test(flavor = "multi_thread")]
async fn another_template_restarts_each_member_once_and_the_leader_last() {
    let mut here = Here::start(spec(Size::Three, V34)).await;
    let leader = here.leader().await;
    let mut record = started();
    let nothing = here.ask_for("");
    assert_eq!(here.roll(&nothing, &mut record).await, Step::Done);
    assert_eq!(here.acts, []);

    let want = here.ask_for("more memory");
    assert_eq!(here.roll(&want, &mut record).await, Step::Done);
    let mut restarted = here.restarted();
    assert_eq!(restarted.last(), Some(&&leader));
    restarted.sort();
    let all: Vec<_> = here.clients.iter().map(|(name, _)| name).collect();
    assert_eq!(restarted, all);
    assert_eq!(here.acts.len(), 4, "and one move: {:?}", here.acts);
    let processes = here.lab.processes();
    assert!(
        processes
            .values()
            .all(|process| process.make() == Some(&want.target))
    );
    assert_eq!(record.attempt, 1);
    here.lab.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_larger_quota_is_rolled_out_although_the_database_is_full() {
    let small = Spec {
        tuning: Tuning {
            quota_backend_bytes: 4 * MIB,
            ..Tuning::default()
        },
        ..spec(Size::Three, V34)
    };
    let mut here = Here::start(small).await;
    let value = vec![7; 1_000_000];
    let mut key = 0_u8;
    let full = loop {
        let (_, client) = &here.clients[0];
        match client.put(&[key], &value, None, DEADLINE).await {
            Ok(_) => key += 1,
            Err(error) => break error,
        }
        assert!(key < 20, "the quota does not hold");
    };
    assert_eq!(full.kind, Kind::NoSpace);
    for (name, _) in &here.clients {
        let config = here.config(name);
        let text = fs::read_to_string(&config).unwrap();
        let more = text.replace(&(4 * MIB).to_string(), &(64 * MIB).to_string());
        assert_ne!(text, more);
        fs::write(config, more).unwrap();
    }
    let want = here.ask_for("64 MiB");
    assert_eq!(here.roll(&want, &mut started()).await, Step::Done);
    assert_eq!(here.restarted().len(), 3);
    let client = &here.clients[0].1;
    let alarms = client.alarms(DEADLINE).await.unwrap();
    assert!(!alarms.is_empty(), "the alarm stays until it is disarmed");
    for Alarm { member, kind } in alarms {
        assert_eq!(kind, AlarmKind::NoSpace);
        client.alarm_disarm(member, DEADLINE).await.unwrap();
    }
    client.put(b"more", &value, None, DEADLINE).await.unwrap();
    let quota = client.http().quota(DEADLINE).await.unwrap();
    assert_eq!(quota, Some(64 * MIB));
    here.lab.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_does_not_start_stops_at_one_member_until_it_is_corrected() {
    let mut here = Here::start(spec(Size::Three, V34)).await;
    let leader = here.leader().await;
    let mut names = here.clients.iter().map(|(name, _)| name);
    let first = names.rfind(|name| **name != leader);
    let first = first.unwrap().clone();
    let config = here.config(&first);
    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, "name: [").unwrap();

    let mut record = started();
    let bad = here.ask_for("bad");
    let Step::Halt(Halt::StaysDown { member, .. }) = here.roll(&bad, &mut record).await else {
        panic!("{record:?}")
    };
    assert_eq!(member, first);
    assert_eq!(here.restarted(), [&first]);
    let seen = observe::etcd(&here.clients, DEADLINE).await;
    let answers = |answer: &&Answer| answer.status().is_some();
    assert_eq!(seen.members.values().filter(answers).count(), 2);
    let again = here.roll(&bad, &mut record).await;
    assert!(matches!(again, Step::Halt(Halt::StaysDown { .. })));
    assert_eq!(here.restarted().len(), 1);

    fs::write(&config, good).unwrap();
    let corrected = here.ask_for("corrected");
    assert_eq!(here.roll(&corrected, &mut record).await, Step::Done);
    let restarted = here.restarted();
    assert_eq!(restarted[..2], [&first, &first]);
    assert_eq!(restarted.len(), 4);
    assert_eq!(restarted.last(), Some(&&leader));
    here.lab.shutdown().await;
}
