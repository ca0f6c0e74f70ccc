//! Deleting from Swift. A large object is there a list of segments, which are objects themselves: a
//! plain deletion takes the list and leaves the segments, which nobody sees and somebody pays for.
//! With `multipart-manifest=delete` the segments go first ("Static Large Objects" in Swift's
//! documentation of large objects); of an object that is no such list it does nothing.

use http::{Method, Request, Response, StatusCode};
use opendal::Buffer;
use serde::Deserialize;

use super::ErrorKind;
use super::http::Transport;
use super::keystone::PLACEHOLDER;

/// Says that an object is a list of segments.
const IS_LIST: &str = "x-static-large-object";

/// What deletes.
#[derive(Clone, Debug)]
pub(crate) struct Deletes {
    transport: Transport,
    container: String,
}

impl Deletes {
    /// In a container, with the requests of a transport that knows where it is.
    pub(crate) fn new(transport: Transport, container: String) -> Self {
        Self {
            transport,
            container,
        }
    }

    /// An object, with its segments if it has any. That there is none is no error.
    pub(crate) async fn delete(&self, key: &str) -> Result<(), ErrorKind> {
        let found = self.ask(Method::HEAD, key, "").await?;
        let is_list = found.headers().get(IS_LIST);
        let is_list = is_list.is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"true"));
        let query = if is_list {
            "?multipart-manifest=delete"
        } else {
            ""
        };
        let answer = match found.status() {
            StatusCode::NOT_FOUND => return Ok(()),
            _ => self.ask(Method::DELETE, key, query).await?,
        };
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(()),
            status if status.is_success() && is_list => outcome(answer.body()),
            status if status.is_success() => Ok(()),
            status => Err(ErrorKind::Other(format!("the store answered {status}"))),
        }
    }

    async fn ask(
        &self,
        method: Method,
        key: &str,
        query: &str,
    ) -> Result<Response<bytes::Bytes>, ErrorKind> {
        let key = opendal::raw::percent_encode_path(key);
        let request = Request::builder()
            .method(method)
            .uri(format!("{PLACEHOLDER}/{}/{key}{query}", self.container))
            .header(http::header::ACCEPT, "application/json")
            .body(Buffer::new());
        let request = request.map_err(|error| ErrorKind::Other(error.to_string()))?;
        self.transport.send(&request).await
    }
}

/// How the deletion of many went. The status of the answer was sent before that was known.
#[derive(Deserialize)]
struct Outcome {
    #[serde(rename = "Response Status")]
    status: String,
    #[serde(rename = "Errors", default)]
    errors: Vec<(String, String)>,
}

fn outcome(body: &[u8]) -> Result<(), ErrorKind> {
    let outcome: Outcome = serde_json::from_slice(body)
        .map_err(|error| ErrorKind::Other(format!("what Swift says of a deletion: {error}")))?;
    if let Some((object, why)) = outcome.errors.first() {
        let why = why.lines().next().unwrap_or_default();
        return Err(ErrorKind::Other(format!("{object}: {why}")));
    }
    // Segments that were gone already leave it at "200 OK".
    if outcome.status.starts_with("200") {
        return Ok(());
    }
    Err(ErrorKind::Other(outcome.status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_that_failed_says_so_in_an_answer_of_success() {
        let done = br#"  {"Number Not Found": 1, "Response Status": "200 OK", "Response Body": "",
            "Number Deleted": 3, "Errors": []}"#;
        assert_eq!(outcome(done), Ok(()));
        let held = br#"{"Response Status": "400 Bad Request", "Response Body": "",
            "Number Deleted": 2, "Errors": [["/backups/a", "403 Forbidden\nno"]]}"#;
        let said = ErrorKind::Other("/backups/a: 403 Forbidden".to_owned());
        assert_eq!(outcome(held), Err(said));
        let broken = br#"{"Response Status": "500 Internal Error", "Number Deleted": 0}"#;
        let said = ErrorKind::Other("500 Internal Error".to_owned());
        assert_eq!(outcome(broken), Err(said));
        assert!(outcome(b"").is_err());
    }
}
