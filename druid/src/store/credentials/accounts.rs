//! What each provider needs to be told.

use std::net::IpAddr;
use std::path::PathBuf;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{CredentialError, Env, Fields, Secret, Whose, slurp};

/// An account of S3, or of something that speaks as S3 does (ECS, OCS).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct S3Account {
    /// How to prove who it is.
    pub(crate) login: S3Login,
    /// The region that requests are signed for.
    pub(crate) region: String,
    /// Where the service is, with its scheme; AWS if `None`.
    pub(crate) endpoint: Option<String>,
    /// Whether the bucket is a part of the path. AWS has it in the host name.
    pub(crate) path_style: bool,
    /// Whether certificates are not checked.
    pub(crate) insecure: bool,
    /// PEM of an authority to trust besides the usual ones.
    pub(crate) trusted_ca: Option<String>,
    /// SSE-C.
    pub(crate) sse: Option<SseKey>,
    /// Whether parts carry a CRC-32C.
    pub(crate) checksums: bool,
}

/// A key of the customer's, with which S3 encrypts.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct SseKey([u8; 32]);

impl SseKey {
    /// The only algorithm that there is.
    pub(crate) const ALGORITHM: &str = "AES256";

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As 32 characters, or as the base64 of 32 bytes: their lengths tell them apart.
    fn of(fields: &Fields) -> Result<Self, CredentialError> {
        let aes = [(Self::ALGORITHM, ())];
        fields.need("sseCustomerAlgorithm")?;
        fields.one_of("sseCustomerAlgorithm", &aes, "it is AES256")?;
        let text = fields.need("sseCustomerKey")?;
        let plain = <[u8; 32]>::try_from(text.as_bytes());
        let decoded = || BASE64_STANDARD.decode(&text).ok()?.try_into().ok();
        let key = plain.ok().or_else(decoded);
        key.map(Self).ok_or_else(|| CredentialError::Bad {
            variable: fields.variable.clone(),
            path: fields.path.clone(),
            field: "sseCustomerKey",
            value: "(secret)".to_owned(),
            remedy: "it is 32 bytes, as they are or in base64",
        })
    }
}

impl std::fmt::Debug for SseKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("…")
    }
}

/// How to log in to S3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum S3Login {
    /// With a key.
    Key {
        /// Its name.
        id: String,
        /// The key.
        secret: Secret,
    },
    /// With a token that stands for a role.
    WebIdentity {
        /// Which role.
        role: String,
        /// Where the token is; read again whenever one is needed.
        token_file: PathBuf,
    },
}

impl S3Account {
    /// `AWS_APPLICATION_CREDENTIALS`.
    pub(crate) fn s3(env: &Env, whose: Whose) -> Result<Self, CredentialError> {
        let fields = Fields::read(env, whose, "AWS_APPLICATION_CREDENTIALS")?;
        let region = fields.need("region")?;
        let login = match fields.get("roleARN") {
            Some(role) => S3Login::WebIdentity {
                role,
                token_file: fields.file("token"),
            },
            None => S3Login::Key {
                id: fields.need("accessKeyID")?,
                secret: fields.secret("secretAccessKey")?,
            },
        };
        let sse = match (
            fields.get("sseCustomerKey"),
            fields.get("sseCustomerAlgorithm"),
        ) {
            (None, None) => None,
            (Some(_), _) | (_, Some(_)) => Some(SseKey::of(&fields)?),
        };
        let endpoint = fields.get("endpoint").map(|it| with_scheme(&it, "https"));
        let when = [("when_supported", true), ("when_required", false)];
        let remedy = "it is when_supported or when_required";
        let checksums = fields.one_of("requestChecksumCalculation", &when, remedy)?;
        fields.one_of("responseChecksumValidation", &when, remedy)?;
        Ok(Self {
            login,
            region,
            path_style: fields.flag("s3ForcePathStyle")?,
            insecure: fields.flag("insecureSkipVerify")?,
            trusted_ca: fields.get("trustedCaCert"),
            sse,
            checksums: checksums.unwrap_or(true),
            endpoint,
        })
    }

    /// `OPENSHIFT_APPLICATION_CREDENTIALS`: S3 of OpenShift Container Storage.
    pub(crate) fn ocs(env: &Env, whose: Whose) -> Result<Self, CredentialError> {
        let fields = Fields::read(env, whose, "OPENSHIFT_APPLICATION_CREDENTIALS")?;
        let scheme = scheme(fields.flag("disableSSL")?);
        Ok(Self {
            login: S3Login::Key {
                id: fields.need("accessKeyID")?,
                secret: fields.secret("secretAccessKey")?,
            },
            region: fields.need("region")?,
            endpoint: Some(with_scheme(&fields.need("endpoint")?, scheme)),
            path_style: true,
            insecure: fields.flag("insecureSkipVerify")?,
            trusted_ca: None,
            sse: None,
            checksums: false,
        })
    }

    /// `ECS_*`: S3 of Dell EMC ECS. It has no files, so nobody can have two: the variables have no
    /// prefix.
    pub(crate) fn ecs(env: &Env) -> Result<Self, CredentialError> {
        let need = |name: &str| {
            let missing = || CredentialError::Variable(name.to_owned());
            env.get(name).map(str::to_owned).ok_or_else(missing)
        };
        let scheme = scheme(env.get("ECS_DISABLE_SSL") == Some("true"));
        Ok(Self {
            endpoint: Some(with_scheme(&need("ECS_ENDPOINT")?, scheme)),
            login: S3Login::Key {
                id: need("ECS_ACCESS_KEY_ID")?,
                secret: need("ECS_SECRET_ACCESS_KEY").map(Secret)?,
            },
            region: "US-Standard".to_owned(),
            path_style: true,
            insecure: env.get("ECS_INSECURE_SKIP_VERIFY") == Some("true"),
            trusted_ca: None,
            sse: None,
            checksums: false,
        })
    }
}

fn scheme(plain: bool) -> &'static str {
    if plain { "http" } else { "https" }
}

/// An address may come without one.
fn with_scheme(address: &str, scheme: &str) -> String {
    if address.contains("://") {
        address.to_owned()
    } else {
        format!("{scheme}://{address}")
    }
}

fn is_ip(address: &str) -> bool {
    let address = reqwest::Url::parse(address).ok();
    let host = address.as_ref().and_then(reqwest::Url::host_str);
    let ip = host.map(|it| it.trim_matches(['[', ']']).parse::<IpAddr>());
    matches!(ip, Some(Ok(_)))
}

/// An account of Azure Blob Storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AbsAccount {
    /// Its name.
    pub(crate) name: String,
    /// Its shared key, base64.
    pub(crate) key: Secret,
    /// Where the service is: `blob.core.windows.net` unless there is a cloud of its own.
    pub(crate) domain: String,
}

impl AbsAccount {
    /// `AZURE_APPLICATION_CREDENTIALS`.
    pub(crate) fn read(env: &Env, whose: Whose) -> Result<Self, CredentialError> {
        let fields = Fields::read(env, whose, "AZURE_APPLICATION_CREDENTIALS")?;
        let domain = fields.get("domain");
        Ok(Self {
            name: fields.need("storageAccount")?,
            key: fields.secret("storageKey")?,
            domain: domain.unwrap_or_else(|| "blob.core.windows.net".to_owned()),
        })
    }
}

/// An account of Google Cloud Storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GcsAccount {
    /// How to log in.
    pub(crate) login: GcsLogin,
}

/// How to log in to GCS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GcsLogin {
    /// With a service account or an identity of another provider: the file as it is.
    Credential(Secret),
    /// Not at all: an emulator.
    None,
}

impl GcsAccount {
    /// `GOOGLE_APPLICATION_CREDENTIALS`, a file. An endpoint without TLS is an emulator, which asks
    /// for none.
    pub(crate) fn read(
        env: &Env,
        whose: Whose,
        endpoint: Option<&str>,
    ) -> Result<Self, CredentialError> {
        if endpoint.is_some_and(|it| it.starts_with("http://")) {
            return Ok(Self {
                login: GcsLogin::None,
            });
        }
        let variable = format!("{}GOOGLE_APPLICATION_CREDENTIALS", whose.variables());
        let path = env
            .get(&variable)
            .ok_or_else(|| CredentialError::Variable(variable.clone()))?;
        let fields = Fields::json(variable.clone(), path.into())?;
        fields.need("type")?;
        let words = [("service_account", ()), ("external_account", ())];
        fields.one_of("type", &words, "it is service_account or external_account")?;
        let file = Secret(slurp(&variable, &fields.path)?);
        Ok(Self {
            login: GcsLogin::Credential(file),
        })
    }
}

/// An account of OpenStack Swift.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SwiftAccount {
    /// The identity service, with its `/v3`.
    pub(crate) auth_url: String,
    /// The domain of user and project.
    pub(crate) domain: String,
    /// The project.
    pub(crate) tenant: String,
    /// Where the object store is.
    pub(crate) region: String,
    /// How to log in.
    pub(crate) login: SwiftLogin,
}

/// How to log in to Swift.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SwiftLogin {
    /// As a user.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// As an application. Its name alone would need the user too; its id does not.
    Application {
        /// Which.
        id: String,
        /// Its secret.
        secret: Secret,
    },
}

impl SwiftAccount {
    /// `OPENSTACK_APPLICATION_CREDENTIALS`, else `OS_*`.
    pub(crate) fn read(env: &Env, whose: Whose) -> Result<Self, CredentialError> {
        let Some(fields) = Fields::find(env, whose, "OPENSTACK_APPLICATION_CREDENTIALS")? else {
            return Self::of_variables(env, whose);
        };
        let login = match fields.get("applicationCredentialID") {
            Some(id) => SwiftLogin::Application {
                id,
                secret: fields.secret("applicationCredentialSecret")?,
            },
            None => SwiftLogin::Password {
                user: fields.need("username")?,
                password: fields.secret("password")?,
            },
        };
        Ok(Self {
            auth_url: fields.need("authURL")?,
            domain: fields.need("domainName")?,
            tenant: fields.need("tenantName")?,
            region: fields.need("region")?,
            login,
        })
    }

    fn of_variables(env: &Env, whose: Whose) -> Result<Self, CredentialError> {
        let find = |names: &[&str]| {
            let own = |name: &&str| env.get(&format!("{}{name}", whose.variables()));
            let missing = || {
                let name = names.first().copied().unwrap_or_default();
                CredentialError::Variable(format!("{}{name}", whose.variables()))
            };
            let found = names.iter().find_map(own);
            found.map(str::to_owned).ok_or_else(missing)
        };
        let login = match find(&["OS_APPLICATION_CREDENTIAL_ID"]) {
            Ok(id) => SwiftLogin::Application {
                id,
                secret: find(&["OS_APPLICATION_CREDENTIAL_SECRET"]).map(Secret)?,
            },
            Err(_) => SwiftLogin::Password {
                user: find(&["OS_USERNAME"])?,
                password: find(&["OS_PASSWORD"]).map(Secret)?,
            },
        };
        Ok(Self {
            auth_url: find(&["OS_AUTH_URL"])?,
            domain: find(&["OS_DOMAIN_NAME", "OS_USER_DOMAIN_NAME"])?,
            tenant: find(&["OS_TENANT_NAME", "OS_PROJECT_NAME"])?,
            region: find(&["OS_REGION_NAME"])?,
            login,
        })
    }
}

/// An account of Alibaba Cloud's object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OssAccount {
    /// Where the service is.
    pub(crate) endpoint: String,
    /// The name of the key.
    pub(crate) id: String,
    /// The key.
    pub(crate) secret: Secret,
}

impl OssAccount {
    /// `ALICLOUD_APPLICATION_CREDENTIALS`.
    pub(crate) fn read(env: &Env, whose: Whose) -> Result<Self, CredentialError> {
        let fields = Fields::read(env, whose, "ALICLOUD_APPLICATION_CREDENTIALS")?;
        let endpoint = with_scheme(&fields.need("storageEndpoint")?, "https");
        if is_ip(&endpoint) {
            return Err(CredentialError::Bad {
                variable: fields.variable,
                path: fields.path,
                field: "storageEndpoint",
                value: endpoint,
                remedy: "the name of the bucket is put before that of the endpoint, which has to be a name",
            });
        }
        Ok(Self {
            endpoint,
            id: fields.need("accessKeyID")?,
            secret: fields.secret("accessKeySecret")?,
        })
    }
}
