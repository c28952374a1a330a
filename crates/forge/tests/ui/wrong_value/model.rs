use forge::prelude::*;

#[forge::model]
#[table = "cards"]
#[index(fields = ["colum_id", "title", "title"])]
#[index(name = "x")]
struct Card {
    #[id = "uuid"]
    id: Uuid,
    column_id: Uuid,
    #[max_length = "200"]
    title: String,
    #[max_length = 0]
    text: String,
    #[default]
    due: Timestamp,
    #[default = ""]
    begun: Timestamp,
}

#[forge::model]
#[table(name = "a_table_whose_name_is_far_too_long_for_the_database_it_is_stored_in")]
struct Long {
    #[id]
    id: Uuid,
}

fn main() {}
