//! Genuine etcd is the judge.
