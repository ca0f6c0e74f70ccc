//! In whose name calls are made.

use std::fmt;
use std::future::Future;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::{Request, Response, Status};

use super::error::{self, Error, Kind};
use super::{Client, pb};

/// What etcd gave us for user and password, once it has. It is good for every member.
#[derive(Clone, Default)]
pub(super) struct Token(Arc<RwLock<Option<AsciiMetadataValue>>>);

impl Interceptor for Token {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let token = self
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if let Some(token) = token {
            request.metadata_mut().insert("token", token);
        }
        Ok(request)
    }
}

impl Token {
    fn set(&self, token: AsciiMetadataValue) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(token);
    }

    fn forget(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// A user of etcd. Clients that are given the same one, or a clone, share what it got.
#[derive(Clone)]
pub(crate) struct Login {
    user: Arc<(String, String)>,
    pub(super) token: Token,
}

impl Login {
    /// Nothing is sent yet.
    pub(crate) fn new(name: String, password: String) -> Self {
        Self {
            user: Arc::new((name, password)),
            token: Token::default(),
        }
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Login({})", self.user.0)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Client {
    /// Makes calls in the name of a user: logs in when etcd wants that, which it does again after
    /// some minutes without a call, or a start.
    pub(crate) fn with_login(mut self, login: Option<&Login>) -> Self {
        if let Some(login) = login {
            self.token = login.token.clone();
            self.login = Some(login.clone());
        }
        self
    }

    /// A call, and the same once more if it needed a login.
    pub(super) async fn named<T, F>(
        &self,
        call: &'static str,
        deadline: Duration,
        ask: impl Fn() -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let asked = async {
            match (ask().await, &self.login) {
                (Err(status), Some(login)) if wants_login(&status) => {
                    self.authenticate(login).await?;
                    ask().await
                }
                (answer, Some(_) | None) => answer,
            }
        };
        let answer = self.call(call, deadline, asked).await;
        if let (Err(error), Some(login)) = (&answer, &self.login)
            && matches!(error.kind, Kind::DeadlineExceeded(_))
        {
            // A token has the raft index that it was given at, and etcd waits until it has applied
            // that: one that was restored from a backup waits for ever.
            login.token.forget();
        }
        answer
    }

    /// Logs in again. `false` if we have no name.
    pub(super) async fn log_in(&self, deadline: Duration) -> Result<bool, Error> {
        let Some(login) = &self.login else {
            return Ok(false);
        };
        let done = async { self.authenticate(login).await.map(Response::new) };
        self.call("Authenticate", deadline, done).await?;
        Ok(true)
    }

    async fn authenticate(&self, login: &Login) -> Result<(), Status> {
        let (name, password) = login.user.as_ref().clone();
        let request = pb::AuthenticateRequest { name, password };
        let answer = self.auth().authenticate(request).await?.into_inner();
        let token = AsciiMetadataValue::try_from(answer.token)
            .map_err(|_| Status::internal("etcd gave a token that is no text"))?;
        login.token.set(token);
        Ok(())
    }
}

fn wants_login(status: &Status) -> bool {
    matches!(error::of_status(status), Kind::Unauthenticated(_))
}
