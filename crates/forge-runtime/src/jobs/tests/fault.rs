//! Faults that are planted in the queue's statements, each the loss of one rule, to see that the random test would notice.
//!
//! A statement is what it is for a whole process, so each fault has a process of its own: this program, told by a variable what to break.

use std::borrow::Cow;
use std::process::Command;

/// Says in a process of its own which fault is planted there.
const VARIABLE: &str = "FORGE_QUEUE_FAULT";

/// A fault: what it is, the statement's file, what stands there, and what stands there instead.
type Fault = (&'static str, &'static str, &'static str, &'static str);

const FAULTS: &[Fault] = &[
    ("a job is completed by whoever once had it", "complete.sql", "worker = $1", "$1::uuid IS NOT NULL"),
    ("a job is completed by an attempt that is over", "complete.sql", "claims = $3", "$3::int4 IS NOT NULL"),
    (
        "a job is given back by an attempt that is over",
        "again.sql",
        "AND claims = ($3::jsonb -> id::text -> 'claim')::int4",
        "",
    ),
    ("a job is buried by an attempt that is over", "bury.sql", "AND claims = ($3::jsonb -> id::text -> 'claim')::int4", ""),
    ("a claim has the number of an attempt", "claim.sql", "claims = claims + 1", "claims = attempt + 1"),
    (
        "a dead letter that is retried forgets how often it was claimed",
        "admin/retry.sql",
        "priority, claims, created_at, parent, input, owner, trace, unique_key,\n           ",
        "priority, 0, created_at, parent, input, owner, trace, unique_key,\n           ",
    ),
    ("something is saved by an attempt that is over", "save.sql", "claims = $3", "$3::int4 IS NOT NULL"),
    ("a key that a live job has is given away again", "enqueue.sql", "j.parent, j.unique_key", "j.parent, NULL"),
    ("a delay is forgotten", "enqueue.sql", "THEN 1 WHEN", "THEN 0 WHEN"),
    ("a claim skips the first of a lane", "claim.sql", "LIMIT lane.n", "OFFSET 1 LIMIT lane.n"),
    ("a claim takes the last ones first", "claim.sql", "ORDER BY ready_at", "ORDER BY ready_at DESC"),
    ("what is paused is claimed", "claim.sql", "AND q.paused", "AND q.paused AND false"),
    ("nobody is told that a job was cancelled before it was begun", "claim.sql", "saved, cancel_requested", "saved, false"),
    ("what was saved is lost", "claim.sql", "saved, cancel_requested", "NULL::json, cancel_requested"),
    ("a key has more places than its limit", "release.sql", "AND state IN (0, 2)", "AND state = 2"),
    (
        "who waits for a key is let in whatever the priorities",
        "release.sql",
        "ORDER BY priority DESC, ready_at",
        "ORDER BY ready_at",
    ),
    ("what becomes due passes its key by", "promote.sql", "CASE WHEN concurrency_key IS NOT NULL THEN 3 ELSE 0 END", "0"),
    (
        "what is due a little later is due",
        "promote.sql",
        "run_at <= clock_timestamp()",
        "run_at <= interval '1 hour' + clock_timestamp()",
    ),
    (
        "putting a job off spends an attempt",
        "again.sql",
        "attempt = attempt - (($3::jsonb -> id::text -> 'unspent')::bool)::int,",
        "",
    ),
    ("a job that is to end waits out its delay", "again.sql", "AND NOT cancel_requested THEN 1", "THEN 1"),
    ("a job that is to end keeps its key", "cancel.sql", ", unique_key = NULL", ""),
    ("cancelling ends what runs", "cancel.sql", "state <> 2", "state >= 0"),
    ("the death of a worker spends an attempt", "take_over.sql", "attempt = attempt - 1, crashes", "crashes"),
    ("a job may take down any number of workers", "take_over.sql", "crashes + 1 >= $1", "crashes + 1 >= $1 + 1"),
    ("who was cut off has been taken down", "take_over.sql", "AND n.cut_off", "AND false"),
    ("an attempt that ended is forgotten", "again.sql", "THEN crashes ELSE 0 END", "THEN crashes ELSE crashes END"),
    (
        "what a living worker has is taken from it",
        "take_over.sql",
        "AND n.status <> 'dead')\n        ORDER",
        "AND n.status = 'dead')\n        ORDER",
    ),
    ("nobody notices what a dead worker had", "look.sql", "n.status <> 'dead'", "true"),
    ("nobody notices what a claim took whose answer was lost", "look.sql", "array_agg(id) AS jobs", "NULL::uuid[] AS jobs"),
    ("a free place of a key is overlooked", "held.sql", "j.state < 3", "j.state < 4"),
];

/// A statement's text, with the fault in it that this process is to have.
pub(in super::super) fn planted(file: &str, text: &'static str) -> Cow<'static, str> {
    let Ok(wanted) = std::env::var(VARIABLE) else { return text.into() };
    match FAULTS.iter().find(|(what, of, ..)| *what == wanted && *of == file) {
        Some((.., from, to)) => {
            assert!(text.contains(from), "{file} does not say `{from}` any more");
            // Every time it is said: the count and the rows of a statement may each have it.
            text.replace(from, to).into()
        }
        None => text.into(),
    }
}

#[test]
fn every_fault_would_be_noticed() {
    let program = std::env::current_exe().unwrap();
    let run = |fault: &str, cases: &str| {
        let mut command = Command::new(&program);
        command.args(["--exact", "--nocapture", super::random::TEST]);
        command.env(VARIABLE, fault).env("FORGE_QUEUE_CASES", cases).output().unwrap()
    };
    // Without any, it is right, or they would all be found for the wrong reason.
    assert!(run("none", "3").status.success());
    // Two at a time, as the machine may have no more than two processors.
    let (one, other) = FAULTS.split_at(FAULTS.len() / 2);
    let unnoticed = |some: &'static [Fault]| {
        let mut unnoticed = Vec::new();
        for fault in some {
            let began = std::time::Instant::now();
            let ended = run(fault.0, "200");
            let said = String::from_utf8_lossy(&ended.stdout) + String::from_utf8_lossy(&ended.stderr);
            let noticed = !ended.status.success() && said.contains(super::random::DIFFERS);
            let how = said.lines().find(|line| line.contains(super::random::DIFFERS)).unwrap_or("not noticed");
            println!("{} ({:.1} s): {how}", fault.0, began.elapsed().as_secs_f64());
            if !noticed {
                unnoticed.push(format!("{}:\n{said}", fault.0));
            }
        }
        unnoticed
    };
    let missed = std::thread::scope(|scope| {
        let other = scope.spawn(|| unnoticed(other));
        let mut missed = unnoticed(one);
        missed.extend(other.join().unwrap());
        missed
    });
    assert!(missed.is_empty(), "{} faults were not noticed: {}", missed.len(), missed.join("\n"));
}
