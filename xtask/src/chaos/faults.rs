//! The lane of what goes wrong: one thing after the other, each until it is over.

use std::collections::VecDeque;
use std::error::Error;
use std::net::IpAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use druid_core::chaos::{Fault, FaultSeen, Plan, Turn, may};
use nix::sys::signal::Signal;
use nix::unistd::Pid;
use xtask::cluster::processes;
use xtask::relay::Mode;

use super::Told;
use super::seen::{Member, Seen};
use super::stage::{ETCD, Stage, VOLUMES};
use crate::command::output;

/// How long a fault waits until it may happen.
const PATIENCE: Duration = Duration::from_secs(90);
/// The API server's component.
const API_SERVER: &str = "kube-apiserver";

/// What makes it good again.
#[derive(Debug)]
enum Cure {
    /// A process goes on.
    Resume(Vec<Pid>),
    /// Routes between these processes' networks and these addresses are taken off again.
    Connect(Vec<(Pid, IpAddr)>),
    /// The API server is started.
    StartApiServer,
    /// It goes on.
    ResumeApiServer,
    /// The store answers.
    Store,
    /// The operator's clock is right.
    Clock,
    /// There is room.
    Room,
}

#[derive(Debug)]
enum State {
    Resting(Instant),
    Waiting(Fault, Instant),
    Lasting(Cure, Instant),
}

/// The lane.
pub(super) struct Faults {
    turns: VecDeque<Turn<Fault>>,
    state: State,
    last: Instant,
    /// Every one that had its turn.
    pub(super) seen: Vec<FaultSeen>,
}

/// A fault that cannot happen, and why.
type Impossible = Box<dyn Error>;

impl Faults {
    pub(super) fn new(plan: &Plan) -> Self {
        let turns: VecDeque<_> = plan.faults.iter().copied().collect();
        let rest = turns.front().map_or(0, |it| it.rest);
        Self {
            turns,
            state: State::Resting(Instant::now() + Duration::from_secs(rest.into())),
            last: Instant::now(),
            seen: Vec::new(),
        }
    }

    /// Whether the API server is to be asked nothing.
    pub(super) fn hides_api_server(&self) -> bool {
        matches!(
            self.state,
            State::Lasting(Cure::StartApiServer | Cure::ResumeApiServer, _)
        )
    }

    /// When the last one was over.
    pub(super) fn last(&self) -> Instant {
        self.last
    }

    /// Goes on, if it is time.
    pub(super) fn go_on(
        &mut self,
        stage: &mut Stage,
        seen: &Seen,
        told: &mut Told,
    ) -> Result<(), Box<dyn Error>> {
        let now = Instant::now();
        match &self.state {
            State::Resting(until) if *until <= now => match self.turns.pop_front() {
                Some(turn) => self.state = State::Waiting(turn.what, now),
                None => self.rest(),
            },
            State::Waiting(fault, since) => {
                let (fault, since) = (*fault, *since);
                let wanted = usize::try_from(seen.replicas()).unwrap_or(0);
                let health = if fault.destroys() {
                    seen.health()
                } else {
                    Vec::new()
                };
                match may(fault, wanted, &health) {
                    Ok(()) => self.begin(fault, stage, seen, told),
                    Err(why) if since.elapsed() > PATIENCE => self.skip(fault, &why, told),
                    Err(_) => {}
                }
            }
            State::Lasting(_, until) if *until <= now => self.end(stage, told)?,
            State::Resting(_) | State::Lasting(..) => {}
        }
        Ok(())
    }

    fn begin(&mut self, fault: Fault, stage: &Stage, seen: &Seen, told: &mut Told) {
        match inflict(fault, stage, seen) {
            Ok(cure) => {
                told.say(&format!("fault: {}", named(fault, seen)));
                self.note(fault, None);
                let seconds = Duration::from_secs(fault.seconds().unwrap_or(0).into());
                match cure {
                    Some(cure) => self.state = State::Lasting(cure, Instant::now() + seconds),
                    None => self.rest(),
                }
            }
            Err(why) => self.skip(fault, &why, told),
        }
    }

    fn skip(&mut self, fault: Fault, why: &dyn std::fmt::Display, told: &mut Told) {
        told.say(&format!("not done: {fault}: {why}"));
        self.note(fault, Some(why.to_string()));
        self.rest();
    }

    fn note(&mut self, fault: Fault, skipped: Option<String>) {
        self.seen.push(FaultSeen { fault, skipped });
    }

    /// Makes good what lasts, if anything does.
    pub(super) fn end(&mut self, stage: &mut Stage, told: &mut Told) -> Result<(), Box<dyn Error>> {
        if let State::Lasting(cure, _) = &self.state {
            heal(cure, stage)?;
            told.say("  that is over");
        }
        self.rest();
        Ok(())
    }

    fn rest(&mut self) {
        self.last = Instant::now();
        // Without another turn it is asked again then, and there is none.
        let rest = self.turns.front().map_or(60, |it| it.rest);
        self.state = State::Resting(self.last + Duration::from_secs(rest.into()));
    }
}

/// Which member that is, of those that there are now.
fn named(fault: Fault, seen: &Seen) -> String {
    let ordinal = |number: u32| number % seen.replicas().max(1);
    match fault.member() {
        Some(number) => format!("{fault} ({number} is {ETCD}-{})", ordinal(number)),
        None => fault.to_string(),
    }
}

/// Its processes that run a program, with this first argument if there is one.
fn running(uid: &str, program: &str, argument: Option<&str>) -> Result<Vec<Pid>, Impossible> {
    let its: Vec<_> = processes::of_pod(uid, program)
        .into_iter()
        .filter(|it| argument.is_none_or(|argument| processes::runs(*it, argument)))
        .collect();
    if its.is_empty() {
        return Err("it does not run".into());
    }
    Ok(its)
}

fn signal(all: &[Pid], signal: Signal) {
    for process in all {
        processes::signal(*process, signal);
    }
}

/// Lets it happen. What makes it good again, if it lasts.
fn inflict(fault: Fault, stage: &Stage, seen: &Seen) -> Result<Option<Cure>, Impossible> {
    let member = |number: u32| {
        let member = seen.member(number);
        member.ok_or_else(|| Impossible::from("it has no pod"))
    };
    let cure = match fault {
        Fault::KillMember { member: number } => {
            let uid = member(number)?.uid;
            signal(&running(&uid, "etcd", None)?, Signal::SIGKILL);
            None
        }
        Fault::HangMember { member: number, .. } => {
            let etcd = running(&member(number)?.uid, "etcd", None)?;
            signal(&etcd, Signal::SIGSTOP);
            Some(Cure::Resume(etcd))
        }
        Fault::KillStarter { member: number } => {
            let uid = member(number)?.uid;
            let first = running(&uid, "druid", Some("start-etcd"))?;
            signal(&first, Signal::SIGKILL);
            None
        }
        Fault::KillSidecar { member: number } => {
            let uid = member(number)?.uid;
            signal(&running(&uid, "druid", Some("server"))?, Signal::SIGKILL);
            None
        }
        Fault::DeletePod { member: number } => {
            let pod = member(number)?.name();
            stage.kubectl(&["delete", "pod", &pod, "--wait=false"])?;
            None
        }
        Fault::LoseVolume { member: number } => {
            let pod = member(number)?.name();
            let claim = format!("{ETCD}-{pod}");
            stage.kubectl(&["delete", "pvc", &claim, "--wait=false"])?;
            let delete = ["delete", "pod", &pod, "--grace-period=1", "--wait=false"];
            stage.kubectl(&delete)?;
            None
        }
        Fault::Isolate { member: number, .. } => {
            let it = member(number)?;
            let others = seen.members().into_iter();
            let others = others.filter(|other| other.ordinal != it.ordinal);
            Some(Cure::Connect(part(&it, &others.collect::<Vec<_>>())?))
        }
        Fault::Part { member: number, .. } => {
            let it = member(number)?;
            let other = member(number + 1)?;
            Some(Cure::Connect(part(&it, &[other])?))
        }
        Fault::KillOperator
        | Fault::SkewOperator { .. }
        | Fault::RestartApiServer { .. }
        | Fault::HangApiServer { .. }
        | Fault::StoreBusy { .. }
        | Fault::StoreMute { .. }
        | Fault::FullDisk { .. } => return inflict_around(fault, stage, seen),
    };
    Ok(cure)
}

/// What concerns no one member.
fn inflict_around(fault: Fault, stage: &Stage, seen: &Seen) -> Result<Option<Cure>, Impossible> {
    use rustix::process::Signal as Whole;
    let cure = match fault {
        Fault::KillOperator => {
            let all = seen.operators();
            let uid = all.first().ok_or("it has no pod")?;
            signal(&running(uid, "druid", Some("operator"))?, Signal::SIGKILL);
            None
        }
        Fault::SkewOperator { by, .. } => {
            stage.set_clock(by)?;
            Some(Cure::Clock)
        }
        Fault::RestartApiServer { .. } => {
            stage.node.signal(API_SERVER, Whole::KILL)?;
            Some(Cure::StartApiServer)
        }
        Fault::HangApiServer { .. } => {
            stage.node.signal(API_SERVER, Whole::STOP)?;
            Some(Cure::ResumeApiServer)
        }
        Fault::StoreBusy { .. } => {
            stage.store.become_so(Mode::Busy);
            Some(Cure::Store)
        }
        Fault::StoreMute { .. } => {
            stage.store.become_so(Mode::Mute);
            Some(Cure::Store)
        }
        Fault::FullDisk { .. } => {
            let of = format!("of={VOLUMES}/ballast");
            // It fails when it has done what it is for.
            let mut fill = stage.node.command("dd");
            fill.args(["if=/dev/zero", &of, "bs=1M"])
                .stdin(Stdio::null());
            let output = fill.env("LC_ALL", "C").output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            if !said.contains("No space left") {
                heal_room(stage)?;
                return Err(format!("they do not become full: {}", said.trim()).into());
            }
            Some(Cure::Room)
        }
        Fault::KillMember { .. }
        | Fault::HangMember { .. }
        | Fault::KillStarter { .. }
        | Fault::KillSidecar { .. }
        | Fault::DeletePod { .. }
        | Fault::LoseVolume { .. }
        | Fault::Isolate { .. }
        | Fault::Part { .. } => None,
    };
    Ok(cure)
}

/// Lets one pod's answers to others go nowhere, and what it asks them: all of them, or none.
fn part(it: &Member, others: &[Member]) -> Result<Vec<(Pid, IpAddr)>, Impossible> {
    // The pod's network is there as long as this process, whatever becomes of its containers.
    let holds = *running(&it.uid, "pause", None)?.first().ok_or("no pod")?;
    let addresses = others.iter().map(|other| other.ip);
    let addresses: Option<Vec<_>> = addresses.collect();
    let addresses = addresses.ok_or("the other one has no address")?;
    for (made, ip) in addresses.iter().enumerate() {
        if let Err(why) = route(holds, "add", *ip) {
            for ip in &addresses[..made] {
                route(holds, "del", *ip)?;
            }
            return Err(why);
        }
    }
    Ok(addresses.into_iter().map(|ip| (holds, ip)).collect())
}

fn route(holds: Pid, verb: &str, ip: IpAddr) -> Result<(), Impossible> {
    let mut command = Command::new("nsenter");
    command.args([&format!("--target={holds}"), "--net", "--", "ip", "route"]);
    command.args([verb, "blackhole", &format!("{ip}/32")]);
    output(command.stdin(Stdio::null()))?;
    Ok(())
}

fn heal(cure: &Cure, stage: &mut Stage) -> Result<(), Box<dyn Error>> {
    match cure {
        Cure::Resume(all) => signal(all, Signal::SIGCONT),
        Cure::Connect(all) => {
            for (holds, ip) in all {
                let healed = route(*holds, "del", *ip);
                // The pod may be another one by now, with a network of its own.
                if processes::is_there(*holds) {
                    healed?;
                }
            }
        }
        Cure::StartApiServer => stage.node.start_again(API_SERVER)?,
        Cure::ResumeApiServer => stage
            .node
            .signal(API_SERVER, rustix::process::Signal::CONT)?,
        Cure::Store => stage.store.become_so(Mode::Up),
        Cure::Clock => stage.set_clock(0)?,
        Cure::Room => heal_room(stage)?,
    }
    Ok(())
}

fn heal_room(stage: &Stage) -> Result<(), Box<dyn Error>> {
    stage.on_node("rm", &["-f", &format!("{VOLUMES}/ballast")])?;
    Ok(())
}
