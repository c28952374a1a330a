use forge::prelude::*;

#[forge::model]
struct User {
    #[id]
    id: Uuid,
    #[unique]
    email: String,
    name: String,
}

#[forge::query]
async fn remember(ctx: &QueryContext) -> Result<User> {
    let name = User::NAME.set("Ada");
    User::update(Uuid::nil()).set(name).execute(ctx.db()).await?;
    User::upsert([User::EMAIL.set("ada@example.org")]).on(User::EMAIL).fetch_one(ctx.db()).await
}

#[forge::mutation]
async fn by_name(ctx: &MutationContext) -> Result<User> {
    User::upsert([User::NAME.set("Ada")]).on(User::NAME).fetch_one(ctx.db()).await
}

async fn helper(db: &forge::Db) -> Result<u64> {
    User::delete(Uuid::nil()).execute(db).await
}

#[forge::model]
struct Other {
    #[id]
    id: Uuid,
}

#[forge::mutation]
async fn of_another(ctx: &MutationContext) -> Result<User> {
    User::upsert([User::NAME.set("Ada")]).on(Other::ID).fetch_one(ctx.db()).await
}

fn main() {}
