//! What the schema says of texts and numbers, in the words of etcd-druid v0.37.1. The API server
//! quotes these patterns when it refuses, so they are kept to the letter.

/// A length of time in Go's syntax, without sign or days.
pub(super) const DURATION: &str = r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$";
/// The same, or `0`.
pub(super) const DURATION_OR_ZERO: &str = r"^(0|([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+)$";
/// What Kubernetes takes for a quantity.
pub(super) const QUANTITY: &str = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$";
/// Five fields of cron, each one value, one range, one step or all. Weekdays are 1 to 7.
pub(super) const CRON: &str = concat!(
    r"^(\*|[1-5]?[0-9]|[1-5]?[0-9]-[1-5]?[0-9]|(?:[1-9]|[1-4][0-9]|5[0-9])\/(?:[1-9]|[1-4][0-9]|5[0-9]|60)|\*\/(?:[1-9]|[1-4][0-9]|5[0-9]|60))\s+",
    r"(\*|[0-9]|1[0-9]|2[0-3]|[0-9]-(?:[0-9]|1[0-9]|2[0-3])|1[0-9]-(?:1[0-9]|2[0-3])|2[0-3]-2[0-3]|(?:[1-9]|1[0-9]|2[0-3])\/(?:[1-9]|1[0-9]|2[0-4])|\*\/(?:[1-9]|1[0-9]|2[0-4]))\s+",
    r"(\*|[1-9]|[12][0-9]|3[01]|[1-9]-(?:[1-9]|[12][0-9]|3[01])|[12][0-9]-(?:[12][0-9]|3[01])|3[01]-3[01]|(?:[1-9]|[12][0-9]|30)\/(?:[1-9]|[12][0-9]|3[01])|\*\/(?:[1-9]|[12][0-9]|3[01]))\s+",
    r"(\*|[1-9]|1[0-2]|[1-9]-(?:[1-9]|1[0-2])|1[0-2]-1[0-2]|(?:[1-9]|1[0-2])\/(?:[1-9]|1[0-2])|\*\/(?:[1-9]|1[0-2]))\s+",
    r"(\*|[1-7]|[1-6]-[1-7]|[1-6]\/[1-7]|\*\/[1-7])$",
);
/// One label of a DNS name.
pub(super) const DNS_LABEL: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$";
/// The name of a member: a name, a dash, a number.
pub(super) const MEMBER: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?-[0-9]+$";
/// A bucket of an object store.
pub(super) const CONTAINER: &str = r"^[a-zA-Z0-9][a-zA-Z0-9._-]{1,61}[a-zA-Z0-9]$";

/// A rule in CEL and what is answered when it does not hold.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub(super) struct Rule {
    /// What is answered.
    pub(super) message: &'static str,
    /// What has to hold.
    pub(super) rule: &'static str,
}

/// `rule` has to hold.
pub(super) const fn rule(message: &'static str, rule: &'static str) -> Rule {
    Rule { message, rule }
}

/// The field must keep its value.
pub(super) const fn immutable(message: &'static str) -> Rule {
    rule(message, "self == oldSelf")
}
