//! Deletes Jobs.

use k8s_openapi::api::batch::v1::Job;
use kube::api::{Api, DeleteParams, Preconditions};

use super::request::{ApiError, gone_is_fine, within};

/// With its pods, and no other Job of its name.
pub(super) async fn delete(jobs: &Api<Job>, name: &str, uid: &str) -> Result<(), ApiError> {
    let only = Preconditions {
        uid: Some(uid.to_owned()),
        resource_version: None,
    };
    let params = DeleteParams::foreground().preconditions(only);
    let deleted = within("delete the Job", jobs.delete(name, &params)).await;
    gone_is_fine(deleted.map(drop))
}
