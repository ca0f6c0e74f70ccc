//! What every store does, tried on servers of the other providers.

use std::path::PathBuf;
use std::process::Command;

use super::credentials::Env;
use super::flags::{Provider, StoreFlags};
use super::location::Location;
use super::test_servers::{
    AlibabaServer, AzureServer, BUCKET, GoogleServer, OpenStack, SWIFT_PAGE,
};
use super::tests::{USUAL, Ways, behaves, flags};

const AZURE: Ways = Ways {
    page: 5000,
    backslash: false,
    ..USUAL
};

const SWIFT: Ways = Ways {
    page: SWIFT_PAGE,
    empty: None,
    ..USUAL
};

fn named(provider: Provider, endpoint: &str) -> StoreFlags {
    let mut flags = flags(provider, "");
    BUCKET.clone_into(&mut flags.container);
    endpoint.clone_into(&mut flags.endpoint);
    flags
}

fn open(provider: Provider, endpoint: &str, variables: Vec<(String, String)>) -> Location {
    let env = variables.into_iter().collect();
    named(provider, endpoint).open(&env).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn azure_does_what_every_store_does() {
    let Some(server) = AzureServer::start() else {
        return;
    };
    let endpoint = AzureServer::endpoint(&server.address().to_string());
    let location = open(Provider::Abs, &endpoint, server.variables(true));
    behaves(location.store, AZURE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn google_does_what_every_store_does() {
    let server = GoogleServer::start();
    let endpoint = format!("http://{}", server.address());
    let mut flags = named(Provider::Gcs, &endpoint);
    // It does not know uploads in parts.
    flags.min_chunk = 64 << 20;
    let location = flags.open(&Env::default()).unwrap();
    behaves(location.store, USUAL).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn swift_does_what_every_store_does() {
    let Some(server) = OpenStack::start() else {
        return;
    };
    let location = open(Provider::Swift, "", server.variables(true));
    behaves(location.store, SWIFT).await;
    // One object of several segments is still there; of those that were deleted no segment is.
    let mut segments = server.objects();
    segments.retain(|it| it.starts_with(".segments/"));
    let of_it = |it: &String| it.starts_with(".segments/b/v2/a");
    assert!(
        segments.len() == 3 && segments.iter().all(of_it),
        "{segments:?}"
    );
}

/// Where the credentials are, in the child of [`alibaba_does_what_every_store_does`].
const OSS: &str = "DRUID_TEST_OSS";

#[test]
fn alibaba_does_what_every_store_does() {
    let server = AlibabaServer::start();
    let variables = server.variables(true);
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact"])
        .arg("store::test_providers::in_the_child_a_proxy_leads_to_alibaba")
        .env(OSS, &variables[0].1)
        .env("HTTP_PROXY", format!("http://{}", server.address()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}"
    );
    assert_eq!(server.s3.open_uploads(), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "run by the test above, which has a server"]
async fn in_the_child_a_proxy_leads_to_alibaba() {
    let credentials = std::env::var(OSS).unwrap();
    let variable = "ALICLOUD_APPLICATION_CREDENTIALS".to_owned();
    let location = open(Provider::Oss, "", vec![(variable, credentials)]);
    behaves(location.store, USUAL).await;
}
