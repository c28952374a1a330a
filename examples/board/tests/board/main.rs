//! The app's behaviour, each test on a database of its own.

mod accounts;
mod boards;
mod cards;
mod client;
mod columns;
mod comments;
mod digests;
mod exports;
mod imports;
mod live;
mod members;
mod moving;
mod people;
mod reminders;
