//! The transcripts of docs/protocol.md, taken from real exchanges with both services.
//!
//! Each test makes one kind of exchange, writes it down by the rules of [`rules`] and [`layout`],
//! and compares the text with the fenced block below its heading in docs/protocol.md. The page
//! states the same rules under "Transcripts". A test that fails names the block and shows the
//! difference.
//!
//! `CCB_TEST_TRANSCRIPTS=write` writes the blocks into the page instead:
//!
//! ```text
//! CCB_TEST_TRANSCRIPTS=write cargo test -p cc-tests --test services -- transcripts::
//! ```

mod closes;
mod controls;
mod http_calls;
mod http_problems;
mod http_streams;
mod layout;
mod losses;
mod names;
mod notices;
mod page;
mod record;
mod refusals;
mod requests;
mod rules;
mod scene;
mod views;

use page::Page;

/// Makes a test for each heading: the function of a module whose transcript stands below it.
macro_rules! transcripts {
    ($($heading:literal => $module:ident::$exchange:ident,)*) => {
        /// The headings below "Transcripts", in the order of the page.
        const HEADINGS: &[&str] = &[$($heading),*];

        $(
            #[tokio::test]
            async fn $exchange() {
                page::check($heading, &$module::$exchange().await);
            }
        )*
    };
}

transcripts! {
    "connected" => requests::connected,
    "execute to COMPLETED" => views::execute_to_completed,
    "execute to FAILED" => views::execute_to_failed,
    "attach after a cut" => views::attach_after_a_cut,
    "detach" => views::detach,
    "pause and resume" => controls::pause_and_resume,
    "cancel" => controls::cancel,
    "status" => requests::status,
    "list, by pages" => requests::list_by_pages,
    "events" => requests::events,
    "input" => requests::input,
    "A batch" => requests::a_batch,
    "Requests without an id" => requests::requests_without_an_id,
    "A slow viewer with skip" => losses::a_slow_viewer_with_skip,
    "Output that is no longer kept" => losses::output_that_is_no_longer_kept,
    "claude-api is unreachable" => losses::claude_api_is_unreachable,
    "Notices about an execution" => notices::notices_about_an_execution,
    "Refused requests" => refusals::refused_requests,
    "Refused frames" => refusals::refused_frames,
    "Close 1007" => closes::text_that_is_not_utf8,
    "Close 1009" => closes::a_message_that_is_too_long,
    "Close 1012" => closes::a_restart_of_the_bridge,
    "Close 1013" => closes::too_many_sessions,
    "HTTP: PUT of an execution" => http_calls::put_of_an_execution,
    "HTTP: POST of an execution" => http_calls::post_of_an_execution,
    "HTTP: PUT that streams the output" => http_streams::put_that_streams_the_output,
    "HTTP: output from an offset" => http_streams::output_from_an_offset,
    "HTTP: follow a status" => http_streams::follow_a_status,
    "HTTP: events" => http_streams::events_over_http,
    "HTTP: input" => http_calls::input_over_http,
    "HTTP: pause, resume, cancel" => http_calls::pause_resume_cancel,
    "HTTP: cancel of an unknown id" => http_calls::cancel_of_an_unknown_id,
    "HTTP: list" => http_calls::list_over_http,
    "HTTP: delete" => http_calls::delete,
    "HTTP: limits" => http_calls::limits,
    "HTTP: refused calls" => http_problems::refused_calls,
    "HTTP: refused handshakes" => http_problems::refused_handshakes,
    "HTTP: a full queue" => http_problems::a_full_queue,
    "HTTP: health" => http_problems::health,
}

#[test]
fn each_transcript_of_the_page_has_a_test() {
    assert_eq!(Page::read().headings(), HEADINGS);
}
