//! Members: who may do what on a board.

use forge::prelude::*;

use crate::access;
use crate::errors::BoardError;
use crate::limits::{BOARDS_PER_PERSON, MEMBERS_PER_BOARD};
use crate::users::User;

/// What a member may do: each role may do what those before it may, and more.
#[forge::forge_enum]
#[derive(PartialOrd, Ord)]
pub enum MemberRole {
    /// Looks.
    Viewer,
    /// Changes columns, cards and comments.
    Editor,
    /// Decides who is a member, renames the board, deletes it.
    Owner,
}

/// Somebody's membership of a board.
#[forge::model]
#[table(name = "members")]
pub struct Member {
    /// The membership.
    #[id]
    pub id: Uuid,
    /// The board.
    pub board_id: Uuid,
    /// The person.
    #[indexed]
    pub user_id: Uuid,
    /// What they may do.
    pub role: MemberRole,
    /// Since when.
    #[default = "now()"]
    pub joined_at: Timestamp,
}

/// A member, as the others see them.
#[forge::input]
#[derive(forge::FromRow)]
pub struct MemberView {
    /// The person.
    pub user_id: Uuid,
    /// Their name.
    pub name: String,
    /// Their address.
    pub email: String,
    /// What they may do.
    pub role: MemberRole,
}

/// The members of a board, by name.
#[forge::query]
pub async fn list_members(ctx: &QueryContext, board_id: Uuid) -> Result<Vec<MemberView>> {
    access::to_board(ctx.auth(), ctx.db(), board_id, MemberRole::Viewer).await?;
    sql!(
        MemberView,
        "SELECT u.id AS user_id, u.name, u.email, m.role
           FROM members m JOIN users u ON u.id = m.user_id
          WHERE m.board_id = {board_id}
          ORDER BY lower(u.name), u.id"
    )
    .fetch_all(ctx.db())
    .await
}

/// Lets somebody who has an account join a board.
#[forge::mutation]
pub async fn add_member(
    ctx: &MutationContext,
    board_id: Uuid,
    #[validate(length(max = 254), email)] email: String,
    role: MemberRole,
) -> Result<MemberView> {
    access::to_board(ctx.auth(), ctx.db(), board_id, MemberRole::Owner).await?;
    let email = email.trim().to_lowercase();
    let user = User::query().filter(User::EMAIL.eq(email.as_str())).fetch_optional(ctx.db()).await?;
    let user = user.ok_or(BoardError::NoSuchAccount { email })?;
    if membership(ctx, board_id, user.id).await?.is_some() {
        return Err(BoardError::AlreadyAMember { name: user.name }.into());
    }
    if Member::query().filter(Member::BOARD_ID.eq(board_id)).count(ctx.db()).await? >= MEMBERS_PER_BOARD {
        return Err(BoardError::LimitReached { what: "members".into(), limit: MEMBERS_PER_BOARD }.into());
    }
    if Member::query().filter(Member::USER_ID.eq(user.id)).count(ctx.db()).await? >= BOARDS_PER_PERSON {
        return Err(BoardError::LimitReached { what: "boards of one person".into(), limit: BOARDS_PER_PERSON }.into());
    }
    Member::insert([Member::BOARD_ID.set(board_id), Member::USER_ID.set(user.id), Member::ROLE.set(role)])
        .execute(ctx.db())
        .await?;
    Ok(MemberView { user_id: user.id, name: user.name, email: user.email, role })
}

/// Gives a member another role.
#[forge::mutation]
pub async fn set_member_role(ctx: &MutationContext, board_id: Uuid, user_id: Uuid, role: MemberRole) -> Result<()> {
    access::to_board(ctx.auth(), ctx.db(), board_id, MemberRole::Owner).await?;
    let member = membership(ctx, board_id, user_id).await?.ok_or_else(no_such_member)?;
    if role != MemberRole::Owner {
        keep_an_owner(ctx, &member).await?;
    }
    Member::update(member.id).set(Member::ROLE.set(role)).execute(ctx.db()).await?;
    Ok(())
}

/// Ends a membership: an owner may do that for anybody, everybody for themselves. Cards that were given to the person
/// stay, and are nobody's.
#[forge::mutation]
pub async fn remove_member(ctx: &MutationContext, board_id: Uuid, user_id: Uuid) -> Result<()> {
    let needed = if access::me(ctx.auth())? == user_id { MemberRole::Viewer } else { MemberRole::Owner };
    access::to_board(ctx.auth(), ctx.db(), board_id, needed).await?;
    let member = membership(ctx, board_id, user_id).await?.ok_or_else(no_such_member)?;
    keep_an_owner(ctx, &member).await?;
    sql!(
        "UPDATE cards SET assignee_id = NULL
           FROM columns l
          WHERE l.id = cards.column_id AND l.board_id = {board_id} AND cards.assignee_id = {user_id}"
    )
    .execute(ctx.db())
    .await?;
    Member::delete(member.id).execute(ctx.db()).await?;
    Ok(())
}

async fn membership(ctx: &MutationContext, board_id: Uuid, user_id: Uuid) -> Result<Option<Member>> {
    Member::query().filter(Member::BOARD_ID.eq(board_id)).filter(Member::USER_ID.eq(user_id)).fetch_optional(ctx.db()).await
}

fn no_such_member() -> Error {
    Error::not_found("this person is not a member of the board any more")
}

/// Mutations are serializable: of two owners who leave at the same time, the second is told that they are the last.
async fn keep_an_owner(ctx: &MutationContext, leaving: &Member) -> Result<()> {
    let others = Member::query()
        .filter(Member::BOARD_ID.eq(leaving.board_id))
        .filter(Member::ROLE.eq(MemberRole::Owner))
        .filter(Member::ID.ne(leaving.id));
    if leaving.role == MemberRole::Owner && !others.exists(ctx.db()).await? {
        return Err(BoardError::LastOwner.into());
    }
    Ok(())
}
