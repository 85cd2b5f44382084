use std::time::Instant;

use tokio::net::TcpListener;

use super::*;

/// Returns a tracer whose receiver accepts connections and never answers, and its counters.
async fn silent(ratio: f64) -> (Tracer, Counters, TcpListener) {
    let receiver = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = Settings {
        url: format!("http://{}/v1/traces", receiver.local_addr().unwrap()),
        headers: Vec::new(),
        ratio,
    };
    let counters = Counters::default();
    let tracer = Tracer::start("test", settings, counters.clone()).unwrap();
    (tracer, counters, receiver)
}

fn named() -> String {
    "step".to_owned()
}

fn parent(sampled: bool) -> TraceContext {
    TraceContext::root([1; 16], [2; 8], sampled).unwrap()
}

#[test]
fn a_tracer_that_is_off_passes_the_parent_on_and_names_no_span() {
    let tracer = Tracer::default();
    for parent in [None, Some(parent(true))] {
        let span = tracer.span(Kind::Server, parent.as_ref(), || unreachable!("a name"));
        assert_eq!(span.context(), parent.as_ref());
        assert!(!span.is_recorded());
        let context = tracer.context([3; 16], [4; 8], parent.as_ref());
        assert_eq!(context, parent);
    }
}

#[tokio::test]
async fn a_child_follows_the_flag_of_its_parent_and_a_root_the_ratio() {
    let (never, ..) = silent(0.0).await;
    let child = never.span(Kind::Server, Some(&parent(true)), named);
    let context = child.context().expect("a trace");
    assert!(child.is_recorded());
    assert_eq!(context.trace_id(), [1; 16]);
    assert_ne!(context.span_id(), [2; 8]);
    let root = never.span(Kind::Server, None, named);
    assert!(!root.is_recorded());
    // Others then record nothing of this trace either.
    assert!(!root.context().expect("a trace").is_sampled());
    let (always, ..) = silent(1.0).await;
    assert!(always.span(Kind::Server, None, named).is_recorded());
    let unsampled = always.span(Kind::Server, Some(&parent(false)), named);
    assert!(!unsampled.is_recorded());
    assert_eq!(unsampled.context(), Some(&parent(false)));
}

#[tokio::test]
async fn spans_beyond_the_queue_are_counted_and_delay_nobody() {
    let (tracer, counters, _receiver) = silent(1.0).await;
    // On this single thread the export cannot run meanwhile.
    for _ in 0..QUEUE_SPANS + 100 {
        drop(tracer.span(Kind::Internal, None, named));
    }
    assert_eq!(counters.queue_full.get(), 100);
    assert_eq!(counters.exported.get(), 0);
}

#[tokio::test]
async fn a_shutdown_waits_two_seconds_for_a_silent_receiver() {
    let (tracer, _counters, _receiver) = silent(1.0).await;
    drop(tracer.span(Kind::Internal, None, named));
    let begun = Instant::now();
    tracer.shutdown().await;
    let took = begun.elapsed();
    assert!(took >= FLUSH_TIME, "{took:?}");
    assert!(took < FLUSH_TIME * 2, "{took:?}");
    tracer.shutdown().await;
    assert!(begun.elapsed() < took + FLUSH_TIME);
}
