//! Members and their roles.

use board::boards::{GetBoard, get_board};
use board::cards::{CardChange, GetCard, get_card, update_card};
use board::members::{
    AddMember, ListMembers, MemberRole, RemoveMember, SetMemberRole, add_member, list_members, remove_member,
    set_member_role,
};
use forge::Result;
use forge::testing::TestApp;

use crate::people::{board_of, card, member, person, refused};

#[forge::test]
async fn owners_add_people_who_have_an_account(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let eve = person(&app, "Eve").await?;
    let invite = |email: &str| AddMember { board_id: board.id, email: email.into(), role: MemberRole::Editor };

    let error = refused(ada.calls.call(add_member, invite("nobody@example.org")).await, "NO_SUCH_ACCOUNT");
    assert!(error.message().contains("nobody@example.org"));
    refused(ada.calls.call(add_member, invite("not an address")).await, "VALIDATION_ERROR");
    let added = ada.calls.call(add_member, invite("EVE@example.org")).await?;
    assert_eq!((added.user_id, added.role), (eve.id, MemberRole::Editor));
    refused(ada.calls.call(add_member, invite("eve@example.org")).await, "ALREADY_A_MEMBER");
    refused(eve.calls.call(add_member, invite("ada@example.org")).await, "ROLE_TOO_LOW");

    let names: Vec<String> =
        eve.calls.call(list_members, ListMembers { board_id: board.id }).await?.into_iter().map(|m| m.name).collect();
    assert_eq!(names, ["Ada", "Eve"]);
    Ok(())
}

#[forge::test]
async fn a_role_can_be_raised_and_lowered(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let vic = member(&app, &ada, &board, "Vic", MemberRole::Viewer).await?;
    let column = board.columns[0].id;
    refused(card(&vic, column, "Not yet").await, "ROLE_TOO_LOW");
    let to = |role| SetMemberRole { board_id: board.id, user_id: vic.id, role };
    refused(vic.calls.call(set_member_role, to(MemberRole::Owner)).await, "ROLE_TOO_LOW");
    ada.calls.call(set_member_role, to(MemberRole::Editor)).await?;
    card(&vic, column, "Now").await?;
    ada.calls.call(set_member_role, to(MemberRole::Viewer)).await?;
    refused(card(&vic, column, "No more").await, "ROLE_TOO_LOW");
    Ok(())
}

#[forge::test]
async fn a_board_keeps_an_owner(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let role_of_ada = |role| SetMemberRole { board_id: board.id, user_id: ada.id, role };
    refused(ada.calls.call(set_member_role, role_of_ada(MemberRole::Viewer)).await, "LAST_OWNER");
    let leave = |user_id| RemoveMember { board_id: board.id, user_id };
    refused(ada.calls.call(remove_member, leave(ada.id)).await, "LAST_OWNER");

    // Of two owners who leave at once, one stays.
    let bob = member(&app, &ada, &board, "Bob", MemberRole::Owner).await?;
    let (first, second) =
        tokio::join!(ada.calls.call(remove_member, leave(ada.id)), bob.calls.call(remove_member, leave(bob.id)),);
    let refusal = match (first, second) {
        (Ok(()), Err(refusal)) | (Err(refusal), Ok(())) => refusal,
        other => panic!("one of them should have been refused: {other:?}"),
    };
    assert_eq!(refusal.code(), "LAST_OWNER", "{refusal:?}");
    Ok(())
}

#[forge::test]
async fn who_leaves_takes_nothing_along(app: TestApp) -> Result<()> {
    let ada = person(&app, "Ada").await?;
    let board = board_of(&ada).await?;
    let eve = member(&app, &ada, &board, "Eve", MemberRole::Editor).await?;
    let bob = member(&app, &ada, &board, "Bob", MemberRole::Editor).await?;
    let made = card(&eve, board.columns[0].id, "Mine").await?;
    let change = CardChange {
        id: made.id,
        title: made.title,
        description: made.description,
        priority: made.priority,
        due: None,
        estimate: None,
        assignee_id: Some(eve.id),
    };
    eve.calls.call(update_card, change).await?;

    refused(bob.calls.call(remove_member, RemoveMember { board_id: board.id, user_id: eve.id }).await, "ROLE_TOO_LOW");
    eve.calls.call(remove_member, RemoveMember { board_id: board.id, user_id: eve.id }).await?;
    refused(eve.calls.call(get_board, GetBoard { board_id: board.id }).await, "NOT_A_MEMBER");
    let left = ada.calls.call(get_card, GetCard { card_id: made.id }).await?;
    assert_eq!((left.assignee_id, left.created_by), (None, Some(eve.id)));
    refused(ada.calls.call(remove_member, RemoveMember { board_id: board.id, user_id: eve.id }).await, "NOT_FOUND");
    Ok(())
}
