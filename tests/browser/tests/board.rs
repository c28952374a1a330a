//! The board in a browser, one scenario each.

use whole_system::run_scenario;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_plans_their_work() {
    run_scenario("planning").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_share_a_board() {
    run_scenario("sharing").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_is_signed_in_at_two_places() {
    run_scenario("sessions").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_on_a_phone() {
    run_scenario("phone").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_does_the_other_sees() {
    run_scenario("together").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_goes_on_while_the_server_is_away() {
    run_scenario("outage").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn people_see_who_else_is_there() {
    run_scenario("company").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_works_where_no_websocket_gets_through() {
    run_scenario("proxied").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_done_later_is_done() {
    run_scenario("later").await;
}
