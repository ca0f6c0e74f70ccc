//! `kubectl druid restore-plan`.

use std::process::ExitCode;

use druid_core::render::Spec;
use druid_core::restore_plan::{Observed, Verdict, plan};

use super::args::RestorePlanArgs;
use super::connect::Cluster;
use super::doctor::ACTION;
use super::error::KubectlError;
use super::output::show;
use crate::clock;
use crate::members::Members;

pub(super) async fn run(
    cluster: &Cluster,
    args: &RestorePlanArgs,
) -> Result<ExitCode, KubectlError> {
    let members = Members::new(&args.endpoints, &args.reach)?;
    let etcd = cluster.etcd(&args.name).await?;
    let sidecar = async {
        let etcd = etcd.etcd.as_ref().map_err(Clone::clone)?;
        let spec = Spec::parse(etcd).map_err(|it| it.to_string())?;
        cluster.latest(&spec).await
    };
    let (leases, sidecar, live) = tokio::join!(
        cluster.leases(&args.name),
        sidecar,
        members.asked(args.reach.timeout)
    );
    let now = clock::now();
    let observed = Observed {
        etcd,
        leases,
        sidecar,
        live,
    };
    let plan = plan(&observed, now);
    show(&plan, args.output, || plan.text(now));
    Ok(match plan.verdict {
        Verdict::Restorable => ExitCode::SUCCESS,
        Verdict::Unknown => ExitCode::FAILURE,
        Verdict::Action => ACTION.into(),
    })
}
