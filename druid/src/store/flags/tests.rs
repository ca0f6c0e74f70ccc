use std::fs;
use std::sync::Arc;

use clap::{CommandFactory as _, Parser};
use tempfile::TempDir;

use super::super::credentials::Env;
use super::super::location::{OpenError, Reopening};
use super::super::tests::flags;
use super::*;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    source: SourceStoreArgs,
}

fn parse(args: &str) -> Cli {
    Cli::try_parse_from(["x"].into_iter().chain(args.split_whitespace())).unwrap()
}

#[test]
fn the_flags_are_those_of_etcd_backup_restore_twice() {
    Cli::command().debug_assert();
    let cli = parse(
        "--storage-provider=S3 --store-container=c --store-prefix=p --store-endpoint-override=e \
         --max-parallel-chunk-uploads=7 --min-chunk-size=6000000 --snapstore-temp-directory=/x \
         --source-storage-provider=Local --source-store-container=/c --source-store-prefix=q \
         --source-store-endpoint-override=f --source-max-parallel-chunk-uploads=1 \
         --source-min-chunk-size=7000000 --source-snapstore-temp-directory=/y",
    );
    let main = StoreFlags {
        whose: Whose::Main,
        provider: Some(Provider::S3),
        container: "c".to_owned(),
        prefix: "p".to_owned(),
        endpoint: "e".to_owned(),
        parallel: 7,
        min_chunk: 6_000_000,
    };
    assert_eq!(cli.store.flags(), main);
    let source = cli.source.flags();
    assert_eq!(
        (source.whose, source.provider),
        (Whose::Source, Some(Provider::Local))
    );
    assert_eq!((&*source.container, &*source.prefix), ("/c", "q"));
    assert_eq!((source.parallel, source.min_chunk), (1, 7_000_000));
}

#[test]
fn nothing_given_is_no_store_and_the_source_follows_the_destination() {
    let cli = parse("");
    assert_eq!(cli.store.flags().provider, None);
    let error = cli.store.flags().open(&Env::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no store is given: set --storage-provider"
    );
    let error = cli.source.flags().open(&Env::default()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no store is given: set --source-storage-provider"
    );
    let cli = parse("--storage-provider GCS --store-prefix p");
    let source = cli.source.flags_beside(&cli.store.flags());
    assert_eq!(
        (source.provider, &*source.prefix),
        (Some(Provider::Gcs), "p")
    );
    assert_eq!(source.whose, Whose::Source);
}

#[test]
fn every_provider_is_known_by_its_name_and_no_other() {
    for provider in Provider::ALL {
        let chosen: Chosen = provider.to_string().parse().unwrap();
        assert_eq!(chosen, Chosen(Some(provider)));
    }
    assert_eq!("".parse::<Chosen>().unwrap(), Chosen(None));
    for name in ["s3", "Azure", "FAILED"] {
        assert!(name.parse::<Chosen>().is_err(), "{name}");
    }
}

#[test]
fn what_cannot_be_opened_says_why() {
    let none = Env::default();
    let said = |flags: &StoreFlags, env: &Env| flags.open(env).unwrap_err().to_string();
    let mut local = flags(Provider::Local, "p");
    assert!(said(&local, &none).contains("HOME"));
    local.container = "/somewhere".to_owned();
    assert_eq!(local.open(&none).unwrap().address, "/somewhere");
    local.min_chunk = 1;
    assert!(said(&local, &none).contains("--min-chunk-size 1"));
    let dotted = flags(Provider::Local, "a/../b");
    let home: Env = [("HOME", "/h")].into_iter().collect();
    assert!(said(&dotted, &home).contains("\"..\""));
    for provider in Provider::ALL
        .into_iter()
        .filter(|it| *it != Provider::Local)
    {
        let error = said(&flags(provider, "p"), &none);
        assert!(error.contains(provider.name()), "{error}");
    }
}

fn s3_env(dir: &TempDir, secret: &str) -> Env {
    for (field, value) in [
        ("region", "r"),
        ("accessKeyID", "i"),
        ("secretAccessKey", secret),
    ] {
        fs::write(dir.path().join(field), value).unwrap();
    }
    let directory = dir.path().to_str().unwrap();
    [
        ("AWS_APPLICATION_CREDENTIALS", directory),
        ("STORAGE_CONTAINER", "c"),
    ]
    .into_iter()
    .collect()
}

#[test]
fn a_bucket_needs_a_name_and_no_slash_in_front_of_the_prefix() {
    let dir = TempDir::new().unwrap();
    let env = s3_env(&dir, "s");
    assert_eq!(
        flags(Provider::S3, "p").open(&env).unwrap().address,
        "s3://c"
    );
    let error = flags(Provider::S3, "/p").open(&env).unwrap_err();
    assert!(matches!(error, OpenError::AbsolutePrefix { .. }), "{error}");
    let unnamed: Env = [("AWS_APPLICATION_CREDENTIALS", dir.path().to_str().unwrap())]
        .into_iter()
        .collect();
    let error = flags(Provider::S3, "p").open(&unnamed).unwrap_err();
    assert!(error.to_string().contains("STORAGE_CONTAINER"), "{error}");
    fs::write(dir.path().join("trustedCaCert"), "no certificate").unwrap();
    let error = flags(Provider::S3, "p").open(&env).unwrap_err();
    assert!(error.to_string().contains("trustedCaCert"), "{error}");
}

#[tokio::test]
async fn credentials_that_are_exchanged_are_used_from_then_on() {
    let server = super::super::test_servers::S3Server::start();
    let env: Env = server
        .variables_for(&server.url(), "wrong")
        .into_iter()
        .collect();
    let mut store = Reopening::open(flags(Provider::S3, "p"), env.clone()).unwrap();
    let before = store.current().unwrap();
    assert!(before.listing().await.is_err());
    assert!(
        Arc::ptr_eq(&before.store, &store.current().unwrap().store),
        "nothing has changed"
    );
    let secret = std::path::Path::new(env.get("AWS_APPLICATION_CREDENTIALS").unwrap())
        .join("secretAccessKey");
    fs::remove_file(&secret).unwrap();
    assert!(
        store
            .current()
            .unwrap_err()
            .to_string()
            .contains("secretAccessKey")
    );
    fs::write(&secret, super::super::test_servers::S3_SECRET).unwrap();
    let after = store.current().unwrap();
    assert!(after.listing().await.unwrap().snapshots().is_empty());
}
