//! Swift's door: a token, and where the object store is, from OpenStack's identity service (v3).

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::ErrorKind;
use super::credentials::{Secret, SwiftAccount, SwiftLogin};
use super::http::causes;
use super::refused;

/// Stands in requests for the address that only the catalogue knows.
pub(super) const PLACEHOLDER: &str = "http://object-store.invalid";

const AUTH_TOKEN: &str = "x-auth-token";
const SUBJECT_TOKEN: &str = "x-subject-token";

/// Logs in when a token is needed, and again when it has expired.
#[derive(Debug)]
pub(crate) struct Keystone {
    account: SwiftAccount,
    current: Mutex<Option<Arc<Token>>>,
}

/// What a login gave.
#[derive(Debug)]
pub(super) struct Token {
    value: Secret,
    header: HeaderValue,
    endpoint: String,
}

impl Token {
    /// Puts address and token into a request.
    pub(super) fn apply(&self, url: &mut String, headers: &mut HeaderMap) {
        if let Some(path) = url.strip_prefix(PLACEHOLDER) {
            *url = format!("{}{path}", self.endpoint);
        }
        headers.insert(AUTH_TOKEN, self.header.clone());
    }
}

#[derive(Deserialize)]
struct Answer {
    token: Granted,
}

#[derive(Deserialize)]
struct Granted {
    #[serde(default)]
    catalog: Vec<Service>,
}

#[derive(Deserialize)]
struct Service {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    endpoints: Vec<Endpoint>,
}

#[derive(Deserialize)]
struct Endpoint {
    interface: String,
    #[serde(default)]
    region: Option<String>,
    url: String,
}

impl Keystone {
    /// Nothing is asked yet.
    pub(crate) fn new(account: SwiftAccount) -> Self {
        Self {
            account,
            current: Mutex::new(None),
        }
    }

    /// The token in use, or a new one. The caller sets the deadline.
    pub(super) async fn token(&self, client: &reqwest::Client) -> Result<Arc<Token>, ErrorKind> {
        let mut current = self.current.lock().await;
        if let Some(token) = &*current {
            return Ok(Arc::clone(token));
        }
        let token = Arc::new(self.log_in(client).await?);
        *current = Some(Arc::clone(&token));
        Ok(token)
    }

    /// A token was refused: the next request gets another. `false` if it already was another.
    pub(super) async fn forget(&self, token: &Arc<Token>) -> bool {
        let mut current = self.current.lock().await;
        let was_current = current
            .as_ref()
            .is_some_and(|it| Arc::ptr_eq(it, token) || it.value == token.value);
        if was_current {
            *current = None;
        }
        was_current
    }

    async fn log_in(&self, client: &reqwest::Client) -> Result<Token, ErrorKind> {
        let url = format!(
            "{}/auth/tokens",
            self.account.auth_url.trim_end_matches('/')
        );
        let sent = client
            .post(&url)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(login(&self.account).to_string());
        let unavailable = |why| ErrorKind::Unavailable { why, tries: 1 };
        let got = sent
            .send()
            .await
            .map_err(|error| unavailable(causes(&error)))?;
        let (status, headers) = (got.status(), got.headers().clone());
        let body = got
            .bytes()
            .await
            .map_err(|error| unavailable(causes(&error)))?;
        if let Some(why) = refused::temporary(status, &headers, &body) {
            return Err(unavailable(why));
        }
        if !status.is_success() {
            let other = || ErrorKind::Other(format!("{url} answered {status}"));
            return Err(refused::kind(status, &headers, &body, "").unwrap_or_else(other));
        }
        let bad = |what: &str| ErrorKind::Other(format!("{url} answered without {what}"));
        let mut header = headers
            .get(SUBJECT_TOKEN)
            .cloned()
            .ok_or_else(|| bad("a token"))?;
        header.set_sensitive(true);
        let answer: Answer = serde_json::from_slice(&body).map_err(|_| bad("a catalogue"))?;
        let endpoint = endpoint(&answer, &self.account.region).ok_or_else(|| {
            bad(&format!(
                "an object-store of region {:?}",
                self.account.region
            ))
        })?;
        Ok(Token {
            value: Secret::new(String::from_utf8_lossy(header.as_bytes()).into_owned()),
            header,
            endpoint: endpoint.trim_end_matches('/').to_owned(),
        })
    }
}

fn endpoint<'a>(answer: &'a Answer, region: &str) -> Option<&'a str> {
    let stores = answer.token.catalog.iter();
    stores
        .filter(|it| it.kind == "object-store")
        .flat_map(|it| &it.endpoints)
        .find(|it| it.interface == "public" && it.region.as_deref() == Some(region))
        .map(|it| it.url.as_str())
}

fn login(account: &SwiftAccount) -> Value {
    let domain = json!({ "name": account.domain });
    match &account.login {
        SwiftLogin::Password { user, password } => json!({ "auth": {
            "identity": { "methods": ["password"], "password": { "user": {
                "name": user, "password": password.reveal(), "domain": domain,
            }}},
            "scope": { "project": { "name": account.tenant, "domain": domain }},
        }}),
        SwiftLogin::Application { id, secret } => json!({ "auth": {
            "identity": { "methods": ["application_credential"], "application_credential": {
                "id": id, "secret": secret.reveal(),
            }},
        }}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_store_of_the_region_is_found_in_the_catalogue() {
        let answer: Answer = serde_json::from_value(json!({ "token": { "catalog": [
            { "type": "compute", "endpoints": [
                { "interface": "public", "region": "eu", "url": "http://compute" } ] },
            { "type": "object-store", "endpoints": [
                { "interface": "internal", "region": "eu", "url": "http://inside" },
                { "interface": "public", "region": "us", "url": "http://us" },
                { "interface": "public", "region": "eu", "url": "http://eu/v1/AUTH_1" } ] },
        ]}}))
        .unwrap();
        assert_eq!(endpoint(&answer, "eu"), Some("http://eu/v1/AUTH_1"));
        assert_eq!(endpoint(&answer, "ap"), None);
    }

    #[test]
    fn a_request_gets_the_address_and_the_token() {
        let token = Token {
            value: Secret::new("t".to_owned()),
            header: HeaderValue::from_static("t"),
            endpoint: "https://swift/v1/AUTH_1".to_owned(),
        };
        let mut url = format!("{PLACEHOLDER}/backups/a?format=json");
        let mut headers = HeaderMap::new();
        token.apply(&mut url, &mut headers);
        assert_eq!(url, "https://swift/v1/AUTH_1/backups/a?format=json");
        assert_eq!(headers[AUTH_TOKEN], "t");
    }
}
