//! Makes a task and follows it.

use std::time::Duration;

use druid_core::api::EtcdOpsTask;
use druid_core::cli::{TaskRow, TaskShown};
use tokio::time::Instant;

use super::args::{Format, Waiting};
use super::connect::Cluster;
use super::error::KubectlError;
use super::output::{say, show, tell};

/// How often the task is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How long no operator may look at it until somebody is told.
const UNSEEN: Duration = Duration::from_secs(10);
/// What is said then.
const NOBODY: &str = "no operator has looked at it yet; does druid operator run?";

/// Makes it, and follows it if that is wanted.
pub(super) async fn run(
    cluster: &Cluster,
    task: &EtcdOpsTask,
    waiting: &Waiting,
) -> Result<(), KubectlError> {
    let mut now = cluster.create(task).await?;
    let name = now.metadata.name.clone().unwrap_or_default();
    let namespace = &cluster.namespace;
    let ended = if waiting.wait {
        tell(&format!("EtcdOpsTask {name} is created"));
        follow(cluster, &name, waiting.timeout.0, &mut now).await
    } else {
        Ok(format!(
            "EtcdOpsTask {name} is created; to see what came of it: kubectl get eot {name} -n {namespace} -o yaml"
        ))
    };
    match (waiting.output, &ended) {
        // Nobody reads it: the exit code still tells.
        (Format::Text, Ok(said)) => drop(say(said)),
        (Format::Text, Err(_)) => {}
        (Format::Json | Format::Yaml, _) => {
            show(&TaskRow::of(&now), waiting.output, String::new);
        }
    }
    ended.map(drop)
}

/// Until the task is over; what came of it. `seen`: the task as it was seen last.
async fn follow(
    cluster: &Cluster,
    task: &str,
    limit: Duration,
    seen: &mut EtcdOpsTask,
) -> Result<String, KubectlError> {
    let began = Instant::now();
    let mut told = String::new();
    let mut news = |line: String| {
        if line != told {
            tell(&line);
            told = line;
        }
    };
    loop {
        let said = match cluster.task(task).await {
            Ok(None) => {
                return Err(KubectlError::Task {
                    task: task.to_owned(),
                    said: "it was deleted before it was over; ask for another".to_owned(),
                });
            }
            Ok(Some(now)) => {
                *seen = now;
                match TaskShown::of(seen) {
                    TaskShown::Succeeded(text) => return Ok(text),
                    TaskShown::Ended(said) => {
                        return Err(KubectlError::Task {
                            task: task.to_owned(),
                            said,
                        });
                    }
                    TaskShown::Going(line) => {
                        news(line.clone());
                        line
                    }
                    TaskShown::Unseen => {
                        if began.elapsed() > UNSEEN {
                            news(NOBODY.to_owned());
                        }
                        "no operator has looked at it".to_owned()
                    }
                }
            }
            Err(error) if error.may_pass() => {
                news(format!("{error}; trying again"));
                error.to_string()
            }
            Err(error) => return Err(error),
        };
        if began.elapsed() >= limit {
            return Err(KubectlError::TaskDeadline {
                task: task.to_owned(),
                namespace: cluster.namespace.clone(),
                said,
                limit,
            });
        }
        tokio::time::sleep(LOOK).await;
    }
}
