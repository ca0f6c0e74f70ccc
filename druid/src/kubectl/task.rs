//! Makes a task and follows it.

use std::time::Duration;

use druid_core::api::EtcdOpsTask;
use druid_core::cli::TaskShown;
use tokio::time::Instant;

use super::args::Waiting;
use super::connect::Cluster;
use super::error::KubectlError;
use super::output::{say, tell};

/// How often the task is looked at.
const LOOK: Duration = Duration::from_millis(500);
/// How long no operator may look at it until somebody is told.
const UNSEEN: Duration = Duration::from_secs(10);

/// Makes it, and follows it if that is wanted.
pub(super) async fn run(
    cluster: &Cluster,
    task: &EtcdOpsTask,
    waiting: &Waiting,
) -> Result<(), KubectlError> {
    let task = cluster.create(task).await?;
    let namespace = &cluster.namespace;
    if waiting.wait {
        tell(&format!("EtcdOpsTask {task} is created"));
        let said = follow(cluster, &task, waiting.timeout.0).await?;
        // Nobody reads it: the exit code still tells.
        let _ = say(&said);
    } else {
        let _ = say(&format!(
            "EtcdOpsTask {task} is created; to see what came of it: kubectl get eot {task} -n {namespace} -o yaml"
        ));
    }
    Ok(())
}

/// Until the task is over; what came of it.
async fn follow(cluster: &Cluster, task: &str, limit: Duration) -> Result<String, KubectlError> {
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
            Ok(Some(now)) => match TaskShown::of(&now) {
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
                        news(
                            "no operator has looked at it yet; does druid operator run?".to_owned(),
                        );
                    }
                    "no operator has looked at it".to_owned()
                }
            },
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
