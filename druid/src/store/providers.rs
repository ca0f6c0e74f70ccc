//! A client for each provider.
//!
//! The library reads nothing from the environment or from files of its own accord: an account is
//! what our flags name, or nothing.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use opendal::services::{Azblob, Gcs, Oss, S3, Swift};
use opendal::{HttpTransporter, OperationContext, Operator};
use reqsign_aws_v4::AssumeRoleWithWebIdentityCredentialProvider;
use reqsign_core::ProvideCredentialChain;

use super::credentials::{
    AbsAccount, GcsAccount, GcsLogin, OssAccount, S3Account, S3Login, SseKey, SwiftAccount,
};
use super::http::{Patience, Transport};
use super::keystone::{self, Keystone};
use super::swift::Deletes;

/// The account with a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    /// S3, ECS or OCS.
    S3(Box<S3Account>),
    /// Azure.
    Abs(AbsAccount),
    /// Google.
    Gcs(GcsAccount),
    /// OpenStack.
    Swift(SwiftAccount),
    /// Alibaba.
    Oss(OssAccount),
}

/// What to build a client of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Site {
    /// The account.
    pub(crate) account: Account,
    /// The bucket.
    pub(crate) container: String,
    /// `--store-endpoint-override`.
    pub(crate) endpoint: Option<String>,
}

/// A client.
#[derive(Clone, Debug)]
pub(crate) struct Connected {
    /// The library's.
    pub(crate) operator: Operator,
    /// What deletes instead of the library, where that would leave something.
    pub(crate) deletes: Option<Deletes>,
}

/// Why a client cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SiteError {
    /// `trustedCaCert` is no certificate.
    #[error("trustedCaCert cannot be used: {0}; it must be PEM")]
    TrustedCa(String),
    /// The library refuses.
    #[error("the store's configuration cannot be used: {0}")]
    Refused(String),
}

impl Site {
    /// Where objects are, for messages.
    pub(crate) fn address(&self) -> String {
        let scheme = match &self.account {
            Account::S3(_) => "s3",
            Account::Abs(_) => "abs",
            Account::Gcs(_) => "gs",
            Account::Swift(_) => "swift",
            Account::Oss(_) => "oss",
        };
        format!("{scheme}://{}", self.container)
    }

    /// How many parts of one upload the provider takes; one less than it says, as
    /// etcd-backup-restore has it.
    pub(crate) fn most_parts(&self) -> u64 {
        match &self.account {
            Account::Swift(_) => 999,
            Account::S3(_) | Account::Abs(_) | Account::Gcs(_) | Account::Oss(_) => 9999,
        }
    }

    /// Whether a listing gives the size of an object that was uploaded in parts.
    pub(crate) fn lists_sizes(&self) -> bool {
        !matches!(&self.account, Account::Swift(_))
    }

    /// Whether the bucket may keep what was written over or deleted, and can be asked for it.
    pub(crate) fn may_keep_versions(&self) -> bool {
        matches!(&self.account, Account::S3(_))
    }

    /// A client. Nothing is sent yet.
    pub(crate) fn connect(&self, patience: Patience) -> Result<Connected, SiteError> {
        let refused = |error: opendal::Error| SiteError::Refused(error.to_string());
        let client = self.client()?;
        let mut transport = Transport::new(client, self.container.clone(), patience);
        let operator = match &self.account {
            Account::S3(account) => Operator::new(self.s3(account)),
            Account::Abs(account) => Operator::new(self.abs(account)),
            Account::Gcs(account) => Operator::new(self.gcs(account)),
            Account::Oss(account) => Operator::new(
                Oss::default()
                    .bucket(&self.container)
                    .endpoint(&account.endpoint)
                    .access_key_id(&account.id)
                    .access_key_secret(account.secret.reveal()),
            ),
            Account::Swift(account) => {
                transport = transport.with_keystone(Keystone::new(account.clone()));
                // Address and token are put in when a request is sent: both may change.
                let swift = Swift::default()
                    .container(&self.container)
                    .endpoint(keystone::PLACEHOLDER)
                    .token("unset");
                Operator::new(swift)
            }
        };
        let deletes = match &self.account {
            Account::Swift(_) => Some(Deletes::new(transport.clone(), self.container.clone())),
            Account::S3(_) | Account::Abs(_) | Account::Gcs(_) | Account::Oss(_) => None,
        };
        let transporter = HttpTransporter::new(transport);
        let context = OperationContext::new().with_http_transport(transporter);
        let operator = operator.map_err(refused)?.with_context(context);
        Ok(Connected { operator, deletes })
    }

    fn client(&self) -> Result<reqwest::Client, SiteError> {
        let mut client = reqwest::Client::builder().pool_max_idle_per_host(4);
        if let Account::S3(account) = &self.account {
            if let Some(pem) = &account.trusted_ca {
                let bad = |error: reqwest::Error| SiteError::TrustedCa(error.to_string());
                let authorities = reqwest::Certificate::from_pem_bundle(pem.as_bytes());
                let authorities = authorities.map_err(bad)?;
                if authorities.is_empty() {
                    let why = "it has no certificate".to_owned();
                    return Err(SiteError::TrustedCa(why));
                }
                client = client.tls_certs_merge(authorities);
            }
            client = client.tls_danger_accept_invalid_certs(account.insecure);
        }
        let failed = |error| SiteError::Refused(super::http::causes(&error));
        client.build().map_err(failed)
    }

    fn s3(&self, account: &S3Account) -> S3 {
        let mut s3 = S3::default()
            .bucket(&self.container)
            .region(&account.region)
            .disable_config_load()
            .disable_ec2_metadata();
        match &account.login {
            S3Login::Key { id, secret } => {
                s3 = s3.access_key_id(id).secret_access_key(secret.reveal());
            }
            S3Login::WebIdentity { role, token_file } => {
                let identity = AssumeRoleWithWebIdentityCredentialProvider::with_config(
                    role.clone(),
                    token_file.clone(),
                )
                .with_region(account.region.clone())
                .with_regional_sts_endpoint();
                let chain = ProvideCredentialChain::new().push(identity);
                s3 = s3.credential_provider_chain(chain);
            }
        }
        if let Some(endpoint) = self.endpoint.as_ref().or(account.endpoint.as_ref()) {
            s3 = s3.endpoint(endpoint);
        }
        if !account.path_style {
            s3 = s3.enable_virtual_host_style();
        }
        if let Some(key) = &account.sse {
            s3 = s3.server_side_encryption_with_customer_key(SseKey::ALGORITHM, key.bytes());
        }
        if account.checksums {
            s3 = s3.checksum_algorithm("crc32c");
        }
        s3
    }

    fn abs(&self, account: &AbsAccount) -> Azblob {
        let usual = || format!("https://{}.{}", account.name, account.domain);
        Azblob::default()
            .container(&self.container)
            .endpoint(&self.endpoint.clone().unwrap_or_else(usual))
            .account_name(&account.name)
            .account_key(account.key.reveal())
    }

    fn gcs(&self, account: &GcsAccount) -> Gcs {
        let mut gcs = Gcs::default()
            .bucket(&self.container)
            .disable_config_load()
            .disable_vm_metadata();
        if let Some(endpoint) = &self.endpoint {
            gcs = gcs.endpoint(endpoint);
        }
        match &account.login {
            GcsLogin::Credential(file) => gcs.credential(&BASE64_STANDARD.encode(file.reveal())),
            GcsLogin::None => gcs.skip_signature(),
        }
    }
}
