//! Metrics of mail.

use std::sync::LazyLock;

use forge_core::Error;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::metrics::with_registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    code: String,
}

/// Metrics of mail.
#[derive(Debug, Default)]
pub(crate) struct MailMetrics {
    sent: Counter,
    failed: Family<FailureLabels, Counter>,
}

/// Metrics of mail.
pub(crate) fn mail() -> &'static MailMetrics {
    static METRICS: LazyLock<MailMetrics> = LazyLock::new(|| {
        let metrics = MailMetrics::default();
        with_registry(|registry| {
            registry.register(
                "mails_sent",
                "Mails that were taken over, by a mail server or by the inbox",
                metrics.sent.clone(),
            );
            registry.register(
                "mails_failed",
                "Mails that could not be sent, by the code of the error",
                metrics.failed.clone(),
            );
        });
        metrics
    });
    &METRICS
}

impl MailMetrics {
    /// One was to be sent, and was or was not.
    pub(crate) fn sent(&self, error: Option<&Error>) {
        match error {
            None => self.sent.inc(),
            Some(why) => self.failed.get_or_create(&FailureLabels { code: why.code().to_owned() }).inc(),
        };
    }
}
