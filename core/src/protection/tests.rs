use serde_json::{Value, json};

use super::*;
use crate::api::names;

const DRUID: &str = "system:serviceaccount:druid-system:druid";
const EXEMPT: &str = "system:serviceaccount:kube-system:generic-garbage-collector";
const MEMBER: &str = "system:serviceaccount:n:a";
const PERSON: &str = "kubernetes-admin";

fn rules() -> Protection {
    Protection {
        operator: ServiceAccount {
            namespace: "druid-system".to_owned(),
            name: "druid".to_owned(),
        },
        exempt: [EXEMPT.to_owned()].into(),
    }
}

/// A StatefulSet of Etcd `a` that a person changes, until it is told otherwise.
struct Asked {
    operation: &'static str,
    of: (&'static str, &'static str, &'static str),
    user: &'static str,
    old: Value,
    new: Value,
}

fn labelled(part_of: Option<&str>) -> Value {
    let mut labels = json!({ names::MANAGED_BY: "etcd-druid" });
    if let Some(etcd) = part_of {
        labels[names::PART_OF] = etcd.into();
    }
    json!({ "metadata": { "name": "x", "namespace": "n", "labels": labels } })
}

fn leaving() -> Value {
    let mut object = labelled(Some("a"));
    object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    object
}

fn foreign() -> Value {
    json!({ "metadata": { "name": "x", "labels": { names::PART_OF: "a" } } })
}

const STATEFUL_SET: (&str, &str, &str) = ("apps", "statefulsets", "");
const LEASE: (&str, &str, &str) = ("coordination.k8s.io", "leases", "");
const SCALE: (&str, &str, &str) = ("apps", "statefulsets", "scale");

impl Default for Asked {
    fn default() -> Self {
        Self {
            operation: "UPDATE",
            of: STATEFUL_SET,
            user: PERSON,
            old: labelled(Some("a")),
            new: labelled(Some("a")),
        }
    }
}

impl Asked {
    fn delete() -> Self {
        Self {
            operation: "DELETE",
            new: Value::Null,
            ..Self::default()
        }
    }

    fn request(&self) -> Request {
        let (group, resource, sub) = self.of;
        let review = json!({
            "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
            "request": {
                "uid": "u", "operation": self.operation, "namespace": "n", "name": "x",
                "resource": { "group": group, "version": "v1", "resource": resource },
                "subResource": sub, "userInfo": { "username": self.user, "groups": ["g"] },
                "object": self.new, "oldObject": self.old, "dryRun": false,
            },
        });
        Request::read(review.to_string().as_bytes()).unwrap()
    }

    /// The answer if there are these Etcds.
    fn among(&self, etcds: &[Guarded]) -> Verdict {
        let request = self.request();
        match judge(&request, &rules()) {
            Next::Answer(verdict) => verdict,
            Next::StatefulSet(item) => panic!("{item} has to be looked up"),
            Next::Etcds(case) => case.decide(&rules(), etcds),
        }
    }

    /// The answer if Etcd `a` is like this.
    fn with(&self, etcd: Guarded) -> Verdict {
        self.among(&[etcd])
    }
}

fn etcd() -> Guarded {
    Guarded {
        name: "a".to_owned(),
        leaves: false,
        protection_disabled: false,
        runtime_components_disabled: false,
        work: None,
    }
}

fn allowed(why: Allowed) -> Verdict {
    Verdict::Allowed(why)
}

fn denial(verdict: Verdict) -> Denial {
    match verdict {
        Verdict::Denied(denial) => denial,
        Verdict::Allowed(_) | Verdict::Warned(_) => panic!("{verdict:?}"),
    }
}

fn theirs(verdict: Verdict) -> bool {
    matches!(denial(verdict), Denial::NotTheirs { .. })
}

#[test]
fn what_is_made_or_connected_to_is_nobodys_business() {
    for operation in ["CREATE", "CONNECT"] {
        let asked = Asked {
            operation,
            ..Asked::default()
        };
        assert_eq!(asked.with(etcd()), allowed(Allowed::Operation));
    }
}

#[test]
fn every_kind_that_an_etcd_is_made_of_is_protected_and_no_other() {
    for (group, resource, sub) in [
        ("", "serviceaccounts", ""),
        ("", "services", ""),
        ("", "configmaps", ""),
        ("rbac.authorization.k8s.io", "roles", ""),
        ("rbac.authorization.k8s.io", "rolebindings", ""),
        STATEFUL_SET,
        ("policy", "poddisruptionbudgets", ""),
        LEASE,
        ("", "persistentvolumeclaims", ""),
        ("batch", "jobs", ""),
    ] {
        let of = (group, resource, sub);
        assert!(
            theirs(
                Asked {
                    of,
                    ..Asked::default()
                }
                .with(etcd())
            ),
            "{of:?}"
        );
        let asked = Asked {
            of,
            ..Asked::delete()
        };
        assert!(theirs(asked.with(etcd())), "{of:?}");
    }
    for of in [
        ("batch", "jobs", "status"),
        ("", "pods", ""),
        ("", "secrets", ""),
        ("apps", "statefulsets", "status"),
        ("", "statefulsets", ""),
    ] {
        let asked = Asked {
            of,
            ..Asked::default()
        };
        assert_eq!(asked.with(etcd()), allowed(Allowed::Kind), "{of:?}");
    }
}

#[test]
fn what_was_not_and_will_not_be_managed_may_be_changed() {
    let asked = Asked {
        old: foreign(),
        new: foreign(),
        ..Asked::default()
    };
    assert_eq!(asked.with(etcd()), allowed(Allowed::Unmanaged));
    let mut helms = foreign();
    helms["metadata"]["labels"][names::MANAGED_BY] = "Helm".into();
    let asked = Asked {
        old: helms,
        ..Asked::delete()
    };
    assert_eq!(asked.with(etcd()), allowed(Allowed::Unmanaged));
}

/// Not so in etcd-druid v0.37.1, which looks at the new object alone.
#[test]
fn taking_off_a_label_is_a_change_like_any_other() {
    for new in [
        foreign(),
        labelled(None),
        labelled(Some("b")),
        json!({ "metadata": {} }),
    ] {
        let asked = Asked {
            new: new.clone(),
            ..Asked::default()
        };
        assert!(theirs(asked.with(etcd())), "{new}");
    }
    // To put one on that makes it an Etcd's is one, too.
    let asked = Asked {
        old: foreign(),
        ..Asked::default()
    };
    assert!(theirs(asked.with(etcd())));
    // An Etcd that lifts its protection does not lift that of another.
    let asked = Asked {
        new: labelled(Some("b")),
        ..Asked::default()
    };
    let lifted = Guarded {
        name: "b".to_owned(),
        protection_disabled: true,
        ..etcd()
    };
    assert!(theirs(asked.among(&[lifted.clone(), etcd()])));
    assert!(theirs(asked.among(&[etcd(), lifted])));
}

#[test]
fn without_an_etcd_it_may_be_changed_and_that_is_told() {
    let asked = Asked {
        old: labelled(None),
        ..Asked::delete()
    };
    let verdict = asked.with(etcd());
    assert!(
        matches!(&verdict, Verdict::Warned(Warning::NoEtcdNamed { .. })),
        "{verdict:?}"
    );
    let verdict = Asked::delete().among(&[]);
    assert!(
        matches!(&verdict, Verdict::Warned(Warning::EtcdMissing { etcd, .. }) if etcd == "a"),
        "{verdict:?}"
    );
}

#[test]
fn the_annotation_lifts_the_protection_also_while_the_etcd_is_deleted() {
    let lifted = Guarded {
        protection_disabled: true,
        leaves: true,
        work: Some(Work::Processing),
        ..etcd()
    };
    for asked in [Asked::default(), Asked::delete()] {
        assert_eq!(
            asked.with(lifted.clone()),
            allowed(Allowed::ProtectionDisabled)
        );
    }
}

#[test]
fn without_runtime_components_only_the_map_the_set_and_the_claims_are_protected() {
    let without = Guarded {
        runtime_components_disabled: true,
        leaves: true,
        ..etcd()
    };
    for (of, runtime) in [
        (("", "serviceaccounts", ""), true),
        (("", "services", ""), true),
        (("rbac.authorization.k8s.io", "roles", ""), true),
        (("rbac.authorization.k8s.io", "rolebindings", ""), true),
        (("policy", "poddisruptionbudgets", ""), true),
        (LEASE, true),
        (("", "configmaps", ""), false),
        (STATEFUL_SET, false),
        (("", "persistentvolumeclaims", ""), false),
    ] {
        let verdict = Asked {
            of,
            ..Asked::delete()
        }
        .with(without.clone());
        assert_eq!(
            verdict == allowed(Allowed::RuntimeComponent),
            runtime,
            "{of:?}: {verdict:?}"
        );
    }
}

#[test]
fn with_an_etcd_that_leaves_the_operator_and_the_exempt_delete_and_nobody_else() {
    let leaves = Guarded {
        leaves: true,
        work: Some(Work::Processing),
        ..etcd()
    };
    let by = |user, of| Asked {
        of,
        user,
        ..Asked::delete()
    };
    let verdict = by(EXEMPT, STATEFUL_SET).with(leaves.clone());
    assert_eq!(verdict, allowed(Allowed::Exempt));
    let verdict = by(DRUID, STATEFUL_SET).with(leaves.clone());
    assert_eq!(verdict, allowed(Allowed::Operator));
    for asked in [by(PERSON, STATEFUL_SET), by(MEMBER, LEASE)] {
        let denial = denial(asked.with(leaves.clone()));
        assert!(matches!(denial, Denial::EtcdLeaves { .. }), "{denial:?}");
    }
    // A change is judged as ever.
    assert!(theirs(Asked::default().with(leaves)));
}

#[test]
fn the_operator_is_let_through_without_a_look_at_anything() {
    for of in [STATEFUL_SET, LEASE, SCALE] {
        for asked in [Asked::default(), Asked::delete()] {
            let request = Asked {
                of,
                user: DRUID,
                ..asked
            }
            .request();
            let next = judge(&request, &rules());
            assert_eq!(next, Next::from(Allowed::Operator));
        }
    }
}

#[test]
fn a_member_renews_the_leases_of_its_own_etcd_without_a_look_at_it() {
    let lease = |user| Asked {
        of: LEASE,
        user,
        ..Asked::default()
    };
    let request = lease(MEMBER).request();
    assert_eq!(judge(&request, &rules()), Next::from(Allowed::OwnLease));
    // To delete one depends on the Etcd.
    let deleted = Asked {
        of: LEASE,
        user: MEMBER,
        ..Asked::delete()
    };
    assert_eq!(deleted.with(etcd()), allowed(Allowed::OwnLease));

    for user in [
        "system:serviceaccount:n:b",
        "system:serviceaccount:other:a",
        "a",
        PERSON,
    ] {
        assert!(theirs(lease(user).with(etcd())), "{user}");
    }
    let of_another = Asked {
        new: labelled(Some("b")),
        ..lease(MEMBER)
    };
    let another = Guarded {
        name: "b".to_owned(),
        ..etcd()
    };
    assert!(theirs(of_another.among(&[etcd(), another])));
    let no_lease = Asked {
        user: MEMBER,
        ..Asked::default()
    };
    assert!(theirs(no_lease.with(etcd())));
}

#[test]
fn the_exempt_wait_while_the_operator_changes_it_unless_the_object_is_going() {
    for asked in [Asked::default(), Asked::delete()] {
        let asked = Asked {
            user: EXEMPT,
            ..asked
        };
        assert_eq!(asked.with(etcd()), allowed(Allowed::Exempt));
        for work in [Work::Processing, Work::Error] {
            let busy = Guarded {
                work: Some(work),
                ..etcd()
            };
            let found = denial(asked.with(busy.clone()));
            let is = matches!(&found, Denial::Reconciled { work: it, .. } if *it == work);
            assert!(is, "{found:?}");
            let going = Asked {
                user: EXEMPT,
                old: leaving(),
                ..Asked::delete()
            };
            assert_eq!(going.with(busy.clone()), allowed(Allowed::Exempt));
            // It helps nobody else.
            let going = Asked {
                user: PERSON,
                ..going
            };
            assert!(theirs(going.with(busy)));
        }
    }
}

#[test]
fn the_job_that_compacts_is_protected_and_one_that_copies_belongs_to_a_task() {
    let of = |component: &str| {
        let mut job = labelled(Some("a"));
        job["metadata"]["labels"][names::COMPONENT] = component.into();
        job
    };
    let compacts = || of("etcd-snapshot-compaction-job");
    let job = ("batch", "jobs", "");
    for asked in [Asked::default(), Asked::delete()] {
        let asked = |user| Asked {
            of: job,
            user,
            old: compacts(),
            new: if asked.new.is_null() {
                Value::Null
            } else {
                compacts()
            },
            ..asked
        };
        assert!(theirs(asked(PERSON).with(etcd())));
        assert!(theirs(asked(MEMBER).with(etcd())));
        assert_eq!(asked(DRUID).among(&[]), allowed(Allowed::Operator));
        assert_eq!(asked(EXEMPT).with(etcd()), allowed(Allowed::Exempt));
    }
    // What the Job controller writes.
    let status = Asked {
        of: ("batch", "jobs", "status"),
        ..Asked::default()
    };
    assert_eq!(status.with(etcd()), allowed(Allowed::Kind));
    let copies = || of(crate::render::COPY_JOB);
    let copy = Asked {
        of: job,
        old: copies(),
        ..Asked::delete()
    };
    assert_eq!(copy.with(etcd()), allowed(Allowed::Unmanaged));
    // Another label lifts nothing.
    let disguised = Asked {
        of: job,
        old: compacts(),
        new: copies(),
        ..Asked::default()
    };
    assert!(theirs(disguised.with(etcd())));
    let other = Asked {
        old: copies(),
        ..Asked::delete()
    };
    assert!(theirs(other.with(etcd())), "it is no Job");
}

#[test]
fn a_scale_is_judged_by_the_stateful_set_that_is_scaled() {
    let asked = Asked {
        of: SCALE,
        old: foreign(),
        new: foreign(),
        ..Asked::default()
    };
    let request = asked.request();
    let next = judge(&request, &rules());
    let item = request.item(Component::Scale);
    assert_eq!(item.to_string(), "StatefulSet n/x");
    assert_eq!(next, Next::StatefulSet(item));

    let ours = Object {
        copies: false,
        managed: true,
        part_of: Some("a".to_owned()),
        leaves: false,
    };
    let Next::Etcds(case) = scaled(&request, Some(ours.clone())) else {
        panic!("its Etcd is not asked for");
    };
    assert_eq!(case.etcds(), ["a"]);
    assert!(theirs(case.decide(&rules(), &[etcd()])));
    let without = Object {
        managed: false,
        ..ours
    };
    let next = scaled(&request, Some(without));
    assert_eq!(next, Next::from(Allowed::Unmanaged));
    assert_eq!(scaled(&request, None), Next::from(Allowed::NoStatefulSet));
}

#[test]
fn an_object_of_two_etcds_asks_for_both_and_one_of_nobody_for_none() {
    let asked = Asked {
        new: labelled(Some("b")),
        ..Asked::default()
    };
    let request = asked.request();
    let Next::Etcds(case) = judge(&request, &rules()) else {
        panic!("decided too early");
    };
    assert_eq!(case.etcds(), ["a", "b"]);
    let asked = Asked {
        old: labelled(None),
        ..Asked::delete()
    };
    let request = asked.request();
    let Next::Etcds(case) = judge(&request, &rules()) else {
        panic!("decided too early");
    };
    assert!(case.etcds().is_empty());
}

#[test]
fn of_an_etcd_is_read_what_decides() {
    let mut object = json!({
        "metadata": { "name": "a", "annotations": { "other": "" } },
        "status": { "lastOperation": { "type": "Reconcile", "state": "Succeeded" } },
    });
    assert_eq!(Guarded::of(&object), etcd());
    for (state, work) in [
        ("Processing", Some(Work::Processing)),
        ("Error", Some(Work::Error)),
        // It waits, for example as long as a person has paused an upgrade.
        ("Requeue", None),
    ] {
        object["status"]["lastOperation"] = json!({ "type": "Reconcile", "state": state });
        assert_eq!(Guarded::of(&object).work, work, "{state}");
        object["status"]["lastOperation"]["type"] = "Create".into();
        assert_eq!(Guarded::of(&object).work, None);
    }
    let halted = json!({ "code": "ERR_UPGRADE_HALTED" });
    let failed = json!({ "code": "ERR_SYNC_STATEFULSET" });
    for (errors, work) in [
        (json!([halted]), None),
        (json!([halted, failed]), Some(Work::Error)),
        (json!([]), Some(Work::Error)),
    ] {
        object["status"] = json!({
            "lastOperation": { "type": "Reconcile", "state": "Error" }, "lastErrors": errors,
        });
        assert_eq!(Guarded::of(&object).work, work, "{errors}");
    }
    object["metadata"]["annotations"] = json!({ names::DISABLE_PROTECTION: "" });
    object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
    let found = Guarded::of(&object);
    assert!(found.protection_disabled && found.leaves);
    assert!(!found.runtime_components_disabled);
    object["metadata"]["annotations"] = json!({ names::DISABLE_RUNTIME_COMPONENTS: "" });
    let found = Guarded::of(&object);
    assert!(found.runtime_components_disabled && !found.protection_disabled);
}

#[test]
fn a_no_names_the_object_why_and_the_remedy() {
    let said = |asked: Asked, etcd| {
        let review = asked.with(etcd).review("u");
        let response = &review["response"];
        assert_eq!(response["uid"], "u");
        assert_eq!(response["allowed"], false);
        assert_eq!(response["status"]["code"], 403);
        response["status"]["message"].as_str().unwrap().to_owned()
    };
    let lift = "kubectl annotate etcd a --namespace n \
                druid.gardener.cloud/disable-etcd-component-protection=true";
    let no = said(Asked::delete(), etcd());
    let why =
        "StatefulSet n/x belongs to Etcd n/a and kubernetes-admin may not delete it: change the";
    assert!(
        no.starts_with(why) && no.contains("exemptServiceAccounts") && no.ends_with(lift),
        "{no}"
    );
    let busy = Guarded {
        work: Some(Work::Error),
        ..etcd()
    };
    let asked = Asked {
        user: EXEMPT,
        ..Asked::default()
    };
    let no = said(asked, busy);
    let why = format!("reconciling (Error): {EXEMPT} is exempt only when that is over");
    assert!(no.contains(&why) && no.ends_with(lift), "{no}");
    let leaves = Guarded {
        leaves: true,
        ..etcd()
    };
    let no = said(Asked::delete(), leaves);
    assert!(
        no.contains("goes with Etcd n/a, which is being deleted") && no.ends_with(lift),
        "{no}"
    );
}

#[test]
fn a_yes_says_nothing_a_warning_says_why_and_a_failure_is_a_no() {
    let yes = allowed(Allowed::Kind).review("u");
    assert_eq!(yes["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(yes["kind"], "AdmissionReview");
    assert_eq!(yes["response"], json!({ "uid": "u", "allowed": true }));
    let warned = Asked::delete().among(&[]).review("u");
    assert_eq!(warned["response"]["allowed"], true);
    let text = warned["response"]["warnings"][0].as_str().unwrap();
    assert!(
        text.contains("belongs to Etcd n/a, which there is not"),
        "{text}"
    );
    let failed = failure("u", "why");
    assert_eq!(failed["response"]["allowed"], false);
    assert_eq!(failed["response"]["status"]["code"], 500);
    assert_eq!(failed["response"]["status"]["message"], "why");
}

#[test]
fn what_is_no_request_is_refused() {
    let read = |review: Value| Request::read(review.to_string().as_bytes());
    assert!(Request::read(b"nonsense").is_err());
    let older = json!({
        "apiVersion": "admission.k8s.io/v1beta1",
        "request": { "uid": "u", "operation": "UPDATE", "resource": { "group": "", "resource": "" } },
    });
    let why = read(older).unwrap_err().to_string();
    assert!(why.contains("admission.k8s.io/v1beta1"), "{why}");
    assert!(read(json!({ "apiVersion": "admission.k8s.io/v1" })).is_err());
}

#[test]
fn an_object_of_a_collection_is_called_by_its_own_name() {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": "u", "operation": "DELETE", "namespace": "n",
            "resource": { "group": "apps", "resource": "statefulsets" },
            "oldObject": { "metadata": { "name": "y", "labels": null } }, "object": null,
        },
    });
    let request = Request::read(review.to_string().as_bytes()).unwrap();
    assert_eq!((request.name.as_str(), request.objects.len()), ("y", 1));
}
