//! `druid`: run, back up and upgrade etcd clusters, safely.

fn main() {}
