//! Where a member listens.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::Uri;
use thiserror::Error;

/// `http://HOST:PORT` or `https://HOST:PORT`, of one member.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Endpoint {
    tls: bool,
    text: Arc<str>,
}

/// Text that is no endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is not an endpoint ({why}); write for example https://10.0.0.1:2379")]
pub(crate) struct ParseEndpointError {
    /// What was given.
    pub(crate) text: String,
    /// What is wrong with it.
    pub(crate) why: &'static str,
}

impl Endpoint {
    /// Whether it is `https`.
    pub(crate) fn is_tls(&self) -> bool {
        self.tls
    }

    /// Scheme, host and port, without a slash at the end.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Endpoint {
    type Err = ParseEndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |why| ParseEndpointError {
            text: text.to_owned(),
            why,
        };
        let uri: Uri = text.parse().map_err(|_| bad("it is not a URL"))?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            Some(_) | None => return Err(bad("it starts with neither http:// nor https://")),
        };
        let authority = uri.authority().ok_or_else(|| bad("it has no host"))?;
        if authority.port_u16().is_none() {
            return Err(bad("it has no port"));
        }
        if authority.host().is_empty() || authority.as_str().contains('@') {
            return Err(bad("it has no plain host"));
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(bad("it has a path"));
        }
        let scheme = if tls { "https" } else { "http" };
        Ok(Self {
            tls,
            text: format!("{scheme}://{authority}").into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_parsed_once_and_written_the_same_way() {
        for (text, tls, written) in [
            ("http://127.0.0.1:2379", false, "http://127.0.0.1:2379"),
            (
                "https://etcd-0.example:2379/",
                true,
                "https://etcd-0.example:2379",
            ),
            ("http://[::1]:2379", false, "http://[::1]:2379"),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!((endpoint.is_tls(), endpoint.as_str()), (tls, written));
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused_with_its_reason() {
        for (text, why) in [
            ("127.0.0.1:2379", "it starts with neither"),
            ("", "it is not a URL"),
            ("unix://a:1", "it starts with neither"),
            ("http://127.0.0.1", "it has no port"),
            ("http://a:1/path", "it has a path"),
            ("http://user@a:1", "it has no plain host"),
            ("http://a:99999", "it has no port"),
        ] {
            let error = text.parse::<Endpoint>().unwrap_err();
            assert!(error.why.starts_with(why), "{text}: {error}");
        }
    }
}
