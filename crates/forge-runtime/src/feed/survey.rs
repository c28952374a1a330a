//! A look at the server: can the log be read, and what is in the way? For the node that has to decide, and for people (`doctor`).

use forge_core::Result;
use tokio_postgres::Row;

use crate::db::error::from_driver;
use crate::db::{Database, Failure};

/// How many slots and senders should be free, so that a node can be replaced while its predecessor still has its own.
const SPARE: i32 = 2;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As it should be.
    Fine,
    /// It works, and could be better.
    Note,
    /// The log cannot be read, now or ever.
    Obstacle {
        /// It will be the same tomorrow, unless somebody changes the server or the configuration.
        lasting: bool,
    },
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// What it is, in one word or the name of a setting.
    pub(crate) name: &'static str,
    /// What was found.
    pub(crate) found: String,
    /// How bad that is.
    pub(crate) verdict: Verdict,
    /// What to do about it; empty when it is fine.
    pub(crate) advice: String,
}

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Survey {
    /// Everything that was looked at, in the order in which one thing needs another.
    pub(crate) findings: Vec<Finding>,
}

impl Survey {
    /// Looks at the server. Opens a replication connection for a moment, as only that tells whether one can be had.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub(crate) async fn take(database: &Database) -> Result<Self> {
        let lease = database.side().get().await?;
        let row = lease.client().query_one(include_str!("sql/survey.sql"), &[]).await.map_err(from_driver)?;
        let pooled = lease.is_pooled();
        drop(lease);
        let mut survey = Self::default();
        survey.server(&row, pooled && !database.has_direct()).map_err(from_driver)?;
        if !survey.findings.iter().any(|finding| matches!(finding.verdict, Verdict::Obstacle { lasting: true })) {
            survey.connection(database).await;
        }
        Ok(survey)
    }

    /// What is in the way of reading the log; `lasting` alone, or all of it.
    pub(crate) fn obstacles(&self, only_lasting: bool) -> Vec<String> {
        let is = |finding: &&Finding| match finding.verdict {
            Verdict::Obstacle { lasting } => lasting || !only_lasting,
            Verdict::Fine | Verdict::Note => false,
        };
        self.findings.iter().filter(is).map(|finding| format!("{}: {}", finding.name, finding.found)).collect()
    }

    fn add(&mut self, name: &'static str, found: impl Into<String>, bad: Option<(Verdict, &str)>) {
        let (verdict, advice) = bad.unwrap_or((Verdict::Fine, ""));
        self.findings.push(Finding { name, found: found.into(), verdict, advice: advice.to_owned() });
    }

    fn server(&mut self, row: &Row, pooled: bool) -> Result<(), tokio_postgres::Error> {
        const LASTING: Verdict = Verdict::Obstacle { lasting: true };
        const PASSING: Verdict = Verdict::Obstacle { lasting: false };
        let (version, text): (i32, String) = (row.try_get("version")?, row.try_get("version_text")?);
        let old = (version < 150_000).then_some((LASTING, "FORGE needs PostgreSQL 15 or later"));
        self.add("version", text, old);
        if row.try_get("standby")? {
            self.add(
                "server",
                "a standby",
                Some((PASSING, "let database.url name the primary, or wait for the failover to end")),
            );
        }
        let encoding: String = row.try_get("encoding")?;
        let other = (encoding != "UTF8")
            .then_some((LASTING, "messages in the log are read as UTF-8; make the database with ENCODING 'UTF8'"));
        self.add("encoding", encoding, other);
        let pooler = pooled.then_some((
            LASTING,
            "set database.direct_url to the address of the server itself; a pooler passes no replication connection",
        ));
        self.add("route", if pooled { "through a pooler" } else { "direct" }, pooler);
        let level: String = row.try_get("wal_level")?;
        let low = (level != "logical").then_some((
            LASTING,
            "ALTER SYSTEM SET wal_level = logical, then restart the server; managed servers have a switch for it (rds.logical_replication, cloudsql.logical_decoding, azure.replication_support)",
        ));
        self.add("wal_level", level, low);
        let whoami: String = row.try_get("whoami")?;
        let may: bool = row.try_get("may_replicate")?;
        // On managed servers the right comes with a role of the provider's. Whether it is there is seen when connecting.
        let attribute = if may { "may replicate" } else { "has not the attribute REPLICATION itself" };
        self.add("user", format!("{whoami}, {attribute}"), None);
        let forbidden = (!row.try_get::<_, bool>("may_publish")?).then_some((
            LASTING,
            "once, as somebody who may: CREATE PUBLICATION forge_nothing; or GRANT CREATE ON DATABASE to the user",
        ));
        self.add(
            "publication",
            if forbidden.is_some() { "there is none, and the user may not make it" } else { "there is one, or can be" },
            forbidden,
        );
        let closed = (!row.try_get::<_, Option<bool>>("all_may_write")?.unwrap_or(false)).then_some((
            LASTING,
            "GRANT EXECUTE ON FUNCTION pg_logical_emit_message TO PUBLIC, as whoever writes to a watched table calls it",
        ));
        self.add(
            "pg_logical_emit_message",
            if closed.is_some() { "not everybody may call it" } else { "everybody may call it" },
            closed,
        );
        for (name, limit, used) in
            [("max_replication_slots", "slots", "slots_used"), ("max_wal_senders", "senders", "senders_used")]
        {
            let (limit, used): (i32, i32) = (row.try_get(limit)?, row.try_get(used)?);
            let bad = match limit - used {
                ..=0 => Some((
                    PASSING,
                    "none is free: raise it and restart the server, or drop slots that nobody reads; each node needs one",
                )),
                left if left < SPARE => Some((
                    Verdict::Note,
                    "each node needs one, and one more while it is replaced: raise it at the next restart",
                )),
                _ => None,
            };
            self.add(name, format!("{limit}, of which {used} are in use"), bad);
        }
        let abandoned: i32 = row.try_get("slots_abandoned")?;
        if abandoned > 0 {
            let advice = "slots that nobody reads keep all of the log since, until the disk is full: look at pg_replication_slots, drop what is not needed (none of them is FORGE's)";
            self.add("abandoned slots", abandoned.to_string(), Some((Verdict::Note, advice)));
        }
        let keeps: String = row.try_get("slot_keeps")?;
        let unbounded = (keeps == "-1").then_some((
            Verdict::Note,
            "FORGE's slots end with their connection, after 30 s without an answer at the latest; those of others may keep the log for ever: a limit such as 10GB protects the disk",
        ));
        self.add("max_slot_wal_keep_size", if keeps == "-1" { "unlimited".to_owned() } else { keeps }, unbounded);
        Ok(())
    }

    async fn connection(&mut self, database: &Database) {
        let tried = async {
            let mut replication = database.log_connector().replication(&[]).await?;
            replication.query("IDENTIFY_SYSTEM").await
        };
        let bad = |why: &Failure| match why {
            Failure::Refused { code, .. } if code == "42501" => (
                Verdict::Obstacle { lasting: true },
                "ALTER ROLE .. REPLICATION; on managed servers grant the provider's role (rds_replication), or use the administrator's account",
            ),
            Failure::Refused { code, .. } if code == "28000" => (
                Verdict::Obstacle { lasting: true },
                "let pg_hba.conf accept replication connections of this user to this database from here",
            ),
            Failure::Refused { code, .. } if code == "08P01" || code == "0A000" => (
                Verdict::Obstacle { lasting: true },
                "set database.direct_url to the address of the server itself; a pooler passes no replication connection",
            ),
            Failure::Refused { .. } | Failure::Lost(_) => {
                (Verdict::Obstacle { lasting: false }, "the reason says what the server wants")
            }
        };
        match tried.await {
            Ok(_) => self.add("replication", "a connection can be made", None),
            Err(why) => self.add("replication", why.to_string(), Some(bad(&why))),
        }
    }
}
