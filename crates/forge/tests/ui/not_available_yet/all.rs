use forge::prelude::*;

#[forge::query(rate_limit(requests = 60))]
#[retry(max_attempts = 3)]
#[log = "debug"]
async fn a(_ctx: &QueryContext) -> Result<i32> {
    Ok(1)
}

#[forge::mutation(log = "debug", tables = ["cards"])]
async fn b(_ctx: &MutationContext) -> Result<i32> {
    Ok(1)
}

#[forge::model]
#[soft_delete]
#[tenant(field = "id")]
#[sql_after("..")]
#[sql_constraint("..")]
struct Card {
    #[id(auto)]
    id: i64,
    #[relation(belongs_to = "Column")]
    column_id: Uuid,
    #[encrypted]
    secret: String,
    #[text_search(weight = "A")]
    title: String,
}

#[forge::job(resources(cpu = 2, gpu = 1))]
async fn c(_ctx: &JobContext) -> Result<()> {
    Ok(())
}

#[forge::cron("0 9 * * *", group = "mail")]
#[resources(memory = "1Gi")]
async fn d(_ctx: &CronContext) -> Result<()> {
    Ok(())
}

#[forge::workflow]
async fn e() {}

fn main() {}
