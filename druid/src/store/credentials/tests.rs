use std::fs;

use tempfile::TempDir;

use super::*;

fn env(variables: &[(&str, &Path)]) -> Env {
    let text =
        |(name, path): &(&str, &Path)| ((*name).to_owned(), path.to_str().unwrap().to_owned());
    variables.iter().map(text).collect()
}

fn directory(files: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().unwrap();
    for (name, content) in files {
        fs::write(dir.path().join(name), content).unwrap();
    }
    dir
}

const AWS: &str = "AWS_APPLICATION_CREDENTIALS";

const FILES: [(&str, &str); 3] = [
    ("region", "eu-west-1\n"),
    ("accessKeyID", "id\r\n"),
    ("secretAccessKey", "secret\n\n"),
];

#[test]
fn files_are_read_without_the_line_ends_that_editors_add() {
    let dir = directory(&FILES);
    let account = S3Account::s3(&env(&[(AWS, dir.path())]), Whose::Main).unwrap();
    assert_eq!(account.region, "eu-west-1");
    let key = S3Login::Key {
        id: "id".to_owned(),
        secret: Secret::new("secret".to_owned()),
    };
    assert_eq!(account.login, key);
    assert!(account.checksums);
    assert!(!account.path_style && !account.insecure);
    assert!(!format!("{account:?}").contains("secret\""), "{account:?}");
}

#[test]
fn a_json_file_goes_before_the_files_beside_it_and_the_variable_of_one_before_both() {
    let json = |region: &str| {
        format!(
            r#"{{"region":"{region}","accessKeyID":"j","secretAccessKey":"k","s3ForcePathStyle":true,"x":{{}}}}"#
        )
    };
    let dir = directory(&FILES);
    let read = |variables: &[(&str, &Path)]| S3Account::s3(&env(variables), Whose::Main).unwrap();
    assert_eq!(read(&[(AWS, dir.path())]).region, "eu-west-1");
    fs::write(dir.path().join("any.json"), json("inside")).unwrap();
    assert_eq!(read(&[(AWS, dir.path())]).region, "inside");
    assert!(read(&[(AWS, dir.path())]).path_style);
    let file = dir.path().join("other");
    fs::write(&file, json("named")).unwrap();
    let both = [
        (AWS, dir.path()),
        ("AWS_APPLICATION_CREDENTIALS_JSON", &*file),
    ];
    assert_eq!(read(&both).region, "named");
}

#[test]
fn the_source_has_variables_of_its_own() {
    let dir = directory(&FILES);
    let variable = "SOURCE_AWS_APPLICATION_CREDENTIALS";
    S3Account::s3(&env(&[(variable, dir.path())]), Whose::Source).unwrap();
    let error = S3Account::s3(&env(&[(AWS, dir.path())]), Whose::Source).unwrap_err();
    assert_eq!(error, CredentialError::NotSet(variable.to_owned()));
    assert!(error.to_string().contains(&format!("{variable}_JSON")));
}

#[test]
fn what_is_missing_is_named_with_its_file() {
    for (missing, _) in FILES {
        let dir = directory(&FILES);
        fs::remove_file(dir.path().join(missing)).unwrap();
        let error = S3Account::s3(&env(&[(AWS, dir.path())]), Whose::Main).unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains(missing) && text.contains(dir.path().to_str().unwrap()),
            "{text}"
        );
        // An empty one is as good as none.
        fs::write(dir.path().join(missing), "\n").unwrap();
        let again = S3Account::s3(&env(&[(AWS, dir.path())]), Whose::Main).unwrap_err();
        assert_eq!(again, error);
    }
    let nowhere = Path::new("/nowhere/at/all");
    let error = S3Account::s3(&env(&[(AWS, nowhere)]), Whose::Main).unwrap_err();
    assert!(
        matches!(error, CredentialError::Unreadable { .. }),
        "{error}"
    );
    let dir = directory(&[("x.json", "[1]")]);
    let error = S3Account::s3(&env(&[(AWS, dir.path())]), Whose::Main).unwrap_err();
    assert!(matches!(&error, CredentialError::NotJson { path, .. } if path.ends_with("x.json")));
}

#[test]
fn a_value_that_makes_no_sense_is_named_and_secrets_are_not_shown() {
    let bad = [
        ("s3ForcePathStyle", "yes"),
        ("insecureSkipVerify", "TRUE"),
        ("requestChecksumCalculation", "never"),
        ("responseChecksumValidation", "never"),
    ];
    for (field, value) in bad {
        let dir = directory(&[FILES[0], FILES[1], FILES[2], (field, value)]);
        let error = S3Account::s3(&env(&[(AWS, dir.path())]), Whose::Main).unwrap_err();
        assert!(
            error.to_string().contains(field) && error.to_string().contains(value),
            "{error}"
        );
    }
    let sse = ("sseCustomerAlgorithm", "AES256");
    let dir = directory(&[
        FILES[0],
        FILES[1],
        FILES[2],
        sse,
        ("sseCustomerKey", "hunter2"),
    ]);
    let error = S3Account::s3(&env(&[(AWS, dir.path())]), Whose::Main).unwrap_err();
    assert!(error.to_string().contains("sseCustomerKey"), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    let dir = directory(&[FILES[0], FILES[1], FILES[2], sse]);
    assert!(S3Account::s3(&env(&[(AWS, dir.path())]), Whose::Main).is_err());
}

#[test]
fn a_key_for_encryption_is_taken_plain_or_in_base64() {
    let plain = "0123456789abcdef0123456789abcdef";
    let base64 = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    for key in [plain, base64] {
        let sse = [("sseCustomerAlgorithm", "AES256"), ("sseCustomerKey", key)];
        let dir = directory(&[FILES[0], FILES[1], FILES[2], sse[0], sse[1]]);
        let account = S3Account::s3(&env(&[(AWS, dir.path())]), Whose::Main).unwrap();
        assert_eq!(account.sse.unwrap().bytes(), plain.as_bytes());
    }
}

#[test]
fn a_role_needs_no_key_and_its_token_is_beside_it() {
    let dir = directory(&[
        ("region", "r"),
        ("roleARN", "arn:aws:iam::1:role/x"),
        ("token", "t"),
    ]);
    let account = S3Account::s3(&env(&[(AWS, dir.path())]), Whose::Main).unwrap();
    let identity = S3Login::WebIdentity {
        role: "arn:aws:iam::1:role/x".to_owned(),
        token_file: dir.path().join("token"),
    };
    assert_eq!(account.login, identity);
}

#[test]
fn the_other_providers_have_their_own_fields() {
    let read = |files: &[(&str, &str)], name: &str| {
        let dir = directory(files);
        (env(&[(name, dir.path())]), dir)
    };
    let (abs, _dir) = read(
        &[("storageAccount", "a"), ("storageKey", "aw==")],
        "AZURE_APPLICATION_CREDENTIALS",
    );
    assert_eq!(
        AbsAccount::read(&abs, Whose::Main).unwrap().domain,
        "blob.core.windows.net"
    );
    let oss = |endpoint: &str| {
        let fields = [
            ("storageEndpoint", endpoint),
            ("accessKeyID", "i"),
            ("accessKeySecret", "s"),
        ];
        let (oss, _dir) = read(&fields, "ALICLOUD_APPLICATION_CREDENTIALS");
        OssAccount::read(&oss, Whose::Main).map(|it| it.endpoint)
    };
    assert_eq!(oss("e").unwrap(), "https://e");
    // The bucket would have no name to stand before.
    for ip in ["10.0.0.1", "http://127.0.0.1:80", "https://[::1]"] {
        let said = oss(ip).unwrap_err().to_string();
        assert!(
            said.contains("storageEndpoint") && said.contains("a name"),
            "{said}"
        );
    }
    let (ocs, _dir) = read(
        &[
            ("endpoint", "e:1"),
            ("region", "r"),
            ("accessKeyID", "i"),
            ("secretAccessKey", "s"),
            ("disableSSL", "true"),
        ],
        "OPENSHIFT_APPLICATION_CREDENTIALS",
    );
    assert_eq!(
        S3Account::ocs(&ocs, Whose::Main).unwrap().endpoint.unwrap(),
        "http://e:1"
    );
    let ecs: Env = [
        ("ECS_ENDPOINT", "https://e"),
        ("ECS_ACCESS_KEY_ID", "i"),
        ("ECS_SECRET_ACCESS_KEY", "s"),
    ]
    .into_iter()
    .collect();
    assert_eq!(S3Account::ecs(&ecs).unwrap().region, "US-Standard");
    let missing = S3Account::ecs(&Env::default()).unwrap_err();
    assert_eq!(
        missing,
        CredentialError::Variable("ECS_ENDPOINT".to_owned())
    );
}

#[test]
fn swift_is_found_in_files_or_in_variables() {
    let common = [
        ("authURL", "http://k/v3"),
        ("domainName", "d"),
        ("tenantName", "t"),
        ("region", "r"),
    ];
    let mut files = common.to_vec();
    files.extend([("username", "u"), ("password", "p")]);
    let dir = directory(&files);
    let with_files = env(&[("OPENSTACK_APPLICATION_CREDENTIALS", dir.path())]);
    let variables = |prefix: &str| -> Env {
        [
            ("OS_AUTH_URL", "http://k/v3"),
            ("OS_USER_DOMAIN_NAME", "d"),
            ("OS_PROJECT_NAME", "t"),
            ("OS_REGION_NAME", "r"),
            ("OS_USERNAME", "u"),
            ("OS_PASSWORD", "p"),
        ]
        .into_iter()
        .map(|(name, value)| (format!("{prefix}{name}"), value))
        .collect()
    };
    let account = SwiftAccount::read(&with_files, Whose::Main).unwrap();
    assert_eq!(
        account,
        SwiftAccount::read(&variables(""), Whose::Main).unwrap()
    );
    assert_eq!(
        account,
        SwiftAccount::read(&variables("SOURCE_"), Whose::Source).unwrap()
    );
    let error = SwiftAccount::read(&variables(""), Whose::Source).unwrap_err();
    assert!(error.to_string().contains("SOURCE_OS_"), "{error}");
}

#[test]
fn google_takes_a_service_account_or_an_identity_from_elsewhere() {
    let variable = "GOOGLE_APPLICATION_CREDENTIALS";
    for (kind, good) in [
        ("service_account", true),
        ("external_account", true),
        ("authorized_user", false),
    ] {
        let dir = directory(&[("a", &format!(r#"{{"type":"{kind}"}}"#))]);
        let file = dir.path().join("a");
        let account = GcsAccount::read(&env(&[(variable, &file)]), Whose::Main, None);
        assert_eq!(account.is_ok(), good, "{account:?}");
    }
    let emulator = GcsAccount::read(&Env::default(), Whose::Main, Some("http://127.0.0.1:1"));
    assert_eq!(emulator.unwrap().login, GcsLogin::None);
    let none = GcsAccount::read(&Env::default(), Whose::Main, Some("https://x")).unwrap_err();
    assert_eq!(none, CredentialError::Variable(variable.to_owned()));
}
