//! Comments on cards.

use forge::prelude::*;

use crate::access;
use crate::errors::BoardError;
use crate::limits::COMMENTS_PER_CARD;
use crate::members::MemberRole;

/// A comment on a card.
#[forge::model]
#[table(name = "comments")]
#[index(fields = ["card_id", "created_at"])]
pub struct Comment {
    /// The comment.
    #[id]
    pub id: Uuid,
    /// The card.
    pub card_id: Uuid,
    /// Who wrote it.
    pub author_id: Uuid,
    /// What they wrote.
    #[max_length = 5000]
    pub text: String,
    /// When.
    #[default = "now()"]
    pub created_at: Timestamp,
}

/// A comment, as it is shown.
#[forge::input]
#[derive(forge::FromRow)]
pub struct CommentView {
    /// The comment.
    pub id: Uuid,
    /// Who wrote it.
    pub author_id: Uuid,
    /// Their name.
    pub author: String,
    /// What they wrote.
    pub text: String,
    /// When.
    pub created_at: Timestamp,
}

/// The newest comments of a card.
#[forge::input]
pub struct CommentList {
    /// The comments, the newest first.
    pub comments: Vec<CommentView>,
    /// Whether there are older ones.
    pub more: bool,
}

/// The newest comments of a card, the newest first. Whoever wants to see older ones asks for more of them, and not for a next
/// page: a page that is kept up to date has no fixed place to end at.
#[forge::query(snapshot)]
pub async fn list_comments(
    ctx: &QueryContext,
    card_id: Uuid,
    #[validate(range(min = 1, max = 1000))] limit: i32,
) -> Result<CommentList> {
    access::to_card(ctx.auth(), ctx.db(), card_id, MemberRole::Viewer).await?;
    let one_more = i64::from(limit) + 1;
    let comments = sql!(
        CommentView,
        "SELECT c.id, c.author_id, u.name AS author, c.text, c.created_at
           FROM comments c JOIN users u ON u.id = c.author_id
          WHERE c.card_id = {card_id}
          ORDER BY c.created_at DESC, c.id DESC
          LIMIT {one_more}"
    );
    let mut comments = comments.fetch_all(ctx.db()).await?;
    let more = comments.len() as i64 == one_more;
    if more {
        comments.pop();
    }
    Ok(CommentList { comments, more })
}

/// Comments on a card. The comment's id may be made by whoever writes it, so that it can be shown before it is stored.
#[forge::mutation]
pub async fn add_comment(
    ctx: &MutationContext,
    card_id: Uuid,
    #[validate(length(max = 5000), custom = "crate::text::said")] text: String,
    id: Option<Uuid>,
) -> Result<Comment> {
    access::to_card(ctx.auth(), ctx.db(), card_id, MemberRole::Editor).await?;
    if Comment::query().filter(Comment::CARD_ID.eq(card_id)).count(ctx.db()).await? >= COMMENTS_PER_CARD {
        return Err(BoardError::LimitReached { what: "comments on a card".into(), limit: COMMENTS_PER_CARD }.into());
    }
    let me = access::me(ctx.auth())?;
    Comment::insert([
        Comment::ID.set(id.unwrap_or_else(forge::new_uuid)),
        Comment::CARD_ID.set(card_id),
        Comment::AUTHOR_ID.set(me),
        Comment::TEXT.set(text.trim()),
    ])
    .fetch_one(ctx.db())
    .await
}

/// Deletes a comment: one's own, or as an owner of the board anybody's.
#[forge::mutation]
pub async fn delete_comment(ctx: &MutationContext, comment_id: Uuid) -> Result<()> {
    let comment = Comment::find(comment_id).fetch_optional(ctx.db()).await?;
    let comment = comment.ok_or_else(|| Error::not_found("there is no such comment; it may have been deleted"))?;
    let needed = if comment.author_id == access::me(ctx.auth())? { MemberRole::Editor } else { MemberRole::Owner };
    access::to_card(ctx.auth(), ctx.db(), comment.card_id, needed).await?;
    Comment::delete(comment_id).execute(ctx.db()).await?;
    Ok(())
}
