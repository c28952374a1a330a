//! Mail: what an app sends to people, by SMTP.
//!
//! ```text
//!  ctx.mail().send(Mail::to(..)) ─▶ checked, put into form ─┬─ mail.url is set ─▶ SMTP, over connections that are kept
//!                                                           ├─ development, tests ─▶ the inbox: /_forge/mail, app.mails()
//!                                                           └─ production without it ─▶ MAIL_NOT_CONFIGURED
//! ```
//!
//! Jobs, crons and actions have it. Queries and mutations do not: what they do is undone when they fail, and a mail cannot be. A
//! mutation dispatches a job that sends it, which exists exactly if the mutation commits, and is tried again.
//!
//! What it promises: `send` returns when the mail server has taken the mail over. A job that ends in between sends it once more.
//! Whatever is in a subject, a name or an address, no header can be added with it.
//!
//! Bounded: recipients and sizes of a mail (see [`Mail`]), the inbox (see `inbox`), how long a send takes (`mail.timeout`), connections
//! to the server (ten).

mod inbox;
mod message;
mod smtp;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use forge_core::{Error, Result};

pub(crate) use inbox::Inbox;
pub use message::{Mail, SentMail};

use crate::config::{MailConfig, Mode};
use crate::observability;
use smtp::Smtp;

/// Sends mail: `ctx.mail()`. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Mailer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Who it is from unless the mail says so.
    from: Option<String>,
    way: Way,
}

/// Where mail goes.
#[derive(Debug)]
enum Way {
    Smtp(Smtp),
    Inbox(Inbox),
    Nowhere,
}

impl Mailer {
    /// For a node.
    ///
    /// # Errors
    /// `CONFIG_INVALID_VALUE` when `mail.url` is none.
    pub(crate) fn new(config: &MailConfig, mode: Mode) -> Result<Self> {
        let way = match &config.url {
            Some(url) => Way::Smtp(Smtp::new(url, config.timeout)?),
            None if mode.is_production() => Way::Nowhere,
            None => Way::Inbox(Inbox::default()),
        };
        Ok(Self(Arc::new(Inner { from: config.from.clone(), way })))
    }

    /// Sends a mail. It has been taken over by the mail server when this returns.
    ///
    /// ```ignore
    /// ctx.mail().send(Mail::to("ada@example.org").subject("It is due").text("The card “Milk” is due now.")).await?;
    /// ```
    ///
    /// # Errors
    /// `MAIL_INVALID` when the mail cannot be sent to anybody as it is, `MAIL_UNAVAILABLE` when the server is not there or cannot take it
    /// now, `MAIL_REFUSED` when the server will not take it, `MAIL_NOT_CONFIGURED` in production without `mail.url`.
    pub async fn send(&self, mail: Mail) -> Result<()> {
        let sent = self.try_send(mail).await;
        observability::mail().sent(sent.as_ref().err());
        sent
    }

    async fn try_send(&self, mail: Mail) -> Result<()> {
        let from = self.0.from.as_deref();
        match &self.0.way {
            Way::Smtp(smtp) => smtp.send(mail.form(from)?).await,
            Way::Inbox(inbox) => {
                // Built as if it were sent, so that what cannot be sent fails here as well.
                let from = from.unwrap_or("App <app@localhost>");
                drop(mail.form(Some(from))?);
                inbox.put(mail.sent(from));
                Ok(())
            }
            Way::Nowhere => Err(Error::config(
                "MAIL_NOT_CONFIGURED",
                "a mail was to be sent, but mail.url is not set; set it to the mail server, such as \
                 smtps://user:password@mail.example.org, for example by FORGE_MAIL_URL",
            )),
        }
    }

    /// Where mail lands in development and in tests.
    pub(crate) fn inbox(&self) -> Option<&Inbox> {
        match &self.0.way {
            Way::Inbox(inbox) => Some(inbox),
            Way::Smtp(_) | Way::Nowhere => None,
        }
    }
}
