//! `kubectl druid doctor`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use druid_core::api::Etcd;
use druid_core::doctor::{Certificate, Observed, Verdict, diagnose};
use druid_core::render::{CertificateReference, Spec, certificates};
use druid_core::status::Sought;
use futures_util::future::join_all;

use super::args::DoctorArgs;
use super::connect::Cluster;
use super::error::KubectlError;
use super::output::{colours, show};
use crate::clock;
use crate::expiry::expiry;
use crate::members::Members;

/// There is something to do: what `druid preflight` ends with if there is something against it.
pub(super) const ACTION: u8 = 3;

pub(super) async fn run(cluster: &Cluster, args: &DoctorArgs) -> Result<ExitCode, KubectlError> {
    let members = Members::new(&args.endpoints, &args.reach)?;
    let (cluster, name) = cluster.of_one(&args.etcd);
    let etcd = cluster.etcd(&name).await?;
    let (pods, leases, tasks, events, certificates, asked) = tokio::join!(
        cluster.pods(&name),
        cluster.leases(&name),
        cluster.tasks_there(),
        cluster.warnings(),
        cluster.certificates(etcd.etcd.as_deref().ok()),
        cluster.asked(members, args.reach.timeout, &etcd),
    );
    let now = clock::now();
    let observed = Observed {
        etcd,
        pods,
        leases,
        certificates,
        tasks,
        events,
        live: asked.live,
        unasked: asked.unasked,
    };
    let report = diagnose(&observed, now);
    show(&report, args.output, || report.text(now, colours()));
    Ok(match report.verdict {
        Verdict::Healthy => ExitCode::SUCCESS,
        Verdict::Unknown => ExitCode::FAILURE,
        Verdict::Action => ACTION.into(),
    })
}

impl Cluster {
    /// When the certificates expire that the pods are given. Each Secret is asked for once.
    async fn certificates(&self, etcd: Option<&Etcd>) -> Vec<Certificate> {
        let pods = etcd.and_then(|it| Spec::parse(it).ok()?.pods.ok());
        let mut places: BTreeMap<&str, Vec<CertificateReference<'_>>> = BTreeMap::new();
        for of in pods.iter().flat_map(certificates) {
            places.entry(of.secret).or_default().push(of);
        }
        let each = places.into_iter().map(async |(name, places)| {
            let secret = self.secret(name).await;
            let certificate = |of: CertificateReference<'_>| Certificate {
                secret: name.to_owned(),
                key: of.key.to_owned(),
                expires: match &secret {
                    Sought::Found(secret) => Sought::Found(expiry(secret, &of)),
                    Sought::Missing => Sought::Missing,
                    Sought::Unknown(why) => Sought::Unknown(why.clone()),
                },
            };
            places.into_iter().map(certificate).collect::<Vec<_>>()
        });
        join_all(each).await.into_iter().flatten().collect()
    }
}
