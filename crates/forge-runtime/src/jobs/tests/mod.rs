//! The queue under random use, beside a model of it in memory.
//!
//! ```text
//!  seed ─▶ step ─▶ the queue's own statements, on a real database ─▶ what they answer, and all rows ─┐
//!            └───▶ model ──────────────────────────────────────────▶ what is right ──────────────────┴▶ the same, after every step
//! ```
//!
//! Steps are taken one after the other by one thread: what happens at the same time is not the matter here but what everything means. Several
//! workers take part, some of which die and go on writing afterwards, as does a worker that does not know whether it has written something.
//! Wake-ups are told to all workers, or get lost.
//!
//! `FORGE_QUEUE_CASES` says how many cases, of [`random::STEPS`] steps each, and `FORGE_QUEUE_SEED` which is the first. A failure names the seed
//! that shows it again, and the steps up to there. [`fault`] lists what is broken once, to see that it would be noticed.

pub(super) mod fault;
mod finishing;
mod locks;
mod model;
mod noted;
mod plan;
mod random;
mod world;
