//! To a mail server.

use std::time::Duration;

use forge_core::{Error, Result};
use lettre::transport::smtp::Error as SmtpError;
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};

use crate::config::Secret;

/// The way to a mail server.
#[derive(Debug)]
pub(super) struct Smtp {
    server: AsyncSmtpTransport<Tokio1Executor>,
    /// How long a mail may take altogether.
    timeout: Duration,
}

impl Smtp {
    pub(super) fn new(url: &Secret, timeout: Duration) -> Result<Self> {
        let server = AsyncSmtpTransport::<Tokio1Executor>::from_url(url.expose()).map_err(|why| {
            Error::config(
                "CONFIG_INVALID_VALUE",
                "`mail.url`: is no address of a mail server, such as smtps://user:password@mail.example.org",
            )
            .with_source(why)
        })?;
        Ok(Self { server: server.timeout(Some(timeout)).build(), timeout })
    }

    /// Hands a mail over.
    pub(super) async fn send(&self, message: Message) -> Result<()> {
        match tokio::time::timeout(self.timeout, self.server.send(message)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(why)) => Err(failed(why)),
            Err(_) => {
                let text = format!("the mail server did not take a mail within mail.timeout = {:?}", self.timeout);
                Err(Error::internal(text).with_code("MAIL_UNAVAILABLE"))
            }
        }
    }
}

/// What the server said is for the log and for who operates the app: it may name hosts and people.
fn failed(why: SmtpError) -> Error {
    if why.is_permanent() {
        return Error::internal("the mail server does not take this mail").with_code("MAIL_REFUSED").with_source(why);
    }
    Error::internal("the mail server cannot be reached, or cannot take a mail now")
        .with_code("MAIL_UNAVAILABLE")
        .with_source(why)
}
