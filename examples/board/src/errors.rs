//! What can be wrong, beside what FORGE itself finds wrong.

use crate::members::MemberRole;

/// The app's own errors. Clients decide by the code and show the sentence.
#[derive(Debug, forge::AppError)]
pub enum BoardError {
    /// Somebody has an account with this address already.
    #[error(
        code = "EMAIL_TAKEN",
        status = 409,
        message = "there is an account with this e-mail address already; sign in instead"
    )]
    EmailTaken,
    /// Not said: whether it was the address or the password.
    #[error(code = "WRONG_CREDENTIALS", status = 400, message = "the e-mail address or the password is not right")]
    WrongCredentials,
    /// The caller is no member of the board.
    #[error(code = "NOT_A_MEMBER", status = 403, message = "you are not a member of this board")]
    NotAMember,
    /// The caller is a member, with a role that allows less.
    #[error(
        code = "ROLE_TOO_LOW",
        status = 403,
        message = "only an {needed} of this board may do that; your role is {yours}"
    )]
    RoleTooLow {
        /// The role that it takes.
        needed: MemberRole,
        /// The caller's role.
        yours: MemberRole,
    },
    /// The column holds as many cards as it may.
    #[error(code = "COLUMN_FULL", status = 409, message = "this column holds {limit} cards at most")]
    ColumnFull {
        /// How many it may hold.
        limit: i32,
    },
    /// A column with cards cannot be deleted.
    #[error(
        code = "COLUMN_NOT_EMPTY",
        status = 409,
        message = "this column still holds {cards} cards; move or delete them first"
    )]
    ColumnNotEmpty {
        /// How many it holds.
        cards: i64,
    },
    /// A list is as long as it may get.
    #[error(code = "LIMIT_REACHED", status = 409, message = "there can be no more than {limit} {what}")]
    LimitReached {
        /// Of what.
        what: String,
        /// How many there may be.
        limit: i64,
    },
    /// Nobody has an account with this address.
    #[error(
        code = "NO_SUCH_ACCOUNT",
        status = 404,
        message = "nobody with the address {email} has an account yet; ask them to sign up first"
    )]
    NoSuchAccount {
        /// The address.
        email: String,
    },
    /// The person is a member of the board already.
    #[error(code = "ALREADY_A_MEMBER", status = 409, message = "{name} is a member of this board already")]
    AlreadyAMember {
        /// The person's name.
        name: String,
    },
    /// A board always has an owner.
    #[error(
        code = "LAST_OWNER",
        status = 409,
        message = "this board has no other owner; make somebody else an owner first, or delete the board"
    )]
    LastOwner,
    /// A card can only be given to a member of its board.
    #[error(code = "ASSIGNEE_NOT_A_MEMBER", status = 409, message = "a card can only be given to a member of its board")]
    AssigneeNotAMember,
    /// There is no time zone of this name.
    #[error(code = "NO_SUCH_TIME_ZONE", status = 422, message = "there is no time zone called {time_zone}")]
    NoSuchTimeZone {
        /// The name.
        time_zone: String,
    },
    /// A board says more than fits into a file.
    #[error(code = "EXPORT_TOO_LARGE", status = 409, message = "this board says more than fits into a file of {limit} kB")]
    ExportTooLarge {
        /// How large a file may be, in kB.
        limit: usize,
    },
    /// What was to be imported cannot be.
    #[error(code = "IMPORT_REFUSED", status = 422, message = "nothing was imported: {reason}")]
    ImportRefused {
        /// Why.
        reason: String,
    },
}
