//! A team board: people sign up, share boards, and move cards from column to column.
//!
//! Read it in this order: [`users`] (accounts and sessions), [`boards`], [`members`] (who may do what on a board),
//! [`columns`], [`cards`], [`comments`], [`imports`] (an action that talks to the outside world). Then what is done later: [`reminders`]
//! (a job at a time), [`digests`] (a cron that dispatches jobs), [`exports`] (a job whose progress the page shows).
//!
//! Rules that hold everywhere:
//! - Who may do what is decided per board, by the role that a member has there (see [`members::MemberRole`]); every
//!   function asks `access` first.
//! - Every list is bounded, so that a board always fits one answer: see [`limits`].
//!
//! There is no shared demo account: an account with a known password is a hole wherever the app ends up running. Instead
//! every new account begins with a board that explains itself.

mod access;
pub mod boards;
pub mod cards;
pub mod columns;
pub mod comments;
pub mod digests;
pub mod errors;
pub mod exports;
pub mod imports;
pub mod limits;
pub mod members;
pub mod reminders;
mod text;
pub mod users;
mod welcome;

forge::module!();
