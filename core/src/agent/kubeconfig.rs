//! The part of a kubeconfig that a program needs to reach one API server: its current context.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use thiserror::Error;

/// Bytes, or where they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// In the file itself.
    Inline(Vec<u8>),
    /// In another file.
    File(PathBuf),
}

/// How to reach the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubeconfig {
    /// Without a slash at the end.
    pub server: String,
    /// The CA of its certificate, PEM.
    pub ca: Option<Given>,
    /// Our certificate and its key, PEM.
    pub pair: Option<(Given, Given)>,
    /// A bearer token.
    pub token: Option<Given>,
}

/// Why it cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum KubeconfigError {
    /// Something is not there.
    #[error("the kubeconfig has no {0}")]
    Missing(String),
    /// A field is not base64.
    #[error("{0} of the kubeconfig is not base64")]
    Base64(&'static str),
    /// A way to log in that takes another program.
    #[error("the kubeconfig logs in through `{0}`: give a token or a client certificate")]
    LoginBy(&'static str),
    /// It does not check who answers.
    #[error("the kubeconfig has insecure-skip-tls-verify: give certificate-authority instead")]
    Insecure,
}

impl Kubeconfig {
    /// Reads it, as it was parsed.
    pub fn new(file: &Value) -> Result<Self, KubeconfigError> {
        let current = text(file, "current-context")
            .ok_or_else(|| KubeconfigError::Missing("current-context".to_owned()))?;
        let context = entry(file, "contexts", "context", current)?;
        let name = |key: &str| {
            text(context, key)
                .ok_or_else(|| KubeconfigError::Missing(format!("{key} of context {current}")))
        };
        let cluster = entry(file, "clusters", "cluster", name("cluster")?)?;
        let user = entry(file, "users", "user", name("user")?)?;
        for other in ["exec", "auth-provider", "username"] {
            if user.get(other).is_some() {
                return Err(KubeconfigError::LoginBy(other));
            }
        }
        if cluster.get("insecure-skip-tls-verify") == Some(&Value::Bool(true)) {
            return Err(KubeconfigError::Insecure);
        }
        let server = text(cluster, "server")
            .ok_or_else(|| KubeconfigError::Missing("server of the cluster".to_owned()))?;
        let cert = given(user, "client-certificate", "client-certificate-data")?;
        let key = given(user, "client-key", "client-key-data")?;
        let token = text(user, "token").map(|token| Given::Inline(token.as_bytes().to_vec()));
        Ok(Self {
            server: server.trim_end_matches('/').to_owned(),
            ca: given(
                cluster,
                "certificate-authority",
                "certificate-authority-data",
            )?,
            pair: cert.zip(key),
            token: token.or_else(|| text(user, "tokenFile").map(|path| Given::File(path.into()))),
        })
    }
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value
        .get(key)
        .and_then(Value::as_str)
        .filter(|text| !text.is_empty())
}

fn entry<'a>(
    file: &'a Value,
    list: &str,
    kind: &str,
    name: &str,
) -> Result<&'a Value, KubeconfigError> {
    file.get(list)
        .and_then(Value::as_array)
        .and_then(|entries| entries.iter().find(|it| text(it, "name") == Some(name)))
        .and_then(|found| found.get(kind))
        .ok_or_else(|| KubeconfigError::Missing(format!("{kind} named {name}")))
}

fn given(
    value: &Value,
    file: &str,
    inline: &'static str,
) -> Result<Option<Given>, KubeconfigError> {
    match text(value, inline) {
        Some(data) => STANDARD
            .decode(data)
            .map(|bytes| Some(Given::Inline(bytes)))
            .map_err(|_| KubeconfigError::Base64(inline)),
        None => Ok(text(value, file).map(|path| Given::File(path.into()))),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file(user: &Value) -> Value {
        json!({
            "current-context": "b",
            "contexts": [
                {"name": "a", "context": {"cluster": "x", "user": "y"}},
                {"name": "b", "context": {"cluster": "c", "user": "u"}},
            ],
            "clusters": [{"name": "c", "cluster": {
                "server": "https://api:6443/", "certificate-authority-data": "Q0E=",
            }}],
            "users": [{"name": "u", "user": user}],
        })
    }

    #[test]
    fn the_current_context_is_taken() {
        let user = json!({"client-certificate": "/c", "client-key-data": "S0VZ"});
        let expected = Kubeconfig {
            server: "https://api:6443".to_owned(),
            ca: Some(Given::Inline(b"CA".to_vec())),
            pair: Some((Given::File("/c".into()), Given::Inline(b"KEY".to_vec()))),
            token: None,
        };
        assert_eq!(Kubeconfig::new(&file(&user)), Ok(expected));
        let token = Kubeconfig::new(&file(&json!({"token": "t"})))
            .unwrap()
            .token;
        assert_eq!(token, Some(Given::Inline(b"t".to_vec())));
        let token = Kubeconfig::new(&file(&json!({"tokenFile": "/t"})))
            .unwrap()
            .token;
        assert_eq!(token, Some(Given::File("/t".into())));
    }

    #[test]
    fn what_cannot_be_used_is_refused() {
        let refused = |file: &Value| Kubeconfig::new(file).unwrap_err().to_string();
        assert!(refused(&json!({})).contains("current-context"));
        assert!(refused(&file(&json!({"exec": {}}))).contains("`exec`"));
        let bad = file(&json!({"client-key-data": "?"}));
        assert_eq!(
            refused(&bad),
            "client-key-data of the kubeconfig is not base64"
        );
        let mut gone = file(&json!({}));
        gone["clusters"] = json!([]);
        assert!(refused(&gone).contains("cluster named c"));
        let mut open = file(&json!({}));
        open["clusters"][0]["cluster"]["insecure-skip-tls-verify"] = json!(true);
        assert_eq!(Kubeconfig::new(&open), Err(KubeconfigError::Insecure));
    }
}
