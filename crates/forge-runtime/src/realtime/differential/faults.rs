//! What the test is worth: each mechanism is taken away once, and it notices.

use super::on_one_thread;
use super::place::Place;
use super::tally::Tally;
use super::world::World;
use crate::read_set::Fault;

/// How many transactions a fault may go unnoticed.
const CASES_MAX: usize = 8_000;

/// How many transactions a schema lives for.
const WRITES: usize = 120;

fn is_noticed(fault: Fault) {
    on_one_thread(async {
        let mut place = Place::make().await;
        Fault::plant(Some(fault));
        let mut tally = Tally::default();
        for seed in 1.. {
            let world =
                World::new(&mut place, seed, &mut tally.invalid).await.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
            if let Err(why) = world.run(WRITES, &mut tally).await {
                assert!(why.starts_with("a result changed and nobody noticed"), "{fault:?} broke something else: {why}");
                eprintln!("{fault:?} is noticed with seed {seed}, after {} transactions", tally.writes);
                return;
            }
            assert!(tally.writes < CASES_MAX, "{fault:?} goes unnoticed for {} transactions", tally.writes);
        }
    });
}

macro_rules! each {
    ($($name:ident: $fault:ident;)*) => {
        $(#[test] fn $name() { is_noticed(Fault::$fault); })*
    };
}

each! {
    old_values_are_probed: OldValues;
    new_values_are_probed: NewValues;
    columns_that_are_read_count: ColumnMask;
    a_row_as_a_whole_is_all_columns: WholeRow;
    the_kept_side_of_an_outer_join_is_not_narrowed: OuterJoin;
    null_is_a_key: NullKey;
    all_elements_of_an_array_count: AnyArray;
    all_branches_of_or_count: OrBranch;
    views_are_followed: View;
    a_with_query_hides_a_table: WithShadow;
    nothing_is_passed_through_a_limit: PushThroughLimit;
    truncate_is_seen: Truncate;
    cascades_are_seen: Cascade;
    writes_to_partitions_are_seen: Partition;
    rows_that_are_dropped_on_their_way_are_seen: DroppedRow;
    subtransactions_belong_to_their_transaction: Savepoint;
    late_commits_are_read: Watermark;
    enums_are_compared_as_they_are: EnumKey;
    bounds_belong_to_ranges: RangeBound;
    numbers_have_their_own_order: RangeOrder;
    times_do_not_depend_on_settings: TimeZone;
    many_rows_are_all_rows: RowsCap;
    a_column_of_another_type_is_noticed: ColumnType;
    a_column_that_was_not_written_down_may_match: UnknownColumn;
    a_cast_may_cut: CastLength;
}
