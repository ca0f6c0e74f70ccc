//! Whose turn it is. Each object is looked at by one at a time; what is heard of it meanwhile makes it
//! be looked at once more.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::known::Named;
use super::request::ApiError;

/// How long to wait after a look that failed, the first time and at most.
const FIRST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(30);
/// What is heard within this time is looked at together.
const TOGETHER: Duration = Duration::from_millis(20);

/// When to look again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// When something is heard of it.
    Heard,
    /// Then at the latest.
    After(Duration),
    /// It failed.
    Failed,
}

impl Next {
    /// What follows a look. Another's write in between is no failure of it. `failed`: what to say of one.
    pub(super) fn of(looked: Result<Self, ApiError>, named: &Named, failed: &'static str) -> Self {
        match looked {
            Ok(next) => next,
            Err(error) if error.status() == Some(409) => {
                tracing::debug!(%error, name = named.name, "it has changed meanwhile");
                Self::After(Duration::ZERO)
            }
            Err(error) => {
                let (namespace, name) = (&named.namespace, &named.name);
                tracing::warn!(%error, namespace, name, "{failed}");
                Self::Failed
            }
        }
    }
}

/// When each object is due. Those that were never looked at go first: others have all that they need to
/// run, and are only not as they should be yet.
struct Queue {
    began: Instant,
    /// Those that were looked at.
    known: HashSet<Named>,
    due: HashMap<Named, Instant>,
    order: BTreeSet<(Instant, Named)>,
    running: HashSet<Named>,
    /// Of whom something was heard since they were last looked at.
    heard: HashSet<Named>,
    failures: HashMap<Named, u32>,
}

impl Queue {
    fn new(now: Instant) -> Self {
        Self {
            began: now,
            known: HashSet::new(),
            due: HashMap::new(),
            order: BTreeSet::new(),
            running: HashSet::new(),
            heard: HashSet::new(),
            failures: HashMap::new(),
        }
    }

    /// Looks at it then, or earlier if it is due earlier.
    fn put(&mut self, named: Named, at: Instant) {
        let at = if self.known.contains(&named) {
            at
        } else {
            self.began
        };
        if let Some(before) = self.due.get(&named).copied() {
            if before <= at {
                return;
            }
            self.order.remove(&(before, named.clone()));
        }
        self.due.insert(named.clone(), at);
        self.order.insert((at, named));
    }

    /// The next one that is due by now and is not being looked at.
    fn take(&mut self, now: Instant) -> Option<Named> {
        let next = self.order.iter().take_while(|(at, _)| *at <= now);
        let mut free = next.filter(|(_, named)| !self.running.contains(named));
        let (at, named) = free.next()?.clone();
        self.order.remove(&(at, named.clone()));
        self.due.remove(&named);
        self.running.insert(named.clone());
        self.known.insert(named.clone());
        Some(named)
    }

    /// When the next one is due that is not being looked at.
    fn next(&self) -> Option<Instant> {
        let mut free = self.order.iter();
        let free = free.find(|(_, named)| !self.running.contains(named));
        free.map(|(at, _)| *at)
    }

    fn done(&mut self, named: Named, next: Next, now: Instant) {
        self.running.remove(&named);
        match next {
            Next::Failed => {
                let failures = self.failures.entry(named.clone()).or_default();
                let wait = FIRST.saturating_mul(1 << (*failures).min(10)).min(LONGEST);
                *failures += 1;
                self.put(named, now + wait);
            }
            Next::After(wait) => {
                self.failures.remove(&named);
                self.put(named, now + wait);
            }
            Next::Heard => {
                self.failures.remove(&named);
            }
        }
    }
}

/// Looks at whatever has changed, at so many at once, until nobody tells any more. `look` is told whether
/// something was heard, or time alone is the reason.
pub(super) async fn run<F>(
    mut told: mpsc::UnboundedReceiver<Named>,
    most: usize,
    look: impl Fn(Named, bool) -> F,
) where
    F: Future<Output = Next> + Send + 'static,
{
    let mut queue = Queue::new(Instant::now());
    let mut looks: JoinSet<(Named, Next)> = JoinSet::new();
    loop {
        while looks.len() < most
            && let Some(named) = queue.take(Instant::now())
        {
            let heard = queue.heard.remove(&named);
            let looking = look(named.clone(), heard);
            looks.spawn(async move { (named, looking.await) });
        }
        let next = queue.next().filter(|_| looks.len() < most);
        tokio::select! {
            heard = told.recv() => match heard {
                Some(named) => {
                    queue.heard.insert(named.clone());
                    queue.put(named, Instant::now() + TOGETHER);
                }
                None => return,
            },
            Some(done) = looks.join_next() => match done {
                Ok((named, next)) => queue.done(named, next, Instant::now()),
                Err(error) => tracing::error!(%error, "a look ended in the middle"),
            },
            () = until(next) => {}
        }
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Named {
        Named {
            namespace: "n".to_owned(),
            name: name.to_owned(),
        }
    }

    #[test]
    fn one_is_looked_at_by_one_at_a_time_and_the_earliest_wish_counts() {
        let now = Instant::now();
        let mut queue = Queue::new(now);
        queue.known.insert(named("a"));
        queue.put(named("a"), now + LONGEST);
        queue.put(named("a"), now);
        queue.put(named("a"), now + FIRST);
        assert_eq!(queue.take(now), Some(named("a")));
        assert_eq!((queue.take(now), queue.next()), (None, None));
        // Heard of while it is looked at: once more after that.
        queue.put(named("a"), now);
        assert_eq!(queue.take(now), None);
        queue.done(named("a"), Next::After(LONGEST), now);
        assert_eq!(queue.take(now), Some(named("a")));
        queue.done(named("a"), Next::Heard, now);
        assert_eq!((queue.take(now), queue.next()), (None, None));
    }

    #[test]
    fn those_that_were_never_looked_at_go_first_and_nobody_is_forgotten() {
        let now = Instant::now();
        let mut queue = Queue::new(now);
        queue.put(named("old"), now);
        assert_eq!(queue.take(now), Some(named("old")));
        queue.done(named("old"), Next::After(FIRST), now);
        let later = now + LONGEST;
        queue.put(named("new"), later);
        assert_eq!(queue.take(later), Some(named("new")));
        queue.done(named("new"), Next::After(Duration::ZERO), later);
        assert_eq!(queue.take(later), Some(named("old")));
        assert_eq!(queue.take(later), Some(named("new")));
    }

    #[test]
    fn failures_are_repeated_later_and_later() {
        let now = Instant::now();
        let mut queue = Queue::new(now);
        queue.known.insert(named("a"));
        let mut last = Duration::ZERO;
        for _ in 0..12 {
            queue.running.insert(named("a"));
            queue.done(named("a"), Next::Failed, now);
            let wait = queue.next().unwrap().duration_since(now);
            assert!(wait > last || wait == LONGEST, "{wait:?}");
            last = wait;
            assert_eq!(queue.take(now + wait), Some(named("a")));
        }
        assert_eq!(last, LONGEST);
        queue.done(named("a"), Next::Heard, now);
        queue.running.insert(named("a"));
        queue.done(named("a"), Next::Failed, now);
        assert_eq!(queue.next(), Some(now + FIRST));
    }
}
