//! The driver of every upgrade: observe, decide, record, act. It makes no choice of its own.

use druid_core::observed::Observed;
use druid_core::upgrade::{Act, Decision, Needs, Record, Step, Want, decide};

use crate::clock;

/// What a cluster runs on, and where its record is kept.
pub(crate) trait Platform {
    /// Why it could not do what it was asked to.
    type Error;

    /// Observes the cluster, the snapshot of this name, and what the decision needs beyond that.
    async fn observe(&mut self, snapshot: &str, needs: &Needs) -> Result<Observed, Self::Error>;

    /// Puts the record on stable storage.
    async fn record(&mut self, record: &Record) -> Result<(), Self::Error>;

    /// Tells whoever watches.
    async fn report(&mut self, decision: &Decision, seen: &Observed) -> Result<(), Self::Error>;

    /// Does what was decided.
    async fn act(&mut self, act: &Act) -> Result<(), Self::Error>;
}

/// One round. The step that comes back has been carried out if it was an act; a look is for the
/// next round to take.
pub(crate) async fn round<P: Platform>(
    platform: &mut P,
    want: &Want,
    record: &mut Record,
    needs: &Needs,
) -> Result<Step, P::Error> {
    let decided = consider(platform, want, record, needs).await?;
    let Step::Act(act) = &decided else {
        return Ok(decided);
    };
    if act.needs_live_look() {
        let again = consider(platform, want, record, &Needs::Nothing).await?;
        if again != decided {
            return Ok(Step::Look(Needs::Nothing));
        }
    }
    platform.act(act).await?;
    Ok(decided)
}

async fn consider<P: Platform>(
    platform: &mut P,
    want: &Want,
    record: &mut Record,
    needs: &Needs,
) -> Result<Step, P::Error> {
    let seen = platform.observe(&record.snapshot_name(), needs).await?;
    let decision = decide(want, record, &seen, clock::now());
    if decision.record != *record {
        platform.record(&decision.record).await?;
        record.clone_from(&decision.record);
    }
    platform.report(&decision, &seen).await?;
    Ok(decision.step)
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
