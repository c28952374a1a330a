//! Dropping test databases and templates that nobody needs any more.

use std::path::Path;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use forge_core::Result;
use sha2::{Digest, Sha256};
use tokio_postgres::Client;

use crate::connect::quoted;
use crate::failure;
use crate::process;
use crate::template::{COPY_PREFIX, TEMPLATE_PREFIX, UPKEEP, lock_key, try_lock, unlock};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
/// So many templates are kept however old they are not.
const TEMPLATES_KEPT: usize = 8;
/// How long a database may stay in use after its sessions were told to end.
const DROP_DEADLINE: Duration = Duration::from_secs(10);

/// Drops leftovers and old templates of this user, and notes that `current` is in use. While another process does
/// this, there is nothing to do.
pub(crate) async fn keep_up(admin: &Client, current: &str) -> Result<()> {
    if !try_lock(admin, UPKEEP).await? {
        return Ok(());
    }
    let result = keep_up_locked(admin, current).await;
    unlock(admin, UPKEEP).await?;
    result
}

async fn keep_up_locked(admin: &Client, current: &str) -> Result<()> {
    let sql = "SELECT d.datname, coalesce(shobj_description(d.oid, 'pg_database'), ''), d.datistemplate,
                      EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid AND a.backend_type = 'client backend')
               FROM pg_database d JOIN pg_roles r ON r.oid = d.datdba
               WHERE r.rolname = current_user AND (starts_with(d.datname, $1) OR starts_with(d.datname, $2))";
    let rows =
        admin.query(sql, &[&COPY_PREFIX, &TEMPLATE_PREFIX]).await.map_err(failure::sql("list the test databases"))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let mut templates = Vec::new();
    for row in &rows {
        let (name, comment, ready, in_use): (String, String, bool, bool) = (row.get(0), row.get(1), row.get(2), row.get(3));
        if name.starts_with(TEMPLATE_PREFIX) {
            templates.push(Template { name, used: used_at(&comment), ready });
        } else if is_leftover(&name, now, in_use, this_machine(), process::exists) {
            drop_database(admin, &name).await?;
        }
    }
    let mine = templates.iter().find(|template| template.name == current && template.ready);
    if mine.is_some_and(|template| template.used.saturating_add(10 * MINUTE) < now) {
        mark_used(admin, current).await?;
    }
    for name in outdated(templates, current, now) {
        // Whoever is just making this template holds its lock.
        if try_lock(admin, lock_key(&name)).await? {
            let dropped = drop_database(admin, &name).await;
            unlock(admin, lock_key(&name)).await?;
            dropped?;
        }
    }
    Ok(())
}

struct Template {
    name: String,
    used: u64,
    ready: bool,
}

/// The templates to drop: half-made ones, those not used for a day, and beyond the number kept those that were not
/// used for an hour.
fn outdated(mut templates: Vec<Template>, current: &str, now: u64) -> Vec<String> {
    templates.sort_by_key(|template| std::cmp::Reverse(template.used));
    let age = |template: &Template| now.saturating_sub(template.used);
    templates
        .into_iter()
        .filter(|template| template.name != current)
        .enumerate()
        .filter(|(position, template)| {
            !template.ready || age(template) > DAY || (*position + 1 >= TEMPLATES_KEPT && age(template) > HOUR)
        })
        .map(|(_, template)| template.name)
        .collect()
}

/// Whether the maker of a copy is gone. On this machine its process tells; of other machines only time does.
fn is_leftover(name: &str, now: u64, in_use: bool, machine: &str, lives: impl Fn(i32) -> bool) -> bool {
    let mut parts = name.strip_prefix(COPY_PREFIX).unwrap_or(name).split('_');
    let (Some(made_on), Some(Ok(pid)), Some(Ok(made_at))) =
        (parts.next(), parts.next().map(str::parse), parts.next().map(str::parse::<u64>))
    else {
        return false;
    };
    let age = now.saturating_sub(made_at);
    if made_on == machine {
        // An id that lives for a day on may well belong to another process by now.
        !lives(pid) || (age > DAY && !in_use)
    } else {
        age > 10 * MINUTE && !in_use
    }
}

/// Drops a database with all its sessions; fine when it is gone already.
pub(crate) async fn drop_database(admin: &Client, name: &str) -> Result<()> {
    let started = Instant::now();
    let prepare = format!("ALTER DATABASE {} WITH IS_TEMPLATE false", quoted(name));
    let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", quoted(name));
    // FORCE ends sessions, but refuses while a session reads from a replication slot.
    let slots = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots
                 WHERE database = $1 AND active_pid IS NOT NULL";
    loop {
        let attempt = async {
            if name.starts_with(TEMPLATE_PREFIX) {
                admin.batch_execute(&prepare).await?;
            }
            admin.query(slots, &[&name]).await?;
            admin.batch_execute(&drop).await
        };
        let Err(error) = attempt.await else {
            return Ok(());
        };
        match error.code().map(|code| code.code()) {
            Some("3D000") => return Ok(()),
            Some("55006") if started.elapsed() < DROP_DEADLINE => tokio::time::sleep(process::PAUSE).await,
            _ => {
                return Err(failure::sql(format!("drop the test database {name}"))(error));
            }
        }
    }
}

/// Ends the sessions of this user that are still connected to a database.
pub(crate) async fn close_sessions(admin: &Client, name: &str) -> Result<()> {
    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = $1 AND usename = current_user AND backend_type = 'client backend'";
    admin.query(sql, &[&name]).await.map(drop).map_err(failure::sql(format!("close the sessions of {name}")))
}

const USED: &str = "FORGE test template, used ";

/// Writes the time of use where [`keep_up`] finds it: into the comment on the database.
pub(crate) async fn mark_used(admin: &Client, template: &str) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let sql = format!("COMMENT ON DATABASE {} IS '{USED}{now}'", quoted(template));
    match admin.batch_execute(&sql).await {
        // Dropped a moment ago by another process.
        Err(error) if error.code().is_some_and(|code| code.code() == "3D000") => Ok(()),
        other => other.map_err(failure::sql(format!("note the use of {template}"))),
    }
}

/// Second since 1970 in a comment; a comment of any other form counts as never used.
fn used_at(comment: &str) -> u64 {
    comment.strip_prefix(USED).and_then(|second| second.parse().ok()).unwrap_or(0)
}

/// Six hex digits for what process ids are unique in: this machine, or this container on it.
pub(crate) fn this_machine() -> &'static str {
    static MACHINE: OnceLock<String> = OnceLock::new();
    MACHINE.get_or_init(|| {
        let mut hash = Sha256::new();
        hash.update(rustix::system::uname().nodename().to_bytes());
        // Only Linux has it; elsewhere the name of the machine is enough.
        if let Ok(namespace) = std::fs::read_link(Path::new("/proc/self/ns/pid")) {
            hash.update(namespace.as_os_str().as_encoded_bytes());
        }
        hash.finalize()[..3].iter().map(|byte| format!("{byte:02x}")).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn leftover(made_on: &str, age: u64, in_use: bool, lives: bool) -> bool {
        let name = format!("{COPY_PREFIX}{made_on}_77_{}_0", NOW - age);
        is_leftover(&name, NOW, in_use, "aaaaaa", |pid| lives && pid == 77)
    }

    #[test]
    fn a_copy_lives_as_long_as_its_process() {
        assert!(leftover("aaaaaa", 1, true, false));
        assert!(!leftover("aaaaaa", 2 * HOUR, false, true));
        assert!(leftover("aaaaaa", 2 * DAY, false, true));
    }

    #[test]
    fn a_copy_of_another_machine_lives_while_it_is_young_or_used() {
        assert!(!leftover("bbbbbb", 5 * MINUTE, false, false));
        assert!(!leftover("bbbbbb", HOUR, true, false));
        assert!(leftover("bbbbbb", HOUR, false, false));
    }

    #[test]
    fn databases_that_only_look_like_copies_are_left_alone() {
        for name in ["forge_t_", "forge_t_mine", "forge_t_a_b_c_d"] {
            assert!(!is_leftover(name, NOW, false, "aaaaaa", |_| false), "{name}");
        }
    }

    #[test]
    fn old_half_made_and_surplus_templates_go_and_the_current_one_stays() {
        let template = |name: &str, age: u64, ready| Template { name: name.to_owned(), used: NOW - age, ready };
        let mut templates: Vec<_> = (0..10).map(|n| template(&format!("t{n}"), (n + 2) * HOUR, true)).collect();
        templates.push(template("current", 2 * DAY, true));
        templates.push(template("half", 1, false));
        templates.push(template("old", 25 * HOUR, true));
        templates.push(template("busy", 5, true));
        let gone = outdated(templates, "current", NOW);
        // Seven besides the current one are kept: `half` and `busy` are the youngest, then t0 to t4.
        assert_eq!(gone, ["half", "t5", "t6", "t7", "t8", "t9", "old"]);
    }

    #[test]
    fn a_comment_of_somebody_else_counts_as_never_used() {
        assert_eq!((used_at("FORGE test template, used 12"), used_at("hello")), (12, 0));
    }
}
