//! A mail, as it is written, and as it is sent.

use forge_core::{Error, Result};
use jiff::Timestamp;
use lettre::Message;
use lettre::message::{Mailbox, MultiPart, SinglePart};

/// How many people one mail may go to.
const RECIPIENTS_MAX: usize = 100;

/// How long a subject may be, in bytes.
const SUBJECT_MAX: usize = 500;

/// How long text and HTML may be together, in bytes.
const BODY_MAX: usize = 1024 * 1024;

/// A mail that is about to be sent: at least to somebody, with a subject, and with a text that everybody can read.
///
/// ```
/// use forge_runtime::mail::Mail;
///
/// let mail = Mail::to("ada@example.org")
///     .subject("It is due")
///     .text("The card “Milk” is due now.")
///     .html("<p>The card <b>Milk</b> is due now.</p>");
/// ```
///
/// At most 100 people, 500 bytes of subject, and 1 MiB of text and HTML together; what is beyond that is refused when it is sent.
#[derive(Debug, Clone, Default)]
#[must_use = "a mail is sent by ctx.mail().send(..)"]
pub struct Mail {
    to: Vec<(Option<String>, String)>,
    from: Option<String>,
    reply_to: Option<String>,
    subject: String,
    text: String,
    html: Option<String>,
}

impl Mail {
    /// To somebody: an address such as `ada@example.org`.
    pub fn to(address: impl Into<String>) -> Self {
        Self { to: vec![(None, address.into())], ..Self::default() }
    }

    /// To somebody with a name, which may be any text.
    pub fn to_person(name: impl Into<String>, address: impl Into<String>) -> Self {
        Self { to: vec![(Some(name.into()), address.into())], ..Self::default() }
    }

    /// To one more, whom the others see.
    pub fn and_to(mut self, address: impl Into<String>) -> Self {
        self.to.push((None, address.into()));
        self
    }

    /// From somebody else than `mail.from` says: `ada@example.org`, or `Ada <ada@example.org>`. Mail servers let an app be few people.
    pub fn from(mut self, from: impl Into<String>) -> Self {
        self.from = Some(from.into());
        self
    }

    /// Where answers go, if not to whom it is from.
    pub fn reply_to(mut self, address: impl Into<String>) -> Self {
        self.reply_to = Some(address.into());
        self
    }

    /// What it is about, in one line.
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }

    /// What it says.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    /// The same in HTML, for who would rather see that. What people wrote must be escaped in it.
    pub fn html(mut self, html: impl Into<String>) -> Self {
        self.html = Some(html.into());
        self
    }

    /// The form in which it is sent; from whom when it does not say so itself.
    ///
    /// # Errors
    /// `MAIL_INVALID` when it has none.
    pub(super) fn form(&self, from: Option<&str>) -> Result<Message> {
        if self.to.len() > RECIPIENTS_MAX {
            return Err(invalid(format!("it goes to {} people; {RECIPIENTS_MAX} is the most", self.to.len())));
        }
        if self.subject.len() > SUBJECT_MAX || self.subject.chars().any(char::is_control) {
            return Err(invalid(format!("its subject is no single line of at most {SUBJECT_MAX} bytes")));
        }
        let bytes = self.text.len() + self.html.as_ref().map_or(0, String::len);
        if bytes > BODY_MAX {
            return Err(invalid(format!("it says {bytes} bytes; {BODY_MAX} is the most")));
        }
        if self.text.trim().is_empty() {
            return Err(invalid("it says nothing: give it a `text`, which everybody can read"));
        }
        let from = self.from.as_deref().or(from).ok_or_else(|| {
            invalid("it does not say whom it is from; set mail.from, such as \"Board <board@example.org>\"")
        })?;
        let mut message = Message::builder().from(mailbox(from)?).subject(self.subject.as_str());
        for (name, address) in &self.to {
            message = message.to(person(name.as_deref(), address)?);
        }
        if let Some(reply_to) = &self.reply_to {
            message = message.reply_to(mailbox(reply_to)?);
        }
        let formed = match &self.html {
            Some(html) => message.multipart(MultiPart::alternative_plain_html(self.text.clone(), html.clone())),
            None => message.singlepart(SinglePart::plain(self.text.clone())),
        };
        formed.map_err(|why| invalid(why.to_string()))
    }

    /// What is kept of it where it is not really sent.
    pub(super) fn sent(self, from: &str) -> SentMail {
        let shown = |(name, address): (Option<String>, String)| match name {
            Some(name) => format!("{name} <{address}>"),
            None => address,
        };
        SentMail {
            id: 0,
            at: Timestamp::now(),
            from: self.from.unwrap_or_else(|| from.to_owned()),
            to: self.to.into_iter().map(shown).collect(),
            reply_to: self.reply_to,
            subject: self.subject,
            text: self.text,
            html: self.html,
        }
    }
}

/// A mail that was sent in development or in a test, where it goes no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SentMail {
    /// Its number, from 1, in the order in which they were sent.
    pub id: u64,
    /// When.
    pub at: Timestamp,
    /// From whom.
    pub from: String,
    /// To whom: `ada@example.org`, or `Ada <ada@example.org>`.
    pub to: Vec<String>,
    /// Where answers go.
    pub reply_to: Option<String>,
    /// What it is about.
    pub subject: String,
    /// What it says.
    pub text: String,
    /// The same in HTML.
    pub html: Option<String>,
}

impl SentMail {
    /// How much room it takes, in bytes, roughly.
    pub(super) fn size(&self) -> usize {
        self.text.len() + self.html.as_ref().map_or(0, String::len) + self.to.iter().map(String::len).sum::<usize>() + 512
    }
}

fn mailbox(text: &str) -> Result<Mailbox> {
    text.parse().map_err(|why| invalid(format!("`{}` is no address: {why}", text.escape_debug())))
}

fn person(name: Option<&str>, address: &str) -> Result<Mailbox> {
    let address = address.parse().map_err(|why| invalid(format!("`{}` is no address: {why}", address.escape_debug())))?;
    // Control characters say nothing in a name.
    let name = name.map(|name| name.chars().filter(|c| !c.is_control()).collect());
    Ok(Mailbox::new(name, address))
}

fn invalid(why: impl std::fmt::Display) -> Error {
    Error::invalid_argument(format!("the mail cannot be sent: {why}")).with_code("MAIL_INVALID")
}
