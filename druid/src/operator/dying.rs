//! In builds for tests: an operator that dies after a write, as often as it is told to.

use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use http::{Method, Request};
use tower::{Layer, Service};

/// After how many writes it dies, each time. Nothing of the program is left then but its arguments, as
/// after a crash; it begins again at once, which a container does only after longer and longer pauses.
const EVERY: &str = "DRUID_TEST_DIES_EVERY_WRITES";
/// After how many writes it dies once.
const ONCE: &str = "DRUID_TEST_DIES_AFTER_WRITES";

/// Counts writes.
#[derive(Clone, Debug)]
pub(super) struct Dying {
    left: Option<Arc<AtomicU64>>,
}

impl Dying {
    pub(super) fn as_told() -> Self {
        let mut told = [EVERY, ONCE].into_iter();
        let told = told.find_map(|it| std::env::var(it).ok());
        let told = told.and_then(|it| it.parse().ok());
        Self {
            left: told.map(|it: u64| Arc::new(AtomicU64::new(it))),
        }
    }
}

impl<S> Layer<S> for Dying {
    type Service = Mortal<S>;

    fn layer(&self, inner: S) -> Mortal<S> {
        Mortal {
            inner,
            left: self.left.clone(),
        }
    }
}

/// Whatever asks the API server.
#[derive(Clone, Debug)]
pub(super) struct Mortal<S> {
    inner: S,
    left: Option<Arc<AtomicU64>>,
}

impl<S, B> Service<Request<B>> for Mortal<S>
where
    S: Service<Request<B>>,
    S::Future: Send + 'static,
    S::Response: 'static,
    S::Error: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let left = self
            .left
            .clone()
            .filter(|_| request.method() != Method::GET);
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            if let Some(left) = left
                && left.fetch_sub(1, Ordering::SeqCst) == 1
            {
                die();
            }
            answer
        })
    }
}

fn die() {
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    // It does not come back.
    let _ = Command::new(program)
        .args(std::env::args_os().skip(1))
        .env_remove(ONCE)
        .exec();
}
