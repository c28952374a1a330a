//! Comments on cards.

use forge::prelude::*;

use crate::access;
use crate::errors::BoardError;
use crate::limits::COMMENTS_PER_CARD;
use crate::members::MemberRole;
use crate::users::User;

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

/// A page of comments.
#[forge::input]
pub struct CommentPage {
    /// The comments, the newest first.
    pub comments: Vec<CommentView>,
    /// What to ask for the next page with; null when this is the last one.
    pub next_cursor: Option<String>,
}

/// The comments of a card, the newest first, 20 at a time.
#[forge::query]
pub async fn list_comments(ctx: &QueryContext, card_id: Uuid, cursor: Option<String>) -> Result<CommentPage> {
    access::to_card(ctx.auth(), ctx.db(), card_id, MemberRole::Viewer).await?;
    let page = Comment::query()
        .filter(Comment::CARD_ID.eq(card_id))
        .order_by(Comment::CREATED_AT.desc())
        .paginate(Page { limit: 20, cursor }, ctx.db())
        .await?;
    let ids = page.items.iter().map(|comment| comment.author_id);
    let authors = User::query().filter(User::ID.in_(ids)).fetch_all(ctx.db()).await?;
    let name_of = |id: Uuid| authors.iter().find(|user| user.id == id).map_or_else(String::new, |user| user.name.clone());
    let comments = page.items.into_iter().map(|comment| CommentView {
        author: name_of(comment.author_id),
        id: comment.id,
        author_id: comment.author_id,
        text: comment.text,
        created_at: comment.created_at,
    });
    Ok(CommentPage { comments: comments.collect(), next_cursor: page.next_cursor })
}

/// Comments on a card.
#[forge::mutation]
pub async fn add_comment(
    ctx: &MutationContext,
    card_id: Uuid,
    #[validate(length(max = 5000), custom = "crate::text::said")] text: String,
) -> Result<Comment> {
    access::to_card(ctx.auth(), ctx.db(), card_id, MemberRole::Editor).await?;
    if Comment::query().filter(Comment::CARD_ID.eq(card_id)).count(ctx.db()).await? >= COMMENTS_PER_CARD {
        return Err(BoardError::LimitReached { what: "comments on a card".into(), limit: COMMENTS_PER_CARD }.into());
    }
    let me = access::me(ctx.auth())?;
    Comment::insert([Comment::CARD_ID.set(card_id), Comment::AUTHOR_ID.set(me), Comment::TEXT.set(text.trim())])
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
