//! What people are told by Events.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, Recorder, Reporter};

use super::request::within;

/// The longest text that an Event takes, bytes.
const NOTE: usize = 1000;

/// Tells, in the name of a controller. Cheap to clone.
#[derive(Clone)]
pub(super) struct Reports(Recorder);

impl Reports {
    /// `controller`: who reports. `instance`: which one of those that run, if it has a name.
    pub(super) fn new(client: Client, controller: &str, instance: Option<String>) -> Self {
        let reporter = Reporter {
            controller: controller.to_owned(),
            instance,
        };
        Self(Recorder::new(client, reporter))
    }

    /// Tells people, as far as an Event takes the text. That nobody hears it changes nothing.
    pub(super) async fn publish(&self, mut event: Event, regarding: &ObjectReference) {
        event.note = event.note.map(|it| cut(&it).to_owned());
        let published = self.0.publish(&event, regarding);
        if let Err(error) = within("publish an Event", published).await {
            tracing::warn!(%error, "an Event is lost");
        }
    }
}

/// The text, as far as an Event takes it.
fn cut(text: &str) -> &str {
    let end = (0..=text.len().min(NOTE))
        .rev()
        .find(|it| text.is_char_boundary(*it));
    text.get(..end.unwrap_or_default()).unwrap_or_default()
}
