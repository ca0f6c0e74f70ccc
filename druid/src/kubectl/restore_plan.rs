//! `kubectl druid restore-plan`.

use std::process::ExitCode;

use druid_core::render::Spec;
use druid_core::restore_plan::{Heard, Observed, Verdict, plan};

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
    let (cluster, name) = cluster.of_one(&args.etcd);
    let etcd = cluster.etcd(&name).await?;
    let sidecar = async {
        let etcd = etcd.etcd.as_ref().map_err(Clone::clone);
        match etcd.and_then(|it| Spec::parse(it).map_err(|it| it.to_string())) {
            Ok(spec) => cluster.heard(&spec).await,
            Err(why) => Heard::Silent(why),
        }
    };
    let (leases, sidecar, asked) = tokio::join!(
        cluster.leases(&name),
        sidecar,
        cluster.asked(members, args.reach.timeout, &etcd),
    );
    let now = clock::now();
    let observed = Observed {
        etcd,
        leases,
        sidecar,
        live: asked.live,
    };
    let plan = plan(&observed, now);
    show(&plan, args.output, || plan.text(now));
    Ok(match plan.verdict {
        Verdict::Restorable => ExitCode::SUCCESS,
        Verdict::Unknown => ExitCode::FAILURE,
        Verdict::Action => ACTION.into(),
    })
}
